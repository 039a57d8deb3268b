//! Open event sinks.

use std::sync::Arc;
use std::time::Duration;

use retainit_plugin_api::abi::sink::{Event, SinkTable};

use crate::component::Handle;
use crate::error::Result;
use crate::loader::Component;

/// An open event sink.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Handle<SinkTable>>);

impl Sink {
    pub(crate) fn open(component: Component, table: SinkTable, options: &serde_json::Value) -> Result<Self> {
        Handle::open(component, table, table.open, table.close, options).map(Sink)
    }

    /// What it is an instance of.
    pub fn component(&self) -> &Component {
        self.0.component()
    }

    /// Gives it events, in order. An error that [is retryable](crate::Error::is_retryable) means that
    /// it dropped them.
    ///
    /// # Safety
    /// The texts of all `events` must be valid for the call.
    pub unsafe fn emit(&self, events: &[Event]) -> Result<()> {
        let emit = self.0.need(self.0.table().emit, "emit")?;
        // SAFETY: the instance is open; the rest is promised by the caller.
        self.0.call("emit", |handle, call| unsafe { emit(handle, call, events.as_ptr(), events.len()) })
    }

    /// Delivers what it keeps back, within `limit`.
    pub fn flush(&self, limit: Duration) -> Result<()> {
        let Some(flush) = self.0.table().flush else { return Ok(()) };
        // SAFETY: the instance is open.
        self.0.call_within("flush", limit, |handle, call| unsafe { flush(handle, call) })
    }
}
