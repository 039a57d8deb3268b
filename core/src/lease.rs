//! Leases: one holder at a time of a name, among all that share a backend, for as long as it lives.
//!
//! A backend with [`LEASE`](retainit_plugin_api::abi::capability::LEASE) gives a lease for a while. Here it
//! becomes a guard: it is renewed in the background until it is dropped, it says when it was lost all the
//! same, and it is given back exactly once, whichever way its holder leaves.
//!
//! | file | what it holds |
//! |---|---|
//! | this one | the guard, and what becomes of it |
//! | `keeper` | the thread that renews what is held, and says what was lost |
//! | `queue` | who waits for a lease in this process |
//! | `wait` | attempts, and the pauses between them |
//!
//! A lease is **lost** when the backend says so, or when it could not be renewed in time: by the process's
//! monotonic clock, [`MARGIN`] before the backend may give it to another. Once lost, always lost. A holder
//! that sleeps through all of that (a stopped process, a suspended machine) learns of it only when it wakes:
//! whatever it changes then must be refused by whom it changes, which is what the fence is for.

mod keeper;
mod queue;
mod wait;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::abi::{capability, status};
use retainit_plugin_api::sdk::Lease as Grant;

use crate::error::Result;
use crate::instance::Instance;
use crate::lock::Mutex;
use crate::{clock, fork};

pub use queue::{Place, Wake};
pub use wait::{Backoff, Wait};

/// Shortest time to live: a lease is renewed by a thread, which must get its turn in a third of it.
pub const SHORTEST: Duration = Duration::from_millis(100);
/// A lease counts as lost so much earlier than the backend gives it away: two ticks of the coarse clock.
pub const MARGIN: Duration = Duration::from_millis(10);

const HELD: u8 = 0;
/// Its time ran out here; the backend may not know yet.
const LATE: u8 = 1;
/// The backend says that it is not held any more.
const GONE: u8 = 2;
const RELEASED: u8 = 3;

/// Called once, on the thread that found the lease lost, without locks; it must not block.
pub type OnLost = Box<dyn FnOnce() + Send>;

/// A lease that this process holds. Dropping it gives it back.
///
/// It belongs to the process that acquired it: in a forked child it is lost, and dropping it there
/// leaves the parent's as it is.
pub struct Lease(Arc<Held>);

/// What the guard and the keeper share.
struct Held {
    instance: Arc<Instance>,
    name: Box<[u8]>,
    grant: Grant,
    /// Nanoseconds.
    ttl: i64,
    /// When it is lost unless it is renewed, on the process's monotonic clock.
    expires: AtomicI64,
    state: AtomicU8,
    /// Renewals that have succeeded.
    renewals: AtomicU64,
    /// Of the process that acquired it.
    generation: u64,
    on_lost: Mutex<Vec<OnLost>>,
}

impl Lease {
    /// Takes the lease `name` if nobody holds it. `ttl` is for how long the backend keeps it for a holder
    /// that has died: in nanoseconds, at least [`SHORTEST`].
    ///
    /// # Errors
    /// The backend failed, has no leases, or `ttl` is too short.
    pub fn try_acquire(instance: &Arc<Instance>, name: &[u8], ttl: i64) -> Result<Option<Lease>> {
        check(instance, ttl)?;
        // Before the call: however long it takes, the backend counts from a later moment than this.
        let started = clock::monotonic();
        let Some(grant) = instance.lease_acquire(name, ttl)? else { return Ok(None) };
        let lease = Lease(Arc::new(Held {
            instance: Arc::clone(instance),
            name: name.into(),
            grant,
            ttl,
            expires: AtomicI64::new(until(started, ttl)),
            state: AtomicU8::new(HELD),
            renewals: AtomicU64::new(0),
            generation: fork::generation(),
            on_lost: Mutex::new(Vec::new()),
        }));
        if !keeper::keep(&lease.0, started) {
            // Dropped, so given back: without renewal it would be lost while somebody relies on it.
            return Err(instance.error(
                "lease_acquire",
                status::BUSY,
                "no thread can be started to renew it",
            ));
        }
        Ok(Some(lease))
    }

