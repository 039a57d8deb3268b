//! Pauses after failures: a function that fails is not run by every call while there is an expired value
//! to serve.

use std::collections::HashMap;

use crate::lock::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::{clock, fork};

/// After the first failure, in nanoseconds.
const FIRST: i64 = 1_000_000_000;
/// At most: each further failure doubles it.
const LONGEST: i64 = 30_000_000_000;
/// Keys of one function that are remembered; beyond it the ones that are over go, then all.
const KEYS: usize = 4096;

/// The pauses of one function, by local key.
#[derive(Debug, Default)]
pub struct Pauses {
    /// How many there are: nobody takes the lock while there is none.
    count: AtomicUsize,
    pauses: Mutex<HashMap<Box<[u8]>, Pause>>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: i64,
    length: i64,
}

impl Pauses {
    /// Whether `key` is in one now.
    pub fn holds(&self, key: &[u8]) -> bool {
        if !self.any() {
            return false;
        }
        let _gate = fork::enter();
        self.pauses.lock().get(key).is_some_and(|pause| clock::monotonic() < pause.until)
    }

    /// A load of `key` has failed at the moment `now` of the monotonic clock.
    pub fn begin(&self, key: &[u8], now: i64) {
        let _gate = fork::enter();
        let mut pauses = self.pauses.lock();
        if pauses.len() >= KEYS && !pauses.contains_key(key) {
            pauses.retain(|_, pause| now < pause.until);
            if pauses.len() >= KEYS {
                pauses.clear();
            }
        }
        let length = pauses.get(key).map_or(FIRST, |pause| (pause.length * 2).min(LONGEST));
        pauses.insert(key.into(), Pause { until: now.saturating_add(length), length });
        self.count.store(pauses.len(), Ordering::Release);
    }

    /// A load of `key` has succeeded, or what it had is gone.
    pub fn end(&self, key: &[u8]) {
        if self.any() {
            let _gate = fork::enter();
            let mut pauses = self.pauses.lock();
            pauses.remove(key);
            self.count.store(pauses.len(), Ordering::Release);
        }
    }

    /// The same for all keys.
    pub fn end_all(&self) {
        if self.any() {
            let _gate = fork::enter();
            let mut pauses = self.pauses.lock();
            pauses.clear();
            self.count.store(0, Ordering::Release);
        }
    }

    fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_bounded() {
        let pauses = Pauses::default();
        for key in 0..KEYS as u32 + 10 {
            pauses.begin(&key.to_le_bytes(), clock::monotonic());
        }
        assert!(pauses.pauses.lock().len() <= KEYS);
        assert!(pauses.holds(&(KEYS as u32 + 9).to_le_bytes()));
        pauses.end_all();
        assert!(!pauses.any());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

        /// Against what the module says, in words: key by key, without a bound.
        #[test]
        fn pauses_are_those_of_the_failures(steps in prop::collection::vec((0..4_u8, 0..3_u8), 1..60)) {
            let pauses = Pauses::default();
            // Failures in a row of each key, and until when it is in a pause.
            let mut failures = [0_u32; 3];
            let mut untils = [0; 3];
            for (step, key) in steps {
                let at = usize::from(key);
                let length = FIRST.saturating_mul(1 << failures[at].min(40)).min(LONGEST);
                match step {
                    0 | 1 => {
                        let now = clock::monotonic();
                        pauses.begin(&[key], now);
                        let until = pauses.pauses.lock()[&[key][..]].until;
                        prop_assert_eq!(until, now + length);
                        (failures[at], untils[at]) = (failures[at] + 1, until);
                    }
                    2 => {
                        pauses.end(&[key]);
                        failures[at] = 0;
                    }
                    _ => {
                        pauses.end_all();
                        failures = [0; 3];
                    }
                }
                for key in 0..3 {
                    // Other tests move the clock meanwhile.
                    let (before, holds, after) = (clock::monotonic(), pauses.holds(&[key]), clock::monotonic());
                    let (failed, until) = (failures[usize::from(key)] > 0, untils[usize::from(key)]);
                    let right = if holds { failed && before < until } else { !failed || after >= until };
                    prop_assert!(right, "key {}: {} after {} failures", key, holds, failures[usize::from(key)]);
                }
                prop_assert_eq!(pauses.any(), failures != [0; 3]);
            }
        }
    }
}
