//! A load: from registering to landing. The steps that synchronous and asynchronous callers share.
//!
//! | file | what it holds |
//! |---|---|
//! | this one | the load itself |
//! | `join` | what becomes of those who join it |
//! | `read` | reading the tiers |
//! | `many` | many loads together |
//! | `tagged` | its tags |

mod join;
pub mod many;
mod read;
mod tagged;

use std::sync::{Arc, OnceLock};

use crate::clock;
use crate::error::Result;
use crate::flight::{Begin, Flight, Flights, Landing, Lead, Purpose};
use crate::freshness::State;
use crate::function::Function;
use crate::language::Language;
use crate::lease::Wake;
use crate::store::{prepare, run, Keep};
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use crate::tags::Observed;
use crate::tier::{CallKey, Found, Tier};
use crate::turn::{Held, Turn};

pub use join::{give_up, given, is_overdue, Given};
pub use read::{peek, reread, Hit};

use join::overdue_at;
use read::read;

/// How long a result is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Not at all.
    Unkept,
    /// As long as each tier says.
    Own,
    /// So many nanoseconds ([`NEVER`](retainit_plugin_api::abi::call::NEVER): for ever), whatever tiers say.
    For(i64),
}

/// What a caller is to do.
pub enum Step<S> {
    /// Lead this load: read, run, store, land.
    Load(Load<S>),
    /// Wait for somebody else's.
    Wait(Arc<Flight<S>>),
}

/// What a caller gets of what was read.
pub enum Answer<O, S> {
    /// This, and whether a refresh is wanted: of the tiers from there on.
    Found(O, Option<usize>),
    /// This expired value, as does everybody who joined.
    Fallback(Arc<S>),
    /// Nothing: the function is to run.
    Nothing,
}

/// Refreshes at most under way in a process.
const REFRESHES: usize = 32;
/// Runs of one function that have been given up and go on, at most.
const STRAYS: i64 = 32;

static REFRESHING: AtomicUsize = AtomicUsize::new(0);

/// One load of one key, led by the holder. Dropping it frees those who wait.
pub struct Load<S> {
    function: Arc<Function>,
    tiers: Arc<[Tier]>,
    key: CallKey,
    /// The first tier that it reads.
    first: usize,
    /// Whether it met an entry that its result is to replace.
    met: AtomicBool,
    /// When the run began, on the monotonic clock.
    running: AtomicI64,
    /// What it knows of its tags, from before it read anything.
    observed: OnceLock<Observed>,
    /// Its turn among processes.
    held: Held,
    /// Gone once it has landed.
    lead: Option<Lead<S>>,
    flight: Arc<Flight<S>>,
}

impl<S: Send + Sync> Load<S> {
    /// Starts a load of `key` that `replaces` what is kept or not, or finds the one under way.
    pub fn begin(
        flights: &Arc<Flights<S>>,
        function: &Arc<Function>,
        key: CallKey,
        replaces: bool,
    ) -> Step<S> {
        let purpose = if replaces { Purpose::Replace } else { Purpose::Load };
        match begin(flights, function, &key, purpose) {
            Begin::Join(flight) => Step::Wait(flight),
            Begin::Lead(lead) => {
                let load = Self::new(function, key, 0, lead);
                load.met.store(replaces, Ordering::Relaxed);
                Step::Load(load)
            }
        }
    }

    /// Starts a load of `key` for the background, which reads the tiers from `first` on. `None` where one is
    /// under way, the function has just failed, or too many are under way.
    pub fn begin_refresh(
        flights: &Arc<Flights<S>>,
        function: &Arc<Function>,
        key: &CallKey,
        first: usize,
    ) -> Option<Self> {
        if function.pauses.holds(key.local()) {
            return None;
        }
        if REFRESHING.fetch_add(1, Ordering::Relaxed) < REFRESHES {
            // One that was overdue is given up by that, which begins a pause.
            let begun = begin(flights, function, key, Purpose::Refresh);
            if let (Begin::Lead(lead), false) = (begun, function.pauses.holds(key.local())) {
                let load = Self::new(function, key.clone(), first, lead);
                load.met.store(true, Ordering::Relaxed);
                return Some(load);
            }
        }
        REFRESHING.fetch_sub(1, Ordering::Relaxed);
        None
    }

    fn new(function: &Arc<Function>, key: CallKey, first: usize, lead: Lead<S>) -> Self {
        Load {
            function: function.clone(),
            tiers: function.tiers(),
            key,
            first,
            met: AtomicBool::new(false),
            running: AtomicI64::new(0),
            observed: OnceLock::new(),
            held: Held::default(),
            flight: lead.flight().clone(),
            lead: Some(lead),
        }
    }

    /// Its flight.
    pub fn flight(&self) -> &Arc<Flight<S>> {
        &self.flight
    }

