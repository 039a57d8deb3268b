//! How long connections keep their views: as long as there is something to do, and the background
//! thread looks every few milliseconds.
//!
//! A view keeps the log from beginning anew, for other processes too. So none gets older than two ticks:
//! one in use is renewed then, and one that is idle is ended by the thread. Without the thread, while it
//! has something else to do, and after a call that comes alone, none stays open.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicU8, Ordering};
use std::time::Duration;

use crate::pool::Pool;

/// Time between two looks of the background thread while there are views.
pub const TICK: Duration = Duration::from_millis(5);

/// There are no views, and nobody looks.
const RESTING: u8 = 0;
/// There are, and the background thread looks each tick.
const TICKING: u8 = 1;
/// There must be none until the next tick.
const PAUSED: u8 = 2;

/// What holds for all views of an instance.
///
/// The background thread rests only when it has found no view and no connection in use, after having
/// said that it rests: whoever takes a connection later finds that said, and wakes it. The order is that
/// of the state here and the slots of the pool, sequentially consistent both.
#[derive(Debug)]
pub struct Views {
    state: AtomicU8,
    tick: AtomicU64,
    /// When the last call came in that found the thread at rest, on the host's monotonic clock.
    called: AtomicI64,
    /// Whether the one before it came within a tick.
    dense: AtomicBool,
}

impl Default for Views {
    fn default() -> Self {
        Views {
            state: AtomicU8::new(RESTING),
            tick: AtomicU64::new(1),
            called: AtomicI64::new(i64::MIN),
            dense: AtomicBool::new(false),
        }
    }
}

impl Views {
    /// The number of the current tick.
    pub fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// Whether a view that began in tick `begun` has had its time.
    pub fn is_old(&self, begun: u64) -> bool {
        begun + 1 < self.tick()
    }

    /// Notes that a call comes in. One that comes alone would pay for waking the thread and gain nothing.
    pub fn note_call(&self, now: i64) {
        if self.rest() {
            let since = now.saturating_sub(self.called.swap(now, Ordering::Relaxed));
            self.dense.store((0..=TICK.as_nanos() as i64).contains(&since), Ordering::Relaxed);
        }
    }

    /// Whether a view may stay open after its call; `wake` wakes the background thread, if there is one.
    pub fn may_stay(&self, wake: impl FnOnce() -> bool) -> bool {
        match self.state.load(Ordering::SeqCst) {
            TICKING => true,
            RESTING => self.dense.load(Ordering::Relaxed) && wake(),
            _ => false,
        }
    }

    /// Whether nobody looks.
    pub fn rest(&self) -> bool {
        self.state.load(Ordering::SeqCst) == RESTING
    }

    /// Somebody will look, from now on. Called by who wakes the background thread.
    pub fn begin(&self) {
        let _ = self.state.compare_exchange(RESTING, TICKING, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Ends all views that are not in use and keeps others from staying open, until the next tick.
    pub fn pause(&self, pool: &Pool) {
        if self.state.compare_exchange(TICKING, PAUSED, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            pool.end_views(|_| true);
        }
    }

    /// Called by the background thread at its end: nobody will look any more, and calls learn of it.
    pub fn close(&self, pool: &Pool) {
        self.state.store(RESTING, Ordering::SeqCst);
        if pool.end_views(|_| true) {
            // A call that had learnt the contrary just before has given its connection back by then.
            std::thread::sleep(TICK);
            pool.end_views(|_| true);
        }
    }

    /// Called by the background thread every [`TICK`] while there is something to look for.
    pub fn look(&self, pool: &Pool) {
        self.tick.fetch_add(1, Ordering::Relaxed);
        let active = pool.end_views(|begun| self.is_old(begun));
        if active && self.state.load(Ordering::SeqCst) == TICKING {
            return;
        }
        self.state.store(RESTING, Ordering::SeqCst);
        if pool.end_views(|begun| self.is_old(begun)) {
            self.begin();
        }
    }
}
