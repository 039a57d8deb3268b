//! The operations on more than an entry: leases, subscriptions, health, the end of work.

use std::ffi::c_void;
use std::time::Duration;

use retainit_plugin_api::abi::call::Call;
use retainit_plugin_api::abi::status;
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::sdk::{Lease, Request, Token, Value};

use super::answer::Answer;
use super::entries::token_of;
use super::ledger::WRITING;
use super::Instance;
use crate::error::Result;

impl Instance {
    /// `LEASE`: takes the lease `name` for `ttl` nanoseconds, or `None` if somebody holds it.
    pub fn lease_acquire(&self, name: &[u8], ttl: i64) -> Result<Option<Lease>> {
        let acquire = self.need(self.table.lease_acquire, "lease_acquire")?;
        let mut lease = Lease { holder: Token::default(), fence: 0 };
        let request = || Request::LeaseAcquire { name: name.to_vec(), ttl };
        let answer = self.call("lease_acquire", request, |call| {
            // SAFETY: see `read`.
            unsafe { acquire(self.handle, call, Slice::new(name), ttl, &mut lease) }
        })?;
        if !self.held("lease_acquire", &answer)? {
            return Ok(None);
        }
        match (&answer, token_of(&answer)) {
            (Answer::Ready(_), _) => Ok(Some(lease)),
            (Answer::Completed(completion), Some(holder)) => {
                Ok(Some(Lease { holder, fence: completion.number as u64 }))
            }
            (Answer::Completed(_), None) => Err(self.incomplete("lease_acquire")),
        }
    }

    /// `LEASE`: prolongs a lease; `false` if it was lost.
    pub fn lease_renew(&self, name: &[u8], ttl: i64, lease: &Lease) -> Result<bool> {
        let renew = self.need(self.table.lease_renew, "lease_renew")?;
        let request = || Request::LeaseRenew { name: name.to_vec(), ttl, lease: *lease };
        let answer = self.call("lease_renew", request, |call| {
            // SAFETY: see `read`.
            unsafe { renew(self.handle, call, Slice::new(name), ttl, lease) }
        })?;
        self.held("lease_renew", &answer)
    }

    /// `LEASE`: gives a lease back; `false` if it was lost.
    pub fn lease_release(&self, name: &[u8], lease: &Lease) -> Result<bool> {
        let release = self.need(self.table.lease_release, "lease_release")?;
        let request = || Request::LeaseRelease { name: name.to_vec(), lease: *lease };
        let answer = self.call("lease_release", request, |call| {
            // SAFETY: see `read`.
            unsafe { release(self.handle, call, Slice::new(name), lease) }
        })?;
        self.held("lease_release", &answer)
    }

    /// `SUBSCRIBE`: from now on reports changes of keys with `prefix` to [`Instance::on_invalidated`].
    pub fn subscribe(&self, prefix: &[u8]) -> Result<()> {
        let subscribe = self.need(self.table.subscribe, "subscribe")?;
        // SAFETY: see `read`.
        let answer = self.call(
            "subscribe",
            || Request::Subscribe { prefix: prefix.to_vec() },
            |call| unsafe { subscribe(self.handle, call, Slice::new(prefix)) },
        )?;
        self.done("subscribe", &answer)
    }

    /// Answers as soon as the store can be reached; at once where the plugin has no such function.
    pub fn ping(&self) -> Result<()> {
        self.optional("ping", || Request::Ping, self.table.ping)
    }

    /// Makes acknowledged writes as durable as they get, after writing those that wait.
    pub fn flush(&self) -> Result<()> {
        self.drain_within(WRITING);
        self.optional("flush", || Request::Flush, self.table.flush)
    }

    /// A JSON object of numbers: `entries`, `bytes`, `evictions`, and whatever else; empty where the
    /// plugin has no such function.
    pub fn statistics(&self) -> Result<serde_json::Value> {
        let Some(statistics) = self.table.statistics else { return Ok(serde_json::json!({})) };
        let mut text = value::Value::NONE;
        // SAFETY: see `read`.
        let answer = self.call(
            "statistics",
            || Request::Statistics,
            |call| unsafe { statistics(self.handle, call, &mut text) },
        );
        // SAFETY: the plugin gave the reference to us.
        let text = unsafe { Value::from_raw(text) };
        let answer = answer?;
        self.done("statistics", &answer)?;
        let text = match answer {
            Answer::Ready(_) => text,
            Answer::Completed(completion) => completion.text,
        };
        serde_json::from_slice(text.as_bytes().unwrap_or_default()).map_err(|error| {
            self.error("statistics", status::INVALID, &format!("the text is not JSON: {error}"))
        })
    }

    /// Finishes work in flight within `limit` and stops background threads; the instance still
    /// answers afterwards.
    pub fn quiesce(&self, limit: Duration) -> Result<()> {
        let quiesce = self.need(self.table.quiesce, "quiesce")?;
        self.drain_or_lose(limit);
        let timing = self.now().within(limit);
        // SAFETY: see `read`.
        let code = self.answer_at_once("quiesce", timing, |call| unsafe { quiesce(self.handle, call) })?;
        self.plain("quiesce", code)
    }

    fn optional(
        &self,
        operation: &'static str,
        request: impl Fn() -> Request,
        function: Option<unsafe extern "C" fn(*mut c_void, *const Call) -> i32>,
    ) -> Result<()> {
        let Some(function) = function else { return Ok(()) };
        // SAFETY: see `read`.
        let answer = self.call(operation, request, |call| unsafe { function(self.handle, call) })?;
        self.done(operation, &answer)
    }
}
