//! The test host: a clock that moves when told, and a record of what the plugin says.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::handle::Handle;
use super::{ensure, Outcome};
use crate::abi::call::{Item, Outcome as RawOutcome};
use crate::abi::host::{HostRef, HostTable};
use crate::abi::status;
use crate::abi::value::{Slice, Value as RawValue};
use crate::abi::Prelude;
use crate::sdk::Value;

/// A completion, with the references it brought.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) status: i32,
    pub(crate) items: Vec<(i32, Value, i64, crate::sdk::Token)>,
    pub(crate) number: i64,
    pub(crate) text: Value,
}

/// One operation id: what the call returned and what completions came.
#[derive(Debug, Default)]
struct Operation {
    completions: u32,
    result: Option<Completion>,
    pending: bool,
}

/// A host. It is leaked, so that a plugin's late callback is found out rather than undefined.
#[derive(Debug)]
pub(crate) struct TestHost {
    patience: Duration,
    monotonic: AtomicI64,
    unix: AtomicI64,
    next_op: AtomicU64,
    operations: Mutex<HashMap<u64, Operation>>,
    completed: Condvar,
    handles: Mutex<Vec<&'static Handle>>,
    evicted: Mutex<Vec<(Vec<u8>, u32)>>,
    /// `None` stands for "anything may have changed".
    invalidated: Mutex<Vec<Option<Vec<u8>>>>,
    faults: Mutex<Vec<String>>,
}

impl TestHost {
    /// A host whose clocks show these times, in nanoseconds; `patience` is how long it waits for what
    /// happens on a plugin's own thread, in real time.
    pub(crate) fn new(patience: Duration, monotonic: i64, unix: i64) -> &'static TestHost {
        Box::leak(Box::new(TestHost {
            patience,
            monotonic: AtomicI64::new(monotonic),
            unix: AtomicI64::new(unix),
            next_op: AtomicU64::new(1),
            operations: Mutex::default(),
            completed: Condvar::new(),
            handles: Mutex::default(),
            evicted: Mutex::default(),
            invalidated: Mutex::default(),
            faults: Mutex::default(),
        }))
    }

    pub(crate) fn reference(&'static self) -> HostRef {
        HostRef { table: &TABLE, context: std::ptr::from_ref(self).cast_mut().cast() }
    }

    pub(crate) fn now(&self) -> i64 {
        self.monotonic.load(Ordering::SeqCst)
    }

    pub(crate) fn unix(&self) -> i64 {
        self.unix.load(Ordering::SeqCst)
    }

    /// Lets time pass on both clocks.
    pub(crate) fn advance(&self, nanoseconds: i64) {
        self.unix.fetch_add(nanoseconds, Ordering::SeqCst);
        self.monotonic.fetch_add(nanoseconds, Ordering::SeqCst);
    }

    /// A value of bytes, counted.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> RawValue {
        self.keep(Handle::bytes(bytes.to_vec()))
    }

    /// An object, counted, and its handle.
    pub(crate) fn object(&self, weight: usize) -> (RawValue, &'static Handle) {
        let handle = Handle::object(weight);
        (self.keep(handle), handle)
    }

    fn keep(&self, handle: &'static Handle) -> RawValue {
        self.handles.lock().unwrap().push(handle);
        handle.value()
    }

    /// A new operation id.
    pub(crate) fn begin(&self) -> u64 {
        let op = self.next_op.fetch_add(1, Ordering::SeqCst);
        self.operations.lock().unwrap().insert(op, Operation::default());
        op
    }

    /// Notes that the call of `op` was answered with `PENDING`.
    pub(crate) fn pending(&self, op: u64) {
        if let Some(operation) = self.operations.lock().unwrap().get_mut(&op) {
            operation.pending = true;
        }
    }

    /// The completion of `op`, waiting for it.
    pub(crate) fn wait(&self, op: u64) -> Option<Completion> {
        let end = Instant::now() + self.patience;
        let mut operations = self.operations.lock().unwrap();
        loop {
            if let Some(result) = operations.get_mut(&op).and_then(|operation| operation.result.take()) {
                return Some(result);
            }
            let left = end.checked_duration_since(Instant::now())?;
            operations = self.completed.wait_timeout(operations, left).unwrap().0;
        }
    }

    /// Completions of `op` so far.
    pub(crate) fn completions(&self, op: u64) -> u32 {
        self.operations.lock().unwrap().get(&op).map_or(0, |operation| operation.completions)
    }

    pub(crate) fn evicted(&self) -> Vec<(Vec<u8>, u32)> {
        self.evicted.lock().unwrap().clone()
    }

    pub(crate) fn invalidated(&self) -> Vec<Option<Vec<u8>>> {
        self.invalidated.lock().unwrap().clone()
    }

    /// References to values that are still held.
    pub(crate) fn references_held(&self) -> i64 {
        self.handles.lock().unwrap().iter().map(|handle| handle.references()).sum()
    }

    /// What must hold after an instance was closed: every reference came back once, every pending
    /// operation completed once, nothing else completed.
    pub(crate) fn settle(&self) -> Outcome {
        if let Some(fault) = self.faults.lock().unwrap().first() {
            return Err(fault.clone().into());
        }
        for (op, operation) in self.operations.lock().unwrap().iter() {
            let expected = u32::from(operation.pending);
            let found = operation.completions;
            ensure!(
                found == expected,
                "operation {op} was answered with {} and completed {found} times: expected {expected}",
                if operation.pending { "PENDING" } else { "a result" }
            );
        }
        let handles = self.handles.lock().unwrap();
        ensure!(
            !handles.iter().any(|handle| handle.misused()),
            "a value's reference was released more than once"
        );
        let held = handles.iter().filter(|handle| handle.references() > 0).count();
        ensure!(
            held == 0,
            "{held} of {} values were never released, although the instance is closed",
            handles.len()
        );
        Ok(())
    }

    fn fault(&self, message: String) {
        self.faults.lock().unwrap().push(message);
    }
}

