//! Reads, writes and invalidations that go by the ledger: writes that wait, invalidations that were missed.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::abi::capability;
use retainit_plugin_api::sdk::{Item, Token, Value};

use super::answer::nanoseconds;
use super::behind::{left, Queued};
use super::guard::{says_something, Guard};
use super::Instance;
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::flight::Scope;
use crate::lock::pause;
use crate::throttle;

/// How soon what could not be replayed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long others wait for writes that are under way.
pub(super) const WRITING: Duration = Duration::from_secs(10);

/// What the ledger knows of a key.
pub(super) enum Known {
    /// Nothing: the backend is to be asked.
    Nothing,
    /// That there is no entry, or none that may be read.
    Absent,
    /// The entry, which waits to be written.
    Waiting(Item),
}

impl Instance {
    /// The guard, where the ledger has to be asked.
    #[inline]
    pub(super) fn marked(&self) -> Option<&Guard> {
        self.guard.as_ref().filter(|guard| guard.is_marked())
    }

    /// What the ledger knows of `key`.
    #[inline]
    pub(super) fn known(&self, key: &[u8]) -> Known {
        match self.marked() {
            Some(guard) => self.look_up(guard, key),
            None => Known::Nothing,
        }
    }

    fn look_up(&self, guard: &Guard, key: &[u8]) -> Known {
        let ledger = guard.ledger.lock();
        let covered = ledger.missed.covers(key);
        if let Some(queued) = ledger.behind.get(key, !covered) {
            if queued.expires <= clock::monotonic() {
                return Known::Absent;
            }
            let (value, expires) = (queued.value.share_bytes(), queued.expires);
            drop(ledger);
            // What belongs to its reader alone must not be the one that is about to be written.
            let own = |value: Value| {
                let exclusive = self.has(capability::EXCLUSIVE);
                let copy = || Value::from_vec(value.as_bytes().unwrap_or_default().to_vec());
                if exclusive {
                    copy()
                } else {
                    value
                }
            };
            return value.map_or(Known::Absent, |value| {
                Known::Waiting(Item { value: own(value), expires, token: Token::default() })
            });
        }
        drop(ledger);
        if !covered {
            return Known::Nothing;
        }
        if !guard.breaker.refuses(clock::monotonic) {
            self.replay_soon(guard);
        }
        Known::Absent
    }

    /// Takes a write into the queue, or gives the value back for the backend itself.
    pub(super) fn enqueue(
        &self,
        key: &[u8],
        value: Value,
        ttl: i64,
    ) -> std::result::Result<Result<()>, Value> {
        let Some(guard) = self.marked().filter(|_| value.as_bytes().is_some()) else { return Err(value) };
        let expires = clock::monotonic().saturating_add(ttl);
        let (pushed, start) = guard.with_ledger(|ledger| {
            // An open circuit is said at once rather than when it is too late.
            if ledger.behind.limit() == 0 || guard.breaker.refuses(clock::monotonic) {
                return (Err((value, false)), false);
            }
            match ledger.behind.push(key, Queued { value, expires }) {
                Ok(replaced) => (Ok(replaced), !std::mem::replace(&mut ledger.behind.drained, true)),
                Err(Queued { value, .. }) => (Err((value, true)), false),
            }
        });
        if start {
            let me = guard.me.get().cloned().unwrap_or_default();
            guard.helpers.run(move || {
                if let Some(instance) = me.upgrade() {
                    instance.drain_all();
                }
            });
        }
        match pushed {
            Ok(replaced) => {
                drop(replaced);
                Ok(Ok(()))
            }
            Err((value, false)) => Err(value),
            Err((_, true)) => {
                guard.counters.lost.fetch_add(1, Ordering::Relaxed);
                let message = "the queue of writes is full, so that this one is lost";
                Ok(Err(Error::new(ErrorKind::Busy, "set", message).with("backend", self.name())))
            }
        }
    }

    /// Takes what waits in the scope out of the queue, and waits for what is being written of it: how
    /// many there were, and whether nothing of it can be written any more.
    pub(super) fn unqueue(&self, guard: &Guard, scope: &Scope) -> (usize, bool) {
        let gone = guard.with_ledger(|ledger| ledger.behind.remove(scope));
        let deadline = clock::deadline(WRITING);
        let mut round = 0;
        let mut seen = gone.len();
        while guard.ledger.lock().behind.is_writing(scope) {
            seen = seen.max(1);
            // While the circuit is open nobody is held up: it is as if the invalidation was missed.
            if clock::monotonic() >= deadline || guard.breaker.refuses(clock::monotonic) {
                return (seen, false);
            }
            pause(round);
            round += 1;
        }
        (seen, true)
    }

    /// An invalidation of the scope has ended so; `clean` where nothing older can follow it.
    pub(super) fn invalidated<T>(&self, scope: Scope, clean: bool, before: u64, outcome: &Result<T>) {
        let Some(guard) = &self.guard else { return };
        let failed = outcome.as_ref().is_err_and(|error| says_something(error.kind()));
        if failed || !clean {
            guard.with_ledger(|ledger| ledger.missed.add(scope));
        } else if guard.is_marked() && outcome.is_ok() {
            guard.with_ledger(|ledger| {
                if ledger.missed.has_straggler(&scope) {
                    ledger.missed.add(scope);
                } else if let Scope::Key(key) = &scope {
                    ledger.missed.replaced(key, before);
                }
            });
        }
    }

