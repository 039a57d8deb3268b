//! A circuit breaker: a backend that fails is not asked for a while.
//!
//! | state | calls | leaves when |
//! |---|---|---|
//! | closed | pass | failures reach the threshold, or one call was held to the end of the timeout |
//! | open | refused | its time is over: the next call is the probe |
//! | half-open | refused, but for one probe | the probe's outcome is known, or it has not come back |
//!
//! Failures count for [`WINDOW`] from the first one, and each success takes one back: a backend that
//! fails every other call opens it soon, one that fails one call in ten about once in 80 000 calls. All of
//! the state is one word, which a closed breaker only reads.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Failures further apart than this, in milliseconds, are not counted together.
const WINDOW: u64 = 60_000;

/// What a word says: two bits of state, sixteen of a number, the rest a moment in milliseconds.
const TAG: u64 = 0b11;
const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;

/// Whether a backend is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It is.
    #[default]
    Closed,
    /// It is not.
    Open,
    /// One call is under way that decides which of the others it is to be.
    HalfOpen,
}

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures, less successes, that open it; at least one.
    pub threshold: u16,
    /// How long it stays open before a call may find out how things are.
    pub open_for: Duration,
}

impl Default for BreakerSettings {
    /// Five failures, one minute.
    fn default() -> Self {
        BreakerSettings { threshold: 5, open_for: Duration::from_secs(60) }
    }
}

/// How a call got past the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// As all do while it is closed.
    Free,
    /// As the probe that decides; with the word it was let in by.
    Probe(u64),
}

pub(super) struct Breaker {
    word: AtomicU64,
    enabled: AtomicBool,
    threshold: AtomicU32,
    /// Milliseconds.
    open_for: AtomicU64,
    /// When a call last succeeded, in nanoseconds.
    succeeded: AtomicI64,
}

impl Breaker {
    pub(super) fn new(settings: Option<BreakerSettings>) -> Self {
        let breaker = Breaker {
            word: AtomicU64::new(CLOSED),
            enabled: AtomicBool::new(false),
            threshold: AtomicU32::new(0),
            open_for: AtomicU64::new(0),
            succeeded: AtomicI64::new(i64::MIN),
        };
        breaker.set(settings);
        breaker
    }

