//! Writes of many values at once.

use std::sync::Arc;

use retainit_plugin_api::sdk::{Entry, Value};

use super::Write;
use crate::error::Result;
use crate::flight::Flight;
use crate::function::Function;
use crate::language::Language;
use crate::tier::Tier;

/// With more bytes than this, what is to be stored goes in several calls: a batch must not need as much
/// memory again as all its values together.
const CHUNK: u64 = 64 << 20;

/// Writes what is for each tier with one call of its backend. Each write comes with its load's flight, and
/// does not happen where that is fenced.
pub(crate) fn run_together<L: Language, S: Send + Sync>(
    function: &Function,
    language: &L,
    tiers: &[Tier],
    writes: Vec<(Arc<Flight<S>>, Write<'_>)>,
) -> Result<()> {
    let mut rest = writes;
    for tier in tiers {
        let here;
        (here, rest) = rest.into_iter().partition(|(_, write)| std::ptr::eq(write.tier, tier));
        for chunk in chunks(here) {
            let set = || set(tier, chunk);
            let blocks = tier.may_block() && !tier.keeps_objects();
            let results = if blocks { language.detached(set) } else { set() };
            match results {
                Ok(results) => results
                    .into_iter()
                    .try_for_each(|result| result.or_else(|error| function.failed(error)))?,
                Err(error) => function.failed(error)?,
            }
        }
    }
    Ok(())
}

fn set<S>(tier: &Tier, writes: Vec<(Arc<Flight<S>>, Write<'_>)>) -> Result<Vec<Result<()>>> {
    let (flights, writes): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
    Flight::write_together(&flights, |open| {
        let writes: Vec<_> =
            writes.into_iter().zip(open).filter(|(_, open)| *open).map(|(write, _)| write).collect();
        let (keys, values): (Vec<_>, Vec<_>) =
            writes.into_iter().map(|Write { key, value, ttl, .. }| (key, (value, ttl))).unzip();
        let entries = keys.iter().zip(values).map(|(key, (value, ttl))| Entry { key, value, ttl });
        tier.instance().set_many(entries.collect())
    })
}

/// Parts of at most [`CHUNK`] bytes each, or of one write.
fn chunks<S>(writes: Vec<(Arc<Flight<S>>, Write<'_>)>) -> Vec<Vec<(Arc<Flight<S>>, Write<'_>)>> {
    let mut chunks: Vec<Vec<_>> = Vec::new();
    let mut room = 0;
    for (flight, write) in writes {
        let weight = weight(&write.value);
        if weight > room || chunks.is_empty() {
            chunks.push(Vec::new());
            room = CHUNK;
        }
        room = room.saturating_sub(weight);
        if let Some(last) = chunks.last_mut() {
            last.push((flight, write));
        }
    }
    chunks
}

/// Objects weigh nothing here: they are there anyway.
fn weight(value: &Value) -> u64 {
    if value.is_object() {
        0
    } else {
        value.weight()
    }
}
