//! One call of a guarded backend: let through or refused, made once or twice, here or on a helper thread.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use retainit_plugin_api::abi::call::{self as raw, Call, NEVER};
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::abi::{capability, status};
use retainit_plugin_api::sdk::{Entry, Request, Value};

use super::answer::{nanoseconds, Answer, Timing, LONGEST_WAIT};
use super::breaker::Admission;
use super::guard::{is_read, is_repeatable, Guard};
use super::latency::Latency;
use super::pending::{shape_of, Outputs};
use super::Instance;
use crate::clock;
use crate::error::{ErrorKind, Result};
use crate::operations::Blocking;

/// What a call asks of the plugin.
pub(super) trait Work {
    /// Calls the function of the table.
    fn issue(&mut self, call: &Call) -> i32;
    /// The same as a request that owns what it holds, for another thread.
    fn request(&mut self) -> Request;
    /// Whether it can be issued once more.
    fn is_whole(&self) -> bool;
    /// Keys that it writes.
    fn keys(&self) -> Vec<Vec<u8>>;
}

/// A call that only borrows.
struct Plain<F, R> {
    function: F,
    request: R,
}

impl<F: FnMut(&Call) -> i32, R: Fn() -> Request> Work for Plain<F, R> {
    fn issue(&mut self, call: &Call) -> i32 {
        (self.function)(call)
    }

    fn request(&mut self) -> Request {
        (self.request)()
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// A call that gives references to values away.
struct Giving<'e, F, R> {
    entries: Vec<(&'e [u8], Option<Value>, i64)>,
    /// Whether second references are given, so that there is something for a second time.
    twice: bool,
    function: F,
    request: R,
}

impl<F, R> Giving<'_, F, R> {
    fn values(&mut self) -> Vec<Value> {
        let twice = self.twice;
        let give = |value: &mut Option<Value>| {
            let second = value.as_ref().filter(|_| twice).and_then(Value::share_bytes);
            second.or_else(|| value.take())
        };
        self.entries.iter_mut().filter_map(|(_, value, _)| give(value)).collect()
    }
}

impl<F, R> Work for Giving<'_, F, R>
where
    F: FnMut(&Call, &[raw::Entry]) -> i32,
    R: Fn(Vec<(Vec<u8>, Value, i64)>) -> Request,
{
    fn issue(&mut self, call: &Call) -> i32 {
        let values = self.values();
        let entry = |((key, _, ttl), value): (&(&[u8], Option<Value>, i64), Value)| raw::Entry {
            key: Slice::new(key),
            value: value.into_raw(),
            ttl: *ttl,
        };
        let entries: Vec<raw::Entry> = self.entries.iter().zip(values).map(entry).collect();
        (self.function)(call, &entries)
    }

    fn request(&mut self) -> Request {
        let values = self.values();
        let owned = self.entries.iter().zip(values).map(|((key, _, ttl), value)| (key.to_vec(), value, *ttl));
        (self.request)(owned.collect())
    }

    fn is_whole(&self) -> bool {
        self.entries.iter().all(|(_, value, _)| value.is_some())
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        self.entries.iter().map(|(key, _, _)| key.to_vec()).collect()
    }
}

impl Instance {
    /// Calls one function of the table and waits for its answer where it comes later. `request` is the
    /// same call for another thread.
    pub(super) fn call(
        &self,
        operation: &'static str,
        request: impl Fn() -> Request,
        function: impl FnMut(&Call) -> i32,
    ) -> Result<Answer> {
        self.run(operation, &mut Plain { function, request })
    }

    /// As [`Instance::call`], for functions that take over the references in `entries`.
    pub(super) fn call_with(
        &self,
        operation: &'static str,
        entries: Vec<Entry<'_>>,
        request: impl Fn(Vec<(Vec<u8>, Value, i64)>) -> Request,
        function: impl FnMut(&Call, &[raw::Entry]) -> i32,
    ) -> Result<Answer> {
        let entries = entries.into_iter().map(|entry| (entry.key, Some(entry.value), entry.ttl)).collect();
        let twice = self.guard.is_some() && is_repeatable(operation);
        self.run(operation, &mut Giving { entries, twice, function, request })
    }

    fn run(&self, operation: &'static str, work: &mut impl Work) -> Result<Answer> {
        let Some(guard) = &self.guard else {
            return self.answer_at_once(operation, self.now(), |call| work.issue(call)).map(Answer::Ready);
        };
        let now = clock::monotonic();
        if operation == "flush" {
            // What was acknowledged is made durable, however the backend is.
            return self.attempt(guard, operation, self.timing(operation, now), work);
        }
        let permit = guard.admit(self, operation, now)?;
        let timing = self.timing(operation, now);
        let mut outcome = self.attempt(guard, operation, timing, work);
        if let Err(error) = &outcome {
            // An answer that did not come may still; one that says "busy" is not to be busier. A
            // probe has found out what it was for.
            let again = error.kind() == ErrorKind::Retryable
                && permit.admission == Admission::Free
                && is_repeatable(operation)
                && work.is_whole()
                && clock::monotonic() < timing.deadline;
            if again {
                guard.counters.retried.fetch_add(1, Ordering::Relaxed);
                outcome = self.attempt(guard, operation, timing, work);
            }
        }
        permit.tell(&outcome);
        outcome
    }

