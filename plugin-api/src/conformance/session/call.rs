//! One call: its error slot, its completion, and what any answer must keep to.

use std::sync::atomic::Ordering;

use super::fault::{Fault, Result};
use super::{Mode, Session};
use crate::abi::call::{Call, NEVER};
use crate::abi::status;
use crate::abi::value::Value as RawValue;
use crate::conformance::host::Completion;
use crate::sdk::Value;

/// A call's status, and its completion if it was pending.
pub(super) struct Done(pub(super) i32, pub(super) Option<Completion>);

impl Session {
    /// A call that must be answered on return, with the error's message.
    pub(super) fn immediate(
        &self,
        operation: &'static str,
        deadline: i64,
        body: impl FnOnce(*const Call) -> i32,
    ) -> Result<i32> {
        let (status, message) = self.raw(0, deadline, body);
        if status == status::PENDING {
            return Err(self.broken(operation, "answered PENDING to a call without an operation id"));
        }
        self.checked(operation, status, message)
    }

    /// One raw call with its error slot.
    pub(crate) fn raw(
        &self,
        op: u64,
        deadline: i64,
        body: impl FnOnce(*const Call) -> i32,
    ) -> (i32, Option<Value>) {
        let mut error = RawValue::NONE;
        let now = if self.timeless.load(Ordering::Relaxed) { 0 } else { self.host.now() };
        let call = Call { op, now, deadline, error: &mut error };
        let status = body(&call);
        // SAFETY: whatever the plugin left there is ours.
        let message = (error.kind != crate::abi::value::NONE).then(|| unsafe { Value::from_raw(error) });
        (status, message)
    }

    pub(super) fn checked(
        &self,
        operation: &'static str,
        status: i32,
        message: Option<Value>,
    ) -> Result<i32> {
        if status >= 0 {
            return match message {
                Some(_) => Err(self.broken(operation, "left an error message although it did not fail")),
                None if status > status::CONFLICT => {
                    Err(self.broken(operation, &format!("answered status {status}")))
                }
                None => Ok(status),
            };
        }
        let message = match message.as_ref().map(|value| value.as_bytes().map(std::str::from_utf8)) {
            None => String::new(),
            Some(Some(Ok(text))) => text.to_owned(),
            Some(_) => return Err(self.broken(operation, "left an error message that is not utf-8")),
        };
        Err(Fault { operation, status, message })
    }

    /// A call in this session's mode.
    pub(super) fn call(
        &self,
        operation: &'static str,
        body: impl FnOnce(*const Call) -> i32,
    ) -> Result<Done> {
        self.call_until(operation, NEVER, body)
    }

    pub(super) fn call_until(
        &self,
        operation: &'static str,
        deadline: i64,
        body: impl FnOnce(*const Call) -> i32,
    ) -> Result<Done> {
        if self.mode == Mode::Ready {
            return Ok(Done(self.immediate(operation, deadline, body)?, None));
        }
        let op = self.host.begin();
        let (status, message) = self.raw(op, deadline, body);
        if status != status::PENDING {
            return Ok(Done(self.checked(operation, status, message)?, None));
        }
        self.host.pending(op);
        if message.is_some() {
            return Err(self.broken(operation, "left an error message although it answered PENDING"));
        }
        self.completion(operation, op)
    }

    pub(super) fn completion(&self, operation: &'static str, op: u64) -> Result<Done> {
        let Some(mut completion) = self.host.wait(op) else {
            return Err(self.broken(operation, "answered PENDING and did not complete"));
        };
        if completion.status < 0 {
            let none = std::mem::replace(&mut completion.text, nothing());
            let message = (none.as_raw().kind != crate::abi::value::NONE).then_some(none);
            self.checked(operation, completion.status, message)?;
        }
        Ok(Done(completion.status, Some(completion)))
    }

    pub(super) fn only_ok(&self, operation: &'static str, status: i32) -> Result<()> {
        self.yes(operation, status, status::OK).map(|_| ())
    }

    /// `true` for `OK`, `false` for `no`.
    pub(super) fn yes(&self, operation: &'static str, status: i32, no: i32) -> Result<bool> {
        match status {
            status::OK => Ok(true),
            other if other == no => Ok(false),
            other => Err(self.broken(operation, &format!("answered {}", status::name(other)))),
        }
    }

    pub(super) fn broken(&self, operation: &'static str, message: &str) -> Fault {
        Fault { operation, status: status::INVALID, message: message.to_owned() }
    }
}

fn nothing() -> Value {
    // SAFETY: no value needs no reference.
    unsafe { Value::from_raw(RawValue::NONE) }
}
