//! One tier of a function: a backend instance, and how entries are read from it and written to it.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::abi::capability;
use retainit_plugin_api::sdk::{Item, Token, Value};

use crate::access::Access;
use crate::dictionary::Dictionaries;
use crate::error::{Error, Result};
use crate::format::{self, Format};
use crate::freshness::{Moments, State};
use crate::function::Function;
use crate::instance::Instance;
use crate::language::{Dumped, Language, Stamp};
use crate::tags::{self, Observed, Tags, Token as TagToken};
use crate::verified::Version;
use crate::{clock, entry, key};

/// With more bytes than this, the language's other threads go on meanwhile.
const LONG: usize = 64 * 1024;

/// A backend in a function's list of tiers.
#[derive(Debug, Clone)]
pub struct Tier {
    instance: Arc<Instance>,
    ttl: i64,
    namespace: String,
    prefix: Vec<u8>,
    schema: String,
    format: Arc<Format>,
    /// Where others can see the entries, they can find dictionaries too.
    dictionaries: Option<Arc<Dictionaries>>,
}

/// A call's key: the function's number, and the encoding of the arguments.
#[derive(Debug, Clone)]
pub struct CallKey {
    local: Vec<u8>,
    portable: bool,
    tags: Option<Arc<[Box<str>]>>,
}

impl PartialEq for CallKey {
    fn eq(&self, other: &Self) -> bool {
        // Tags say more of a call, but not which call it is.
        (&self.local, self.portable) == (&other.local, other.portable)
    }
}

impl Eq for CallKey {}

impl Hash for CallKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local.hash(state);
    }
}

impl CallKey {
    /// The key of a function's call from the encoding of its arguments. One that is not `portable`
    /// has no meaning outside the process.
    pub fn new(function: &Function, encoding: &[u8], portable: bool) -> Self {
        CallKey { local: [&function.local_prefix(), encoding].concat(), portable, tags: None }
    }

    /// The same with the names of the tags that the call's arguments tell.
    #[must_use]
    pub fn tagged(self, names: Vec<Box<str>>) -> Self {
        CallKey { tags: Some(names.into()), ..self }
    }

    /// The names of the tags that the call's arguments tell.
    pub fn tags(&self) -> &[Box<str>] {
        self.tags.as_deref().unwrap_or_default()
    }

    /// As tiers inside the process know it.
    pub fn local(&self) -> &[u8] {
        &self.local
    }

    /// The encoding of the arguments.
    pub fn encoding(&self) -> &[u8] {
        &self.local[Function::LOCAL_PREFIX..]
    }

    /// Whether tiers outside the process may know it.
    pub fn is_portable(&self) -> bool {
        self.portable
    }
}

/// What was found for each of many keys.
pub type Each<O> = Vec<Result<Option<Found<O>>>>;

/// A value that was found.
pub struct Found<O> {
    /// The object.
    pub object: O,
    /// Its moments, on the monotonic clock.
    pub moments: Moments,
    /// What it is now.
    pub state: State,
    /// Its tags.
    pub tags: Observed,
}

/// How entries are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// All tiers of the function.
    pub tiers: &'a [Tier],
    /// Which of them is read.
    pub index: usize,
    /// What the load that it is read for knows of its tags; `None` where it is read for no load.
    pub known: Option<&'a Observed>,
    /// Whether looking for tags that have been invalidated elsewhere may block. What needs a look is not found
    /// then, if it may not.
    pub may_check: bool,
}

impl<'a> Reading<'a> {
    /// For no load.
    pub fn alone(tiers: &'a [Tier], index: usize) -> Self {
        Reading { tiers, index, known: None, may_check: true }
    }

    fn is_outside(&self) -> bool {
        self.tiers.iter().any(Tier::is_outside)
    }

    /// What an entry of bytes carries is compared with what the backend has; `None` if the entry is no good.
    fn observe(
        &self,
        function: &Function,
        key: &CallKey,
        carried: &[(Box<str>, TagToken)],
    ) -> Result<Option<Observed>> {
        // One from before the function said so is not invalidated with the others.
        let lacks = |name: &str| carried.iter().all(|(carried, _)| **carried != *name);
        if key.tags().iter().any(|name| lacks(name)) {
            return Ok(None);
        }
        if carried.is_empty() {
            return Ok(Some(Observed::default()));
        }
        let tier = &self.tiers[self.index];
        if let Some((known, confirmed)) =
            self.known.and_then(|known| Some((known, known.confirms(tier, carried)?)))
        {
            return Ok(confirmed.then(|| known.clone()));
        }
        let names: Vec<Box<str>> = carried.iter().map(|(name, _)| name.clone()).collect();
        let make = self.known.is_some();
        let range = if make { 0..self.index + 1 } else { self.index..self.index + 1 };
        let scope = tags::Scope { tiers: self.tiers, range, make };
        let observed = tags::observe(function, &scope, &names, false)?;
        Ok(observed.confirms(tier, carried).filter(|confirmed| *confirmed).map(|_| observed))
    }
}

