//! The table of loads under way, and the fence between them and invalidations.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::{Flight, Landing, Purpose};
use crate::lock::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::Hasher;

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

    /// Lands with an expired value for everybody who joined.
    pub fn fall_back(self, value: Arc<T>, cause: Option<Arc<T>>) {
        self.flights.remove(&self.flight);
        self.flight.land(Landing::FellBack(value, cause));
    }

    /// Lands with something for its leader only.
    pub fn end(self, value: Arc<T>) {
        self.flights.remove(&self.flight);
        self.flight.land(Landing::Ended(value));
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

/// Whether an invalidation is about a key.
type Covers = dyn Fn(&[u8]) -> bool + Send + Sync;

const SHARDS: usize = 16;

struct Shard<T> {
    flights: HashMap<Arc<[u8]>, Arc<Flight<T>>, Hasher>,
    /// Loads that still run and that nobody can join any more, in the order in which they began: given up, or
    /// fenced. Here until they end, so that whoever comes while one is being fenced waits for it too.
    strays: Vec<Arc<Flight<T>>>,
    /// Invalidations under way: flights that begin meanwhile may read what is about to go, so they
    /// are born fenced.
    invalidating: Vec<(u64, Arc<Covers>)>,
}

impl<T> Shard<T> {
    /// Loads of the key of `flight` that began before it and may write.
    fn older<'a>(&'a self, flight: &'a Arc<Flight<T>>) -> impl Iterator<Item = &'a Arc<Flight<T>>> {
        let before = self.strays.iter().take_while(|stray| !Arc::ptr_eq(stray, flight));
        before.filter(|stray| stray.key == flight.key && !stray.is_fenced())
    }
}

/// All loads under way, by local key.
pub struct Flights<T> {
    shards: [Mutex<Shard<T>>; SHARDS],
    hasher: Hasher,
    tickets: AtomicU64,
    /// Guards the check for cycles and the edges it walks.
    waits: Mutex<()>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Flights {
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard {
                    flights: HashMap::default(),
                    strays: Vec::new(),
                    invalidating: Vec::new(),
                })
            }),
            hasher: Hasher::default(),
            tickets: AtomicU64::new(0),
            waits: Mutex::new(()),
        }
    }
}

impl<T> Flights<T> {
    fn shard(&self, key: &[u8]) -> &Mutex<Shard<T>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    /// Starts a load of `key`, or joins the one under way.
    pub fn begin(self: &Arc<Self>, key: &[u8], purpose: Purpose) -> Begin<T> {
        let mut shard = self.shard(key).lock();
        let known = shard.flights.get(key).cloned();
        if let Some(flight) = known {
            if !flight.is_fenced() {
                return Begin::Join(flight);
            }
            // A tag of it has been invalidated: as if a fence had taken it out.
            shard.flights.remove(key);
            shard.strays.push(flight);
        }
        let fenced = shard.invalidating.iter().any(|(_, covers)| covers(key));
        let key: Arc<[u8]> = key.into();
        let flight = Flight::new(key.clone(), fenced, purpose);
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
        shard.strays.retain(|stray| !Arc::ptr_eq(stray, flight));
    }

    /// Gives up a load that takes too long: it lands, and becomes a stray. `false` if it has landed.
    pub fn give_up(&self, flight: &Arc<Flight<T>>) -> bool {
        let mut shard = self.shard(&flight.key).lock();
        // In one of the two places until it ends, so that no invalidation misses it; by one of those who give
        // it up at once. Where it is in neither, it has ended, or was fenced when it began.
        if shard.flights.get(&flight.key).is_some_and(|found| Arc::ptr_eq(found, flight)) {
            shard.flights.remove(&flight.key);
            shard.strays.push(flight.clone());
        }
        drop(shard);
        flight.land(Landing::TimedOut)
    }

    /// Fences older loads of the key of `flight`, which is about to store a newer value. May wait as
    /// [`Flights::fence`] may.
    pub fn supersede(&self, flight: &Arc<Flight<T>>) {
        let older: Vec<_> = self.shard(&flight.key).lock().older(flight).cloned().collect();
        older.iter().for_each(|stray| stray.fence());
    }

    /// Whether any older load of the key of `flight` still runs and may write.
    pub fn has_strays(&self, flight: &Arc<Flight<T>>) -> bool {
        self.shard(&flight.key).lock().older(flight).next().is_some()
    }

    /// Fences loads that `scope` covers: those under way, and those that begin while the result is
    /// held, because they may read what its holder is about to remove.
    ///
    /// May wait for writes in progress, so the caller must not hold what those writes need.
    pub fn fence(&self, scope: &Scope) -> Fence<'_, T> {
        let shards = match scope {
            Scope::Key(key) => vec![self.shard(key)],
            Scope::Prefix(_) => self.shards.iter().collect(),
        };
        let scope = scope.clone();
        self.fence_in(shards, Arc::new(move |key| scope.covers(key)))
    }

    /// The same for loads of all keys that are covered.
    pub fn fence_where(&self, covers: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Fence<'_, T> {
        self.fence_in(self.shards.iter().collect(), Arc::new(covers))
    }

    fn fence_in<'a>(&self, shards: Vec<&'a Mutex<Shard<T>>>, covers: Arc<Covers>) -> Fence<'a, T> {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let mut fenced = Vec::new();
        for shard in &shards {
            let mut shard = shard.lock();
            shard.invalidating.push((ticket, covers.clone()));
            let Shard { flights, strays, .. } = &mut *shard;
            strays.extend(flights.extract_if(|key, _| covers(key)).map(|(_, flight)| flight));
            fenced.extend(strays.iter().filter(|stray| covers(&stray.key)).cloned());
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

    /// How many threads and tasks wait for the load of `key` that can be joined.
    pub fn waiting(&self, key: &[u8]) -> usize {
        let flight = self.shard(key).lock().flights.get(key).cloned();
        flight.map_or(0, |flight| {
            let state = flight.state.lock();
            state.sleepers.len() + state.subscribers.len()
        })
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
            for flight in shard.flights.values().chain(&shard.strays) {
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
            let Shard { flights, strays, .. } = &mut *shard;
            for flight in flights.values().chain(&*strays) {
                // SAFETY: as above.
                unsafe {
                    drop(flight.state.make_guard_unchecked());
                    drop(flight.gate.make_guard_unchecked());
                }
            }
            if child {
                // Their leaders run in the parent only; what they own is not the child's to drop.
                std::mem::forget(std::mem::take(flights));
                std::mem::forget(std::mem::take(strays));
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
