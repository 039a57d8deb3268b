//! The way of a call, from the first tier's miss on.
//!
//! A hit in the first tier never gets here: the language's fast path asks that tier by itself.
//! Asynchronous callers take the same steps of [`Load`] with an `await` where this one blocks.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use crate::flight::{Flights, Landing};
use crate::function::Function;
use crate::language::Caller;
use crate::load::{self, Load, Step};
use crate::tier::CallKey;

/// Whether a call may be answered from the tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Yes.
    Read,
    /// No: the function runs, and its result replaces what is kept.
    Refresh,
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
    loop {
        match Load::begin(flights, function, key.clone()) {
            Step::Load(load) => return lead(caller, load, mode),
            Step::Wait(flight) => {
                let holding = caller.holding();
                if !caller.may_block() || !flights.may_wait(&holding, &flight) {
                    // Waiting would never end, or stop an event loop: better to work twice.
                    function.counters.misses.fetch_add(1, Ordering::Relaxed);
                    return caller.run_alone();
                }
                let landing = caller.wait(&flight);
                flights.waited(&holding, &flight);
                match landing? {
                    Landing::Shared(shared) if mode == Mode::Read => {
                        function.counters.hits.fetch_add(1, Ordering::Relaxed);
                        return caller.unshare(&shared);
                    }
                    Landing::Found if mode == Mode::Read => {
                        if let Some(found) = load::reread(function, caller, key)? {
                            return Ok(found);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

fn lead<C: Caller>(caller: &C, load: Load<C::Shared>, mode: Mode) -> Result<C::Object, C::Error> {
    caller.lead(load.flight());
    if mode == Mode::Read {
        if let Some(found) = load.read(caller)? {
            let outcome = Ok(found);
            load.land_found(|| caller.share(&outcome));
            return outcome;
        }
    }
    if mode == Mode::Refresh {
        load.count_miss();
    }
    let outcome = caller.run(load.flight());
    if let Ok(object) = &outcome {
        let stored = match caller.life(object) {
            Ok(life) => load.store(caller, object, life),
            Err(error) => load.failed(error),
        };
        if let Err(error) = stored {
            load.land(caller.share(&outcome));
            return Err(error.into());
        }
    }
    load.land(caller.share(&outcome));
    outcome
}
