//! What the host offers to plugins: one table, and a context pointer for each instance.

use std::ffi::c_void;

use abi_stable::StableAbi;

use super::call::Outcome;
use super::value::{Slice, Value};
use super::Prelude;

/// Host functions. All may be called from any thread, with the `context` that came to `open`, until
/// `close` has returned. None runs Python, and none calls back into the plugin.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct HostTable {
    /// Size and version.
    pub prelude: Prelude,
    /// Completes the pending operation `op`. Duplicates and late ones are counted and ignored.
    pub complete: unsafe extern "C" fn(context: *mut c_void, op: u64, outcome: *const Outcome),
    /// Reports evicted keys: `reasons` holds one of [`evict`] for each.
    pub evicted:
        unsafe extern "C" fn(context: *mut c_void, keys: *const Slice, reasons: *const u32, count: usize),
    /// Reports keys that something else changed or removed; a count of zero means "anything may
    /// have changed".
    pub invalidated: unsafe extern "C" fn(context: *mut c_void, keys: *const Slice, count: usize),
    /// Writes a log line: `level` is 1 (error) to 5 (trace).
    pub log: unsafe extern "C" fn(context: *mut c_void, level: u32, message: Slice),
    /// A buffer of `len` writable bytes owned by the host, as a value of kind `BYTES`.
    pub allocate: unsafe extern "C" fn(context: *mut c_void, len: usize) -> Value,
    /// A clock in nanoseconds: 0 monotonic, 1 Unix time. Tests put a fake one here.
    pub clock: unsafe extern "C" fn(context: *mut c_void, which: u32) -> i64,
}

/// The host as an instance sees it.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct HostRef {
    /// The functions.
    pub table: *const HostTable,
    /// Their first argument.
    pub context: *mut c_void,
}

/// Reasons of [`HostTable::evicted`].
pub mod evict {
    /// The backend was full.
    pub const CAPACITY: u32 = 1;
    /// The entry had expired.
    pub const EXPIRED: u32 = 2;
    /// The entry was damaged and set aside.
    pub const CORRUPT: u32 = 3;
}

const _: () = assert!(std::mem::size_of::<HostTable>() == 64);