    /// Starts over, closed; `None` keeps it so whatever happens.
    pub(super) fn set(&self, settings: Option<BreakerSettings>) {
        self.enabled.store(settings.is_some(), Ordering::Relaxed);
        if let Some(BreakerSettings { threshold, open_for }) = settings {
            self.threshold.store(u32::from(threshold.max(1)), Ordering::Relaxed);
            self.open_for
                .store(u64::try_from(open_for.as_millis()).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        }
        self.word.store(CLOSED, Ordering::Release);
    }

    pub(super) fn state(&self) -> State {
        match self.word.load(Ordering::Acquire) & TAG {
            OPEN => State::Open,
            HALF_OPEN => State::HalfOpen,
            _ => State::Closed,
        }
    }

    /// Whether a call at `now` would be refused.
    #[inline]
    pub(super) fn refuses(&self, now: impl FnOnce() -> i64) -> bool {
        let word = self.word.load(Ordering::Acquire);
        word & TAG != CLOSED && moment(word) > milliseconds(now())
    }

    /// Lets a call at `now` pass, or refuses it.
    #[inline]
    pub(super) fn admit(&self, now: i64) -> Option<Admission> {
        let word = self.word.load(Ordering::Acquire);
        if word & TAG == CLOSED {
            return Some(Admission::Free);
        }
        self.admit_probe(word, milliseconds(now))
    }

    /// Lets a call pass whatever the state is; its outcome decides as a probe's does.
    pub(super) fn insist(&self) -> Admission {
        match self.word.load(Ordering::Acquire) {
            word if word & TAG == CLOSED => Admission::Free,
            word => Admission::Probe(word),
        }
    }

    #[cold]
    fn admit_probe(&self, word: u64, now: u64) -> Option<Admission> {
        if moment(word) > now {
            return None;
        }
        // A probe that does not come back holds the place no longer than the breaker would stay open.
        let probing = pack(HALF_OPEN, number(word).wrapping_add(1), now.saturating_add(self.open_for()));
        self.exchange(word, probing).then_some(Admission::Probe(probing))
    }

    /// The call that began so has succeeded, by `now`; the state, if this changed it.
    #[inline]
    pub(super) fn succeeded(&self, admission: Admission, now: i64) -> Option<State> {
        // The clock stands still between its ticks: hardly any call writes.
        if self.succeeded.load(Ordering::Relaxed) != now {
            self.succeeded.store(now, Ordering::Relaxed);
        }
        match admission {
            Admission::Free if self.word.load(Ordering::Relaxed) == CLOSED => None,
            Admission::Free => {
                self.take_back();
                None
            }
            Admission::Probe(word) => self.exchange(word, CLOSED).then_some(State::Closed),
        }
    }

    /// The call that began so, at `began`, has failed by `now`; the state, if this changed it.
    /// `held` says that it kept its caller as long as any call may.
    #[cold]
    pub(super) fn failed(&self, admission: Admission, began: i64, now: i64, held: bool) -> Option<State> {
        if !self.enabled.load(Ordering::Relaxed) {
            return None;
        }
        let open = pack(OPEN, 0, milliseconds(now).saturating_add(self.open_for()));
        if let Admission::Probe(word) = admission {
            return self.exchange(word, open).then_some(State::Open);
        }
        // Where others got their answers meanwhile, it is one that hangs and not all of them.
        let hangs = held && self.succeeded.load(Ordering::Relaxed) < began;
        let threshold = self.threshold.load(Ordering::Relaxed);
        loop {
            let word = self.word.load(Ordering::Acquire);
            if word & TAG != CLOSED {
                return None;
            }
            let (mut count, mut since) = (u32::from(number(word)), moment(word));
            if count == 0 || milliseconds(now).saturating_sub(since) > WINDOW {
                (count, since) = (0, milliseconds(now));
            }
            count += 1;
            let opens = hangs || count >= threshold;
            let next = if opens { open } else { pack(CLOSED, count as u16, since) };
            if self.exchange(word, next) {
                return opens.then_some(State::Open);
            }
        }
    }

    /// The call that began so says nothing about the backend: a probe gives its place to the next.
    pub(super) fn undecided(&self, admission: Admission) {
        if let Admission::Probe(word) = admission {
            self.exchange(word, pack(OPEN, number(word), 0));
        }
    }

    #[cold]
    fn take_back(&self) {
        let word = self.word.load(Ordering::Acquire);
        if word & TAG == CLOSED && number(word) > 0 {
            let next = match number(word) - 1 {
                0 => CLOSED,
                left => pack(CLOSED, left, moment(word)),
            };
            // Whoever changed it meanwhile had something to say as well.
            self.exchange(word, next);
        }
    }

    fn open_for(&self) -> u64 {
        self.open_for.load(Ordering::Relaxed)
    }

    fn exchange(&self, from: u64, to: u64) -> bool {
        self.word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

fn pack(tag: u64, number: u16, moment: u64) -> u64 {
    moment.min((1 << 46) - 1) << 18 | u64::from(number) << 2 | tag
}

fn number(word: u64) -> u16 {
    (word >> 2) as u16
}

fn moment(word: u64) -> u64 {
    word >> 18
}

fn milliseconds(nanoseconds: i64) -> u64 {
    (nanoseconds / 1_000_000).max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000_000;

    fn breaker(threshold: u16) -> Breaker {
        Breaker::new(Some(BreakerSettings { threshold, open_for: Duration::from_secs(60) }))
    }

    fn fail(breaker: &Breaker, now: i64) -> Option<State> {
        let admission = breaker.admit(now).expect("closed");
        breaker.failed(admission, now, now, false)
    }

    #[test]
    fn failures_open_it_at_the_threshold_and_one_probe_closes_it() {
        let breaker = breaker(5);
        for _ in 0..4 {
            assert_eq!(fail(&breaker, SECOND), None);
        }
        assert_eq!(fail(&breaker, SECOND), Some(State::Open));
        assert_eq!(breaker.admit(60 * SECOND), None);
        assert!(breaker.refuses(|| 60 * SECOND) && !breaker.refuses(|| 61 * SECOND));
        let probe = breaker.admit(61 * SECOND).unwrap();
        assert_eq!(breaker.state(), State::HalfOpen);
        assert_eq!(breaker.admit(61 * SECOND), None, "one at a time");
        assert_eq!(breaker.succeeded(probe, 61 * SECOND), Some(State::Closed));
        assert_eq!(breaker.admit(61 * SECOND), Some(Admission::Free));
    }

    #[test]
    fn a_failed_probe_opens_it_anew() {
        let breaker = breaker(1);
        fail(&breaker, 0);
        let probe = breaker.admit(60 * SECOND).unwrap();
        assert_eq!(breaker.failed(probe, 60 * SECOND, 62 * SECOND, false), Some(State::Open));
        assert_eq!(breaker.admit(121 * SECOND), None);
        assert!(breaker.admit(122 * SECOND).is_some());
    }

    #[test]
    fn a_probe_that_does_not_come_back_makes_room_and_decides_nothing_afterwards() {
        let breaker = breaker(1);
        fail(&breaker, 0);
        let lost = breaker.admit(60 * SECOND).unwrap();
        assert_eq!(breaker.admit(119 * SECOND), None);
        let second = breaker.admit(120 * SECOND).unwrap();
        assert_eq!(breaker.succeeded(lost, 121 * SECOND), None);
        assert_eq!(breaker.failed(lost, 60 * SECOND, 121 * SECOND, true), None);
        assert_eq!(breaker.state(), State::HalfOpen);
        assert_eq!(breaker.succeeded(second, 121 * SECOND), Some(State::Closed));
    }

    #[test]
    fn a_probe_that_says_nothing_leaves_its_place_to_the_next_call() {
        let breaker = breaker(1);
        fail(&breaker, 0);
        breaker.undecided(breaker.admit(60 * SECOND).unwrap());
        assert_eq!(breaker.state(), State::Open);
        assert!(breaker.admit(60 * SECOND).is_some());
    }

    #[test]
    fn failures_in_different_windows_or_outweighed_by_successes_leave_it_closed() {
        let breaker = breaker(3);
        for minute in 0..10 {
            assert_eq!(fail(&breaker, 2 * minute * 60 * SECOND), None, "one a window");
        }
        for _ in 0..100 {
            fail(&breaker, 1);
            breaker.succeeded(Admission::Free, 1);
        }
        assert_eq!(breaker.state(), State::Closed);
    }

    #[test]
    fn a_call_held_to_the_end_opens_it_unless_others_were_answered_meanwhile() {
        let breaker = breaker(5);
        breaker.succeeded(Admission::Free, 5 * SECOND);
        assert_eq!(breaker.failed(Admission::Free, 4 * SECOND, 6 * SECOND, true), None);
        assert_eq!(breaker.failed(Admission::Free, 6 * SECOND, 8 * SECOND, true), Some(State::Open));
    }

    #[test]
    fn one_that_is_switched_off_stays_closed() {
        let breaker = breaker(1);
        fail(&breaker, 0);
        breaker.set(None);
        assert_eq!(fail(&breaker, 0), None);
        assert_eq!(breaker.admit(0), Some(Admission::Free));
    }

    #[test]
    fn of_many_threads_one_is_the_probe() {
        for _ in 0..50 {
            let breaker = breaker(1);
            fail(&breaker, 0);
            let probes: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| usize::from(breaker.admit(60 * SECOND).is_some())))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum()
            });
            assert_eq!(probes, 1);
        }
    }

    /// The same machine in plain words: what it is compared with.
    #[derive(Debug, Default)]
    struct Model {
        failures: u32,
        since: i64,
        open_until: Option<i64>,
        /// The probe's number, and when another may follow.
        probing: Option<(usize, i64)>,
    }

    #[derive(Debug, Clone)]
    enum Step {
        Wait(u8),
        Call,
        Finish { which: u8, outcome: u8 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            any::<u8>().prop_map(Step::Wait),
            Just(Step::Call),
            (any::<u8>(), 0..3_u8).prop_map(|(which, outcome)| Step::Finish { which, outcome }),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_a_plain_model(steps in steps(), threshold in 1_u16..6) {
            let (breaker, mut model, mut now) = (breaker(threshold), Model::default(), 0_i64);
            let mut calls: Vec<(usize, bool, Admission)> = Vec::new();
            for (index, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Wait(seconds) => now += i64::from(seconds) * SECOND,
                    Step::Call => {
                        let admitted = breaker.admit(now);
                        let due = match (model.open_until, model.probing) {
                            (_, Some((_, until))) | (Some(until), None) => Some(until <= now),
                            (None, None) => None,
                        };
                        prop_assert_eq!(admitted.is_some(), due != Some(false));
                        if due == Some(true) {
                            model.probing = Some((index, now + 60 * SECOND));
                            model.open_until = None;
                        }
                        if let Some(admission) = admitted {
                            calls.push((index, due == Some(true), admission));
                        }
                    }
                    Step::Finish { which, outcome } if !calls.is_empty() => {
                        let (id, probe, admission) = calls.swap_remove(usize::from(which) % calls.len());
                        let decides = probe && model.probing.is_some_and(|(probing, _)| probing == id);
                        let closed = model.probing.is_none() && model.open_until.is_none();
                        match outcome {
                            0 => {
                                breaker.succeeded(admission, now);
                                if decides {
                                    model = Model::default();
                                } else if !probe && closed {
                                    model.failures = model.failures.saturating_sub(1);
                                }
                            }
                            1 => {
                                breaker.failed(admission, now, now, false);
                                if decides {
                                    model = Model { open_until: Some(now + 60 * SECOND), ..Model::default() };
                                } else if !probe && closed {
                                    if model.failures == 0 || now - model.since > 60 * SECOND {
                                        (model.failures, model.since) = (0, now);
                                    }
                                    model.failures += 1;
                                    if model.failures >= u32::from(threshold) {
                                        model =
                                            Model { open_until: Some(now + 60 * SECOND), ..Model::default() };
                                    }
                                }
                            }
                            _ => {
                                breaker.undecided(admission);
                                if decides {
                                    model = Model { open_until: Some(0), ..Model::default() };
                                }
                            }
                        }
                    }
                    Step::Finish { .. } => {}
                }
                let expected = match (model.open_until, model.probing) {
                    (_, Some(_)) => State::HalfOpen,
                    (Some(_), None) => State::Open,
                    (None, None) => State::Closed,
                };
                prop_assert_eq!(breaker.state(), expected);
            }
        }
    }
}
