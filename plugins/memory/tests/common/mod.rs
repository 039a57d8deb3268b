//! A host with a clock that moves when told, and values that know whether they are held.
#![allow(dead_code)] // each test binary uses a part

use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use retainit_memory::MemoryBackend;
use retainit_plugin_api::abi::call as raw;
use retainit_plugin_api::abi::host::{HostRef, HostTable};
use retainit_plugin_api::abi::value::{RefTable, Slice, Value as RawValue, OBJECT};
use retainit_plugin_api::abi::Prelude;
use retainit_plugin_api::sdk::{Backend, Call, Entry, Host, Item, Value};

/// Where the clock starts.
pub const START: i64 = 1_000_000;

/// What the host has seen.
#[derive(Debug)]
pub struct TestHost {
    clock: AtomicI64,
    evicted: Mutex<Vec<(Vec<u8>, u32)>>,
}

impl TestHost {
    /// The time.
    pub fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Lets time pass.
    pub fn advance(&self, nanoseconds: i64) {
        self.clock.fetch_add(nanoseconds, Ordering::SeqCst);
    }

    /// Keys reported as evicted since the last look, with their reasons.
    pub fn take_evicted(&self) -> Vec<(Vec<u8>, u32)> {
        std::mem::take(&mut self.evicted.lock().unwrap())
    }
}

/// A backend and its host.
pub struct Store {
    /// The host.
    pub host: &'static TestHost,
    /// The backend.
    pub backend: MemoryBackend,
}

impl Store {
    /// Opens one with options as JSON.
    pub fn open(options: serde_json::Value) -> Self {
        let host: &'static TestHost =
            Box::leak(Box::new(TestHost { clock: AtomicI64::new(START), evicted: Mutex::default() }));
        let reference = HostRef { table: &HOST, context: std::ptr::from_ref(host).cast_mut().cast() };
        // SAFETY: the host is never freed.
        let backend =
            MemoryBackend::open(serde_json::from_value(options).unwrap(), unsafe { Host::new(reference) });
        Store { host, backend: backend.unwrap() }
    }

    /// Calls the backend at the host's time.
    pub fn call<T>(
        &self,
        body: impl FnOnce(&MemoryBackend, &Call<'_>) -> retainit_plugin_api::sdk::Result<T>,
    ) -> T {
        let call =
            raw::Call { op: 0, now: self.host.now(), deadline: raw::NEVER, error: std::ptr::null_mut() };
        body(&self.backend, &Call::new(&call)).unwrap()
    }

    /// `get`.
    pub fn get(&self, key: &[u8]) -> Option<Item> {
        self.call(|backend, call| backend.get(call, key))
    }

    /// `set`.
    pub fn set(&self, key: &[u8], value: Value, ttl: i64) {
        self.call(|backend, call| backend.set(call, Entry { key, value, ttl }));
    }

    /// One of the statistics.
    pub fn statistic(&self, name: &str) -> u64 {
        self.call(|backend, call| backend.statistics(call))[name].as_u64().unwrap()
    }

    /// Waits for what happens on the backend's own thread.
    pub fn wait_until(&self, what: &str, mut happened: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !happened(self) {
            assert!(Instant::now() < end, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Something that is cached: the count of the `Arc` says how often it is held.
pub type Payload = Arc<Vec<u8>>;

/// A payload as bytes.
pub fn bytes(payload: &Payload) -> Value {
    Value::from_owner(payload.clone())
}

/// A payload as an opaque object of `weight` bytes.
pub fn object(payload: &Payload, weight: u64) -> Value {
    let owner = Arc::into_raw(payload.clone()).cast_mut().cast();
    let raw = RawValue { len: weight, owner, table: &PAYLOADS, kind: OBJECT, ..RawValue::NONE };
    // SAFETY: the reference is given away.
    unsafe { Value::from_raw(raw) }
}

static PAYLOADS: RefTable = RefTable { retain, release };

unsafe extern "C" fn retain(owner: *mut c_void) {
    // SAFETY: made by `object` and held by the caller.
    unsafe { Arc::increment_strong_count(owner.cast_const().cast::<Vec<u8>>()) }
}

unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: as above; the caller gives a reference up.
    unsafe { Arc::decrement_strong_count(owner.cast_const().cast::<Vec<u8>>()) }
}

unsafe extern "C" fn complete(_: *mut c_void, _: u64, _: *const raw::Outcome) {
    unreachable!("nothing is ever pending");
}

unsafe extern "C" fn evicted(context: *mut c_void, keys: *const Slice, reasons: *const u32, count: usize) {
    // SAFETY: `context` is the leaked host; the arrays are valid for the call.
    let (host, keys, reasons) = unsafe {
        let (keys, reasons) =
            (std::slice::from_raw_parts(keys, count), std::slice::from_raw_parts(reasons, count));
        (&*context.cast::<TestHost>(), keys, reasons)
    };
    // SAFETY: as above.
    let keys = keys.iter().map(|key| unsafe { key.as_bytes() }.to_vec());
    host.evicted.lock().unwrap().extend(keys.zip(reasons.iter().copied()));
}

unsafe extern "C" fn invalidated(_: *mut c_void, _: *const Slice, _: usize) {}

unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Slice) {}

unsafe extern "C" fn allocate(_: *mut c_void, _: usize) -> RawValue {
    unreachable!("the memory backend allocates nothing of the host")
}

unsafe extern "C" fn clock(context: *mut c_void, _: u32) -> i64 {
    // SAFETY: `context` is the leaked host.
    unsafe { &*context.cast::<TestHost>() }.now()
}

static HOST: HostTable =
    HostTable { prelude: Prelude::of::<HostTable>(0), complete, evicted, invalidated, log, allocate, clock };
