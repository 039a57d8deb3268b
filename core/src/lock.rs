//! A lock that a fork leaves nothing behind of.
//!
//! `parking_lot` queues those who wait in tables of the process. A forked child inherits the queues
//! but not the threads in them: an unlock there may hand the lock to one that does not exist, and it
//! stays locked for ever. This one has no queue; whoever waits looks again (it spins, yields, then
//! naps). That suits locks that are held for less than a microsecond, or hardly ever wanted twice.

use std::time::Duration;

use parking_lot::lock_api::{self, GuardSend, RawMutex};

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread;

/// A mutex of this kind.
pub type Mutex<T> = lock_api::Mutex<Polled, T>;

/// The lock itself.
pub struct Polled(AtomicBool);

// SAFETY: the swap lets one thread through until the store.
unsafe impl RawMutex for Polled {
    #[allow(clippy::declare_interior_mutable_const)] // how the trait makes new locks
    const INIT: Self = Polled(AtomicBool::new(false));
    type GuardMarker = GuardSend;

    #[inline]
    fn lock(&self) {
        let mut round = 0;
        while !self.try_lock() {
            pause(round);
            round += 1;
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        !self.0.swap(true, Ordering::Acquire)
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Lets time pass before the look that follows `round` others: at first hardly any.
#[cold]
pub fn pause(round: u32) {
    match round {
        // Schedules that are explored take no time: the others go on.
        _ if cfg!(feature = "explore") => thread::yield_now(),
        0..32 => (0..1 << (round / 8)).for_each(|_| std::hint::spin_loop()),
        // The holder was most likely preempted: give it the processor.
        32..64 => thread::yield_now(),
        _ => thread::sleep(Duration::from_micros(u64::from(round.min(256)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_of_many_threads_all_count() {
        let counter = Mutex::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20_000).for_each(|_| *counter.lock() += 1));
            }
        });
        assert_eq!(*counter.lock(), 160_000);
    }

    /// With a queue of waiters, this hangs every now and then: the lock goes to a thread that the
    /// child does not have.
    #[cfg(unix)]
    #[test]
    fn a_child_finds_free_what_threads_of_its_parent_waited_for() {
        static LOCK: Mutex<()> = Mutex::new(());
        static STOP: AtomicBool = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !STOP.load(Ordering::Relaxed) {
                        drop(LOCK.lock());
                    }
                });
            }
            let mut failed = 0;
            for _ in 0..50 {
                std::mem::forget(LOCK.lock());
                std::thread::sleep(Duration::from_millis(1));
                // SAFETY: the child takes and frees the one lock and ends; the alarm ends it if not.
                unsafe {
                    let child = libc::fork();
                    if child == 0 {
                        libc::alarm(10);
                        LOCK.force_unlock();
                        for _ in 0..100 {
                            drop(LOCK.lock());
                        }
                        libc::_exit(0);
                    }
                    LOCK.force_unlock();
                    let mut status = 1;
                    libc::waitpid(child, &mut status, 0);
                    failed += i32::from(status != 0);
                }
            }
            STOP.store(true, Ordering::Relaxed);
            assert_eq!(failed, 0, "children that hung");
        });
    }
}
