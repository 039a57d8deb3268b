//! The moments of an entry, and the state it is in at one of them. Specified in `docs/freshness.md`.

use retainit_plugin_api::abi::call::NEVER;

use crate::random;

/// When a value that is still fresh is to be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RefreshAhead {
    /// Never.
    #[default]
    Off,
    /// After this share of its time to live, from 0 to 1.
    Share(f64),
    /// Probabilistic early expiry (Vattani, Chiera, Lowenstein: Optimal Probabilistic Cache Stampede
    /// Prevention, VLDB 2015), with β = 1.
    Early,
}

/// What a function's options say of time. Durations in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// When a fresh value is made anew.
    pub refresh_ahead: RefreshAhead,
    /// For how long an expired value is served while it is made anew.
    pub stale_ttl: i64,
    /// For how long an expired value is served when the function gives none.
    pub stale_if_error: i64,
    /// How long a caller waits where there is a value to fall back on; [`NEVER`]: for ever.
    pub soft_timeout: i64,
    /// How long a load may take; [`NEVER`]: for ever.
    pub hard_timeout: i64,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            refresh_ahead: RefreshAhead::Off,
            stale_ttl: 0,
            stale_if_error: 0,
            soft_timeout: NEVER,
            hard_timeout: NEVER,
        }
    }
}

impl Rules {
    /// Whether moments have to be kept beside a value, because a backend's own expiry says too little.
    pub fn need_moments(&self) -> bool {
        self.refresh_ahead != RefreshAhead::Off || self.stale_ttl > 0 || self.stale_if_error > 0
    }

    /// Whether callers wait for a load no longer than so long.
    pub fn limit_waits(&self) -> bool {
        self.soft_timeout != NEVER || self.hard_timeout != NEVER
    }

    /// How long the result of a run is welcome that has passed the hard timeout.
    pub fn grace(&self) -> i64 {
        self.hard_timeout.saturating_mul(2)
    }
}

/// What an entry is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The answer.
    Fresh,
    /// The answer, to be made anew in the background.
    Due,
    /// Expired, and the answer while it is made anew in the background.
    Stale,
    /// Expired, and the answer where the function gives none.
    Fallback,
    /// Nothing.
    Expired,
}

impl State {
    /// Whether a caller gets the value without waiting for the function.
    pub fn is_answer(self) -> bool {
        matches!(self, State::Fresh | State::Due | State::Stale)
    }
}

/// The moments of an entry, all on one clock, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moments {
    /// It was stored.
    pub created: i64,
    /// From here on it is to be made anew; [`NEVER`] for never.
    pub due: i64,
    /// From here on it is not fresh; [`NEVER`] for never.
    pub expires: i64,
    /// From here on it is good for nothing; at least `expires`.
    pub stale_until: i64,
}

impl Moments {
    /// Of a value stored at `now` that lives for `ttl`. A run of the function takes about `run`.
    pub fn new(now: i64, ttl: i64, rules: &Rules, run: i64) -> Self {
        Self::between(now, later(now, ttl), rules, run)
    }

    /// Of a value stored at `created` that expires at `expires`.
    pub fn between(created: i64, expires: i64, rules: &Rules, run: i64) -> Self {
        let due = match rules.refresh_ahead {
            _ if expires == NEVER => NEVER,
            RefreshAhead::Off => NEVER,
            RefreshAhead::Share(share) => {
                created.saturating_add((expires.saturating_sub(created) as f64 * share) as i64)
            }
            RefreshAhead::Early => expires.saturating_sub((run as f64 * random::exponential()) as i64),
        };
        let stale_until = later(expires, rules.stale_ttl.max(rules.stale_if_error));
        Moments { created, due, expires, stale_until }
    }

