//! A one-byte lock for sections that last well under a microsecond.
//!
//! Why not `parking_lot` or `std`: their unlock is a second atomic read-modify-write, which alone
//! would be a third of the time of a hit; this one's is a plain store. The price is that a waiter
//! must poll (it spins, yields, then naps), which is right where nobody ever holds the lock for
//! long: no section under it allocates without bound, calls the host, or drops a value.
//!
//! There is no queue of waiters either, so a fork with the lock held by the forking thread leaves
//! nothing behind that a child could trip over.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Data behind a lock.
#[repr(C)]
pub struct Locked<T> {
    held: AtomicBool,
    data: UnsafeCell<T>,
}

// SAFETY: the lock gives the data to one thread at a time.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// Puts `data` behind a free lock.
    pub const fn new(data: T) -> Self {
        Locked { held: AtomicBool::new(false), data: UnsafeCell::new(data) }
    }

    /// Waits for the lock and takes it.
    #[inline(always)]
    pub fn lock(&self) -> Guard<'_, T> {
        self.acquire();
        Guard(self)
    }

    /// Takes the lock without a guard, for `fork`; [`Locked::release`] gives it back.
    #[inline(always)]
    pub fn acquire(&self) {
        if self.held.swap(true, Ordering::Acquire) {
            self.wait();
        }
    }

    /// Gives back what [`Locked::acquire`] took. In the child of a fork the one thread there is the
    /// copy of the one that took it.
    #[inline(always)]
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    #[cold]
    #[inline(never)]
    fn wait(&self) {
        let mut round = 0_u32;
        loop {
            match round {
                0..32 => (0..1 << (round / 8)).for_each(|_| std::hint::spin_loop()),
                // The holder was most likely preempted: give it the processor.
                32..64 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(u64::from(round.min(256)))),
            }
            round = round.saturating_add(1);
            if !self.held.load(Ordering::Relaxed) && !self.held.swap(true, Ordering::Acquire) {
                return;
            }
        }
    }
}

/// Access to locked data; gives the lock back when dropped.
pub struct Guard<'a, T>(&'a Locked<T>);

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the lock.
        unsafe { &*self.0.data.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard's thread holds the lock, and the guard is borrowed exclusively.
        unsafe { &mut *self.0.data.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_of_many_threads_all_count() {
        let counter = Locked::new(0_u64);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20_000).for_each(|_| *counter.lock() += 1));
            }
        });
        assert_eq!(*counter.lock(), 160_000);
    }

    #[test]
    fn a_panicking_holder_gives_the_lock_back() {
        let lock = Locked::new(1);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = lock.lock();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(caught.is_err());
        assert_eq!(*lock.lock(), 1);
    }
}
