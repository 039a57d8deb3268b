//! Single-flight: one load at a time for each key of a process, and the fence between loads and
//! invalidations.
//!
//! A load registers a [`Flight`] before its first read. Whoever else wants the key joins it, from a
//! thread ([`Flight::wait`]) or from an event loop ([`Flight::subscribe`]). An invalidation takes
//! matching flights out of the table and fences them: their value still goes to those who joined
//! before, and into no tier; whoever comes later starts afresh.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::lock::Mutex;
use rapidhash::quality::RandomState;

/// Called once when the flight has landed, on the thread that landed it, without locks.
pub type Landed = Box<dyn FnOnce() + Send>;

/// How a flight ended.
#[derive(Debug)]
pub enum Landing<T> {
    /// With something that everybody who joined gets.
    Shared(Arc<T>),
    /// With a value that a tier has as bytes: each who joined reads it, for an object of its own.
    Found,
    /// With nothing: those who joined start again, and one of them leads.
    Abandoned,
}

impl<T> Clone for Landing<T> {
    fn clone(&self) -> Self {
        match self {
            Landing::Shared(value) => Landing::Shared(value.clone()),
            Landing::Found => Landing::Found,
            Landing::Abandoned => Landing::Abandoned,
        }
    }
}

/// One load under way.
pub struct Flight<T> {
    key: Arc<[u8]>,
    fenced: AtomicBool,
    /// Held while the value is written into tiers; fencing takes it, so that a fence that was set
    /// is never overtaken by a write that had begun.
    gate: Mutex<()>,
    state: Mutex<State<T>>,
}

struct State<T> {
    landing: Option<Landing<T>>,
    subscribers: Vec<Landed>,
    /// Threads that sleep until it lands. Not a condition variable: a fork leaves nothing of it behind.
    sleepers: Vec<Thread>,
    /// Flights that the code under this one waits for; several when it waits from several tasks.
    awaits: Vec<Arc<Flight<T>>>,
}

impl<T> Flight<T> {
    fn new(key: Arc<[u8]>, fenced: bool) -> Arc<Self> {
        Arc::new(Flight {
            key,
            fenced: AtomicBool::new(fenced),
            gate: Mutex::new(()),
            state: Mutex::new(State {
                landing: None,
                subscribers: Vec::new(),
                sleepers: Vec::new(),
                awaits: Vec::new(),
            }),
        })
    }

    /// The key it loads.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether an invalidation forbids it to write.
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
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

    /// Calls `landed` once it has landed; at once if it already has.
    pub fn subscribe(&self, landed: Landed) {
        let mut state = self.state.lock();
        if state.landing.is_none() {
            state.subscribers.push(landed);
            return;
        }
        drop(state);
        landed();
    }

    fn land(&self, landing: Landing<T>) {
        let mut state = self.state.lock();
        if state.landing.is_some() {
            return;
        }
        state.landing = Some(landing);
        let subscribers = std::mem::take(&mut state.subscribers);
        let sleepers = std::mem::take(&mut state.sleepers);
        drop(state);
        sleepers.iter().for_each(Thread::unpark);
        for subscriber in subscribers {
            subscriber();
        }
    }
}

/// What a caller is to do about a key.
pub enum Begin<T> {
    /// Load it.
    Lead(Lead<T>),
    /// Somebody does: wait.
    Join(Arc<Flight<T>>),
}

/// The duty to land a flight. Dropping it abandons the flight, so that no way of leaving leaves a
/// waiter stuck.
pub struct Lead<T> {
    flights: Arc<Flights<T>>,
    flight: Arc<Flight<T>>,
}

impl<T> Lead<T> {
    /// The flight.
    pub fn flight(&self) -> &Arc<Flight<T>> {
        &self.flight
    }

    /// Lands with a value for everybody who joined.
    pub fn share(self, value: Arc<T>) {
        self.flights.remove(&self.flight);
        self.flight.land(Landing::Shared(value));
    }

    /// Lands for everybody who joined to read for themselves.
    pub fn found(self) {
        self.flights.remove(&self.flight);
        self.flight.land(Landing::Found);
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        self.flights.remove(&self.flight);
        self.flight.land(Landing::Abandoned);
    }
}

/// What an invalidation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One key.
    Key(Vec<u8>),
    /// All keys that start so; empty: everything.
    Prefix(Vec<u8>),
}

impl Scope {
    fn covers(&self, key: &[u8]) -> bool {
        match self {
            Scope::Key(exact) => exact == key,
            Scope::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

const SHARDS: usize = 16;

struct Shard<T> {
    flights: HashMap<Arc<[u8]>, Arc<Flight<T>>, RandomState>,
    /// Invalidations under way: flights that begin meanwhile may read what is about to go, so they
    /// are born fenced.
    invalidating: Vec<(u64, Scope)>,
}

/// All loads under way, by local key.
pub struct Flights<T> {
    shards: [Mutex<Shard<T>>; SHARDS],
    hasher: RandomState,
    tickets: std::sync::atomic::AtomicU64,
    /// Guards the check for cycles and the edges it walks.
    waits: Mutex<()>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Flights {
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard { flights: HashMap::default(), invalidating: Vec::new() })
            }),
            hasher: RandomState::default(),
            tickets: std::sync::atomic::AtomicU64::new(0),
            waits: Mutex::new(()),
        }
    }
}

