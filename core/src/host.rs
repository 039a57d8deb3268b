//! What the host offers to plugins: the function table, and one context for each instance.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use retainit_plugin_api::abi::call::Outcome;
use retainit_plugin_api::abi::host::{evict, HostRef, HostTable};
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::abi::Prelude;
use retainit_plugin_api::sdk::{Evicted, Value};

use crate::lock::Mutex;
use crate::operations::Operations;
use crate::{buffer, clock, fork};

/// Hears of evicted keys, with a reason for each. Runs on any thread, outside locks of the host.
pub type OnEvicted = dyn Fn(&[&[u8]], &[Evicted]) + Send + Sync;
/// Hears of keys that something else changed; none means "anything may have changed".
pub type OnInvalidated = dyn Fn(&[&[u8]]) + Send + Sync;

/// The table every plugin gets.
static TABLE: HostTable = HostTable {
    prelude: Prelude::of::<HostTable>(0),
    complete,
    evicted,
    invalidated,
    log,
    allocate,
    clock: clock_of,
};

/// Log lines per second that one instance may write.
const LOG_LINES: u32 = 20;
/// Bytes of one log line.
const LOG_LENGTH: usize = 4096;
/// Retired contexts that are kept aside before one is used again.
const QUARANTINE: usize = 64;

/// One instance's side of the host.
///
/// A context is never freed: a faulty plugin may call back after `close`, and must then find valid
/// memory. It is used again for a later instance once [`QUARANTINE`] others have been retired.
pub struct HostContext {
    operations: Operations,
    listeners: Mutex<Listeners>,
    evicted: AtomicU64,
    log_second: AtomicI64,
    log_lines: AtomicU32,
}

/// Held only to copy from or to: plugin threads report while others register.
#[derive(Default)]
struct Listeners {
    name: Option<Arc<str>>,
    on_evicted: Option<Arc<OnEvicted>>,
    on_invalidated: Option<Arc<OnInvalidated>>,
}

/// What an instance's context has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostCounters {
    /// Entries reported as evicted.
    pub evicted: u64,
    /// Completions that came a second time, or that nobody asked for.
    pub duplicate_completions: u64,
    /// Completions that came after their caller had given up.
    pub late_completions: u64,
    /// Operations in flight.
    pub in_flight: usize,
}

static RETIRED: Mutex<VecDeque<&'static HostContext>> = Mutex::new(VecDeque::new());

impl HostContext {
    /// A context for the instance `name`.
    pub(crate) fn new(name: &str) -> &'static Self {
        let reused = {
            let _gate = fork::enter();
            let mut retired = RETIRED.lock();
            if retired.len() > QUARANTINE {
                retired.pop_front()
            } else {
                None
            }
        };
        let context = reused.unwrap_or_else(|| {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            Box::leak(Box::new(HostContext {
                operations: Operations::new(NUMBER.fetch_add(1, Ordering::Relaxed) as u16),
                listeners: Mutex::new(Listeners { name: None, on_evicted: None, on_invalidated: None }),
                evicted: AtomicU64::new(0),
                log_second: AtomicI64::new(0),
                log_lines: AtomicU32::new(0),
            }))
        });
        context.evicted.store(0, Ordering::Relaxed);
        context.operations.reset_counters();
        context.listeners.lock().name = Some(Arc::from(name));
        context
    }

    /// The instance has been closed: its listeners go, the memory stays.
    pub(crate) fn retire(&'static self) {
        let listeners = std::mem::take(&mut *self.listeners.lock());
        let gate = fork::enter();
        RETIRED.lock().push_back(self);
        drop(gate);
        // Listeners are code of the engine's users: dropped outside the locks.
        drop(listeners);
    }

    /// Takes the locks for the time of a `fork`, so that no other thread holds them in the child.
    pub(crate) fn lock_for_fork(&self) {
        std::mem::forget(self.listeners.lock());
        self.operations.lock_for_fork();
    }

    /// Gives back what [`HostContext::lock_for_fork`] took, in parent or child.
    ///
    /// # Safety
    /// The calling thread must have called [`HostContext::lock_for_fork`], once.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: both locks are held by this thread's forgotten guards.
        unsafe {
            self.operations.unlock_after_fork();
            self.listeners.force_unlock();
        }
    }

    /// What the plugin is given.
    pub(crate) fn host_ref(&'static self) -> HostRef {
        HostRef { table: &TABLE, context: std::ptr::from_ref(self).cast_mut().cast() }
    }

    /// The operations in flight.
    pub(crate) fn operations(&self) -> &Operations {
        &self.operations
    }

    pub(crate) fn set_on_evicted(&self, listener: Option<Arc<OnEvicted>>) {
        let before = std::mem::replace(&mut self.listeners.lock().on_evicted, listener);
        drop(before);
    }

    pub(crate) fn set_on_invalidated(&self, listener: Option<Arc<OnInvalidated>>) {
        let before = std::mem::replace(&mut self.listeners.lock().on_invalidated, listener);
        drop(before);
    }

    /// What has been counted so far.
    pub(crate) fn counters(&self) -> HostCounters {
        HostCounters {
            evicted: self.evicted.load(Ordering::Relaxed),
            duplicate_completions: self.operations.duplicates(),
            late_completions: self.operations.late(),
            in_flight: self.operations.in_flight(),
        }
    }

    /// Whether one more line may be written in this second; the first one refused says so itself.
    fn log_budget(&self) -> LogBudget {
        let second = clock::monotonic() / 1_000_000_000;
        if self.log_second.swap(second, Ordering::Relaxed) != second {
            self.log_lines.store(0, Ordering::Relaxed);
        }
        match self.log_lines.fetch_add(1, Ordering::Relaxed) {
            lines if lines < LOG_LINES => LogBudget::Write,
            LOG_LINES => LogBudget::LastWords,
            _ => LogBudget::Drop,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum LogBudget {
    Write,
    LastWords,
    Drop,
}

/// The context behind a plugin's pointer.
///
/// # Safety
/// `context` must be what `open` got from [`HostContext::host_ref`]; contexts live for ever.
unsafe fn of(context: *mut c_void) -> &'static HostContext {
    // SAFETY: promised by the caller.
    unsafe { &*context.cast_const().cast::<HostContext>() }
}

/// A panic must not leave an `extern "C"` function: it would end the process.
fn contained(what: &'static str, body: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(body)).is_err() {
        tracing::error!(target: "retainit::plugin", what, "a listener panicked; its report is lost");
    }
}

