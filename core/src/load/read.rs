//! Reading the tiers of a function, one key at a time.

use std::sync::Arc;

use crate::error::Result;
use crate::flight::Flight;
use crate::freshness::State;
use crate::function::Function;
use crate::language::Language;
use crate::tags::Observed;
use crate::tier::{CallKey, Found, Reading, Tier};

/// A value that was found.
pub struct Hit<O> {
    /// In which tier.
    pub tier: usize,
    /// What was found.
    pub found: Found<O>,
}

/// Reads the tiers from `first` on in order without filling any, for a load that has `known` tags or for none. The first value whose state is `wanted` is the
/// answer; else the one that can be fallen back on for longest.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub(super) fn read<L: Language>(
    function: &Function,
    tiers: &[Tier],
    first: usize,
    language: &L,
    key: &CallKey,
    known: Option<&Observed>,
    wanted: impl Fn(State) -> bool,
) -> Result<Option<Hit<L::Object>>> {
    let mut fallback: Option<Hit<L::Object>> = None;
    for (index, tier) in tiers.iter().enumerate().skip(first) {
        let mut unreadable = None;
        let reading = Reading { known, ..Reading::alone(tiers, index) };
        match tier.read(function, language, key, &reading, |error| unreadable = Some(error)) {
            Ok(Some(found)) if wanted(found.state) => return Ok(Some(Hit { tier: index, found })),
            Ok(Some(found)) => {
                let expires = found.moments.expires;
                if found.state == State::Fallback
                    && fallback.as_ref().is_none_or(|hit| hit.found.moments.expires < expires)
                {
                    fallback = Some(Hit { tier: index, found });
                }
            }
            // Strict or not, what cannot be read is a miss: the function can make it again.
            Ok(None) => {
                if let Some(error) = unreadable {
                    function.note(&error);
                }
            }
            Err(error) => function.failed(error)?,
        }
    }
    Ok(fallback)
}

/// Reads an answer without filling any tier.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn peek<L: Language>(function: &Function, language: &L, key: &CallKey) -> Result<Option<L::Object>> {
    let hit = read(function, &function.tiers(), 0, language, key, None, State::is_answer)?;
    Ok(hit.filter(|hit| hit.found.state.is_answer()).map(|hit| hit.found.object))
}

/// Reads what a load found that the caller had joined, or what one under way has not replaced yet. It may have
/// gone meanwhile. What can only be fallen back on is offered to those who cannot wait for the `flight`.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn reread<L: Language, S: Send + Sync>(
    function: &Function,
    language: &L,
    key: &CallKey,
    flight: &Flight<S>,
    share: impl FnOnce(L::Object) -> Arc<S>,
) -> Result<Option<L::Object>> {
    let hit = read(function, &function.tiers(), 0, language, key, None, State::is_answer)?;
    let Some(Hit { found: Found { object, moments, state, .. }, .. }) = hit else { return Ok(None) };
    if state.is_answer() {
        function.count_hit(state);
        return Ok(Some(object));
    }
    flight.offer(share(object), moments.fallback_until(&function.policy().rules));
    Ok(None)
}
