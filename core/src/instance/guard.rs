//! What stands before a backend that may block: its breaker, what is known of its latency, its helper
//! threads, and the ledger of what it has not been told yet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use retainit_plugin_api::abi::status;

use super::behind::Behind;
use super::breaker::{Admission, Breaker, BreakerSettings, State};
use super::helpers::Helpers;
use super::latency::Latency;
use super::missed::Missed;
use super::Instance;
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::Mutex;

/// Hears that a breaker has opened or closed. Runs on the thread whose call did it, outside locks.
pub type OnState = dyn Fn(State) + Send + Sync;

pub(super) struct Guard {
    pub(super) breaker: Breaker,
    pub(super) reads: Latency,
    pub(super) writes: Latency,
    pub(super) helpers: Helpers,
    /// Whether the ledger holds anything, or writes go through it: all that most calls look at.
    pub(super) marked: AtomicBool,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) counters: Counters,
    pub(super) me: OnceLock<Weak<Instance>>,
    listener: Mutex<Option<Arc<OnState>>>,
    /// What a call is told that is not made: made when the circuit opens, so that refusing costs a
    /// reference.
    refusal: Mutex<Error>,
}

/// What the backend has not been told yet.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) missed: Missed,
    pub(super) behind: Behind,
    /// Whether somebody is telling it what it missed.
    pub(super) replaying: bool,
    /// When that may be tried again, on the process's clock.
    pub(super) not_before: i64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) failures: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) retried: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// How a backend is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Of its breaker.
    pub state: State,
    /// Calls that failed in a way that says something about the backend.
    pub failures: u64,
    /// Calls that were not made, because the breaker was open.
    pub refused: u64,
    /// Calls that were made once more.
    pub retried: u64,
    /// Entries that wait to be written.
    pub queued: usize,
    /// Entries that were accepted to be written later, and were not.
    pub lost: u64,
    /// Invalidations that it has not been told of.
    pub missed: usize,
    /// How long a read is waited for now; `None` where it cannot be given up.
    pub read_timeout: Option<Duration>,
    /// How long a write is waited for now; `None` where it cannot be given up.
    pub write_timeout: Option<Duration>,
}

/// A call that was let through. Its outcome is to be told; dropped without, it decides nothing.
pub(super) struct Permit<'a> {
    instance: &'a Instance,
    guard: &'a Guard,
    pub(super) admission: Admission,
    pub(super) began: i64,
    told: bool,
}

impl Guard {
    pub(super) fn new(name: &str) -> Self {
        Guard {
            breaker: Breaker::new(Some(BreakerSettings::default())),
            reads: Latency::default(),
            writes: Latency::default(),
            helpers: Helpers::default(),
            marked: AtomicBool::new(false),
            ledger: Mutex::default(),
            counters: Counters::default(),
            me: OnceLock::new(),
            listener: Mutex::new(None),
            refusal: Mutex::new(refusal(name, "it failed")),
        }
    }

    /// Lets a call of `operation` through, or refuses it.
    pub(super) fn admit<'a>(
        &'a self,
        instance: &'a Instance,
        operation: &'static str,
        now: i64,
    ) -> Result<Permit<'a>> {
        let admission = match self.breaker.admit(now) {
            Some(admission) => admission,
            // Whoever asks how it is gets an answer, and what is known then counts.
            None if operation == "ping" => self.breaker.insist(),
            None => return Err(self.refused()),
        };
        Ok(Permit { instance, guard: self, admission, began: now, told: false })
    }

    #[cold]
    pub(super) fn refused(&self) -> Error {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        self.refusal.lock().clone()
    }

    pub(super) fn set_listener(&self, listener: Option<Arc<OnState>>) {
        let before = std::mem::replace(&mut *self.listener.lock(), listener);
        drop(before);
    }

    /// Runs `change` on the ledger, and notes whether there is anything in it afterwards.
    pub(super) fn with_ledger<R>(&self, change: impl FnOnce(&mut Ledger) -> R) -> R {
        let mut ledger = self.ledger.lock();
        let result = change(&mut ledger);
        let marked = !ledger.missed.is_empty() || !ledger.behind.is_empty() || ledger.behind.limit() > 0;
        self.marked.store(marked, Ordering::Release);
        result
    }

    pub(super) fn is_marked(&self) -> bool {
        self.marked.load(Ordering::Acquire)
    }

    /// How it is, where `timeout` says how long its answers are waited for.
    pub(super) fn health(&self, timeout: impl Fn(&Latency) -> Option<Duration>) -> Health {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ledger = self.ledger.lock();
        Health {
            state: self.breaker.state(),
            failures: count(&self.counters.failures),
            refused: count(&self.counters.refused),
            retried: count(&self.counters.retried),
            queued: ledger.behind.len(),
            lost: count(&self.counters.lost),
            missed: ledger.missed.len(),
            read_timeout: timeout(&self.reads),
            write_timeout: timeout(&self.writes),
        }
    }

    /// Before `fork`, in the parent.
    pub(super) fn lock_for_fork(&self) {
        std::mem::forget(self.refusal.lock());
        std::mem::forget(self.listener.lock());
        std::mem::forget(self.ledger.lock());
        self.helpers.lock_for_fork();
    }

    /// Gives back what [`Guard::lock_for_fork`] took.
    ///
    /// # Safety
    /// The calling thread must have called [`Guard::lock_for_fork`], once.
    pub(super) unsafe fn unlock_after_fork(&self, child: bool) {
        // SAFETY: the locks are held by this thread's forgotten guards.
        unsafe {
            self.helpers.unlock_after_fork(child);
            let mut ledger = self.ledger.make_guard_unchecked();
            if child {
                // What waits is the parent's to write; what was missed must not be read here either.
                ledger.behind.forget();
                ledger.missed.forget_stragglers();
                ledger.replaying = false;
            }
            drop(ledger);
            self.listener.force_unlock();
            self.refusal.force_unlock();
        }
    }

    #[cold]
    fn changed(&self, state: State, name: &str, why: &str) {
        if state == State::Open {
            let before = std::mem::replace(&mut *self.refusal.lock(), refusal(name, why));
            drop(before);
        }
        match state {
            State::Open => tracing::warn!(target: "retainit::backend", backend = name,
                "the circuit opens, the backend is not asked for a while: {why}"),
            _ => tracing::info!(target: "retainit::backend", backend = name,
                "the circuit closes, the backend answers again"),
        }
        let listener = self.listener.lock().clone();
        if let Some(listener) = listener {
            listener(state);
        }
    }
}

