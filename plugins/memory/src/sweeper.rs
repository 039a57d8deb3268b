//! The thread that reclaims expired entries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use retainit_plugin_api::sdk::{Host, NEVER};

use super::cache::Cache;
use super::lock::Locked;

/// Starts with the first entry that expires, and ends when there are none left, when it is told to,
/// and in the child of a fork.
pub struct Sweeper {
    state: Arc<State>,
    interval: Duration,
    host: Host,
}

struct State {
    /// Whether a thread looks after the cache, or is about to.
    running: AtomicBool,
    thread: Locked<Option<Thread>>,
}

struct Thread {
    handle: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Sweeper {
    /// A sweeper at rest.
    pub fn new(interval: Duration, host: Host) -> Self {
        let state = Arc::new(State { running: AtomicBool::new(false), thread: Locked::new(None) });
        Sweeper { state, interval, host }
    }

    /// Must be called after an entry that expires was stored.
    #[inline]
    pub fn ensure(&self, cache: &Arc<Cache>) {
        // Sequentially consistent, as is the store that this must not miss: see `run`.
        if !self.state.running.load(Ordering::SeqCst) {
            self.start(cache);
        }
    }

    #[cold]
    fn start(&self, cache: &Arc<Cache>) {
        let mut thread = self.state.thread.lock();
        if self.state.running.swap(true, Ordering::SeqCst) {
            return;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let run = {
            let (state, cache, stop) = (self.state.clone(), cache.clone(), stop.clone());
            let (interval, host) = (self.interval, self.host);
            move || run(&state, &cache, &stop, interval, host)
        };
        match std::thread::Builder::new().name("retainit-sweep".into()).spawn(run) {
            Ok(handle) => *thread = Some(Thread { handle, stop }),
            // No thread to be had now: expired entries are still never handed out, and the next
            // store tries again.
            Err(_) => self.state.running.store(false, Ordering::SeqCst),
        }
    }

    /// Ends the thread; `false` if it was still at work when `patience` was over. The next entry
    /// that expires starts another one.
    pub fn stop(&self, patience: Option<Duration>) -> bool {
        let Some(thread) = self.state.thread.lock().take() else {
            return true;
        };
        thread.stop.store(true, Ordering::Relaxed);
        thread.handle.thread().unpark();
        let end = patience.map(|patience| Instant::now() + patience);
        while !thread.handle.is_finished() {
            if end.is_some_and(|end| Instant::now() >= end) {
                // Whoever comes next waits for it.
                *self.state.thread.lock() = Some(thread);
                return false;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        // It cannot panic but for a fault in the host, of which the host has been told.
        let _ = thread.handle.join();
        self.state.running.store(false, Ordering::SeqCst);
        true
    }

    /// Takes the lock, for `fork`.
    pub fn acquire_lock(&self) {
        self.state.thread.acquire();
    }

    /// Gives the lock back.
    pub fn release_lock(&self) {
        self.state.thread.release();
    }

    /// In the child of a fork, where the thread does not exist.
    pub fn forget_thread(&self) {
        // Its handle must not be dropped: that would detach a thread that is not there.
        std::mem::forget(self.state.thread.lock().take());
        self.state.running.store(false, Ordering::SeqCst);
    }
}

fn run(state: &State, cache: &Cache, stop: &AtomicBool, interval: Duration, host: Host) {
    loop {
        std::thread::park_timeout(interval);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        cache.sweep(host.monotonic(), stop);
        if cache.soonest() != NEVER {
            continue;
        }
        // Nothing will expire: end. A writer that saw `running` before this store has stored its
        // entry before it looked, so that the second look finds the entry; one that looks later
        // starts a thread of its own, which the swap finds out.
        state.running.store(false, Ordering::SeqCst);
        if cache.soonest() == NEVER || state.running.swap(true, Ordering::SeqCst) {
            return;
        }
    }
}
