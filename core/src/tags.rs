//! Tags: names that entries carry, so that whatever carries one is invalidated at once.
//!
//! In the process a [`Tag`] is one object that all entries of tiers of objects refer to: invalidating it is
//! one store, however many there are. A byte tier keeps a random **token** for each tag beside the
//! entries, which carry the token that the tag had when their load began; invalidating removes the token, and
//! an entry whose token is not there, or is another one, is a miss. `docs/tags.md` specifies both.
//!
//! | module | what it holds |
//! |---|---|
//! | this one | the tags of the process, and their end |
//! | `observed` | what a load knows of its tags before it reads anything |
//! | `tokens` | tokens in backends |
//! | `check` | looking whether another process has invalidated |

mod check;
mod observed;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use retainit_plugin_api::abi::call::NEVER;

pub use check::check;
pub use observed::{observe, Observed, Scope};
pub use tokens::{remove, Token};

use crate::error::{Error, ErrorKind, Result};
use crate::instance::Instance;
use crate::key;
use crate::lock::Mutex;
use crate::{clock, fork};

/// What [`Tag::until`] is once the tag has been invalidated.
const DEAD: i64 = i64::MIN;
/// The longest name of a tag, in bytes.
const NAME: usize = 255;
/// Tags that an entry may carry.
pub const MOST: usize = 128;
/// The name of what every invalidation in a namespace invalidates too.
const EPOCH: &str = "";

/// After how many nanoseconds a tag is looked up again that another process may have invalidated.
static INTERVAL: AtomicI64 = AtomicI64::new(1_000_000_000);

/// Sets after how long a hit inside the process looks whether another process has invalidated one of its tags;
/// one second, unless this is called. Holds from each tag's next look on.
pub fn set_interval(interval: Duration) {
    INTERVAL.store(i64::try_from(interval.as_nanos()).unwrap_or(NEVER).max(1), Ordering::Relaxed);
}

/// One tag of the process, from when an entry first carries it until it is invalidated.
#[derive(Debug)]
pub struct Tag {
    /// Until when it is good without a look at tokens, on the monotonic clock; [`DEAD`] once it is not any more.
    until: AtomicI64,
    /// As backends know it.
    key: Box<[u8]>,
    namespace: Box<str>,
    name: Box<str>,
    sources: Mutex<Vec<Source>>,
}

/// The token that a backend had for a tag.
#[derive(Debug)]
struct Source {
    instance: Weak<Instance>,
    number: usize,
    /// `None`: it could not be asked.
    token: Option<Token>,
    /// When it was last asked.
    seen: i64,
}

type Table = HashMap<Box<[u8]>, Weak<Tag>>;

/// The tags that something carries, by key. What nobody carries any more is not here.
static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Default::default);

impl Tag {
    /// The tag of that name, made if nobody carries it.
    fn intern(namespace: &str, name: &str) -> Arc<Self> {
        let key = key::tag_key(namespace, name);
        let _gate = fork::enter();
        let mut table = TABLE.lock();
        // Dropped outside the lock at the earliest, since the last reference takes it.
        let known = table.get(&*key).and_then(Weak::upgrade);
        if let Some(known) = known.as_ref().filter(|known| !known.is_dead()) {
            return known.clone();
        }
        let tag = Arc::new(Tag {
            until: AtomicI64::new(NEVER),
            key: key.clone().into(),
            namespace: namespace.into(),
            name: name.into(),
            sources: Mutex::default(),
        });
        table.insert(key.into(), Arc::downgrade(&tag));
        drop(table);
        drop(known);
        tag
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its key in byte tiers.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether it has been invalidated.
    pub fn is_dead(&self) -> bool {
        self.until.load(Ordering::Acquire) == DEAD
    }

    /// Whether it is good at `moment` without a look at tokens; at the earliest moment of all: whether it has not
    /// been invalidated.
    #[inline(always)]
    fn is_good(&self, moment: i64) -> bool {
        moment < self.until.load(Ordering::Acquire)
    }

    /// Ends it, in the process.
    fn die(&self) {
        let _gate = fork::enter();
        self.mark();
        self.forget();
    }

    /// What [`Tag::die`] does first, inside the gate: whether it had not been done.
    fn mark(&self) -> bool {
        let _sources = self.sources.lock();
        self.until.swap(DEAD, Ordering::AcqRel) != DEAD
    }

    /// Takes it out of the table, inside the gate.
    fn forget(&self) {
        let mut table = TABLE.lock();
        if table.get(&self.key).is_some_and(|known| std::ptr::eq(known.as_ptr(), self)) {
            table.remove(&self.key);
        }
    }

    /// Notes the token that a backend had at the moment `seen` or after (`None`: it could not be asked). `false` if
    /// the tag has been invalidated, which another token says too.
    fn learn(&self, instance: &Arc<Instance>, token: Option<Token>, seen: i64) -> bool {
        let _gate = fork::enter();
        let mut sources = self.sources.lock();
        let number = instance.number();
        match sources.iter_mut().find(|source| source.number == number) {
            None => sources.push(Source { instance: Arc::downgrade(instance), number, token, seen }),
            // What cannot be asked now is asked again; what was known stays known.
            Some(source) if token.is_none() || source.token == token => source.seen = seen,
            Some(_) => {
                drop(sources);
                self.die();
                return false;
            }
        }
        self.renew(&sources)
    }

    /// Puts the next look off as far as its sources, which are locked, allow; `false` if it has been invalidated.
    fn renew(&self, sources: &[Source]) -> bool {
        if self.is_dead() {
            return false;
        }
        let seen = sources.iter().map(|source| source.seen).min().unwrap_or(NEVER);
        self.until.store(seen.saturating_add(INTERVAL.load(Ordering::Relaxed)), Ordering::Release);
        true
    }
}

impl Drop for Tag {
    fn drop(&mut self) {
        let _gate = fork::enter();
        self.forget();
    }
}

/// The tags of one entry.
#[derive(Debug, Clone, Default)]
pub struct Tags(Option<Arc<[Arc<Tag>]>>);

impl Tags {
    const NONE: Tags = Tags(None);