unsafe extern "C" fn complete(context: *mut c_void, op: u64, outcome: *const Outcome) {
    contained("complete", || {
        // SAFETY: the contract gives a valid context and a valid outcome with its references.
        unsafe { of(context).operations.complete(op, &*outcome) }
    });
}

unsafe extern "C" fn evicted(context: *mut c_void, keys: *const Slice, reasons: *const u32, count: usize) {
    contained("evicted", || {
        // SAFETY: the contract gives a valid context.
        let context = unsafe { of(context) };
        context.evicted.fetch_add(count as u64, Ordering::Relaxed);
        let Some(listener) = context.listeners.lock().on_evicted.clone() else { return };
        // SAFETY: both arrays hold `count` items, valid for the call.
        let (keys, reasons) = unsafe { (borrow(keys, count), std::slice::from_raw_parts(reasons, count)) };
        let reasons: Vec<Evicted> = reasons
            .iter()
            .map(|reason| match *reason {
                evict::EXPIRED => Evicted::Expired,
                evict::CORRUPT => Evicted::Corrupt,
                _ => Evicted::Capacity,
            })
            .collect();
        listener(&keys, &reasons);
    });
}

unsafe extern "C" fn invalidated(context: *mut c_void, keys: *const Slice, count: usize) {
    contained("invalidated", || {
        // SAFETY: the contract gives a valid context.
        let context = unsafe { of(context) };
        let Some(listener) = context.listeners.lock().on_invalidated.clone() else { return };
        // SAFETY: the array holds `count` items, valid for the call.
        listener(&unsafe { borrow(keys, count) });
    });
}

/// # Safety
/// `keys` must hold `count` slices that stay valid for `'a`.
unsafe fn borrow<'a>(keys: *const Slice, count: usize) -> Vec<&'a [u8]> {
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(keys, count).iter().map(|key| key.as_bytes()).collect() }
}

unsafe extern "C" fn log(context: *mut c_void, level: u32, message: Slice) {
    contained("log", || {
        // SAFETY: the contract gives a valid context and a message valid for the call.
        let (context, message) = unsafe { (of(context), message.as_bytes()) };
        let backend = context.listeners.lock().name.clone();
        let backend = backend.as_deref().unwrap_or_default();
        match context.log_budget() {
            LogBudget::Write => {}
            LogBudget::LastWords => {
                tracing::warn!(target: "retainit::plugin", backend, "more than {LOG_LINES} log lines in a second: the rest of them is dropped");
                return;
            }
            LogBudget::Drop => return,
        }
        let message = printable(message);
        match level {
            1 => tracing::error!(target: "retainit::plugin", backend, "{message}"),
            2 => tracing::warn!(target: "retainit::plugin", backend, "{message}"),
            3 => tracing::info!(target: "retainit::plugin", backend, "{message}"),
            4 => tracing::debug!(target: "retainit::plugin", backend, "{message}"),
            _ => tracing::trace!(target: "retainit::plugin", backend, "{message}"),
        }
    });
}

