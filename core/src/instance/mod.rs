//! An open backend: a flat table of functions and what the plugin made of its options.
//!
//! | file | what it holds |
//! |---|---|
//! | this one | opening, closing, listening, the raw `get`, fork |
//! | `entries`, `services` | the operations, each answered before it returns |
//! | `pending` | the same, answered later |
//! | `call` | one call: let through or refused, made once or twice, here or on another thread |
//! | `answer` | its moments, its answer, what a status means |
//! | `guard` | what stands before a backend that may block: |
//! | `breaker`, `latency`, `helpers` | whether it is asked, how long it is waited for, and on which thread |
//! | `ledger`: `missed`, `behind` | invalidations it has not been told of, writes that wait |

mod answer;
mod behind;
mod breaker;
mod call;
mod entries;
mod guard;
mod helpers;
mod latency;
mod ledger;
mod missed;
mod pending;
mod services;

use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::Arc;
use std::time::Duration;

use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::call::{self as raw, Call, NEVER};
use retainit_plugin_api::abi::value::Slice;
use retainit_plugin_api::abi::{capability, status};

pub(crate) use answer::{text_of, Timing};
pub use breaker::{BreakerSettings, State};
pub use guard::{Health, OnState};
pub use pending::Pending;

use answer::nanoseconds;
use guard::Guard;

use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{HostContext, HostCounters, OnEvicted, OnInvalidated};
use crate::loader::Component;
use crate::operations::{Late, Operations};

/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// The table's function of that name.
pub type Get = unsafe extern "C" fn(*mut c_void, *const Call, Slice, *mut raw::Item) -> i32;

/// An open backend. Safe to use from many threads; closed when the last reference goes.
///
/// Methods answer for every backend alike: one that only works asynchronously is waited for, up to
/// the instance's timeout. Errors name the operation and the backend, with the plugin's own message.
pub struct Instance {
    get: Get,
    handle: *mut c_void,
    table: BackendTable,
    capabilities: u64,
    /// Longest time of one operation in nanoseconds, [`NEVER`] for no bound.
    timeout: AtomicI64,
    context: &'static HostContext,
    name: String,
    component: Component,
    fork: AtomicU8,
    /// None for backends that never block: their calls go straight to the plugin.
    guard: Option<Guard>,
}

