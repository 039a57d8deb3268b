//! One call of a function of the table: its moments, its answer at once or later, what a status means.

use std::sync::atomic::Ordering;
use std::time::Duration;

use retainit_plugin_api::abi::call::{self as raw, Call, NEVER};
use retainit_plugin_api::abi::value;
use retainit_plugin_api::abi::{capability, status};
use retainit_plugin_api::sdk::Value;

use super::Instance;
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::host::printable;
use crate::operations::{Blocking, Completion};

/// A pending operation of a backend without a timeout is given up after this long: a plugin that
/// never completes must not hold a caller for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The two moments that go with a call, on the process's monotonic clock.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) now: i64,
    pub(crate) deadline: i64,
}

impl Timing {
    pub(crate) fn unbounded() -> Self {
        Timing { now: clock::monotonic(), deadline: NEVER }
    }

    pub(crate) fn within(self, limit: Duration) -> Self {
        Timing { deadline: self.now.saturating_add(nanoseconds(limit)), ..self }
    }

    pub(crate) fn call(self, op: u64, error: *mut value::Value) -> Call {
        Call { op, now: self.now, deadline: self.deadline, error }
    }
}

/// How a call was answered.
pub(super) enum Answer {
    /// At once; the outputs are written.
    Ready(i32),
    /// Later.
    Completed(Completion),
}

impl Answer {
    pub(super) fn status(&self) -> i32 {
        match self {
            Answer::Ready(status) => *status,
            Answer::Completed(completion) => completion.status,
        }
    }
}

impl Instance {
    pub(super) fn now(&self) -> Timing {
        let now = clock::monotonic();
        Timing { now, deadline: now.saturating_add(self.timeout.load(Ordering::Relaxed)) }
    }

    /// Calls one function of the table and waits for its answer where it comes later.
    pub(super) fn call(
        &self,
        operation: &'static str,
        function: impl FnOnce(&Call) -> i32,
    ) -> Result<Answer> {
        if self.capabilities & (capability::INLINE | capability::BLOCKING) != 0 {
            return self.answer_at_once(operation, self.now(), function).map(Answer::Ready);
        }
        self.answer_later(operation, self.now(), function)
    }

    /// As [`Instance::call`], for functions that take over the references in `entries`.
    pub(super) fn call_with<E: AsRef<[raw::Entry]>>(
        &self,
        operation: &'static str,
        entries: E,
        function: impl FnOnce(&Call, &[raw::Entry]) -> i32,
    ) -> Result<Answer> {
        let mut given = false;
        let answer = self.call(operation, |call| {
            given = true;
            function(call, entries.as_ref())
        });
        if !given {
            // Refused before the plugin saw them.
            // SAFETY: nobody has taken the references over.
            entries.as_ref().iter().for_each(|entry| drop(unsafe { Value::from_raw(entry.value) }));
        }
        answer
    }

    pub(super) fn answer_at_once(
        &self,
        operation: &'static str,
        timing: Timing,
        function: impl FnOnce(&Call) -> i32,
    ) -> Result<i32> {
        let mut message = value::Value::NONE;
        let code = function(&timing.call(0, &mut message));
        // SAFETY: the plugin gave the reference to us.
        let message = unsafe { Value::from_raw(message) };
        match code {
            status::PENDING => Err(self.error(
                operation,
                status::INVALID,
                "the plugin answered `pending` to a call that asked for an answer",
            )),
            code if code < 0 => Err(self.error(operation, code, &text_of(&message))),
            code => Ok(code),
        }
    }

