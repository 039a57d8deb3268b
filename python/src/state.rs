//! The one word that every hit looks at.
//!
//! Its low bits say that something wants attention before a cached value may be handed out; its high
//! bits count changes of the configuration. A function remembers the word as it was when it resolved
//! its backends, without low bits: while the two are equal, nothing needs to be looked at.

use std::sync::atomic::{AtomicU64, Ordering};

/// Handles wait to be released.
pub const RELEASES: u64 = 1 << 0;
/// Somewhere caching is disabled.
pub const DISABLED: u64 = 1 << 1;
/// Bits below the generation.
const BITS: u32 = 8;

static STATE: AtomicU64 = AtomicU64::new(1 << BITS);

/// The word.
#[inline(always)]
pub fn load() -> u64 {
    STATE.load(Ordering::Relaxed)
}

/// The word as it is while nothing wants attention.
pub fn calm() -> u64 {
    STATE.load(Ordering::Acquire) & !((1 << BITS) - 1)
}

/// Sets a bit; whether it was set before.
pub fn raise(bit: u64) -> bool {
    STATE.fetch_or(bit, Ordering::AcqRel) & bit != 0
}

/// Clears a bit.
pub fn lower(bit: u64) {
    STATE.fetch_and(!bit, Ordering::AcqRel);
}

/// Makes every function resolve its backends again.
pub fn advance_generation() {
    STATE.fetch_add(1 << BITS, Ordering::AcqRel);
}