impl Tier {
    /// A backend that keeps entries of `function` for `ttl` nanoseconds ([`NEVER`]: for ever) in
    /// `format`, under `namespace` and `version` where others can see them.
    pub fn new(
        instance: Arc<Instance>,
        format: Arc<Format>,
        ttl: i64,
        function: &Function,
        namespace: &str,
        version: &str,
    ) -> Self {
        let outside = instance.capabilities() & (capability::SHARED | capability::PERSISTENT) != 0;
        let prefix = if outside {
            function.storage_prefix(namespace, version)
        } else {
            function.local_prefix().to_vec()
        };
        let dictionaries = outside.then(|| Arc::new(Dictionaries::new(instance.clone(), &prefix)));
        let namespace = namespace.to_owned();
        Tier { instance, ttl, namespace, prefix, schema: version.to_owned(), format, dictionaries }
    }

    /// The backend.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Time to live of what is stored, in nanoseconds; [`NEVER`] for none.
    pub fn ttl(&self) -> i64 {
        self.ttl
    }

    /// What separates applications that share the backend.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// How entries are made and read.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// First bytes of the keys that the function has here.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether it keeps the very objects.
    pub fn keeps_objects(&self) -> bool {
        self.has(capability::OBJECTS)
    }

    /// Whether calls may block.
    pub fn may_block(&self) -> bool {
        !self.has(capability::INLINE)
    }

    /// Whether its entries can be seen from outside the process.
    pub fn is_outside(&self) -> bool {
        self.has(capability::SHARED | capability::PERSISTENT)
    }

