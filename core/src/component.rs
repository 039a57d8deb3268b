//! What open serializers, compressors and sinks have in common: a table, an instance, one way to call.

use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

use retainit_plugin_api::abi::call::Call;
use retainit_plugin_api::abi::host::HostRef;
use retainit_plugin_api::abi::status;
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::sdk::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::host::HostContext;
use crate::instance::{text_of, Timing};
use crate::loader::Component;

type Open = unsafe extern "C" fn(HostRef, *const Call, Slice, *mut *mut c_void) -> i32;
type Close = unsafe extern "C" fn(*mut c_void, *const Call) -> i32;

/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// An open instance with a table of functions `T`; closed when dropped.
pub(crate) struct Handle<T> {
    table: T,
    handle: *mut c_void,
    close: Option<Close>,
    context: &'static HostContext,
    component: Component,
}

// SAFETY: the contract lets every function of a table be called from many threads at once.
unsafe impl<T: Send> Send for Handle<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Handle<T> {}

impl<T> Handle<T> {
    pub(crate) fn open(
        component: Component,
        table: T,
        open: Option<Open>,
        close: Option<Close>,
        options: &serde_json::Value,
    ) -> Result<Arc<Self>> {
        let context = HostContext::new(component.name());
        let mut opened = Handle { table, handle: std::ptr::null_mut(), close, context, component };
        let open = opened.need(open, "open")?;
        let options = options.to_string();
        let mut handle = std::ptr::null_mut();
        let result = opened.call("open", |_, call| {
            // SAFETY: the host's context lives for ever, the rest for the call.
            unsafe { open(context.host_ref(), call, Slice::new(options.as_bytes()), &mut handle) }
        });
        // Set even on failure: dropping closes what there is.
        opened.handle = handle;
        result?;
        if handle.is_null() {
            return Err(opened.error("open", status::FATAL, "the plugin gave no instance"));
        }
        Ok(Arc::new(opened))
    }

    pub(crate) fn table(&self) -> &T {
        &self.table
    }

    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    pub(crate) fn need<F>(&self, function: Option<F>, operation: &'static str) -> Result<F> {
        function.ok_or_else(|| {
            self.error(operation, status::UNSUPPORTED, "the plugin does not have this operation")
        })
    }

    pub(crate) fn call(
        &self,
        operation: &'static str,
        function: impl FnOnce(*mut c_void, *const Call) -> i32,
    ) -> Result<()> {
        self.call_at(operation, Timing::unbounded(), function)
    }

    pub(crate) fn call_within(
        &self,
        operation: &'static str,
        limit: Duration,
        function: impl FnOnce(*mut c_void, *const Call) -> i32,
    ) -> Result<()> {
        self.call_at(operation, Timing::unbounded().within(limit), function)
    }

    fn call_at(
        &self,
        operation: &'static str,
        timing: Timing,
        function: impl FnOnce(*mut c_void, *const Call) -> i32,
    ) -> Result<()> {
        let mut message = value::Value::NONE;
        let code = function(self.handle, &timing.call(0, &mut message));
        // SAFETY: the plugin gave the reference to us.
        let message = unsafe { Value::from_raw(message) };
        match code {
            status::OK => Ok(()),
            code if code < 0 => Err(self.error(operation, code, &text_of(&message))),
            code => Err(self.error(
                operation,
                status::INVALID,
                &format!("the plugin answered `{}` ({code}), which is no answer to this", status::name(code)),
            )),
        }
    }

    fn error(&self, operation: &'static str, code: i32, message: &str) -> Error {
        let message = match message {
            "" => format!("{operation} failed: {}", status::name(code)),
            message => message.to_owned(),
        };
        Error::new(ErrorKind::from_status(code), operation, message)
            .with(self.component.kind().name(), self.component.name())
    }
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        if let (false, Some(close)) = (self.handle.is_null(), self.close) {
            // SAFETY: the last call of the instance.
            let last = |handle, call| unsafe { close(handle, call) };
            if let Err(error) = self.call_within("close", CLOSING, last) {
                tracing::warn!(target: "retainit::plugin", component = self.component.name(), "closing failed: {error}");
            }
        }
        self.context.retire();
    }
}

impl<T> std::fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({})", self.component.name())
    }
}
