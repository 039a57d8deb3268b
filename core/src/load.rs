//! A load: from registering to landing. The steps that synchronous and asynchronous callers share.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::sdk::Value;

use crate::error::Result;
use crate::flight::{Begin, Flight, Flights, Lead, Scope};
use crate::format::Format;
use crate::function::Function;
use crate::language::{Dumped, Language};
use crate::random;
use crate::tier::{CallKey, Found, Tier};

/// How long a result is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Not at all.
    Unkept,
    /// As long as each tier says.
    Own,
    /// So many nanoseconds ([`NEVER`]: for ever), whatever tiers say.
    For(i64),
    /// As long as each tier says, but no longer than so many nanoseconds.
    AtMost(i64),
}

/// What a caller is to do.
pub enum Step<S> {
    /// Lead this load: read, run, store, land.
    Load(Load<S>),
    /// Wait for somebody else's.
    Wait(Arc<Flight<S>>),
}

/// One load of one key, led by the holder. Dropping it frees those who wait.
pub struct Load<S> {
    function: Arc<Function>,
    tiers: Arc<[Tier]>,
    key: CallKey,
    lead: Lead<S>,
}

impl<S: Send + Sync> Load<S> {
    /// Starts a load of `key`, or finds the one under way.
    pub fn begin(flights: &Arc<Flights<S>>, function: &Arc<Function>, key: CallKey) -> Step<S> {
        match flights.begin(key.local()) {
            Begin::Join(flight) => Step::Wait(flight),
            Begin::Lead(lead) => {
                Step::Load(Load { function: function.clone(), tiers: function.tiers(), key, lead })
            }
        }
    }

    /// Its flight.
    pub fn flight(&self) -> &Arc<Flight<S>> {
        self.lead.flight()
    }

    /// Whether reading or storing may block.
    pub fn may_block(&self) -> bool {
        self.tiers.iter().any(Tier::may_block)
    }

    /// Reads the tiers in order and fills those above the one that had it.
    ///
    /// # Errors
    /// A failure of the cache, where the function is strict.
    pub fn read<L: Language>(&self, language: &L) -> Result<Option<L::Object>> {
        let Some((tier, found)) = read(&self.function, &self.tiers, language, &self.key)? else {
            self.count_miss();
            return Ok(None);
        };
        self.function.counters.hits.fetch_add(1, Ordering::Relaxed);
        self.write(language, &found.object, &self.tiers[..tier], Life::AtMost(found.remaining))?;
        Ok(Some(found.object))
    }

    /// Counts a run of the function.
    pub fn count_miss(&self) {
        self.function.counters.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Stores a result in every tier, unless it was invalidated meanwhile.
    ///
    /// # Errors
    /// A failure of the cache, where the function is strict.
    pub fn store<L: Language>(&self, language: &L, object: &L::Object, life: Life) -> Result<()> {
        self.write(language, object, &self.tiers, life)
    }

    /// Notes that it was not to be found out how long a result is kept, so that it is not.
    ///
    /// # Errors
    /// The failure itself, for a function that is `strict`.
    pub fn failed(&self, error: crate::Error) -> Result<()> {
        self.function.failed(error)
    }

    /// Ends the load with a value that was found in a tier. It is shared where a tier keeps the very object,
    /// for then it is anyway; else everybody who joined reads one of their own.
    pub fn land_found(self, share: impl FnOnce() -> Option<Arc<S>>) {
        if self.tiers.iter().any(Tier::keeps_objects) {
            let shared = share();
            self.land(shared);
        } else {
            self.lead.found();
        }
    }

    /// Ends the load with something for everybody who joined, or, without it, lets them start again.
    pub fn land(self, shared: Option<Arc<S>>) {
        if let Some(shared) = shared {
            self.lead.share(shared);
        }
    }

    fn write<L: Language>(&self, language: &L, object: &L::Object, tiers: &[Tier], life: Life) -> Result<()> {
        let writes = prepare(&self.function, language, &self.key, object, tiers, life)?;
        let flight = self.lead.flight();
        run(&self.function, language, writes, |write| flight.write(write))
    }
}

/// Reads the tiers in order without filling any; the index of the one that had it, and the value.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn read<L: Language>(
    function: &Function,
    tiers: &[Tier],
    language: &L,
    key: &CallKey,
) -> Result<Option<(usize, Found<L::Object>)>> {
    for (index, tier) in tiers.iter().enumerate() {
        let mut unreadable = None;
        match tier.read(language, key, |error| unreadable = Some(error)) {
            Ok(Some(found)) => return Ok(Some((index, found))),
            // Strict or not, what cannot be read is a miss: the function can make it again.
            Ok(None) => {
                if let Some(error) = unreadable {
                    function.note(&error);
                }
            }
            Err(error) => function.failed(error)?,
        }
    }
    Ok(None)
}

/// Reads what a load found that the caller had joined. It may have gone meanwhile.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn reread<L: Language>(function: &Function, language: &L, key: &CallKey) -> Result<Option<L::Object>> {
    let found = read(function, &function.tiers(), language, key)?;
    if found.is_some() {
        function.counters.hits.fetch_add(1, Ordering::Relaxed);
    }
    Ok(found.map(|(_, found)| found.object))
}

