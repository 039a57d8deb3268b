//! How long a backend's answers take, and how long to wait for one.
//!
//! The estimator is that of TCP's retransmission timer (RFC 6298: smoothed mean and mean deviation,
//! gains 1/8 and 1/4, the mean plus four deviations, doubled after each timeout until an answer comes),
//! with two changes. Answers that come after their caller has given up are measured too, since each is
//! known by its operation. And it never waits less than twice the longest answer of the last
//! [`EPOCH`] to twice as many: with a cache, waiting a little too long costs only where the
//! backend hangs, while too short a wait would lose large values, which are few, each time.
//!
//! | latency steps | then the timeout is |
//! |---|---|
//! | up | long enough after one measured answer, late or not; without any after at most n timeouts, where n doublings lead to the new latency |
//! | down | within 2 × [`EPOCH`] + 40 answers, the new latency plus a twentieth of the step, or the floor |

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Never less than this, which is Linux's own least for TCP: clocks tick in milliseconds, and on a busy
/// machine threads wait for their turn.
pub(super) const FLOOR: Duration = Duration::from_millis(200);
/// Answers in one of the two spans over which the longest is remembered.
pub(super) const EPOCH: u32 = 256;

/// What calls of one kind have shown. Updates that meet lose one of the two, which no estimate minds.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// Mean and deviation in microseconds, one in each half; zero before the first answer.
    estimate: AtomicU64,
    /// The longest answers of this span (upper half) and of the one before.
    longest: AtomicU64,
    answers: AtomicU32,
    /// Timeouts since the last answer.
    timeouts: AtomicU32,
}

impl Latency {
    /// An answer took so many nanoseconds.
    pub(super) fn answered(&self, took: i64) {
        let took = u32::try_from(took.max(0) / 1000).unwrap_or(u32::MAX).max(1);
        let (mean, deviation) = halves(self.estimate.load(Ordering::Relaxed));
        let next = match mean {
            0 => join(took, took / 2),
            // The order is the RFC's: the deviation is from the old mean.
            _ => join(
                (u64::from(mean) * 7 / 8 + u64::from(took) / 8).max(1) as u32,
                (u64::from(deviation) * 3 / 4 + u64::from(mean.abs_diff(took)) / 4) as u32,
            ),
        };
        self.estimate.store(next, Ordering::Relaxed);
        let (now, before) = halves(self.longest.load(Ordering::Relaxed));
        let (now, before) = match self.answers.fetch_add(1, Ordering::Relaxed) % EPOCH {
            0 => (took, now),
            _ => (now.max(took), before),
        };
        self.longest.store(join(now, before), Ordering::Relaxed);
        if self.timeouts.load(Ordering::Relaxed) != 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
    }

    /// An answer did not come in time.
    pub(super) fn timed_out(&self) {
        let _ =
            self.timeouts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_add(1));
    }

    /// Nanoseconds to wait for the next answer, at most `ceiling`, which it is before the first one.
    pub(super) fn timeout(&self, ceiling: i64) -> i64 {
        let (mean, deviation) = halves(self.estimate.load(Ordering::Relaxed));
        if mean == 0 {
            return ceiling;
        }
        let (now, before) = halves(self.longest.load(Ordering::Relaxed));
        let spread = u64::from(mean) + 4 * u64::from(deviation);
        let microseconds = spread.max(2 * u64::from(now.max(before)));
        let wait = (microseconds * 1000).max(FLOOR.as_nanos() as u64);
        let doubled = wait.saturating_mul(1 << self.timeouts.load(Ordering::Relaxed).min(20));
        i64::try_from(doubled).unwrap_or(i64::MAX).min(ceiling)
    }
}

fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

fn join(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MILLISECOND: i64 = 1_000_000;
    const CEILING: i64 = 10_000 * MILLISECOND;

    /// A backend that takes `latency` for each of `calls`; how many of them were given up.
    fn run(estimate: &Latency, latency: i64, calls: u32, late: bool) -> u32 {
        let mut given_up = 0;
        for _ in 0..calls {
            if latency > estimate.timeout(CEILING) {
                given_up += 1;
                estimate.timed_out();
                if late {
                    estimate.answered(latency);
                }
            } else {
                estimate.answered(latency);
            }
        }
        given_up
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let estimate = Latency::default();
        assert_eq!(estimate.timeout(CEILING), CEILING);
        estimate.answered(100 * MILLISECOND);
        // The RFC's first estimate: the answer and four times half of it.
        assert_eq!(estimate.timeout(CEILING), 300 * MILLISECOND);
        assert_eq!(estimate.timeout(200 * MILLISECOND), 200 * MILLISECOND);
    }

    #[test]
    fn timeouts_double_it_until_an_answer_comes() {
        let estimate = Latency::default();
        estimate.answered(MILLISECOND);
        assert_eq!(estimate.timeout(CEILING), 200 * MILLISECOND);
        for expected in [400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            estimate.timed_out();
            assert_eq!(estimate.timeout(CEILING), expected * MILLISECOND);
        }
        estimate.answered(MILLISECOND);
        assert_eq!(estimate.timeout(CEILING), 200 * MILLISECOND);
    }

    #[test]
    fn one_large_value_in_two_hundred_is_lost_once_at_most() {
        let estimate = Latency::default();
        let mut given_up = 0;
        for _ in 0..50 {
            run(&estimate, MILLISECOND, 199, true);
            given_up += run(&estimate, 900 * MILLISECOND, 1, true);
        }
        assert_eq!(given_up, 1);
    }

    #[test]
    fn absurd_latencies_do_not_overflow() {
        let estimate = Latency::default();
        for took in [i64::MAX, -1, 0, i64::MAX] {
            estimate.answered(took);
            (0..100).for_each(|_| estimate.timed_out());
            assert_eq!(estimate.timeout(CEILING), CEILING);
            assert_eq!(estimate.timeout(i64::MAX).min(CEILING), CEILING);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_step_in_latency_moves_it_within_the_stated_number_of_calls(
            before in 1..5000_i64,
            after in 1..5000_i64,
            calls in 1..1000_u32,
            late in any::<bool>(),
        ) {
            let estimate = Latency::default();
            let (before, after) = (before * MILLISECOND, after * MILLISECOND);
            prop_assert_eq!(run(&estimate, before, calls, late), 0, "a steady backend is never given up");
            let doublings = (after as f64 / estimate.timeout(CEILING) as f64).log2().ceil().max(0.0) as u32;
            let most = if late { doublings.min(1) } else { doublings };
            prop_assert!(run(&estimate, after, 2 * EPOCH + 40, late) <= most);
            // What it has moved to.
            let floor = FLOOR.as_nanos() as i64;
            let timeout = estimate.timeout(CEILING);
            prop_assert!(timeout >= after.min(CEILING) && timeout >= floor);
            let step = (before - after).max(0);
            prop_assert!(timeout <= (2 * after + step / 20).max(floor), "{timeout}");
            // And never again is one given up.
            prop_assert_eq!(run(&estimate, after, 500, late), 0);
        }
    }
}