    /// Of these.
    pub fn new(tags: Vec<Arc<Tag>>) -> Self {
        Tags((!tags.is_empty()).then(|| tags.into()))
    }

    /// Each of them.
    pub fn as_slice(&self) -> &[Arc<Tag>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether all are good at `moment` without a look at tokens; at [`i64::MIN`]: whether none has been
    /// invalidated.
    #[inline(always)]
    pub fn are_good(&self, moment: i64) -> bool {
        match &self.0 {
            None => true,
            Some(tags) => tags.iter().all(|tag| tag.is_good(moment)),
        }
    }

    /// Whether any has been invalidated.
    pub fn are_dead(&self) -> bool {
        !self.are_good(i64::MIN)
    }

    /// Whether a look at tokens is due.
    pub fn are_due(&self) -> bool {
        self.0.is_some() && !self.are_good(clock::monotonic())
    }
}

/// Invalidates tags of a namespace in the process: whether something carried each of them.
///
/// Byte tiers come first ([`remove`]): who reads one in between must not take what it finds for newer.
pub fn end(namespace: &str, names: &[&str]) -> Vec<bool> {
    // The epoch first: a load that finds its tag new must find that it has begun before.
    take(namespace, EPOCH);
    names.iter().map(|name| take(namespace, name)).collect()
}

fn take(namespace: &str, name: &str) -> bool {
    let key = key::tag_key(namespace, name);
    let _gate = fork::enter();
    let mut table = TABLE.lock();
    // One step for whoever invalidates the same: who does not find it here finds it ended.
    let taken = table.remove(&*key).and_then(|tag| tag.upgrade());
    let carried = taken.as_ref().is_some_and(|tag| tag.mark());
    drop(table);
    drop(taken);
    carried
}

/// How many tags something carries.
pub fn count() -> usize {
    let _gate = fork::enter();
    TABLE.lock().len()
}

/// Refuses what is no name of a tag.
///
/// # Errors
/// An empty one, or a long one.
pub fn check_name(name: &str) -> Result<()> {
    if (1..=NAME).contains(&name.len()) {
        return Ok(());
    }
    let found = if name.is_empty() { "an empty one".to_owned() } else { format!("{} bytes", name.len()) };
    let message = format!("name of a tag: expected 1 to {NAME} bytes of UTF-8, found {found}");
    Err(Error::new(ErrorKind::Configuration, "tag", message))
}

/// Names without those that are there twice.
///
/// # Errors
/// One is no name of a tag, or there are too many.
pub fn checked(names: Vec<Box<str>>) -> Result<Vec<Box<str>>> {
    let mut checked: Vec<Box<str>> = Vec::with_capacity(names.len());
    for name in names {
        check_name(&name)?;
        if !checked.contains(&name) {
            checked.push(name);
        }
    }
    if checked.len() > MOST {
        let message = format!("tags of an entry: expected at most {MOST}, found {}", checked.len());
        return Err(Error::new(ErrorKind::Configuration, "tag", message));
    }
    Ok(checked)
}
