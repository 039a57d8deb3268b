//! Single-flight: one load at a time for each key of a process. `table` has all of them, and the fence
//! between loads and invalidations.
//!
//! A load registers a [`Flight`] before its first read. Whoever else wants the key joins it, from a
//! thread ([`Flight::wait`]) or from an event loop ([`Flight::subscribe`]). An invalidation takes
//! matching flights out of the table and fences them: their value still goes to those who joined
//! before, and into no tier; whoever comes later starts afresh. A load that takes too long is given up:
//! it becomes a stray, which nobody can join and an invalidation still fences.

mod table;
mod together;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::clock;
use crate::lock::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::thread::{self, Thread};
use crate::tags::Tags;

pub use table::{Begin, Fence, Flights, Lead, Scope};

/// Called once when the flight has landed, on the thread that landed it, without locks.
pub type Landed = Box<dyn FnOnce() + Send>;

/// How a flight ended.
#[derive(Debug)]
pub enum Landing<T> {
    /// With something that everybody who joined gets.
    Shared(Arc<T>),
    /// With an expired value that was fallen back on: everybody who joined gets that, but for who wanted to replace
    /// it, who gets the cause.
    FellBack(Arc<T>, Option<Arc<T>>),
    /// With a value that a tier has as bytes: each who joined reads it, for an object of its own.
    Found,
    /// It took too long: those who joined fall back, or fail.
    TimedOut,
    /// With something that concerns its leader only: those who joined start again, and one of them leads.
    Ended(Arc<T>),
    /// With nothing: those who joined start again, and one of them leads.
    Abandoned,
}

impl<T> Clone for Landing<T> {
    fn clone(&self) -> Self {
        match self {
            Landing::Shared(value) => Landing::Shared(value.clone()),
            Landing::FellBack(value, cause) => Landing::FellBack(value.clone(), cause.clone()),
            Landing::Ended(value) => Landing::Ended(value.clone()),
            Landing::Found => Landing::Found,
            Landing::TimedOut => Landing::TimedOut,
            Landing::Abandoned => Landing::Abandoned,
        }
    }
}

/// What a load is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// For callers who found nothing.
    Load,
    /// To replace what is kept, for a caller who wants that: others may have what is kept meanwhile.
    Replace,
    /// The same in the background: nobody has to wait for it.
    Refresh,
}

/// One load under way.
pub struct Flight<T> {
    key: Arc<[u8]>,
    fenced: AtomicBool,
    /// What it ends with, once it is known: nothing has been read before.
    tags: OnceLock<Tags>,
    purpose: Purpose,
    /// When it began, on the monotonic clock.
    started: i64,
    /// Held while the value is written into tiers; fencing takes it, so that a fence that was set
    /// is never overtaken by a write that had begun.
    gate: Mutex<()>,
    state: Mutex<State<T>>,
}

struct State<T> {
    landing: Option<Landing<T>>,
    /// An expired value for those who cannot wait, and until when it may be served.
    fallback: Option<(Arc<T>, i64)>,
    subscribers: Vec<(u64, Landed)>,
    /// How many there have ever been.
    subscriptions: u64,
    /// Threads that sleep until it lands. Not a condition variable: a fork leaves nothing of it behind.
    sleepers: Vec<Thread>,
    /// Flights that the code under this one waits for; several when it waits from several tasks.
    awaits: Vec<Arc<Flight<T>>>,
}

impl<T> Flight<T> {
    fn new(key: Arc<[u8]>, fenced: bool, purpose: Purpose) -> Arc<Self> {
        Arc::new(Flight {
            key,
            fenced: AtomicBool::new(fenced),
            tags: OnceLock::new(),
            purpose,
            started: clock::monotonic(),
            gate: Mutex::new(()),
            state: Mutex::new(State {
                landing: None,
                fallback: None,
                subscribers: Vec::new(),
                subscriptions: 0,
                sleepers: Vec::new(),
                awaits: Vec::new(),
            }),
        })
    }

    /// The key it loads.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether it goes on in the background, so that nobody has to wait for it.
    pub fn is_refreshing(&self) -> bool {
        self.purpose == Purpose::Refresh
    }

    /// Whether there may be an answer beside it, for whoever would join it.
    pub fn replaces(&self) -> bool {
        self.purpose != Purpose::Load
    }

    /// When it began, on the monotonic clock.
    pub fn started(&self) -> i64 {
        self.started
    }

    /// Offers an expired value to those who cannot wait, until a moment of the monotonic clock.
    pub fn offer(&self, value: Arc<T>, until: i64) {
        let before = self.state.lock().fallback.replace((value, until));
        drop(before);
    }

    /// What there is to fall back on now: nothing where an invalidation has met the load.
    pub fn fallback(&self) -> Option<Arc<T>> {
        let state = self.state.lock();
        let (value, until) = state.fallback.as_ref()?;
        (clock::monotonic() < *until && !self.is_fenced()).then(|| value.clone())
    }

    /// Notes the tags whose invalidation concerns what it loads, before it reads anything.
    pub fn carry(&self, tags: Tags) {
        // Once: it observes its tags once.
        let _ = self.tags.set(tags);
    }

    /// Whether an invalidation forbids it to write.
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire) || self.tags.get().is_some_and(Tags::are_dead)
    }

    /// Runs `write` unless the flight is fenced; a fence waits until it has returned. `None` if fenced.
    pub fn write<R>(&self, write: impl FnOnce() -> R) -> Option<R> {
        let _gate = self.gate.lock();
        (!self.is_fenced()).then(write)
    }

    fn fence(&self) {
        let _gate = self.gate.lock();
        self.fenced.store(true, Ordering::Release);
    }

    /// How it ended, if it has.
    pub fn landing(&self) -> Option<Landing<T>> {
        self.state.lock().landing.clone()
    }

    /// Blocks until it has landed, at most `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<Landing<T>> {
        let me = thread::current();
        let until = Instant::now() + timeout;
        let mut state = self.state.lock();
        if state.landing.is_none() {
            state.sleepers.push(me.clone());
        }
        while state.landing.is_none() {
            drop(state);
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::park_timeout(left);
            }
            state = self.state.lock();
            if left.is_zero() {
                state.sleepers.retain(|sleeper| sleeper.id() != me.id());
                break;
            }
        }
        state.landing.clone()
    }

    /// Calls `landed` once it has landed; at once if it already has. The number takes it back.
    pub fn subscribe(&self, landed: Landed) -> u64 {
        let mut state = self.state.lock();
        state.subscriptions += 1;
        let number = state.subscriptions;
        if state.landing.is_none() {
            state.subscribers.push((number, landed));
            return number;
        }
        drop(state);
        landed();
        number
    }

    /// Whoever subscribed under `number` waits no more.
    pub fn unsubscribe(&self, number: u64) {
        let mut state = self.state.lock();
        let at = state.subscribers.iter().position(|(each, _)| *each == number);
        let left = at.map(|at| state.subscribers.swap_remove(at));
        drop(state);
        // Code of the language's, dropped outside the lock.
        drop(left);
    }

    /// Ends it, unless it has ended; whether this was it.
    fn land(&self, landing: Landing<T>) -> bool {
        let mut state = self.state.lock();
        if state.landing.is_some() {
            return false;
        }
        state.landing = Some(landing);
        let subscribers = std::mem::take(&mut state.subscribers);
        let sleepers = std::mem::take(&mut state.sleepers);
        drop(state);
        sleepers.iter().for_each(Thread::unpark);
        for (_, subscriber) in subscribers {
            subscriber();
        }
        true
    }
}

#[cfg(test)]
mod tests;