impl<T> Flights<T> {
    fn shard(&self, key: &[u8]) -> &Mutex<Shard<T>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    /// Starts a load of `key`, or joins the one under way.
    pub fn begin(self: &Arc<Self>, key: &[u8]) -> Begin<T> {
        let mut shard = self.shard(key).lock();
        if let Some(flight) = shard.flights.get(key) {
            return Begin::Join(flight.clone());
        }
        let fenced = shard.invalidating.iter().any(|(_, scope)| scope.covers(key));
        let key: Arc<[u8]> = key.into();
        let flight = Flight::new(key.clone(), fenced);
        if !fenced {
            // A fenced flight is not joined: its value may be older than its followers' calls.
            shard.flights.insert(key, flight.clone());
        }
        drop(shard);
        Begin::Lead(Lead { flights: self.clone(), flight })
    }

    fn remove(&self, flight: &Arc<Flight<T>>) {
        let mut shard = self.shard(&flight.key).lock();
        if shard.flights.get(&flight.key).is_some_and(|found| Arc::ptr_eq(found, flight)) {
            shard.flights.remove(&flight.key);
        }
    }

    /// Fences loads that `scope` covers: those under way, and those that begin while the result is
    /// held, because they may read what its holder is about to remove.
    ///
    /// May wait for writes in progress, so the caller must not hold what those writes need.
    pub fn fence(&self, scope: &Scope) -> Fence<'_, T> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let shards: Vec<&Mutex<Shard<T>>> = match scope {
            Scope::Key(key) => vec![self.shard(key)],
            Scope::Prefix(_) => self.shards.iter().collect(),
        };
        let mut fenced = Vec::new();
        for shard in &shards {
            let mut shard = shard.lock();
            shard.invalidating.push((ticket, scope.clone()));
            fenced.extend(shard.flights.extract_if(|key, _| scope.covers(key)).map(|(_, flight)| flight));
        }
        for flight in fenced {
            flight.fence();
        }
        Fence { shards, ticket }
    }

    /// Declares that the code under `holding` (innermost last) is about to wait for `flight`.
    /// `false` if that would close a circle: it must not wait then.
    pub fn may_wait(&self, holding: &[Arc<Flight<T>>], flight: &Arc<Flight<T>>) -> bool {
        let _waits = self.waits.lock();
        let mut pending = vec![flight.clone()];
        let mut seen: Vec<*const Flight<T>> = Vec::new();
        while let Some(next) = pending.pop() {
            if holding.iter().any(|held| Arc::ptr_eq(held, &next)) {
                return false;
            }
            if !seen.contains(&Arc::as_ptr(&next)) {
                seen.push(Arc::as_ptr(&next));
                pending.extend(next.state.lock().awaits.iter().cloned());
            }
        }
        for held in holding {
            held.state.lock().awaits.push(flight.clone());
        }
        true
    }

    /// Takes back what [`Flights::may_wait`] declared.
    pub fn waited(&self, holding: &[Arc<Flight<T>>], flight: &Arc<Flight<T>>) {
        let _waits = self.waits.lock();
        for held in holding {
            let mut state = held.state.lock();
            if let Some(at) = state.awaits.iter().position(|awaited| Arc::ptr_eq(awaited, flight)) {
                state.awaits.swap_remove(at);
            }
        }
    }

    /// Number of loads under way.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().flights.len()).sum()
    }

    /// Whether no load is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Before `fork`: takes all locks of the table and of its flights, so that the child finds them
    /// free and whole. Waits for writes in progress, which need nothing of the caller.
    pub fn fork_prepare(&self) {
        std::mem::forget(self.waits.lock());
        for shard in &self.shards {
            let shard = shard.lock();
            for flight in shard.flights.values() {
                std::mem::forget(flight.gate.lock());
                std::mem::forget(flight.state.lock());
            }
            std::mem::forget(shard);
        }
    }

    /// After `fork`: frees the locks again. In the child the loads of the parent's other threads are
    /// gone, so the table starts empty and the child runs its own.
    ///
    /// # Safety
    /// Must follow [`Flights::fork_prepare`] on the same thread.
    pub unsafe fn fork_done(&self, child: bool) {
        for shard in &self.shards {
            // SAFETY: taken by `fork_prepare` on this thread, as are the flights' locks.
            let mut shard = unsafe { shard.make_guard_unchecked() };
            for flight in shard.flights.values() {
                // SAFETY: as above.
                unsafe {
                    drop(flight.state.make_guard_unchecked());
                    drop(flight.gate.make_guard_unchecked());
                }
            }
            if child {
                // Their leaders run in the parent only; what they own is not the child's to drop.
                std::mem::forget(std::mem::take(&mut shard.flights));
                shard.invalidating.clear();
            }
        }
        // SAFETY: as above.
        drop(unsafe { self.waits.make_guard_unchecked() });
    }
}

/// An invalidation in progress; over when dropped.
pub struct Fence<'a, T> {
    shards: Vec<&'a Mutex<Shard<T>>>,
    ticket: u64,
}

impl<T> Drop for Fence<'_, T> {
    fn drop(&mut self) {
        for shard in &self.shards {
            shard.lock().invalidating.retain(|(ticket, _)| *ticket != self.ticket);
        }
    }
}

#[cfg(test)]
mod tests;
