//! The process's rarely taken locks, and `fork`.
//!
//! A lock that another thread holds while this one forks stays locked in the child for ever. The locks
//! of the loader and of the host's contexts are taken inside one gate, which a fork closes: it waits
//! until everybody has left, libraries that are being loaded included.

use parking_lot::{RwLock, RwLockReadGuard};

static GATE: RwLock<()> = RwLock::new(());

/// To be held while one of the locks is. Recursive: whoever is inside may enter again.
pub(crate) fn enter() -> RwLockReadGuard<'static, ()> {
    GATE.read_recursive()
}

/// Before a fork, after the instances' own [`fork_prepare`](crate::Instance::fork_prepare).
pub fn prepare() {
    std::mem::forget(GATE.write());
}

/// After a fork, in parent and child, before the instances' own hooks.
///
/// # Safety
/// Must follow [`prepare`], once, on the same thread.
pub unsafe fn done() {
    // SAFETY: `prepare` forgot the guard on this thread.
    unsafe { GATE.force_unlock_write() }
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
            unsafe { done() };
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