    /// Of the same value in a nearer tier that keeps values for `ttl`: nothing moves to later.
    #[must_use]
    pub fn moved(&self, now: i64, ttl: i64, rules: &Rules, run: i64) -> Self {
        let here = Self::new(now, ttl.min(self.left(now)), rules, run);
        Moments {
            created: self.created,
            due: here.due.min(self.due),
            expires: here.expires,
            stale_until: here.stale_until.min(self.stale_until),
        }
    }

    /// The same, but gone at `end` at the latest.
    #[must_use]
    pub fn until(&self, end: i64) -> Self {
        Moments { expires: self.expires.min(end), stale_until: self.stale_until.min(end), ..*self }
    }

    /// The same on a clock that is `by` ahead.
    #[must_use]
    pub fn shifted(&self, by: i64) -> Self {
        let shift = |moment| if moment == NEVER { NEVER } else { later(moment, by) };
        Moments {
            created: shift(self.created),
            due: shift(self.due),
            expires: shift(self.expires),
            stale_until: shift(self.stale_until),
        }
    }

    /// Of a value whose entry was read at `now` and says when it was `created`, when it `expires`, and until
    /// when it may be served stale. One from the future lives no longer than it was meant to.
    pub fn of_entry(now: i64, entry: (i64, i64, i64), rules: &Rules, run: i64) -> Self {
        let (created, expires, stale_until) = entry;
        let ahead = created.saturating_sub(now).max(0);
        let back = |moment: i64| if moment == NEVER { NEVER } else { moment.saturating_sub(ahead) };
        let moments = Self::between(created.min(now), back(expires), rules, run);
        Moments { stale_until: moments.stale_until.min(back(stale_until)), ..moments }
    }

    /// How long it is fresh from `now` on; [`NEVER`] for ever.
    pub fn left(&self, now: i64) -> i64 {
        if self.expires == NEVER {
            NEVER
        } else {
            self.expires.saturating_sub(now)
        }
    }

    /// How long a backend has to keep it from `now` on; [`NEVER`] for ever.
    pub fn kept(&self, now: i64) -> i64 {
        if self.stale_until == NEVER {
            NEVER
        } else {
            self.stale_until.saturating_sub(now)
        }
    }

    /// From when on a reader has to do more than to take it.
    pub fn plain_until(&self) -> i64 {
        self.due.min(self.expires)
    }

    /// What it is at `now`.
    pub fn state(&self, now: i64, rules: &Rules) -> State {
        if now < self.expires {
            return if now < self.due { State::Fresh } else { State::Due };
        }
        let age = now - self.expires;
        if now >= self.stale_until {
            State::Expired
        } else if age < rules.stale_ttl {
            State::Stale
        } else if age < rules.stale_if_error {
            State::Fallback
        } else {
            State::Expired
        }
    }

    /// Until when it can be fallen back on.
    pub fn fallback_until(&self, rules: &Rules) -> i64 {
        later(self.expires, rules.stale_if_error).min(self.stale_until)
    }
}

