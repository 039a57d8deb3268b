//! One call of a function of the table: its moments, its answer at once or later, what a status means.

use std::sync::atomic::Ordering;
use std::time::Duration;

use retainit_plugin_api::abi::call::{Call, NEVER};
use retainit_plugin_api::abi::status;
use retainit_plugin_api::abi::value;
use retainit_plugin_api::sdk::Value;

use super::Instance;
use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::host::printable;
use crate::operations::Completion;

/// A pending operation of a backend without a timeout is given up after this long: a plugin that
/// never completes must not hold a caller for ever.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(10);

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
            code => self.checked(operation, code, &message),
        }
    }

    /// The status of a call that was answered, unless it is an error.
    pub(super) fn checked(&self, operation: &'static str, code: i32, message: &Value) -> Result<i32> {
        if code < 0 {
            return Err(self.error(operation, code, &text_of(message)));
        }
        Ok(code)
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
