//! Many loads of one function together: each tier is asked once for all of them, and told once.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::{Answer, Hit, Life, Load};
use crate::error::Result;
use crate::flight::Flights;
use crate::freshness::State;
use crate::function::Function;
use crate::language::Language;
use crate::store::{prepare, run_together, Keep};
use crate::tier::{CallKey, Found, Reading, Tier};

/// What was read for one of many loads.
pub enum Read<O> {
    /// The answer.
    Fresh(O),
    /// Something with more to it than taking it: it is to be refreshed, or the language refused it.
    Other,
    /// Nothing, or what can only be fallen back on.
    Nothing(Option<Hit<O>>),
}

/// Asks the first tier for many keys, where that is only a look, for fresh values that are `plain`. They count
/// as hits.
pub fn look<L: Language>(
    function: &Function,
    language: &L,
    keys: &[&CallKey],
    plain: impl Fn(&L::Object) -> bool,
) -> Vec<Option<L::Object>> {
    let nothing = || keys.iter().map(|_| None).collect();
    let tiers = function.tiers();
    let Some(first) = tiers.first().filter(|tier| !tier.may_block()) else { return nothing() };
    let reading = Reading { may_check: false, ..Reading::alone(&tiers, 0) };
    let keys: Vec<_> = keys.iter().map(|key| (*key, reading)).collect();
    let read = first.read_many(function, language, &keys, |error| function.note(&error));
    // Whoever loads will meet the same failure, and count it.
    let Ok(found) = read else { return nothing() };
    let fresh = |found: Result<Option<Found<L::Object>>>| {
        let found =
            found.ok().flatten().filter(|found| found.state == State::Fresh && plain(&found.object))?;
        function.count_hit(found.state);
        Some(found.object)
    };
    found.into_iter().map(fresh).collect()
}

/// Reads the tiers in order, each for all keys that no nearer one had an answer for, and fills the nearer ones
/// with fresh values that are `plain`, which count as hits. Each load comes with the language for its key.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn read<L: Language, S: Send + Sync>(
    loads: &[(&Load<S>, &L)],
    plain: impl Fn(&L::Object) -> bool,
) -> Result<Vec<Read<L::Object>>> {
    let Some(((one, language), _)) = loads.split_first() else { return Ok(Vec::new()) };
    let (function, tiers) = (&*one.function, &*one.tiers);
    Load::observe_many(loads)?;
    let mut hits: Vec<Option<Hit<L::Object>>> = loads.iter().map(|_| None).collect();
    for (index, tier) in tiers.iter().enumerate() {
        let wanted: Vec<usize> = (0..loads.len()).filter(|each| !is_answer(&hits[*each])).collect();
        if wanted.is_empty() {
            break;
        }
        let keyed = |each: &usize| {
            let load = loads[*each].0;
            (&load.key, Reading { known: Some(load.known()), ..Reading::alone(tiers, index) })
        };
        let keys: Vec<(&CallKey, Reading<'_>)> = wanted.iter().map(keyed).collect();
        match tier.read_many(function, *language, &keys, |error| function.note(&error)) {
            Ok(results) => {
                for (each, result) in wanted.into_iter().zip(results) {
                    match result {
                        Ok(Some(found)) => {
                            let hit = Hit { tier: index, found };
                            if is_better(&hit, &hits[each]) {
                                hits[each] = Some(hit);
                            }
                        }
                        Ok(None) => {}
                        Err(error) => function.failed(error)?,
                    }
                }
            }
            Err(error) => function.failed(error)?,
        }
    }
    let mut read = Vec::with_capacity(loads.len());
    let mut writes = Vec::new();
    for ((load, language), hit) in loads.iter().zip(hits) {
        read.push(match hit {
            Some(hit) if hit.found.state == State::Fresh && plain(&hit.found.object) => {
                function.count_hit(State::Fresh);
                let (nearer, keep) = (&tiers[..hit.tier], Keep::Moved(hit.found.moments));
                let (object, tags) = (&hit.found.object, &hit.found.tags);
                let made = prepare(function, *language, &load.key, object, nearer, &keep, tags)?;
                writes.extend(made.into_iter().map(|write| (load.flight.clone(), write)));
                Read::Fresh(hit.found.object)
            }
            Some(hit) if hit.found.state.is_answer() || !plain(&hit.found.object) => Read::Other,
            hit => Read::Nothing(hit),
        });
    }
    run_together(function, *language, tiers, writes)?;
    Ok(read)
}

fn is_answer<O>(hit: &Option<Hit<O>>) -> bool {
    hit.as_ref().is_some_and(|hit| hit.found.state.is_answer())
}

/// Whether a hit of a farther tier is to be preferred: to nothing, and to what can be fallen back on for less long.
fn is_better<O>(hit: &Hit<O>, known: &Option<Hit<O>>) -> bool {
    known.as_ref().is_none_or(|known| {
        hit.found.state.is_answer() || known.found.moments.expires < hit.found.moments.expires
    })
}

impl<S: Send + Sync> Load<S> {
    /// What a caller gets for whom `read` found nothing: what can be fallen back on, where the function has just
    /// failed, else nothing yet.
    pub fn answer_many<O>(&self, hit: Option<Hit<O>>, share: impl FnOnce(O) -> Arc<S>) -> Answer<O, S> {
        let Some(hit) = hit else { return Answer::Nothing };
        self.met.store(true, Ordering::Relaxed);
        self.answer(hit, share)
    }
}

/// Stores a result of each load in every tier, but for those that were invalidated meanwhile or come too late.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn store<L: Language, S: Send + Sync>(
    flights: &Flights<S>,
    loads: &[(&Load<S>, &L)],
    results: &[(L::Object, Life)],
) -> Result<()> {
    let Some(((one, language), _)) = loads.split_first() else { return Ok(()) };
    let (function, tiers): (_, &[Tier]) = (&*one.function, &one.tiers);
    let mut writes = Vec::new();
    for ((load, language), (object, life)) in loads.iter().zip(results) {
        // The hard timeout is one of a run of the function: somebody who joined may have given up by it.
        if !load.succeeds(flights, *language, load.was_given_up() && load.is_late()) {
            continue;
        }
        if *life == Life::Unkept && load.has_met() {
            load.remove(*language)?;
        }
        let Some(tags) = load.tags_of_result(*language)? else { continue };
        let made = prepare(function, *language, &load.key, object, tiers, &Keep::New(*life), &tags)?;
        writes.extend(made.into_iter().map(|write| (load.flight.clone(), write)));
    }
    run_together(function, *language, tiers, writes)
}