    /// The number of the last invalidation that was missed: those up to it are made up for by a write
    /// that begins now.
    pub(super) fn mark(&self) -> u64 {
        self.marked().map_or(0, |guard| guard.ledger.lock().missed.last())
    }

    /// A write that began at `mark` has ended so.
    pub(super) fn wrote<T>(&self, key: &[u8], mark: u64, outcome: &Result<T>) {
        let Some(guard) = self.marked() else { return };
        if outcome.is_err() {
            return;
        }
        guard.with_ledger(|ledger| {
            let scope = Scope::Key(key.to_vec());
            if ledger.missed.has_straggler(&scope) {
                // An older value may come through after this one.
                ledger.missed.add(scope);
            } else {
                ledger.missed.replaced(key, mark);
            }
        });
    }

    /// Before an operation that looks at what is stored: brings the backend up to date about `key`.
    pub(super) fn settle(&self, key: &[u8]) -> Result<()> {
        let Some(guard) = self.marked() else { return Ok(()) };
        self.drain_within(WRITING);
        let (covered, before) = {
            let ledger = guard.ledger.lock();
            (ledger.missed.covers(key), ledger.missed.last())
        };
        if covered {
            let removed = self.remove(key);
            self.invalidated(Scope::Key(key.to_vec()), true, before, &removed);
            removed?;
        }
        Ok(())
    }

    /// Writes what waits; what is left when `deadline` has passed stays. Whether nothing is.
    pub(super) fn drain(&self, deadline: i64) -> bool {
        let Some(guard) = self.marked() else { return true };
        let mut round = 0;
        loop {
            // Together: an invalidation that is missed from here on is not made up for by this write.
            let next = guard.with_ledger(|ledger| Some((ledger.behind.next()?, ledger.missed.last())));
            let Some(((key, value, expires), mark)) = next else {
                if guard.ledger.lock().behind.is_empty() {
                    return true;
                }
                // Somebody else writes the last one.
                if clock::monotonic() >= deadline {
                    return false;
                }
                pause(round);
                round += 1;
                continue;
            };
            let left = left(expires, clock::monotonic());
            let outcome = if left > 0 { self.store(&key, value, left, mark) } else { Ok(()) };
            drop(guard.with_ledger(|ledger| ledger.behind.written()));
            if let Err(error) = outcome {
                self.lost(guard, 1, &error.to_string());
            }
            if clock::monotonic() >= deadline {
                return guard.ledger.lock().behind.is_empty();
            }
        }
    }

    /// Writes what waits, as far as there is time.
    pub(super) fn drain_within(&self, limit: Duration) {
        if self.marked().is_some() {
            self.drain(clock::deadline(limit));
        }
    }

    /// Writes what waits and what comes meanwhile, as the one who does.
    fn drain_all(&self) {
        let Some(guard) = &self.guard else { return };
        loop {
            self.drain(NEVER);
            let idle = guard.with_ledger(|ledger| {
                let idle = ledger.behind.is_empty();
                if idle {
                    ledger.behind.drained = false;
                }
                idle
            });
            if idle {
                return;
            }
        }
    }

    /// Writes what waits within `limit`; the rest is lost, and said to be.
    pub(super) fn drain_or_lose(&self, limit: Duration) {
        let Some(guard) = self.marked() else { return };
        if !self.drain(clock::monotonic().saturating_add(nanoseconds(limit))) {
            let gone = guard.with_ledger(|ledger| ledger.behind.remove(&Scope::Prefix(Vec::new())));
            self.lost(guard, gone.len(), "there was no time left to write them");
        }
    }

    #[cold]
    fn lost(&self, guard: &Guard, count: usize, why: &str) {
        guard.counters.lost.fetch_add(count as u64, Ordering::Relaxed);
        if count > 0 && throttle::allows(&format!("writes of {}", self.name())) {
            tracing::warn!(target: "retainit::backend", backend = self.name(), lost = count,
                "entries that waited to be written are lost: {why}");
        }
    }

    /// Has a helper thread tell the backend what it has missed, unless one does, or has just tried.
    pub(super) fn replay_soon(&self, guard: &Guard) {
        let Some(me) = guard.me.get().and_then(std::sync::Weak::upgrade) else { return };
        let mut ledger = guard.ledger.lock();
        if ledger.missed.nothing_to_replay() || ledger.replaying || clock::monotonic() < ledger.not_before {
            return;
        }
        ledger.replaying = true;
        drop(ledger);
        guard.helpers.run(move || me.replay());
    }

    fn replay(self: &Arc<Self>) {
        let Some(guard) = &self.guard else { return };
        let mut replayed = 0;
        loop {
            let next = guard.with_ledger(|ledger| {
                let next = ledger.missed.next().filter(|next| !ledger.behind.is_writing(&next.scope));
                ledger.replaying = next.is_some();
                next
            });
            let Some(next) = next else { break };
            let outcome = match &next.scope {
                Scope::Key(key) => self.remove(key).map(drop),
                Scope::Prefix(prefix) => self.remove_all(prefix).map(drop),
            };
            match outcome {
                Ok(()) => guard.with_ledger(|ledger| ledger.missed.replayed(&next)),
                Err(error) => {
                    guard.with_ledger(|ledger| {
                        ledger.replaying = false;
                        if !error.is_refusal() {
                            ledger.not_before = clock::deadline(AGAIN);
                        }
                    });
                    break;
                }
            }
            replayed += 1;
        }
        if replayed > 0 {
            tracing::info!(target: "retainit::backend", backend = self.name(), replayed,
                "the backend has been told of invalidations it had missed");
        }
    }
}