/// Polls until `condition` holds or patience ends.
pub(crate) fn eventually(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

static TABLE: HostTable =
    HostTable { prelude: Prelude::of::<HostTable>(0), complete, evicted, invalidated, log, allocate, clock };

/// # Safety
/// `context` must come from [`TestHost::reference`].
unsafe fn host(context: *mut c_void) -> &'static TestHost {
    // SAFETY: hosts are leaked.
    unsafe { &*context.cast::<TestHost>() }
}

/// # Safety
/// The array and its slices must be valid.
unsafe fn keys(first: *const Slice, count: usize) -> Vec<Vec<u8>> {
    // SAFETY: promised by the caller.
    (0..count).map(|i| unsafe { (*first.add(i)).as_bytes() }.to_vec()).collect()
}

unsafe extern "C" fn complete(context: *mut c_void, op: u64, outcome: *const RawOutcome) {
    // SAFETY: the plugin's arguments are valid for the call; the references are ours now.
    let (host, completion) = unsafe {
        let outcome = &*outcome;
        let items = (0..outcome.item_count).map(|i| {
            let Item { value, expires, token, status, .. } = *outcome.items.add(i);
            (status, Value::from_raw(value), expires, token)
        });
        let completion = Completion {
            status: outcome.status,
            items: items.collect(),
            number: outcome.number,
            text: Value::from_raw(outcome.text),
        };
        (host(context), completion)
    };
    if completion.status == status::PENDING {
        host.fault(format!("operation {op} was completed with PENDING"));
    }
    let mut operations = host.operations.lock().unwrap();
    let Some(operation) = operations.get_mut(&op) else {
        drop(operations);
        return host.fault(format!("operation {op} was completed, which no call carried"));
    };
    operation.completions += 1;
    if operation.completions == 1 {
        operation.result = Some(completion);
        host.completed.notify_all();
    }
}

unsafe extern "C" fn evicted(context: *mut c_void, first: *const Slice, reasons: *const u32, count: usize) {
    // SAFETY: the plugin's arrays are valid for the call.
    unsafe {
        let reasons = (0..count).map(|i| *reasons.add(i));
        host(context).evicted.lock().unwrap().extend(keys(first, count).into_iter().zip(reasons));
    }
}

unsafe extern "C" fn invalidated(context: *mut c_void, first: *const Slice, count: usize) {
    // SAFETY: the plugin's array is valid for the call.
    let (host, keys) = unsafe { (host(context), keys(first, count)) };
    let mut invalidated = host.invalidated.lock().unwrap();
    if count == 0 {
        invalidated.push(None);
    }
    invalidated.extend(keys.into_iter().map(Some));
}

unsafe extern "C" fn log(context: *mut c_void, level: u32, message: Slice) {
    // SAFETY: the plugin's message is valid for the call.
    let (host, message) = unsafe { (host(context), message.as_bytes()) };
    if !(1..=5).contains(&level) {
        host.fault(format!("a log line came with level {level}: expected 1 to 5"));
    }
    if std::str::from_utf8(message).is_err() {
        host.fault("a log line came that is not utf-8".to_owned());
    }
}

unsafe extern "C" fn allocate(context: *mut c_void, len: usize) -> RawValue {
    // SAFETY: the context is ours.
    unsafe { host(context) }.keep(Handle::bytes(vec![0; len]))
}

unsafe extern "C" fn clock(context: *mut c_void, which: u32) -> i64 {
    // SAFETY: the context is ours.
    let host = unsafe { host(context) };
    match which {
        0 => host.now(),
        1 => host.unix(),
        other => {
            host.fault(format!("clock {other} was asked for: expected 0 or 1"));
            0
        }
    }
}