    pub(super) fn answer_later(
        &self,
        operation: &'static str,
        timing: Timing,
        function: impl FnOnce(&Call) -> i32,
    ) -> Result<Answer> {
        let operations = self.context.operations();
        let (blocking, waiter) = Blocking::new();
        let op = operations.begin(waiter).ok_or_else(|| self.busy(operation))?;
        let mut message = value::Value::NONE;
        let code = function(&timing.call(op, &mut message));
        // SAFETY: the plugin gave the reference to us.
        let message = unsafe { Value::from_raw(message) };
        if code != status::PENDING {
            operations.withdraw(op, false);
            return match code {
                code if code < 0 => Err(self.error(operation, code, &text_of(&message))),
                code => Ok(Answer::Ready(code)),
            };
        }
        let longest = timing.now.saturating_add(nanoseconds(LONGEST_WAIT));
        let completion = match blocking.wait(timing.deadline.min(longest)) {
            Some(completion) => completion,
            None if self.withdraw(op) => {
                return Err(self.error(operation, status::TIMEOUT, "the plugin did not answer in time"));
            }
            // It came just now, between giving up and saying so.
            None => blocking.wait(NEVER).ok_or_else(|| self.incomplete(operation))?,
        };
        if completion.status < 0 {
            return Err(self.error(operation, completion.status, &text_of(&completion.text)));
        }
        Ok(Answer::Completed(completion))
    }

    pub(crate) fn timing_until(&self, deadline: i64) -> Timing {
        Timing { now: clock::monotonic(), deadline }
    }

    pub(super) fn need<F>(&self, function: Option<F>, operation: &'static str) -> Result<F> {
        function.ok_or_else(|| {
            self.error(operation, status::UNSUPPORTED, "the plugin does not have this operation")
        })
    }

    /// `OK` is done, everything else a breach of the contract.
    pub(super) fn done(&self, operation: &'static str, answer: &Answer) -> Result<()> {
        self.plain(operation, answer.status())
    }

    pub(super) fn plain(&self, operation: &'static str, code: i32) -> Result<()> {
        match code {
            status::OK => Ok(()),
            code => Err(self.unexpected(operation, code)),
        }
    }

    /// `OK` or `NOT_FOUND`.
    pub(super) fn present(&self, operation: &'static str, answer: &Answer) -> Result<bool> {
        match answer.status() {
            status::NOT_FOUND => Ok(false),
            code => self.plain(operation, code).map(|()| true),
        }
    }

    /// `OK` or `CONFLICT`.
    pub(super) fn held(&self, operation: &'static str, answer: &Answer) -> Result<bool> {
        match answer.status() {
            status::CONFLICT => Ok(false),
            code => self.plain(operation, code).map(|()| true),
        }
    }

    pub(super) fn each(
        &self,
        operation: &'static str,
        answer: &Answer,
        statuses: Vec<i32>,
    ) -> Result<Vec<i32>> {
        self.done(operation, answer)?;
        let expected = statuses.len();
        let statuses = match answer {
            Answer::Ready(_) => statuses,
            Answer::Completed(completion) => completion.items.iter().map(|item| item.status).collect(),
        };
        if statuses.len() == expected {
            Ok(statuses)
        } else {
            Err(self.incomplete(operation))
        }
    }

    pub(super) fn incomplete(&self, operation: &'static str) -> Error {
        self.error(operation, status::INVALID, "the plugin's answer is incomplete")
    }

    pub(super) fn unexpected(&self, operation: &'static str, code: i32) -> Error {
        if code < 0 {
            return self.error(operation, code, "");
        }
        self.error(
            operation,
            status::INVALID,
            &format!("the plugin answered `{}` ({code}), which is no answer to this", status::name(code)),
        )
    }

    pub(crate) fn error(&self, operation: &'static str, code: i32, message: &str) -> Error {
        let message = match message {
            "" => format!("{operation} failed: {}", status::name(code)),
            message => message.to_owned(),
        };
        Error::new(ErrorKind::from_status(code), operation, message).with("backend", &*self.name)
    }
}

/// A plugin's message on one line; empty where it gave none.
pub(crate) fn text_of(message: &Value) -> String {
    printable(message.as_bytes().unwrap_or_default())
}

pub(super) fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
