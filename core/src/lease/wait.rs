//! Attempts at a lease, and the pauses between them.

use std::sync::Arc;
use std::time::Duration;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::abi::capability;

use super::queue::{Place, Wake};
use super::Lease;
use crate::error::Result;
use crate::instance::Instance;
use crate::tier::{CallKey, Tier};
use crate::{clock, random};

/// The first pause is about so long.
const FIRST: Duration = Duration::from_millis(1);
/// No pause is longer.
const LONGEST: Duration = Duration::from_millis(100);
/// A frozen clock moves when a test says so, which wakes nobody: look at it now and then.
const GLANCE: Duration = Duration::from_millis(5);

/// What the names of loads' leases begin with; those of locks with another word.
const LOADS: &[u8] = b"load\0";
/// How long others wait for the load of a process that has died, in nanoseconds.
const LOAD_TTL: i64 = 30_000_000_000;

/// A wait for a lease, step by step, for who waits in a way of its own: a thread or a task.
///
/// [`attempt`](Wait::attempt), then, without the lease, [`pause`](Wait::pause), and so on.
pub struct Wait {
    instance: Arc<Instance>,
    name: Box<[u8]>,
    ttl: i64,
    backoff: Backoff,
    wake: Box<dyn Fn() -> Wake + Send + Sync>,
    place: Option<Place>,
}

impl Wait {
    /// For the lease `name` of `instance`, until `deadline` on the process's monotonic clock ([`NEVER`]: without
    /// an end). `wake` is asked, at most once, how to be told of a release in this process.
    pub fn new(
        instance: &Arc<Instance>,
        name: &[u8],
        ttl: i64,
        deadline: i64,
        wake: impl Fn() -> Wake + Send + Sync + 'static,
    ) -> Self {
        Wait {
            instance: Arc::clone(instance),
            name: name.into(),
            ttl,
            backoff: Backoff::until(deadline),
            wake: Box::new(wake),
            place: None,
        }
    }

    /// For the turn to run a function for `key`, among the processes that share the farthest of `tiers` that has
    /// leases; `None` where none has, or no other process can know the key.
    ///
    /// Whoever gets the turn looks for a result once more before it runs the function: it may have come between
    /// the first look and the turn. Whoever does not looks in each pause. A result is stored only while the
    /// lease is held, which is given back afterwards.
    pub fn of_load(
        tiers: &[Tier],
        key: &CallKey,
        deadline: i64,
        wake: impl Fn() -> Wake + Send + Sync + 'static,
    ) -> Option<Self> {
        let leases = |tier: &&Tier| tier.instance().has(capability::LEASE | capability::SHARED);
        let tier = tiers.iter().rev().find(leases)?;
        let name = [LOADS, &tier.key(key)?].concat();
        Some(Self::new(tier.instance(), &name, LOAD_TTL, deadline, wake))
    }

    /// The lease, or `None` if somebody has it. Whoever is refused waits in the queue from then on, and is
    /// woken when the lease is given back in this process and all who came before have been.
    ///
    /// # Errors
    /// As [`Lease::try_acquire`].
    pub fn attempt(&mut self) -> Result<Option<Lease>> {
        let mut found = Lease::try_acquire(&self.instance, &self.name, self.ttl)?;
        if found.is_none() && self.place.is_none() && !self.backoff.is_over() {
            self.place = Some(Place::new(&self.instance, &self.name, (self.wake)()));
            // Again, now that a release would be heard of.
            found = Lease::try_acquire(&self.instance, &self.name, self.ttl)?;
        }
        if found.is_some() {
            if let Some(place) = self.place.take() {
                place.served();
            }
        }
        Ok(found)
    }

    /// How long to wait for a call of `wake`'s before the next attempt; `None` once the deadline has passed.
    pub fn pause(&mut self) -> Option<Duration> {
        self.backoff.pause()
    }
}

/// Pauses between attempts: 1 ms at first, each time twice as long, up to 100 ms, and each taken at random
/// between half of that and all of it, so that those who were refused together do not come back together
/// ("equal jitter": Brooker, *Exponential Backoff and Jitter*, AWS Architecture Blog, 2015).
#[derive(Debug)]
pub struct Backoff {
    deadline: i64,
    next: Duration,
}

impl Backoff {
    /// Until `deadline` on the process's monotonic clock; [`NEVER`] for no end.
    pub fn until(deadline: i64) -> Self {
        Backoff { deadline, next: FIRST }
    }

    /// Whether the deadline has passed.
    pub fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    fn left(&self) -> Duration {
        if self.deadline == NEVER {
            return Duration::MAX;
        }
        Duration::from_nanos(u64::try_from(self.deadline.saturating_sub(clock::monotonic())).unwrap_or(0))
    }

    /// How long to wait before the next attempt; `None` once the deadline has passed.
    pub fn pause(&mut self) -> Option<Duration> {
        let left = self.left();
        if left.is_zero() {
            return None;
        }
        let pause = self.step();
        Some(if clock::is_frozen() { pause.min(GLANCE) } else { pause.min(left) })
    }

    fn step(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.75 * random::spread(1.0 / 3.0));
        self.next = (2 * self.next).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_vary() {
        random::seed(7);
        let pauses = |count| {
            let mut backoff = Backoff::until(NEVER);
            (0..count).map(|_| backoff.step()).collect::<Vec<_>>()
        };
        let first = pauses(20);
        let mut top = FIRST;
        for pause in &first {
            assert!((top / 2..=top).contains(pause), "{pause:?} of {top:?}");
            top = (2 * top).min(LONGEST);
        }
        assert_ne!(first, pauses(20));
    }

    #[test]
    fn there_is_no_pause_after_the_deadline() {
        assert!(Backoff::until(clock::monotonic()).pause().is_none());
        assert!(Backoff::until(i64::MIN).pause().is_none());
        let soon = clock::monotonic() + 3_600_000_000_000;
        assert!(Backoff::until(soon).pause().is_some());
    }
}