/// `by` after `moment`; [`NEVER`] where either is, or where it cannot be said.
pub fn later(moment: i64, by: i64) -> i64 {
    moment.saturating_add(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        refresh_ahead: RefreshAhead::Share(0.5),
        stale_ttl: 10,
        stale_if_error: 30,
        soft_timeout: NEVER,
        hard_timeout: NEVER,
    };

    #[test]
    fn an_entry_passes_through_every_state() {
        let moments = Moments::new(1000, 100, &RULES, 0);
        let states: Vec<(i64, State)> = [1000, 1049, 1050, 1099, 1100, 1109, 1110, 1129, 1130]
            .map(|now| (now, moments.state(now, &RULES)))
            .to_vec();
        let expected = [
            (1000, State::Fresh),
            (1049, State::Fresh),
            (1050, State::Due),
            (1099, State::Due),
            (1100, State::Stale),
            (1109, State::Stale),
            (1110, State::Fallback),
            (1129, State::Fallback),
            (1130, State::Expired),
        ];
        assert_eq!(states, expected);
        assert_eq!((moments.left(1040), moments.kept(1040), moments.plain_until()), (60, 90, 1050));
    }

    #[test]
    fn a_value_for_ever_is_never_due() {
        let moments = Moments::new(1000, NEVER, &RULES, 5);
        assert_eq!((moments.due, moments.expires, moments.stale_until), (NEVER, NEVER, NEVER));
        assert_eq!(moments.state(NEVER - 1, &RULES), State::Fresh);
        assert_eq!(Moments::new(i64::MAX - 5, 10, &RULES, 5).expires, NEVER, "a huge duration is for ever");
    }

    #[test]
    fn no_moment_moves_to_later_in_a_nearer_tier() {
        let far = Moments::new(1000, 100, &RULES, 0);
        // A nearer tier that keeps values for less: due at half of that.
        let near = far.moved(1010, 20, &RULES, 0);
        assert_eq!(near, Moments { created: 1000, due: 1020, expires: 1030, stale_until: 1060 });
        // One that would keep them for longer.
        let near = far.moved(1060, NEVER, &RULES, 0);
        assert_eq!(near, Moments { created: 1000, due: 1050, expires: 1100, stale_until: 1130 });
    }

    #[test]
    fn an_entry_from_the_future_lives_no_longer_than_it_was_meant_to() {
        let entry = (5000, 5100, 5130);
        let moments = Moments::of_entry(1000, entry, &RULES, 0);
        assert_eq!(moments, Moments { created: 1000, due: 1050, expires: 1100, stale_until: 1130 });
        // The writer's limit counts where the reader's is longer.
        let moments = Moments::of_entry(5050, (5000, 5100, 5110), &RULES, 0);
        assert_eq!((moments.expires, moments.stale_until), (5100, 5110));
        let moments = Moments::of_entry(1000, (0, NEVER, NEVER), &RULES, 0);
        assert_eq!((moments.expires, moments.stale_until), (NEVER, NEVER));
    }

    #[test]
    fn early_expiry_is_drawn_from_an_exponential_distribution() {
        let rules = Rules { refresh_ahead: RefreshAhead::Early, ..Rules::default() };
        random::seed(11);
        let draws: Vec<i64> =
            (0..20_000).map(|_| 1_000_000 - Moments::new(0, 1_000_000, &rules, 1000).due).collect();
        assert!(draws.iter().all(|draw| *draw >= 0));
        let mean = draws.iter().sum::<i64>() as f64 / draws.len() as f64;
        assert!((950.0..1050.0).contains(&mean), "the mean is what a run takes, found {mean}");
        let beyond = draws.iter().filter(|draw| **draw > 1000).count() as f64 / draws.len() as f64;
        assert!((0.34..0.40).contains(&beyond), "1/e of them is beyond the mean, found {beyond}");
    }

    // --- whatever the rules ---

    use proptest::prelude::*;

    /// Durations of users: none, some, for ever.
    fn durations() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), 1..200_i64, 1..1_000_000_000_000_i64, Just(NEVER - 1), Just(NEVER)]
    }

    fn rules() -> impl Strategy<Value = Rules> {
        let refreshes = prop_oneof![
            Just(RefreshAhead::Off),
            Just(RefreshAhead::Early),
            (0.0..=1.0_f64).prop_map(RefreshAhead::Share)
        ];
        (refreshes, durations(), durations()).prop_map(|(refresh_ahead, stale_ttl, stale_if_error)| Rules {
            refresh_ahead,
            stale_ttl,
            stale_if_error,
            ..Rules::default()
        })
    }

    /// From the one that is best to the one that is worst.
    fn rank(state: State) -> usize {
        let order = [State::Fresh, State::Due, State::Stale, State::Fallback, State::Expired];
        order.iter().position(|each| *each == state).unwrap()
    }

    fn no_later(moments: Moments, than: Moments) {
        assert!(moments.due <= than.due, "due: {moments:?} of {than:?}");
        assert!(moments.expires <= than.expires, "expires: {moments:?} of {than:?}");
        assert!(moments.stale_until <= than.stale_until, "stale_until: {moments:?} of {than:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn states_only_get_worse(
            rules in rules(),
            now in 1..1_000_000_000_i64,
            ttl in durations(),
            ages in prop::collection::vec(0..1_000_i64, 1..20),
        ) {
            let moments = Moments::new(now, ttl, &rules, 10);
            prop_assert!(moments.expires <= moments.stale_until);
            let (mut at, mut worst) = (now, 0);
            for moment in [moments.due, moments.expires, moments.fallback_until(&rules), moments.stale_until] {
                for age in &ages {
                    // Just before a moment, on it, and after it.
                    let next = at.max(moment.saturating_add(age - 500)).min(NEVER - 1);
                    let state = moments.state(next, &rules);
                    prop_assert!(rank(state) >= worst, "{:?} at {} after {:?}", state, next, worst);
                    prop_assert_eq!(next < moments.plain_until(), state == State::Fresh);
                    let expired = next >= moments.expires && next - moments.expires >= rules.stale_ttl;
                    let falls_back = expired && next < moments.fallback_until(&rules);
                    prop_assert_eq!(state == State::Fallback, falls_back);
                    prop_assert!(state == State::Expired || next < moments.stale_until, "good for longer");
                    (at, worst) = (next, rank(state));
                }
            }
        }

        #[test]
        fn nothing_moves_to_later_in_nearer_tiers(
            rules in rules(),
            nearer in rules(),
            now in 1..1_000_000_000_i64,
            ttls in prop::collection::vec((durations(), 0..300_i64), 1..5),
        ) {
            let (mut moments, mut at) = (Moments::new(now, ttls[0].0, &rules, 10), now);
            for (ttl, later) in ttls {
                at += later;
                if moments.left(at) <= 0 {
                    // What has expired moves nowhere.
                    break;
                }
                let moved = moments.moved(at, ttl, &nearer, 10);
                no_later(moved, moments);
                prop_assert!(moved.expires <= at.saturating_add(ttl), "no longer than the tier keeps values");
                prop_assert_eq!(moved.created, moments.created);
                prop_assert!(moved.expires <= moved.stale_until);
                moments = moved;
            }
        }

        #[test]
        fn an_entry_lives_no_longer_than_it_says(
            rules in rules(),
            now in 0..1_000_000_i64,
            created in 0..1_000_000_i64,
            ttl in durations(),
            stale in durations(),
        ) {
            let expires = created.saturating_add(ttl);
            let stale_until = expires.saturating_add(stale);
            let moments = Moments::of_entry(now, (created, expires, stale_until), &rules, 10);
            prop_assert!(moments.expires <= expires && moments.stale_until <= stale_until);
            prop_assert!(moments.created <= now, "from the future");
            prop_assert!(expires == NEVER || moments.left(now) <= ttl, "no longer than it was meant to");
        }

        #[test]
        fn another_clock_says_the_same(
            rules in rules(),
            now in 0..1_000_000_i64,
            ttl in 0..1_000_000_000_000_i64,
            by in -1_000_000..1_000_000_i64,
            age in 0..2_000_000_000_000_i64,
        ) {
            let moments = Moments::new(now, ttl, &rules, 10);
            prop_assume!(moments.stale_until < NEVER - 2_000_000 || moments.stale_until == NEVER);
            let shifted = moments.shifted(by);
            prop_assert_eq!(shifted.state(now + age + by, &rules), moments.state(now + age, &rules));
            prop_assert_eq!(shifted.left(now + by), moments.left(now));
        }

        #[test]
        fn a_limit_is_kept(rules in rules(), now in 0..1_000_000_i64, ttl in durations(), end in durations()) {
            let moments = Moments::new(now, ttl, &rules, 10);
            let limited = moments.until(end);
            no_later(limited, moments);
            prop_assert!(limited.expires <= end && limited.stale_until <= end);
        }
    }
}
