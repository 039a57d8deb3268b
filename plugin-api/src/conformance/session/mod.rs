//! One open instance, and its calls: answered on return, or pending and completed later.
//!
//! | file | what it holds |
//! |---|---|
//! | `call` | one call: its error slot, its completion, and what any answer must keep to |
//! | `fault` | a call that failed |
//! | `entry`, `batch`, `keyspace` | calls on one key, on many, on all that begin alike |
//! | `lease` | calls on leases |
//! | `lifecycle` | calls that concern the instance as a whole |

mod batch;
mod call;
mod entry;
mod fault;
mod keyspace;
mod lease;
mod lifecycle;

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use super::host::TestHost;
use super::{ensure, Outcome};
use crate::abi::backend::BackendTable;
use crate::abi::call::NEVER;
use crate::abi::status;
use crate::abi::value::Slice;
pub(crate) use entry::Found;
pub(crate) use fault::Fault;
use fault::Result;

/// How calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Without an operation id.
    Ready,
    /// With one, so that the plugin may answer `PENDING`.
    Pending,
}

/// An open instance.
pub(crate) struct Session {
    table: BackendTable,
    instance: *mut c_void,
    pub(crate) host: &'static TestHost,
    pub(crate) mode: Mode,
    /// Whether calls say nothing of the time.
    timeless: AtomicBool,
}

// SAFETY: every function but `close`, which takes the session, may be called from many threads.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

impl Session {
    pub(crate) fn open(
        table: BackendTable,
        host: &'static TestHost,
        options: &str,
        mode: Mode,
    ) -> Result<Session> {
        let mut instance = std::ptr::null_mut();
        let mut session = Session { table, instance, host, mode, timeless: AtomicBool::new(false) };
        let open = table.open.expect("`open` is required");
        // SAFETY: all arguments are valid for the call, and the host for ever.
        let answer = session.immediate("open", NEVER, |call| unsafe {
            open(host.reference(), call, Slice::new(options.as_bytes()), &mut instance)
        });
        session.instance = instance;
        match answer? {
            status::OK if !session.instance.is_null() => Ok(session),
            status::OK => Err(session.broken("open", "gave no instance")),
            other => Err(session.broken("open", &format!("answered {}", status::name(other)))),
        }
    }

    /// Closes the instance and checks what must hold then.
    pub(crate) fn close(self) -> Outcome {
        self.shut()?.settle()
    }

    /// Closes the instance. Another one on the same store may go on holding its values.
    pub(crate) fn shut(mut self) -> std::result::Result<&'static TestHost, Box<dyn std::error::Error>> {
        let close = self.table.close.expect("`close` is required");
        let instance = std::mem::replace(&mut self.instance, std::ptr::null_mut());
        // SAFETY: the instance is open, and nobody else can use it any more.
        let answer = self.immediate("close", NEVER, |call| unsafe { close(instance, call) })?;
        ensure!(answer == status::OK, "`close` answered {}", status::name(answer));
        Ok(self.host)
    }

    pub(crate) fn table(&self) -> &BackendTable {
        &self.table
    }

    pub(crate) fn instance(&self) -> *mut c_void {
        self.instance
    }

    /// Makes calls whose `now` is zero, or ordinary ones again.
    pub(crate) fn set_timeless(&self, timeless: bool) {
        self.timeless.store(timeless, Ordering::Relaxed);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.instance.is_null() {
            return;
        }
        // The check has failed already; whatever `close` says changes nothing.
        let close = self.table.close.expect("`close` is required");
        // SAFETY: the instance is open, and nobody else can use it any more.
        self.raw(0, NEVER, |call| unsafe { close(self.instance, call) });
    }
}
