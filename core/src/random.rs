//! Randomness that needs to be cheap rather than secret: jitter, early expiry.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
}

/// The next number of this thread's sequence (SplitMix64; Steele, Lea, Flood 2014).
fn next() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// Makes this thread's sequence repeatable.
pub fn seed(seed: u64) {
    STATE.with(|state| state.set(seed));
}

/// A factor from `1 - jitter` to `1 + jitter`, evenly spread; 1 without jitter.
pub fn spread(jitter: f64) -> f64 {
    if jitter == 0.0 {
        return 1.0;
    }
    1.0 + jitter * (2.0 * unit() - 1.0)
}

/// A number from the exponential distribution with mean 1.
pub fn exponential() -> f64 {
    // From (0, 1], so that the logarithm is finite.
    -(1.0 - unit()).ln()
}

/// A number from 0 to 1, without 1, evenly spread.
fn unit() -> f64 {
    (next() >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_stays_in_its_bounds_and_is_repeatable() {
        seed(7);
        let first: Vec<f64> = (0..1000).map(|_| spread(0.1)).collect();
        assert!(first.iter().all(|factor| (0.9..=1.1).contains(factor)));
        assert!(first.iter().any(|factor| *factor < 0.95) && first.iter().any(|factor| *factor > 1.05));
        seed(7);
        assert_eq!(first, (0..1000).map(|_| spread(0.1)).collect::<Vec<_>>());
        assert_eq!(spread(0.0), 1.0);
    }
}