    /// Its function.
    pub fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// Its key.
    pub fn key(&self) -> &CallKey {
        &self.key
    }

    /// Whether it goes on in the background, so that nobody has to wait for it.
    pub fn is_refresh(&self) -> bool {
        self.flight.is_refreshing()
    }

    /// Reads the tiers in order and fills those above the one that had an answer. A refresh is content with
    /// fresh values only. What can only be fallen back on is no answer.
    ///
    /// # Errors
    /// A failure of the cache, where the function is strict.
    pub fn read<L: Language>(&self, language: &L) -> Result<Option<Hit<L::Object>>> {
        let wanted = |state: State| if self.is_refresh() { state == State::Fresh } else { state.is_answer() };
        self.observe(language)?;
        let hit =
            read(&self.function, &self.tiers, self.first, language, &self.key, Some(self.known()), wanted)?;
        let Some(hit) = hit else { return Ok(None) };
        self.met.store(true, Ordering::Relaxed);
        if matches!(hit.found.state, State::Fresh | State::Due) {
            self.write(
                language,
                &hit.found.object,
                &self.tiers[..hit.tier],
                &Keep::Moved(hit.found.moments),
                &hit.found.tags,
            )?;
        }
        Ok(Some(hit))
    }

    /// Whether what was read ends the load: for a refresh, only what is fresh does.
    pub fn satisfies<O>(&self, hit: &Hit<O>) -> bool {
        if self.is_refresh() {
            hit.found.state == State::Fresh
        } else {
            hit.found.state.is_answer()
        }
    }

    /// Whether reading or storing may block now. A backend that is not asked for a while does not.
    pub fn may_block(&self) -> bool {
        self.tiers.iter().any(|tier| tier.may_block() && !tier.instance().refuses())
    }

    /// What the caller gets of what was read. What can only be fallen back on is the answer where the function
    /// has just failed; else it is offered to those who cannot wait.
    pub fn answer<O>(&self, hit: Hit<O>, share: impl FnOnce(O) -> Arc<S>) -> Answer<O, S> {
        let Hit { tier, found: Found { object, moments, state, .. } } = hit;
        if state.is_answer() {
            self.function.count_hit(state);
            return Answer::Found(object, (state != State::Fresh).then_some(tier + 1));
        }
        self.flight.offer(share(object), moments.fallback_until(&self.function.policy().rules));
        let paused = self.function.pauses.holds(self.key.local());
        match self.flight.fallback().filter(|_| paused) {
            Some(fallback) => {
                self.function.count_hit(state);
                Answer::Fallback(fallback)
            }
            None => Answer::Nothing,
        }
    }

    /// Whether the function must not run, because too many runs that have been given up go on: what everybody
    /// gets instead, if there is something to fall back on.
    pub fn refused(&self) -> Option<Option<Arc<S>>> {
        if self.function.strays() < STRAYS {
            return None;
        }
        let fallback = self.flight.fallback();
        if fallback.is_some() {
            self.function.count_hit(State::Fallback);
        }
        Some(fallback)
    }

