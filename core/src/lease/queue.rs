//! Who waits for a lease in this process, and for how long between two attempts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;

use retainit_plugin_api::abi::call::NEVER;

use crate::instance::Instance;
use crate::lock::Mutex;
use crate::{clock, fork, random};

/// The first pause is about so long.
const FIRST: Duration = Duration::from_millis(1);
/// No pause is longer.
const LONGEST: Duration = Duration::from_millis(100);
/// A frozen clock moves when a test says so, which wakes nobody: look at it now and then.
const GLANCE: Duration = Duration::from_millis(5);

/// How whoever waits is told to try again.
pub enum Wake {
    /// A thread that is parked.
    Thread(Thread),
    /// A function, called on the thread that gave the lease back, without locks; perhaps more than once.
    Call(Box<dyn Fn() + Send + Sync>),
}

struct Waiter {
    wake: Wake,
    /// Whether it was woken and has not been served since.
    woken: AtomicBool,
}

/// An instance and a name.
type Subject = (usize, Box<[u8]>);

struct Queue {
    /// Forks between the first process and the one that the entries are of.
    generation: u64,
    waiting: BTreeMap<Subject, VecDeque<Arc<Waiter>>>,
}

/// Taken inside the gate of [`fork`], so that no thread of a parent holds it in a child.
static QUEUE: Mutex<Queue> = Mutex::new(Queue { generation: 0, waiting: BTreeMap::new() });

/// A place in the queue for one lease. Who leaves without having been served, although it was woken,
/// wakes the next.
pub struct Place {
    subject: Subject,
    waiter: Arc<Waiter>,
    generation: u64,
}

impl Place {
    /// Joins the queue for the lease `name` of `instance`.
    pub fn new(instance: &Instance, name: &[u8], wake: Wake) -> Self {
        let subject = (instance.number(), name.into());
        let waiter = Arc::new(Waiter { wake, woken: AtomicBool::new(false) });
        with(|queue| queue.waiting.entry(clone(&subject)).or_default().push_back(Arc::clone(&waiter)));
        Place { subject, waiter, generation: fork::generation() }
    }

    /// Leaves with the lease in hand.
    pub fn served(self) {
        self.waiter.woken.store(false, Ordering::Release);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let next = with(|queue| {
            let waiting = queue.waiting.get_mut(&self.subject)?;
            waiting.retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
            let next = waiting.front().cloned();
            if next.is_none() {
                queue.waiting.remove(&self.subject);
            }
            next
        });
        if let (Some(next), true) = (next, self.waiter.woken.load(Ordering::Acquire)) {
            next.rouse();
        }
    }
}

/// Tells who waited longest for the lease that it was given back.
pub fn wake(instance: &Instance, name: &[u8]) {
    let subject = (instance.number(), name.into());
    let first = with(|queue| queue.waiting.get(&subject)?.front().cloned());
    if let Some(first) = first {
        first.rouse();
    }
}

impl Waiter {
    fn rouse(&self) {
        self.woken.store(true, Ordering::Release);
        match &self.wake {
            Wake::Thread(thread) => thread.unpark(),
            Wake::Call(call) => call(),
        }
    }
}

/// Does something with the queue. Nothing that it owns may be dropped, or run, inside.
fn with<R>(work: impl FnOnce(&mut Queue) -> R) -> R {
    let _inside = fork::enter();
    let mut queue = QUEUE.lock();
    if queue.generation != fork::generation() {
        // Who waited does not exist here; what it is woken with may belong to its thread.
        std::mem::forget(std::mem::take(&mut queue.waiting));
        queue.generation = fork::generation();
    }
    work(&mut queue)
}

fn clone(subject: &Subject) -> Subject {
    (subject.0, subject.1.clone())
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

    /// How long to wait before the next attempt; `None` once the deadline has passed.
    pub fn pause(&mut self) -> Option<Duration> {
        let left = match self.deadline {
            NEVER => Duration::MAX,
            deadline => {
                let left = u64::try_from(deadline.saturating_sub(clock::monotonic())).unwrap_or(0);
                Duration::from_nanos(left)
            }
        };
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
