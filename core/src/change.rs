//! What users change themselves: putting a value, deleting one, clearing. All of it fences loads under way.

use crate::error::Result;
use crate::flight::{Flights, Scope};
use crate::function::Function;
use crate::language::Language;
use crate::load::Life;
use crate::store::{prepare, run, Keep};
use crate::tags;
use crate::tier::CallKey;

/// Stores a value that the caller brought, with the tags that its arguments tell and `more`; loads under way will
/// not overwrite it.
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
    more: &[Box<str>],
) -> Result<()> {
    let tiers = function.tiers();
    let tags = if function.policy().has_tags() {
        let names = tags::checked([key.tags(), more].concat())?;
        let scope = tags::Scope { tiers: &tiers, range: 0..tiers.len(), make: true };
        language.detached(|| tags::observe(function, &scope, &names, false))?
    } else {
        tags::Observed::default()
    };
    let writes = prepare(function, language, key, object, &tiers, &Keep::New(life), &tags)?;
    function.pauses.end(key.local());
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
    function.pauses.end(key.local());
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
    function.pauses.end_all();
    let scope = Scope::Prefix(function.local_prefix().to_vec());
    let results: Vec<Result<()>> = language.detached(|| {
        let _fence = flights.fence(&scope);
        tiers.iter().rev().map(|tier| tier.instance().clear(tier.prefix()).map(drop)).collect()
    });
    results.into_iter().try_for_each(|result| result.or_else(|error| function.failed(error)))
}
