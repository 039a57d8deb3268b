//! Storing one value: what each tier gets of it, and the writes.

mod together;

use std::borrow::Cow;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::sdk::Value;

use crate::error::Result;
use crate::format::Format;
use crate::freshness::Moments;
use crate::function::Function;
use crate::language::{Dumped, Language, Stamp};
use crate::load::Life;
use crate::tags::Observed;
use crate::tier::{CallKey, Tier};
use crate::{clock, random};

pub(crate) use together::run_together;

/// What becomes of a value's moments.
pub(crate) enum Keep {
    /// They begin now.
    New(Life),
    /// They are those of a farther tier.
    Moved(Moments),
}

/// One value on its way into one tier.
pub(crate) struct Write<'a> {
    tier: &'a Tier,
    key: Cow<'a, [u8]>,
    value: Value,
    ttl: i64,
}

/// Makes the values to be written: needs the language, so it happens before any lock.
pub(crate) fn prepare<'a, L: Language>(
    function: &Function,
    language: &L,
    key: &'a CallKey,
    object: &L::Object,
    tiers: &'a [Tier],
    keep: &Keep,
    tags: &Observed,
) -> Result<Vec<Write<'a>>> {
    let mut writes = Vec::with_capacity(tiers.len());
    // Dumped at the first tier that wants bytes, and again where another format makes others of it.
    let mut dumped: Option<(&Format, Option<Dumped<L::Bytes>>)> = None;
    let spread = random::spread(function.policy().jitter);
    let (rules, run, now) = (&function.policy().rules, function.run_time(), clock::monotonic());
    for tier in tiers {
        if let Some(refusal) = tier.instance().refusal() {
            // Nothing is made for a backend that is not asked.
            function.failed(refusal)?;
            continue;
        }
        let Some(key) = tier.key(key) else { continue };
        let moments = match keep {
            Keep::New(Life::Unkept) => continue,
            Keep::New(Life::Own) => Moments::new(now, stretch(tier.ttl(), spread), rules, run),
            Keep::New(Life::For(ttl)) => Moments::new(now, stretch(*ttl, spread), rules, run),
            // What came from a farther tier must not outlive it.
            Keep::Moved(far) => far.moved(now, tier.ttl(), rules, run),
        };
        let ttl = moments.kept(now);
        if moments.left(now) <= 0 {
            continue;
        }
        if tier.keeps_objects() {
            let stamp = Stamp { moments, tags: tags.tags().clone() };
            writes.push(Write { tier, key, value: language.hold(object, &stamp), ttl });
            continue;
        }
        // Nobody could ever invalidate it by a tag whose token is not known.
        let Some(carried) = tags.carried(tier) else { continue };
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
            match tier.seal(language, &key, made, &moments, &carried) {
                Ok(value) => writes.push(Write { tier, value, key, ttl }),
                Err(error) => function.failed(error)?,
            }
        }
    }
    Ok(writes)
}

/// Runs the writes through `gate`, which answers `None` where they must not happen: those of objects
/// at once, those that may block outside the language.
pub(crate) fn run<L: Language>(
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