    /// The spelling of `key` it uses; `None` where the key must not get there.
    pub fn key<'k>(&self, key: &'k CallKey) -> Option<Cow<'k, [u8]>> {
        if !self.is_outside() {
            return Some(Cow::Borrowed(&key.local));
        }
        key.portable.then(|| Cow::Owned(key::storage_key(&self.prefix, key.encoding())))
    }

    /// Reads an entry of `function`, if it is good for anything by the function's rules. What cannot be
    /// read is a miss; `unreadable` is told why.
    ///
    /// # Errors
    /// The backend's, and the language's when it cannot make an object of the bytes.
    pub fn read<L: Language>(
        &self,
        function: &Function,
        language: &L,
        call: &CallKey,
        reading: &Reading<'_>,
        unreadable: impl FnOnce(Error),
    ) -> Result<Option<Found<L::Object>>> {
        if let Some(refusal) = self.instance.refusal() {
            return Err(refusal);
        }
        let Some(key) = self.key(call) else { return Ok(None) };
        // References to objects are added only while the language is held.
        let item = if self.may_block() && !self.keeps_objects() {
            language.detached(|| self.instance.read(&key))?
        } else {
            self.instance.read(&key)?
        };
        let Some(item) = item else { return Ok(None) };
        self.understand(function, language, (call, &key), item, reading, unreadable)
    }

    /// Reads many entries of `function` with one call of the backend, each with a result of its own. What cannot be
    /// read is a miss; `unreadable` is told why.
    ///
    /// # Errors
    /// The backend's, and the language's when it cannot make an object of the bytes.
    pub fn read_many<L: Language>(
        &self,
        function: &Function,
        language: &L,
        keys: &[(&CallKey, Reading<'_>)],
        mut unreadable: impl FnMut(Error),
    ) -> Result<Each<L::Object>> {
        let spelled: Vec<Option<Cow<'_, [u8]>>> = keys.iter().map(|(key, _)| self.key(key)).collect();
        let asked: Vec<&[u8]> = spelled.iter().flatten().map(|key| &**key).collect();
        let items = if asked.is_empty() {
            Vec::new()
        } else if self.may_block() && !self.keeps_objects() {
            language.detached(|| self.instance.get_many(&asked))?
        } else {
            self.instance.get_many(&asked)?
        };
        let mut items = items.into_iter();
        let each = |((call, reading), key): (&(&CallKey, Reading<'_>), &Option<Cow<'_, [u8]>>)| {
            let Some(key) = key else { return Ok(None) };
            match items.next().transpose()?.flatten() {
                Some(item) => {
                    self.understand(function, language, (call, key), item, reading, &mut unreadable)
                }
                None => Ok(None),
            }
        };
        Ok(keys.iter().zip(&spelled).map(each).collect())
    }

    /// What an item that the backend had for `key` is.
    fn understand<L: Language>(
        &self,
        function: &Function,
        language: &L,
        (call, key): (&CallKey, &[u8]),
        item: Item,
        reading: &Reading<'_>,
        unreadable: impl FnOnce(Error),
    ) -> Result<Option<Found<L::Object>>> {
        let Item { value, expires, token } = item;
        let rules = function.policy().rules;
        if value.is_object() {
            let whole = Moments { created: 0, due: NEVER, expires, stale_until: expires };
            let Some((object, stamp)) = language.take(value) else { return Ok(None) };
            let Stamp { moments, tags } =
                stamp.unwrap_or_else(|| Stamp { moments: whole, tags: Tags::default() });
            if reading.is_outside() && tags.are_due() {
                if !reading.may_check {
                    return Ok(None);
                }
                language.detached(|| tags::check(tags.as_slice(), false));
            }
            let state = moments.state(clock::monotonic(), &rules);
            let good = state != State::Expired && !tags.are_dead();
            return Ok(good.then(|| Found { object, moments, state, tags: Observed::of(tags) }));
        }
        match self.load(function, language, (call, key), value, &token, reading) {
            // A backend may have been told to keep it for less.
            Ok(found) => Ok(found.map(|found| Found { moments: found.moments.until(expires), ..found })),
            Err(error) => {
                unreadable(error);
                Ok(None)
            }
        }
    }

    /// What an entry has; `None` if it has expired.
    fn load<L: Language>(
        &self,
        function: &Function,
        language: &L,
        (call, key): (&CallKey, &[u8]),
        value: Value,
        token: &Token,
        reading: &Reading<'_>,
    ) -> Result<Option<Found<L::Object>>> {
        let rules = function.policy().rules;
        let now = clock::unix();
        let len = value.weight() as usize;
        // What others can write may change under the same token.
        let private = self.has(capability::PRIVATE);
        let version = private.then(|| Version::of(len, self.instance.number(), key, token)).flatten();
        let verified = version.is_some_and(Version::is_verified);
        let stale = rules.stale_ttl.max(rules.stale_if_error) > 0;
        let state = format::State { now, access: Access::of(&self.instance), verified, stale };
        let dictionaries = self.dictionaries.as_deref();
        let open = || self.format.open(key, &self.schema, value, dictionaries, state);
        // Checking and decompressing much takes a while.
        let opened = if len > LONG { language.detached(open) } else { open() };
        let Some(opened) = opened.map_err(|error| error.with("backend", self.instance.name()))? else {
            return Ok(None);
        };
        let times = (opened.created, opened.expires, opened.stale_until);
        let moments = Moments::of_entry(now, times, &rules, function.run_time());
        let state = moments.state(now, &rules);
        if state == State::Expired {
            return Ok(None);
        }
        let tags = if opened.tags.is_empty() {
            reading.observe(function, call, &opened.tags)?
        } else {
            language.detached(|| reading.observe(function, call, &opened.tags))?
        };
        let Some(tags) = tags else { return Ok(None) };
        let object = language.load(&opened.codec, opened.codec_version, opened.payload, &self.format)?;
        // Only now: whoever reads it next relies on all of it having been read once.
        if let Some(version) = version.filter(|_| !verified) {
            version.remember();
        }
        let moments = moments.shifted(clock::monotonic().saturating_sub(now));
        Ok(Some(Found { object, moments, state, tags }))
    }

    /// Makes an entry of `dumped` for this tier under `key` that carries `tags`. Its moments are on the monotonic clock.
    ///
    /// # Errors
    /// Those of [`Format::seal`].
    pub fn seal<L: Language>(
        &self,
        language: &L,
        key: &[u8],
        dumped: &Dumped<L::Bytes>,
        moments: &Moments,
        tags: &[entry::Tag<'_>],
    ) -> Result<Value> {
        let dictionaries = self.dictionaries.as_deref();
        let moments = moments.shifted(clock::unix().saturating_sub(clock::monotonic()));
        let seal = || self.format.seal(key, &self.schema, dumped, dictionaries, &moments, tags);
        // Training takes a while too.
        if dumped.bytes.as_ref().len() > LONG || self.format.trains() {
            language.detached(seal)
        } else {
            seal()
        }
    }

    fn has(&self, bit: u64) -> bool {
        self.instance.capabilities() & bit != 0
    }
}