    /// Whether it met an entry that its result is to replace.
    pub fn has_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }

    /// The wait for its turn among processes, where it needs one; see [`Turn`]. Whoever gets the turn reads once
    /// more before the function runs, and whoever does not reads in each pause: a result may have come.
    pub fn turn(&self, wake: impl Fn() -> Wake + Send + Sync + 'static) -> Option<Turn> {
        if self.flight.purpose() == Purpose::Replace {
            return None;
        }
        let deadline = overdue_at(&self.function, &self.flight);
        Turn::of(&self.function, &self.tiers, &self.key, &self.held, deadline, wake)
    }

    /// The function begins to run.
    pub fn runs(&self) {
        self.function.counters.misses.fetch_add(1, Ordering::Relaxed);
        self.running.store(clock::monotonic(), Ordering::Relaxed);
    }

    /// Stores a result in every tier, unless it was invalidated meanwhile, or comes too late.
    ///
    /// # Errors
    /// A failure of the cache, where the function is strict.
    pub fn store<L: Language>(
        &self,
        flights: &Flights<S>,
        language: &L,
        object: &L::Object,
        life: Life,
    ) -> Result<()> {
        self.function.ran((clock::monotonic() - self.running.load(Ordering::Relaxed)).max(0));
        if !self.succeeds(flights, language, self.is_late()) {
            return Ok(());
        }
        let stored = match life {
            Life::Unkept if self.met.load(Ordering::Relaxed) => self.remove(language),
            Life::Unkept => Ok(()),
            life => match self.tags_of_result(language)? {
                Some(tags) => self.write(language, object, &self.tiers, &Keep::New(life), &tags),
                None => Ok(()),
            },
        };
        self.held.let_go();
        stored
    }

    /// There is a result: whether it is welcome, which one that is `late` is not. The pause ends, and no stray
    /// overwrites it.
    fn succeeds<L: Language>(&self, flights: &Flights<S>, language: &L, late: bool) -> bool {
        if !late && !self.flight.is_fenced() {
            self.function.pauses.end(self.key.local());
        }
        if !late && flights.has_strays(&self.flight) {
            language.detached(|| flights.supersede(&self.flight));
        }
        !late
    }

    /// Whether the grace period of the hard timeout is over, or whoever had the turn since may have stored a
    /// newer result.
    fn is_late(&self) -> bool {
        clock::monotonic() - self.flight.started() >= self.function.policy().rules.grace()
            || self.held.is_lost()
    }

    /// Notes that it was not to be found out how long a result is kept, so that it is not.
    ///
    /// # Errors
    /// The failure itself, for a function that is `strict`.
    pub fn failed(&self, error: crate::Error) -> Result<()> {
        self.function.failed(error)
    }

    /// The function has failed: what everybody gets instead, if there is something to fall back on.
    pub fn fall_back(&self) -> Option<Arc<S>> {
        let fallback = self.flight.fallback();
        if !self.flight.is_fenced() && (fallback.is_some() || self.flight.replaces()) && !self.was_given_up()
        {
            let at = clock::monotonic().min(overdue_at(&self.function, &self.flight));
            self.function.pauses.begin(self.key.local(), at);
        }
        fallback.filter(|_| !self.has_timed_out())
    }

    /// Ends the load with a value that was found in a tier. It is shared where a tier keeps the very object,
    /// for then it is anyway; else everybody who joined reads one of their own.
    pub fn land_found(self, share: impl FnOnce() -> Arc<S>) {
        if self.tiers.iter().any(Tier::keeps_objects) {
            let shared = share();
            self.land(shared);
        } else {
            self.land_with(Lead::found);
        }
    }

    /// Ends the load with an expired value for everybody who joined, but for who wanted to replace it, who gets the
    /// cause.
    pub fn land_fallback(self, shared: Arc<S>, cause: Option<Arc<S>>) {
        self.land_with(|lead| lead.fall_back(shared, cause));
    }

    /// Ends the load with something for everybody who joined.
    pub fn land(self, shared: Arc<S>) {
        self.land_with(|lead| lead.share(shared));
    }

    /// Ends the load with something that concerns its leader only: the others start again.
    pub fn land_ended(self, shared: Arc<S>) {
        self.land_with(|lead| lead.end(shared));
    }

    fn land_with(mut self, land: impl FnOnce(Lead<S>)) {
        self.lead.take().map(land);
    }

    /// Whether it has passed the hard timeout, noticed or not.
    fn has_timed_out(&self) -> bool {
        self.was_given_up() || is_overdue(&self.function, &self.flight)
    }

    fn was_given_up(&self) -> bool {
        matches!(self.flight.landing(), Some(Landing::TimedOut))
    }

    fn remove<L: Language>(&self, language: &L) -> Result<()> {
        for tier in self.tiers.iter().rev() {
            let Some(key) = tier.key(&self.key) else { continue };
            let removed = language.detached(|| self.flight.write(|| tier.instance().delete(&key)));
            if let Some(Err(error)) = removed {
                self.function.failed(error)?;
            }
        }
        Ok(())
    }

    fn write<L: Language>(
        &self,
        language: &L,
        object: &L::Object,
        tiers: &[Tier],
        keep: &Keep,
        tags: &Observed,
    ) -> Result<()> {
        let writes = prepare(&self.function, language, &self.key, object, tiers, keep, tags)?;
        run(&self.function, language, writes, |write| self.flight.write(write))
    }
}

impl<S> Drop for Load<S> {
    fn drop(&mut self) {
        if matches!(self.flight.landing(), Some(Landing::TimedOut)) {
            self.function.count_strays(-1);
        }
        // Those who joined are freed before the count says so.
        drop(self.lead.take());
        if self.flight.is_refreshing() {
            REFRESHING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// In a forked child: the loads of the parent's threads are not here.
pub fn fork_child() {
    REFRESHING.store(0, Ordering::Relaxed);
    Function::forget_strays();
}

/// Starts or joins a load. One that has taken longer than the hard timeout while nobody waited is given up.
fn begin<S: Send + Sync>(
    flights: &Arc<Flights<S>>,
    function: &Function,
    key: &CallKey,
    purpose: Purpose,
) -> Begin<S> {
    loop {
        match flights.begin(key.local(), purpose) {
            Begin::Join(flight) if is_overdue(function, &flight) => give_up(flights, function, &flight),
            begun => return begun,
        }
    }
}