// SAFETY: the contract lets every function of the table be called from many threads at once.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// Opens an instance that messages call `name`.
    pub(crate) fn open(
        name: &str,
        component: Component,
        table: BackendTable,
        options: &serde_json::Value,
    ) -> Result<Arc<Self>> {
        let missing =
            |function| Error::new(ErrorKind::Fatal, "open", format!("function `{function}` is missing"));
        let open = table.open.ok_or_else(|| missing("open"))?;
        let get = table.get.ok_or_else(|| missing("get"))?;
        let context = HostContext::new(name);
        let mut instance = Instance {
            get,
            handle: std::ptr::null_mut(),
            capabilities: component.capabilities(),
            table,
            timeout: AtomicI64::new(NEVER),
            context,
            name: name.to_owned(),
            guard: (component.capabilities() & capability::INLINE == 0).then(|| Guard::new(name)),
            component,
            fork: AtomicU8::new(0),
        };
        let options = options.to_string();
        let mut handle = std::ptr::null_mut();
        let opened = instance.answer_at_once("open", instance.now(), |call| {
            // SAFETY: the table was checked, the host's context lives for ever, the rest for the call.
            unsafe { open(context.host_ref(), call, Slice::new(options.as_bytes()), &mut handle) }
        });
        // Set even on failure: dropping the instance closes what there is.
        instance.handle = handle;
        match opened? {
            status::OK if !handle.is_null() => {
                let instance = Arc::new(instance);
                if let Some(guard) = &instance.guard {
                    let _ = guard.me.set(Arc::downgrade(&instance));
                }
                Ok(instance)
            }
            status::OK => Err(instance.error("open", status::FATAL, "the plugin gave no instance")),
            other => Err(instance.unexpected("open", other)),
        }
    }

    /// The table's own `get` and the handle it takes first, for a caller that keeps both beside its
    /// own data. Valid for as long as the instance is held; see [`Instance::get`].
    pub fn raw_get(&self) -> (Get, *mut c_void) {
        (self.get, self.handle)
    }

    /// The name that configurations gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A number that no other instance of the process has or will have.
    pub(crate) fn number(&self) -> usize {
        // Contexts are never freed.
        std::ptr::from_ref(self.context).addr()
    }

    /// What it is an instance of.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        self.component.path()
    }

    /// Bits of [`capability`].
    #[inline]
    pub fn capabilities(&self) -> u64 {
        self.capabilities
    }

    /// Whether it has all of `capabilities`.
    pub fn has(&self, capabilities: u64) -> bool {
        self.capabilities & capabilities == capabilities
    }

    /// Bounds every operation from now on; `None` for no bound, but for operations that are answered
    /// later: those are given up after ten seconds.
    ///
    /// Where operations are answered later this is the most: how long one is waited for follows the
    /// answers before it. One that would block is made on a thread of the host, and waited for in the same
    /// way. A backend that never blocks is told the moment, and that is all.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeout.store(timeout.map_or(NEVER, nanoseconds), Ordering::Relaxed);
    }

    /// When it is not asked any more, `None` for never; by default as [`BreakerSettings`] has it. The
    /// circuit is closed afterwards. A backend that never blocks has none.
    pub fn set_breaker(&self, settings: Option<BreakerSettings>) {
        if let Some(guard) = &self.guard {
            guard.breaker.set(settings);
        }
    }

    /// Lets up to so many entries wait to be written by a thread of the host, from now on; zero, as by
    /// default, writes each before `set` returns. A backend that never blocks writes at once.
    pub fn set_write_behind(&self, entries: usize) {
        if let Some(guard) = &self.guard {
            guard.with_ledger(|ledger| ledger.behind.set_limit(entries));
        }
    }

    /// Who hears that it is not asked any more, or is asked again, from now on.
    pub fn on_state(&self, listener: Option<Arc<OnState>>) {
        if let Some(guard) = &self.guard {
            guard.set_listener(listener);
        }
    }

    /// Whether a call would be refused now, without being made: its circuit is open.
    #[inline]
    pub fn refuses(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.breaker.refuses(clock::monotonic))
    }

    /// What a call would be told that is refused now, for one who need not prepare it then.
    #[inline]
    pub fn refusal(&self) -> Option<Error> {
        self.guard.as_ref().filter(|guard| guard.breaker.refuses(clock::monotonic)).map(Guard::refused)
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let Some(guard) = &self.guard else { return Health::default() };
        guard.health(|latency| {
            let adaptive = self.answers_later() || self.timeout.load(Ordering::Relaxed) != NEVER;
            adaptive.then(|| Duration::from_nanos(latency.timeout(self.ceiling()).max(0) as u64))
        })
    }

    /// What has been counted about it.
    pub fn counters(&self) -> HostCounters {
        self.context.counters()
    }

    /// Who hears of evicted keys from now on, on the plugin's threads and outside its locks.
    pub fn on_evicted(&self, listener: Option<Arc<OnEvicted>>) {
        self.context.set_on_evicted(listener);
    }

    /// Who hears of keys that something else changed, on the plugin's threads.
    pub fn on_invalidated(&self, listener: Option<Arc<OnInvalidated>>) {
        self.context.set_on_invalidated(listener);
    }

    /// The table's own `get`, with nothing around it: allocates nothing and answers a status. The
    /// caller owns the reference in `out` after `OK` and a message in `call.error` after an error.
    ///
    /// Only for backends that answer at once ([`capability::INLINE`] or [`capability::BLOCKING`]).
    #[inline]
    pub fn get(&self, call: &Call, key: &[u8], out: &mut raw::Item) -> i32 {
        // SAFETY: the instance is open, and everything is valid for the call.
        unsafe { (self.get)(self.handle, call, Slice::new(key), out) }
    }

    /// Before `fork`, in the parent. Exactly one of the other two follows, on the same thread.
    pub fn fork_prepare(&self) {
        self.run_for_fork(self.table.fork_prepare);
        self.context.lock_for_fork();
        if let Some(guard) = &self.guard {
            guard.lock_for_fork();
        }
        self.fork.store(1, Ordering::Relaxed);
    }

    /// After `fork`, in the parent.
    pub fn fork_parent(&self) {
        if self.fork.swap(0, Ordering::Relaxed) == 1 {
            self.unlock_after_fork(false);
            self.run_for_fork(self.table.fork_parent);
        }
    }

    /// After `fork`, in the child, where none of the threads lives that worked for this instance.
    pub fn fork_child(&self) {
        if self.fork.swap(0, Ordering::Relaxed) == 1 {
            self.unlock_after_fork(true);
            self.context.operations().forget_all();
            self.run_for_fork(self.table.fork_child);
        }
    }

    pub(crate) fn table(&self) -> &BackendTable {
        &self.table
    }

    pub(crate) fn handle(&self) -> *mut c_void {
        self.handle
    }

    pub(crate) fn operations(&self) -> &Operations {
        self.context.operations()
    }

    pub(crate) fn busy(&self, operation: &'static str) -> Error {
        self.error(operation, status::BUSY, "too many operations are in flight")
    }

    /// Gives a pending operation up and tells the plugin; `false` if its completion came first. `late` is
    /// told if it comes after all.
    fn withdraw(&self, op: u64, late: Option<Late>) -> bool {
        let first = self.operations().abandon(op, late);
        if let (true, Some(cancel)) = (first, self.table.cancel) {
            // SAFETY: see `read`.
            unsafe { cancel(self.handle, op) }
        }
        first
    }

    fn unlock_after_fork(&self, child: bool) {
        // SAFETY: this thread took the locks in `fork_prepare`.
        unsafe {
            if let Some(guard) = &self.guard {
                guard.unlock_after_fork(child);
            }
            self.context.unlock_after_fork();
        }
    }

    fn run_for_fork(&self, function: Option<unsafe extern "C" fn(*mut c_void)>) {
        if let (true, Some(function)) = (self.has(capability::FORK), function) {
            // SAFETY: the instance is open.
            unsafe { function(self.handle) }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.drain_or_lose(CLOSING);
        if let (false, Some(close)) = (self.handle.is_null(), self.table.close) {
            let timing = self.now().within(CLOSING);
            // SAFETY: the last call of the instance.
            let closed = self.answer_at_once("close", timing, |call| unsafe { close(self.handle, call) });
            if let Err(error) = closed {
                tracing::warn!(target: "retainit::plugin", backend = &*self.name, "closing failed: {error}");
            }
        }
        self.context.retire();
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance({}, {})", self.name, self.component.name())
    }
}
