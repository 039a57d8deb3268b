//! The way of a call, from the first tier's miss on.
//!
//! A hit in the first tier never gets here: the language's fast path asks that tier by itself.
//! Asynchronous callers take the same steps of [`Load`] with an `await` where this one blocks.
//! `docs/freshness.md` says what every caller gets.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread;

use retainit_plugin_api::abi::call::NEVER;

use crate::clock;
use crate::flight::{Flight, Flights, Landing};
use crate::freshness::later;
use crate::function::Function;
use crate::language::Caller;
use crate::lease::Wake;
use crate::load::{self, Answer, Given, Load, Step};
use crate::tier::CallKey;

/// Whether a call may be answered from the tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Yes.
    Read,
    /// No: the function runs, and its result replaces what is kept.
    Refresh,
}

/// One call.
struct Call<'a, C: Caller> {
    flights: &'a Arc<Flights<C::Shared>>,
    function: &'a Arc<Function>,
    caller: &'a C,
    key: &'a CallKey,
    mode: Mode,
    /// When it began, on the monotonic clock.
    entered: i64,
}

/// Where a leader stands.
enum Led<O, S> {
    /// It has the answer.
    Done(O),
    /// The load goes on in the background.
    Background(Arc<Flight<S>>),
}

/// Answers a call from a tier, from a load under way, or by running the function.
///
/// # Errors
/// What the function raised; a failure of the cache only where the function is strict.
pub fn call<C: Caller>(
    flights: &Arc<Flights<C::Shared>>,
    function: &Arc<Function>,
    caller: &C,
    key: &CallKey,
    mode: Mode,
) -> Result<C::Object, C::Error> {
    let call = Call { flights, function, caller, key, mode, entered: clock::monotonic() };
    loop {
        let answer = match Load::begin(flights, function, key.clone(), mode == Mode::Refresh) {
            Step::Load(load) => match call.lead(load)? {
                Led::Done(object) => Some(object),
                Led::Background(flight) => call.follow(&flight, true)?,
            },
            Step::Wait(flight) => call.follow(&flight, false)?,
        };
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}

/// Runs a load in the background to its end. A refresh takes what is fresh in a farther tier, if that has it.
///
/// # Errors
/// What the function raised, which those who wait have got as well.
pub fn carry_on<C: Caller>(
    flights: &Arc<Flights<C::Shared>>,
    caller: &C,
    load: Load<C::Shared>,
) -> Result<(), C::Error> {
    caller.lead(load.flight());
    if load.is_refresh() {
        match load.read(caller) {
            Ok(Some(hit)) if load.satisfies(&hit) => {
                let outcome = Ok(hit.found.object);
                load.land_found(|| caller.share(&outcome));
                return Ok(());
            }
            Ok(_) => {}
            // There is nobody to be told, strict or not.
            Err(error) => load.function().note(&error),
        }
    }
    run(flights, caller, load, false).map(drop)
}

/// Starts a refresh of `key` that reads the tiers from `first` on, unless there is a reason not to.
pub fn refresh<C: Caller>(
    flights: &Arc<Flights<C::Shared>>,
    function: &Arc<Function>,
    caller: &C,
    key: &CallKey,
    first: usize,
) {
    if let Some(load) = Load::begin_refresh(flights, function, key, first) {
        // Given back where there is no background: then it is for a later call.
        drop(caller.background(load));
    }
}

/// Runs the function, stores what it returned, and lands the load. The `caller` counts for one that falls back,
/// or waits and counts itself.
fn run<C: Caller>(
    flights: &Arc<Flights<C::Shared>>,
    caller: &C,
    load: Load<C::Shared>,
    counts: bool,
) -> Result<C::Object, C::Error> {
    if let Some(found) = take_turn(caller, &load, counts)? {
        let outcome = Ok(found);
        load.land_found(|| caller.share(&outcome));
        return outcome;
    }
    load.runs();
    let outcome = caller.run(load.flight());
    let stored = match &outcome {
        Ok(object) => match caller.life(object) {
            Ok(life) => load.store(flights, caller, object, life),
            Err(error) => load.failed(error),
        },
        Err(error) => match caller.kept_error(error) {
            Some((object, life)) => load.store(flights, caller, &object, life),
            None => {
                let failed = caller.is_failure(error) || load.is_refresh();
                let fallback = failed.then(|| load.fall_back()).flatten();
                if let Some(fallback) = fallback {
                    let cause = caller.share(&outcome);
                    let replaces = load.flight().replaces();
                    if counts && !replaces {
                        load.function().counters.stale.fetch_add(1, Ordering::Relaxed);
                    }
                    load.land_fallback(fallback.clone(), Some(cause));
                    return if replaces { outcome } else { caller.unshare(&fallback) };
                }
                Ok(())
            }
        },
    };
    // Who waits for a load of its own hears of a failure of the cache from the flight.
    let outcome = match stored {
        Err(error) if !counts => Err(error.into()),
        Err(error) => {
            load.land(caller.share(&outcome));
            return Err(error.into());
        }
        Ok(()) => outcome,
    };
    let shared = caller.share(&outcome);
    match &outcome {
        // What ends a caller, or concerns nobody who waits.
        Err(error) if load.is_refresh() || !caller.is_failure(error) => load.land_ended(shared),
        _ => load.land(shared),
    }
    outcome
}

/// Waits for the load's turn among processes. What one of them has stored meanwhile is the answer.
fn take_turn<C: Caller>(
    caller: &C,
    load: &Load<C::Shared>,
    counts: bool,
) -> Result<Option<C::Object>, C::Error> {
    let this = thread::current();
    let Some(mut turn) = load.turn(move || Wake::Thread(this.clone())) else { return Ok(None) };
    loop {
        let mine = caller.detached(|| turn.attempt())?;
        if let Some(hit) = load.read(caller)?.filter(|hit| load.satisfies(hit)) {
            if counts {
                load.function().count_hit(hit.found.state);
            }
            return Ok(Some(hit.found.object));
        }
        if mine {
            return Ok(None);
        }
        let Some(pause) = turn.pause() else { return Ok(None) };
        caller.pause(pause)?;
    }
}

impl<C: Caller> Call<'_, C> {
    fn lead(&self, load: Load<C::Shared>) -> Result<Led<C::Object, C::Shared>, C::Error> {
        let Call { flights, function, caller, key, mode, .. } = *self;
        caller.lead(load.flight());
        load.observe(caller)?;
        if mode == Mode::Read {
            if let Some(hit) = load.read(caller)? {
                match load.answer(hit, |object| caller.share(&Ok(object))) {
                    Answer::Found(object, refreshed) => {
                        let outcome = Ok(object);
                        load.land_found(|| caller.share(&outcome));
                        if let Some(first) = refreshed {
                            refresh(flights, function, caller, key, first);
                        }
                        return outcome.map(Led::Done);
                    }
                    Answer::Fallback(fallback) => {
                        load.land_fallback(fallback.clone(), None);
                        return caller.unshare(&fallback).map(Led::Done);
                    }
                    Answer::Nothing => {}
                }
            }
        }
        match load.refused() {
            None => {}
            Some(Some(fallback)) => {
                load.land_fallback(fallback.clone(), None);
                return caller.unshare(&fallback).map(Led::Done);
            }
            Some(None) => {
                let outcome = Err(caller.timed_out(true));
                load.land(caller.share(&outcome));
                return outcome.map(Led::Done);
            }
        }
        if function.policy().in_thread && function.policy().rules.limit_waits() {
            let flight = load.flight().clone();
            match caller.background(load) {
                None => return Ok(Led::Background(flight)),
                // No background any more, as at the end of the interpreter: here, then.
                Some(load) => return run(flights, caller, load, true).map(Led::Done),
            }
        }
        run(flights, caller, load, true).map(Led::Done)
    }

    /// What a flight gives: one's `own`, that goes on in the background, or somebody else's. `None`: start again.
    fn follow(&self, flight: &Arc<Flight<C::Shared>>, own: bool) -> Result<Option<C::Object>, C::Error> {
        let Call { flights, function, caller, key, mode, .. } = *self;
        let reads = mode == Mode::Read;
        let reread = || load::reread(function, caller, key, flight, |object| caller.share(&Ok(object)));
        if !own && reads && flight.replaces() {
            if let Some(found) = reread()? {
                return Ok(Some(found));
            }
        }
        let holding = caller.holding();
        if !(own || caller.may_block() && flights.may_wait(&holding, flight)) {
            // Waiting would never end, or stop an event loop: better to work twice.
            function.counters.misses.fetch_add(1, Ordering::Relaxed);
            return caller.run_alone().map(Some);
        }
        let waited = self.wait(flight, reads);
        if !own {
            flights.waited(&holding, flight);
        }
        match load::given(function, flight, waited?, own, reads) {
            Given::Shared(shared) => caller.unshare(&shared).map(Some),
            Given::Found => Ok(reread()?),
            Given::TimedOut => Err(caller.timed_out(false)),
            Given::Nothing => Ok(None),
        }
    }

    /// Waits for a flight, as long as the function's rules allow.
    fn wait(&self, flight: &Arc<Flight<C::Shared>>, reads: bool) -> Result<Landing<C::Shared>, C::Error> {
        let rules = &self.function.policy().rules;
        let soft = if reads { later(self.entered, rules.soft_timeout) } else { NEVER };
        let hard = later(flight.started(), rules.hard_timeout);
        loop {
            let now = clock::monotonic();
            if now >= hard {
                load::give_up(self.flights, self.function, flight);
            } else if let (true, Some(fallback)) = (now >= soft, flight.fallback()) {
                // What the load comes to, others get.
                return Ok(flight.landing().unwrap_or(Landing::FellBack(fallback, None)));
            }
            let until = if now < soft { soft.min(hard) } else { hard };
            if let Some(landing) = self.caller.wait(flight, clock::glance(until))? {
                return Ok(landing);
            }
        }
    }
}