/// Stores a value that the caller brought; loads under way will not overwrite it.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn put<L: Language, S: Send + Sync>(
    flights: &Flights<S>,
    function: &Function,
    language: &L,
    key: &CallKey,
    object: &L::Object,
    life: Life,
) -> Result<()> {
    let tiers = function.tiers();
    let writes = prepare(function, language, key, object, &tiers, life)?;
    let scope = Scope::Key(key.local().to_vec());
    let _fence = language.detached(|| flights.fence(&scope));
    run(function, language, writes, |write| Some(write()))
}

/// Removes one key from every tier; whether any had it.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn delete<L: Language, S: Send + Sync>(
    flights: &Flights<S>,
    function: &Function,
    language: &L,
    key: &CallKey,
) -> Result<bool> {
    let tiers = function.tiers();
    let scope = Scope::Key(key.local().to_vec());
    let results: Vec<Result<bool>> = language.detached(|| {
        let _fence = flights.fence(&scope);
        // The farthest first: who reads in between must not find it there once it is gone here.
        tiers.iter().rev().filter_map(|tier| Some(tier.instance().delete(&tier.key(key)?))).collect()
    });
    let mut found = false;
    for result in results {
        match result {
            Ok(present) => found |= present,
            Err(error) => function.failed(error)?,
        }
    }
    Ok(found)
}

/// Removes everything of one function from every tier.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn clear<L: Language, S: Send + Sync>(
    flights: &Flights<S>,
    function: &Function,
    language: &L,
) -> Result<()> {
    let tiers = function.tiers();
    let scope = Scope::Prefix(function.local_prefix().to_vec());
    let results: Vec<Result<()>> = language.detached(|| {
        let _fence = flights.fence(&scope);
        tiers.iter().rev().map(|tier| tier.instance().clear(tier.prefix()).map(drop)).collect()
    });
    results.into_iter().try_for_each(|result| result.or_else(|error| function.failed(error)))
}

/// One value on its way into one tier.
struct Write<'a> {
    tier: &'a Tier,
    key: Cow<'a, [u8]>,
    value: Value,
    ttl: i64,
}

/// Makes the values to be written: needs the language, so it happens before any lock.
fn prepare<'a, L: Language>(
    function: &Function,
    language: &L,
    key: &'a CallKey,
    object: &L::Object,
    tiers: &'a [Tier],
    life: Life,
) -> Result<Vec<Write<'a>>> {
    let mut writes = Vec::with_capacity(tiers.len());
    // Dumped at the first tier that wants bytes, and again where another format makes others of it.
    let mut dumped: Option<(&Format, Option<Dumped<L::Bytes>>)> = None;
    let spread = random::spread(function.policy().jitter);
    for tier in tiers {
        let Some(key) = tier.key(key) else { continue };
        let ttl = match life {
            Life::Unkept => continue,
            Life::Own => stretch(tier.ttl(), spread),
            Life::For(ttl) => stretch(ttl, spread),
            // What came from a farther tier must not outlive it.
            Life::AtMost(remaining) => tier.ttl().min(remaining),
        };
        if ttl <= 0 {
            continue;
        }
        if tier.keeps_objects() {
            writes.push(Write { tier, key, value: language.hold(object), ttl });
            continue;
        }
        let format = tier.format();
        if dumped.as_ref().is_none_or(|(known, _)| !known.dumps_like(format)) {
            let made = match language.dump(object, format) {
                Ok(made) => Some(made),
                // Noted once for all tiers of the same format.
                Err(error) => {
                    function.failed(error)?;
                    None
                }
            };
            dumped = Some((format, made));
        }
        if let Some((_, Some(made))) = &dumped {
            match tier.seal(language, &key, made, ttl) {
                Ok(value) => writes.push(Write { tier, value, key, ttl }),
                Err(error) => function.failed(error)?,
            }
        }
    }
    Ok(writes)
}

/// Runs the writes through `gate`, which answers `None` where they must not happen: those of objects
/// at once, those that may block outside the language.
fn run<L: Language>(
    function: &Function,
    language: &L,
    writes: Vec<Write<'_>>,
    gate: impl Fn(&mut (dyn FnMut() -> Result<()> + Send)) -> Option<Result<()>> + Sync,
) -> Result<()> {
    for write in writes {
        let Write { tier, key, value, ttl } = write;
        let mut value = Some(value);
        let blocks = tier.may_block() && !tier.keeps_objects();
        let mut set = || value.take().map_or(Ok(()), |value| tier.instance().set(&key, value, ttl));
        let result = if blocks { language.detached(|| gate(&mut set)) } else { gate(&mut set) };
        if let Some(Err(error)) = result {
            function.failed(error)?;
        }
    }
    Ok(())
}

fn stretch(ttl: i64, spread: f64) -> i64 {
    if ttl == NEVER || spread == 1.0 {
        return ttl;
    }
    ((ttl as f64 * spread) as i64).max(1)
}