/// A plugin's text on one line of bounded length, so that it cannot forge other lines.
pub(crate) fn printable(text: &[u8]) -> String {
    let cut = &text[..text.len().min(LOG_LENGTH)];
    let mut line: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if cut.len() < text.len() {
        line.push('…');
    }
    line
}

unsafe extern "C" fn allocate(_context: *mut c_void, len: usize) -> value::Value {
    // A length that cannot be had is the plugin's error to report, not the process's end.
    buffer::allocate(len).map_or(value::Value::NONE, Value::into_raw)
}

unsafe extern "C" fn clock_of(_context: *mut c_void, which: u32) -> i64 {
    if which == 0 {
        clock::monotonic()
    } else {
        clock::unix()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retainit_plugin_api::sdk::{Host, Level};

    fn host(context: &'static HostContext) -> Host {
        // SAFETY: contexts live for ever.
        unsafe { Host::new(context.host_ref()) }
    }

    #[test]
    fn evictions_are_counted_and_reach_the_listener() {
        let context = HostContext::new("a");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        context.set_on_evicted(Some(Arc::new(move |keys, reasons| {
            for (key, reason) in keys.iter().zip(reasons) {
                sink.lock().push((key.to_vec(), *reason));
            }
        })));
        host(context).evicted([(&b"k"[..], Evicted::Expired), (b"l", Evicted::Capacity)]);
        assert_eq!(*seen.lock(), [(b"k".to_vec(), Evicted::Expired), (b"l".to_vec(), Evicted::Capacity)]);
        context.set_on_evicted(None);
        host(context).evicted([(&b"m"[..], Evicted::Corrupt)]);
        assert_eq!((seen.lock().len(), context.counters().evicted), (2, 3));
    }

    #[test]
    fn a_panicking_listener_does_not_end_the_process() {
        let context = HostContext::new("b");
        context.set_on_invalidated(Some(Arc::new(|_| panic!("listener"))));
        host(context).invalidated(&[b"k"]);
    }

    #[test]
    fn an_empty_invalidation_means_everything() {
        let context = HostContext::new("c");
        let count = Arc::new(AtomicU64::new(0));
        let sink = Arc::clone(&count);
        context.set_on_invalidated(Some(Arc::new(move |keys| {
            sink.fetch_add(1 + keys.len() as u64, Ordering::Relaxed);
        })));
        host(context).invalidated(&[]);
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn allocated_buffers_are_the_hosts_and_are_filled_by_the_plugin() {
        let value = host(HostContext::new("d")).allocate(3, |bytes| bytes.copy_from_slice(b"abc"));
        assert_eq!(value.as_bytes(), Some(&b"abc"[..]));
        // SAFETY: any context will do for this function.
        let refused = unsafe { allocate(std::ptr::null_mut(), usize::MAX) };
        assert_eq!(refused.kind, value::NONE);
    }

    #[test]
    fn a_chatty_plugin_is_cut_short_and_cannot_forge_lines() {
        let context = HostContext::new("e");
        host(context).log(Level::Debug, "a line");
        let budgets: Vec<LogBudget> = (0..LOG_LINES + 2).map(|_| context.log_budget()).collect();
        // A second may end in between, which only gives more room.
        assert_eq!(budgets[0], LogBudget::Write);
        if context.log_lines.load(Ordering::Relaxed) > LOG_LINES + 2 {
            assert_eq!(budgets[budgets.len() - 1], LogBudget::Drop);
        }
        assert_eq!(printable(b"one\ntwo\x1b[0m\xff"), "one two [0m\u{fffd}");
        assert!(printable(&[b'x'; 10_000]).len() < 5_000);
    }

    #[test]
    fn contexts_are_used_again_but_not_soon() {
        let first = HostContext::new("f");
        first.retire();
        let others: Vec<_> = (0..QUARANTINE / 2).map(|_| HostContext::new("g")).collect();
        assert!(others.iter().all(|other| !std::ptr::eq(*other, first)));
        others.into_iter().for_each(|other| other.retire());
    }
}