    fn attempt(
        &self,
        guard: &Guard,
        operation: &'static str,
        timing: Timing,
        work: &mut impl Work,
    ) -> Result<Answer> {
        if self.answers_later() {
            return self.answer_later(guard, operation, timing, work);
        }
        match guard.me.get().filter(|_| self.timeout() != NEVER).and_then(std::sync::Weak::upgrade) {
            Some(me) => self.answer_elsewhere(guard, &me, operation, timing, work.request(), work.keys()),
            None => self.answer_at_once(operation, timing, |call| work.issue(call)).map(Answer::Ready),
        }
    }

    fn answer_later(
        &self,
        guard: &Guard,
        operation: &'static str,
        timing: Timing,
        work: &mut impl Work,
    ) -> Result<Answer> {
        let operations = self.operations();
        let (blocking, waiter) = Blocking::new();
        let op = operations.begin(waiter).ok_or_else(|| self.busy(operation))?;
        let mut message = value::Value::NONE;
        let code = work.issue(&timing.call(op, &mut message));
        // SAFETY: the plugin gave the reference to us.
        let message = unsafe { Value::from_raw(message) };
        if code != status::PENDING {
            operations.withdraw(op);
            return self.checked(operation, code, &message).map(Answer::Ready);
        }
        self.await_answer(guard, operation, timing, op, &blocking, work.keys())
    }

    /// Has a thread of the host make a call that may block, so that it can be given up.
    fn answer_elsewhere(
        &self,
        guard: &Guard,
        me: &Arc<Instance>,
        operation: &'static str,
        timing: Timing,
        request: Request,
        keys: Vec<Vec<u8>>,
    ) -> Result<Answer> {
        let (blocking, waiter) = Blocking::new();
        let op = self.operations().begin(waiter).ok_or_else(|| self.busy(operation))?;
        let instance = me.clone();
        guard.helpers.run(move || {
            let (_, shape) = shape_of(&request);
            let mut outputs = Outputs::new(shape);
            let mut message = value::Value::NONE;
            let code = if instance.operations().is_awaited(op) {
                let code = instance.issue(&timing.call(0, &mut message), request, &mut outputs);
                if code == status::PENDING {
                    status::INVALID
                } else {
                    code
                }
            } else {
                // Given up before its turn came: nobody wants it done.
                drop(request);
                status::CANCELLED
            };
            // SAFETY: the plugin gave the reference to us.
            let message = unsafe { Value::from_raw(message) };
            instance.operations().deliver(op, outputs.into_completion(shape, code, message));
        });
        self.await_answer(guard, operation, timing, op, &blocking, keys)
    }

    fn await_answer(
        &self,
        guard: &Guard,
        operation: &'static str,
        timing: Timing,
        op: u64,
        blocking: &Blocking,
        keys: Vec<Vec<u8>>,
    ) -> Result<Answer> {
        let latency = guard.latency(operation);
        let completion = match blocking.wait(timing.deadline) {
            Some(completion) => {
                // One that says "no" may say it sooner than one that says what is asked.
                if completion.status >= 0 {
                    latency.answered(clock::monotonic().saturating_sub(timing.now));
                }
                completion
            }
            None if self.give_up(guard, operation, timing.now, op, keys) => {
                latency.timed_out();
                return Err(self.error(operation, status::TIMEOUT, "the plugin did not answer in time"));
            }
            // It came just now, between giving up and saying so.
            None => blocking.wait(NEVER).ok_or_else(|| self.incomplete(operation))?,
        };
        self.checked(operation, completion.status, &completion.text)?;
        Ok(Answer::Completed(completion))
    }

    /// Gives up an operation that began at `began`; `false` if its completion came first.
    fn give_up(
        &self,
        guard: &Guard,
        operation: &'static str,
        began: i64,
        op: u64,
        keys: Vec<Vec<u8>>,
    ) -> bool {
        let strays = !keys.is_empty();
        if strays {
            guard.with_ledger(|ledger| keys.into_iter().for_each(|key| ledger.missed.strays(op, key)));
        }
        let me = guard.me.get().cloned();
        let late = move |status: i32| {
            let instance = me.and_then(|me| me.upgrade());
            let Some(guard) = instance.as_ref().and_then(|instance| instance.guard.as_ref()) else { return };
            if status >= 0 {
                guard.latency(operation).answered(clock::monotonic().saturating_sub(began));
            }
            if strays {
                guard.with_ledger(|ledger| ledger.missed.returned(op));
            }
        };
        let first = self.withdraw(op, Some(Box::new(late)));
        if !first && strays {
            guard.with_ledger(|ledger| ledger.missed.returned(op));
        }
        first
    }

    fn timing(&self, operation: &'static str, now: i64) -> Timing {
        let bound = self.timeout();
        let adaptive = self.answers_later() || bound != NEVER;
        let wait = match &self.guard {
            Some(guard) if adaptive => guard.latency(operation).timeout(self.ceiling()),
            _ => bound,
        };
        Timing { now, deadline: now.saturating_add(wait) }
    }

    /// The longest that a call is waited for, in nanoseconds.
    pub(super) fn ceiling(&self) -> i64 {
        match self.timeout() {
            NEVER if self.answers_later() => nanoseconds(LONGEST_WAIT),
            bound => bound,
        }
    }

    /// Whether calls are made with an operation id and answered by a completion.
    pub(super) fn answers_later(&self) -> bool {
        self.has(capability::ASYNC) && (!self.has(capability::BLOCKING) || self.timeout() != NEVER)
    }

    fn timeout(&self) -> i64 {
        self.timeout.load(Ordering::Relaxed)
    }
}

impl Guard {
    pub(super) fn latency(&self, operation: &str) -> &Latency {
        if is_read(operation) {
            &self.reads
        } else {
            &self.writes
        }
    }
}
