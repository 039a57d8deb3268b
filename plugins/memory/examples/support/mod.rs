//! A host for the measurements: a real clock, values that count references as an interpreter does.
#![allow(dead_code)] // each example uses a part

pub mod trace;

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use retainit_memory::MemoryBackend;
use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::call::{Call, Entry, Item, Outcome, NEVER};
use retainit_plugin_api::abi::host::{HostRef, HostTable};
use retainit_plugin_api::abi::value::{RefTable, Slice, Value, OBJECT};
use retainit_plugin_api::abi::{status, Prelude};
use retainit_plugin_api::sdk::export::BackendExport;
use retainit_plugin_api::sdk::Host;

static TABLE: BackendTable = BackendExport::<MemoryBackend>::TABLE;
static EVICTED: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn complete(_: *mut c_void, _: u64, _: *const Outcome) {}
unsafe extern "C" fn evicted(_: *mut c_void, _: *const Slice, _: *const u32, count: usize) {
    EVICTED.fetch_add(count as u64, Ordering::Relaxed);
}
unsafe extern "C" fn invalidated(_: *mut c_void, _: *const Slice, _: usize) {}
unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Slice) {}
unsafe extern "C" fn allocate(_: *mut c_void, _: usize) -> Value {
    Value::NONE
}
unsafe extern "C" fn clock(_: *mut c_void, _: u32) -> i64 {
    START.with(|start| start.elapsed().as_nanos() as i64 + 1)
}

thread_local! {
    static START: Instant = Instant::now();
}

static HOST: HostTable =
    HostTable { prelude: Prelude::of::<HostTable>(0), complete, evicted, invalidated, log, allocate, clock };

/// Reference counts in place of objects: the owner is a `Box<u64>`.
static OBJECTS: RefTable = RefTable { retain, release };

unsafe extern "C" fn retain(object: *mut c_void) {
    // SAFETY: made by `object`; as under a global lock, one thread counts at a time.
    unsafe { *object.cast::<u64>() += 1 }
}

unsafe extern "C" fn release(object: *mut c_void) {
    // SAFETY: as above; the last reference frees.
    unsafe {
        *object.cast::<u64>() -= 1;
        if *object.cast::<u64>() == 0 {
            drop(Box::from_raw(object.cast::<u64>()));
        }
    }
}

/// An instance, called as a host calls it.
pub struct Instance(*mut c_void);

/// The host, as the SDK shows it to a backend that is opened without the table.
pub fn host() -> Host {
    // SAFETY: the table is static, and none of its functions looks at the context.
    unsafe { Host::new(HostRef { table: &HOST, context: std::ptr::null_mut() }) }
}

impl Instance {
    /// Opens one.
    pub fn open(options: &str) -> Self {
        let mut instance = std::ptr::null_mut();
        let host = HostRef { table: &HOST, context: std::ptr::null_mut() };
        // SAFETY: the arguments are as the contract wants them.
        let opened =
            unsafe { (TABLE.open.unwrap())(host, &call(1), Slice::new(options.as_bytes()), &mut instance) };
        assert_eq!(opened, status::OK, "options {options}");
        Instance(instance)
    }

    /// Reads, counts and gives back.
    #[inline]
    pub fn get(&self, call: &Call, key: &[u8]) -> bool {
        let mut item = Item::EMPTY;
        // SAFETY: as above.
        let found = unsafe { (TABLE.get.unwrap())(self.0, call, Slice::new(key), &mut item) } == status::OK;
        if found {
            // SAFETY: `get` gave a reference to `item`; the inlined decrement of a host.
            unsafe { *item.value.owner.cast::<u64>() -= 1 };
        }
        found
    }

    /// Stores an object of `weight` bytes.
    pub fn set(&self, call: &Call, key: &[u8], weight: u64, ttl: i64) {
        let owner: *mut u64 = Box::into_raw(Box::new(1));
        let value = Value { len: weight, owner: owner.cast(), table: &OBJECTS, kind: OBJECT, ..Value::NONE };
        let entry = Entry { key: Slice::new(key), value, ttl };
        // SAFETY: as above.
        assert_eq!(unsafe { (TABLE.set.unwrap())(self.0, call, &entry) }, status::OK);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: the last call.
        unsafe { (TABLE.close.unwrap())(self.0, &call(1)) };
    }
}

/// A call at time `now`.
pub fn call(now: i64) -> Call {
    Call { op: 0, now, deadline: NEVER, error: std::ptr::null_mut() }
}

/// A small seeded generator (xorshift64*): traces are the same everywhere.
pub struct Random(u64);

impl Random {
    /// Seeded, not with zero.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next word.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
