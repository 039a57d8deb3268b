//! Calls that concern the instance as a whole.

use super::call::Done;
use super::fault::Result;
use super::Session;
use crate::abi::value::Value as RawValue;
use crate::sdk::Value;

impl Session {
    pub(crate) fn quiesce(&self) -> Result<()> {
        let quiesce = self.table.quiesce.expect("`quiesce` is required");
        let deadline = self.host.now() + 10_000_000_000;
        // SAFETY: as in `get`.
        let status = self.immediate("quiesce", deadline, |call| unsafe { quiesce(self.instance, call) })?;
        self.only_ok("quiesce", status)
    }

    pub(crate) fn ping(&self) -> Result<()> {
        let ping = self.table.ping.expect("`ping` is there");
        // SAFETY: as in `get`.
        let Done(status, _) = self.call("ping", |call| unsafe { ping(self.instance, call) })?;
        self.only_ok("ping", status)
    }

    pub(crate) fn flush(&self) -> Result<()> {
        let flush = self.table.flush.expect("`flush` is there");
        // SAFETY: as in `get`.
        let Done(status, _) = self.call("flush", |call| unsafe { flush(self.instance, call) })?;
        self.only_ok("flush", status)
    }

    pub(crate) fn statistics(&self) -> Result<serde_json::Value> {
        let mut text = RawValue::NONE;
        let statistics = self.table.statistics.expect("`statistics` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) =
            self.call("statistics", |call| unsafe { statistics(self.instance, call, &mut text) })?;
        self.only_ok("statistics", status)?;
        // SAFETY: the plugin's reference is ours.
        let text = completion.map_or_else(|| unsafe { Value::from_raw(text) }, |completion| completion.text);
        serde_json::from_slice(text.as_bytes().unwrap_or_default())
            .map_err(|error| self.broken("statistics", &format!("gave no json: {error}")))
    }

    pub(crate) fn cancel(&self, op: u64) {
        let cancel = self.table.cancel.expect("`cancel` is there");
        // SAFETY: as in `get`.
        unsafe { cancel(self.instance, op) }
    }
}
