//! The process's rarely taken locks, and `fork`.
//!
//! A lock that another thread holds while this one forks stays locked in the child for ever. The locks
//! of the loader and of the host's contexts are taken inside one gate, which a fork closes: it waits
//! until everybody has left, libraries that are being loaded included.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::lock::pause;

/// Threads inside the gate.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// Whether a fork keeps others out.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Forks between the first process and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// How many times this thread has entered.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// This thread is inside; it leaves when this is dropped.
pub(crate) struct Inside(PhantomData<*const ()>);

/// To be held while one of the locks is. Recursive: whoever is inside may enter again.
pub(crate) fn enter() -> Inside {
    let depth = DEPTH.get();
    if depth == 0 {
        let mut round = 0;
        loop {
            INSIDE.fetch_add(1, Ordering::SeqCst);
            if !CLOSED.load(Ordering::SeqCst) {
                break;
            }
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            pause(round);
            round += 1;
        }
    }
    DEPTH.set(depth + 1);
    Inside(PhantomData)
}

impl Drop for Inside {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// A number that a forked child has another one of than its parent.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Before a fork, after the instances' own [`fork_prepare`](crate::Instance::fork_prepare).
pub fn prepare() {
    let mut round = 0;
    while CLOSED.swap(true, Ordering::SeqCst) {
        pause(round);
        round += 1;
    }
    let own = usize::from(DEPTH.get() > 0);
    let mut round = 0;
    while INSIDE.load(Ordering::SeqCst) > own {
        pause(round);
        round += 1;
    }
}

/// After a fork, in parent and child, before the instances' own hooks.
///
/// # Safety
/// Must follow [`prepare`], once, on the same thread.
pub unsafe fn done(child: bool) {
    if child {
        // Another thread may have been counted for a moment while it found the gate closed.
        INSIDE.store(usize::from(DEPTH.get() > 0), Ordering::SeqCst);
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    CLOSED.store(false, Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_fork_waits_for_who_is_inside_and_keeps_others_out() {
        static INSIDE: AtomicBool = AtomicBool::new(true);
        let guard = enter();
        let forking = std::thread::spawn(|| {
            prepare();
            let inside = INSIDE.load(Ordering::SeqCst);
            // SAFETY: follows `prepare` on this thread.
            unsafe { done(false) };
            inside
        });
        // Who is inside may enter again, even while a fork waits.
        drop(enter());
        INSIDE.store(false, Ordering::SeqCst);
        drop(guard);
        assert!(!forking.join().unwrap());
        drop(enter());
    }
}