impl Permit<'_> {
    /// The call has ended so.
    pub(super) fn tell<T>(mut self, outcome: &Result<T>) {
        self.told = true;
        match outcome {
            Ok(_) => self.succeeded(),
            Err(error) => self.failed(error),
        }
    }

    fn succeeded(&self) {
        // Read before the call: the clock is not read twice for it.
        if let Some(state) = self.guard.breaker.succeeded(self.admission, self.began) {
            self.guard.changed(state, self.instance.name(), "");
        }
        if self.guard.is_marked() {
            self.instance.replay_soon(self.guard);
        }
    }

    #[cold]
    fn failed(&self, error: &Error) {
        let breaker = &self.guard.breaker;
        if !says_something(error.kind()) {
            return breaker.undecided(self.admission);
        }
        self.guard.counters.failures.fetch_add(1, Ordering::Relaxed);
        let now = clock::monotonic();
        let waited = now.saturating_sub(self.began);
        let held = error.kind() == ErrorKind::Timeout && waited >= self.instance.ceiling();
        if let Some(state) = breaker.failed(self.admission, self.began, now, held) {
            self.guard.changed(state, self.instance.name(), error.message());
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.guard.breaker.undecided(self.admission);
        }
    }
}

/// What a call is told that is not made, because of the failure `why`.
fn refusal(name: &str, why: &str) -> Error {
    let message = format!("the circuit is open, the backend is not asked: {why}");
    Error::new(ErrorKind::Busy, "call", message).with("backend", name).refusal()
}

/// Whether an error of this class says that the backend cannot be used, rather than that this call,
/// or this entry, is wrong.
pub(super) fn says_something(kind: ErrorKind) -> bool {
    matches!(
        kind.status(),
        status::BUSY | status::RETRYABLE | status::TIMEOUT | status::PANIC | status::FATAL
    )
}

/// Whether an operation can be made twice and leave things as if it had been made once.
pub(super) fn is_repeatable(operation: &str) -> bool {
    is_read(operation)
        || matches!(operation, "set" | "delete" | "clear" | "touch" | "set_many" | "delete_many")
}

/// Whether an operation changes nothing.
pub(super) fn is_read(operation: &str) -> bool {
    matches!(operation, "get" | "get_many" | "ttl" | "scan" | "count" | "ping" | "statistics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_fault_of_the_backend_says_nothing_about_it() {
        let kinds = [
            (ErrorKind::Busy, true),
            (ErrorKind::Retryable, true),
            (ErrorKind::Timeout, true),
            (ErrorKind::Configuration, false),
            (ErrorKind::Panic, true),
            (ErrorKind::Fatal, true),
            (ErrorKind::Unsupported, false),
            (ErrorKind::Corrupt, false),
            (ErrorKind::Cancelled, false),
            (ErrorKind::Invalid, false),
        ];
        for (kind, expected) in kinds {
            assert_eq!(says_something(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn what_would_count_twice_is_not_repeated() {
        for operation in
            ["add", "compare_and_set", "increment", "lease_acquire", "lease_renew", "lease_release"]
        {
            assert!(!is_repeatable(operation), "{operation}");
        }
        for operation in ["get", "set", "delete", "clear", "ping"] {
            assert!(is_repeatable(operation), "{operation}");
        }
    }
}