    /// As [`Lease::try_acquire`], waiting until it is free, `deadline` on the process's monotonic clock has
    /// passed ([`NEVER`]: however long it takes), or `go_on`, asked before each pause, says no; `None` then.
    ///
    /// A release in this process wakes who waited longest for that name; for those of others it is asked
    /// again after pauses, see [`Backoff`]. Nobody is promised a turn.
    ///
    /// # Errors
    /// As [`Lease::try_acquire`]; a failure ends the wait.
    pub fn acquire(
        instance: &Arc<Instance>,
        name: &[u8],
        ttl: i64,
        deadline: i64,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Option<Lease>> {
        let this = std::thread::current();
        let mut wait = Wait::new(instance, name, ttl, deadline, move || Wake::Thread(this.clone()));
        loop {
            if let Some(lease) = wait.attempt()? {
                return Ok(Some(lease));
            }
            match wait.pause() {
                Some(pause) if go_on() => std::thread::park_timeout(pause),
                _ => return Ok(None),
            }
        }
    }

    /// Grows with every acquisition of the name: whoever is written to under this lease can refuse what
    /// carries a smaller number than it has seen before.
    pub fn fence(&self) -> u64 {
        self.0.grant.fence
    }

    /// Whether it is not held any more. Once lost, always lost.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    /// Until when it is held for certain unless it is lost, on the process's monotonic clock.
    pub fn expires(&self) -> i64 {
        self.0.expires.load(Ordering::Acquire)
    }

    /// How often it has been renewed.
    pub fn renewals(&self) -> u64 {
        self.0.renewals.load(Ordering::Acquire)
    }

    /// Calls `listener` when it is lost; at once if it is.
    pub fn on_lost(&self, listener: OnLost) {
        if self.0.is_ours() {
            self.0.on_lost.lock().push(listener);
            if self.is_lost() {
                self.0.tell();
            }
        } else {
            listener();
        }
    }

    /// Gives it back without waiting for a backend that may block, for who cannot wait.
    pub fn let_go(self) {
        if !self.0.instance.has(capability::INLINE) && !self.0.is_over() {
            let work = move || drop(self);
            // Where no thread can be started it is dropped here.
            let _ = std::thread::Builder::new().name("retainit-release".to_owned()).spawn(work);
        }
    }

    /// Gives it back. Whether it was held until then.
    ///
    /// # Errors
    /// The backend failed: it may keep the lease until its time has run out.
    pub fn release(self) -> Result<bool> {
        self.0.end()
    }

    /// Gives it back. Whether it was held until then, as far as can be known: a backend that fails is no reason
    /// to think that it was lost.
    pub fn give_back(self) -> bool {
        self.0.finish()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("backend", &self.0.instance.name())
            .field("fence", &self.fence())
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

impl Held {
    /// Whether this is the process that acquired it.
    fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    fn is_lost(&self) -> bool {
        if !self.is_ours() {
            return true;
        }
        match self.state.load(Ordering::Acquire) {
            HELD if clock::monotonic() >= self.expires.load(Ordering::Acquire) => {
                self.lose(LATE);
                true
            }
            HELD => false,
            _ => true,
        }
    }

    /// Whether there is nothing to be given back.
    fn is_over(&self) -> bool {
        !self.is_ours() || matches!(self.state.load(Ordering::Acquire), GONE | RELEASED)
    }

    /// Notes the loss, unless that was done or it has been given back.
    fn lose(&self, how: u8) {
        if self.state.compare_exchange(HELD, how, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let why = if how == GONE { "the backend gave it away" } else { "it was not renewed in time" };
        tracing::warn!(backend = self.instance.name(), "a lease was lost: {why}");
        self.tell();
    }

    fn tell(&self) {
        let listeners = std::mem::take(&mut *self.on_lost.lock());
        listeners.into_iter().for_each(|listener| listener());
    }

    /// One renewal: when to look at it again.
    fn renew(&self) -> i64 {
        let started = clock::monotonic();
        if self.is_lost() {
            return NEVER;
        }
        match self.instance.lease_renew(&self.name, self.ttl, &self.grant) {
            Ok(true) if !self.is_lost() => {
                self.expires.store(until(started, self.ttl), Ordering::Release);
                self.renewals.fetch_add(1, Ordering::AcqRel);
                started.saturating_add(self.ttl / 3)
            }
            // Too late, so that somebody has heard of the loss: the guard gives it back.
            Ok(true) => NEVER,
            Ok(false) => {
                self.lose(GONE);
                NEVER
            }
            Err(error) => {
                tracing::warn!(backend = self.instance.name(), "a lease could not be renewed: {error}");
                clock::monotonic().saturating_add(self.ttl / 10)
            }
        }
    }

    fn finish(&self) -> bool {
        let was_held = !self.is_lost();
        self.end().unwrap_or_else(|error| {
            let backend = self.instance.name();
            tracing::warn!(backend, "a lease could not be given back and ends by itself: {error}");
            was_held
        })
    }

    /// Gives it back, the first time.
    fn end(&self) -> Result<bool> {
        let was_lost = self.is_lost();
        let before = self.state.swap(RELEASED, Ordering::AcqRel);
        if before == RELEASED || !self.is_ours() {
            return Ok(false);
        }
        keeper::forget(self);
        if before == GONE {
            return Ok(false);
        }
        let released = self.instance.lease_release(&self.name, &self.grant);
        queue::wake(&self.instance, &self.name);
        Ok(released? && !was_lost)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_ours() {
            // Listeners may own what belongs to threads of the parent, who may hold the lock.
            std::mem::forget(std::mem::take(self.on_lost.get_mut()));
        }
    }
}

/// Gives back whatever this process still holds, for its end: others then need not wait for the time to run
/// out. Stops after `limit`, where a backend does not answer.
pub fn release_all(limit: Duration) {
    let started = Instant::now();
    for held in keeper::all() {
        if started.elapsed() >= limit {
            return;
        }
        held.finish();
    }
}

/// When a lease is lost that was asked for, or renewed, at `started`.
fn until(started: i64, ttl: i64) -> i64 {
    started.saturating_add(ttl).saturating_sub(MARGIN.as_nanos() as i64)
}

fn check(instance: &Instance, ttl: i64) -> Result<()> {
    if !instance.has(capability::LEASE) {
        let message = "the backend has no leases (capability `lease`)";
        return Err(instance.error("lease_acquire", status::UNSUPPORTED, message));
    }
    if ttl < SHORTEST.as_nanos() as i64 || ttl == NEVER {
        let message = format!("expected a time to live of at least {SHORTEST:?} that ends, found `{ttl}` ns");
        return Err(instance.error("lease_acquire", status::INVALID, &message));
    }
    Ok(())
}
