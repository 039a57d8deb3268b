//! The function table of an event sink.

use std::ffi::c_void;

use abi_stable::StableAbi;

use super::call::Call;
use super::host::HostRef;
use super::value::Slice;
use super::Prelude;

/// One event. Texts are borrowed for the call and empty where they do not apply.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Event {
    /// One of [`event`].
    pub kind: u32,
    /// Number of the tier, from 0; `u32::MAX` where it does not apply.
    pub tier: u32,
    /// Unix time in nanoseconds.
    pub time: i64,
    /// Duration in nanoseconds; negative where it does not apply.
    pub duration: i64,
    /// Size in bytes; negative where it does not apply.
    pub size: i64,
    /// How many entries it is about; negative where it does not apply.
    pub count: i64,
    /// Identifies the call.
    pub call_id: u64,
    /// Qualified name of the function.
    pub function: Slice,
    /// The key's printable form.
    pub key: Slice,
    /// Name of the backend.
    pub backend: Slice,
    /// Tags, joined by U+001F.
    pub tags: Slice,
    /// The error.
    pub error: Slice,
}

/// Numbers of [`Event::kind`].
pub mod event {
    /// A value was found.
    pub const HIT: u32 = 1;
    /// No value was found.
    pub const MISS: u32 = 2;
    /// A value was stored.
    pub const SET: u32 = 3;
    /// A value was removed.
    pub const DELETE: u32 = 4;
    /// Many values were removed.
    pub const CLEAR: u32 = 5;
    /// The cache failed; the call did not.
    pub const ERROR: u32 = 6;
    /// Values were evicted.
    pub const EVICT: u32 = 7;
    /// A stale value was served.
    pub const STALE: u32 = 8;
    /// Values were invalidated.
    pub const INVALIDATE: u32 = 9;
    /// The function starts.
    pub const CALL_START: u32 = 10;
    /// The function returned.
    pub const CALL_END: u32 = 11;
    /// The function raised.
    pub const CALL_ERROR: u32 = 12;
    /// A backend was opened.
    pub const BACKEND_INIT: u32 = 13;
    /// A backend was closed.
    pub const BACKEND_CLOSE: u32 = 14;
    /// A circuit breaker opened.
    pub const CIRCUIT_OPEN: u32 = 15;
    /// A circuit breaker closed.
    pub const CIRCUIT_CLOSE: u32 = 16;
}

/// Functions of one event sink component.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = SinkTableRef, prefix_fields = SinkTablePrefix)))]
#[sabi(missing_field(option))]
pub struct SinkTable {
    /// Size, version and capabilities.
    pub prelude: Prelude,
    /// Makes an instance from a JSON object of options.
    pub open: Option<
        unsafe extern "C" fn(host: HostRef, call: *const Call, options: Slice, out: *mut *mut c_void) -> i32,
    >,
    /// Takes events, in order. Must not block: `BUSY` means that it drops them.
    pub emit: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            events: *const Event,
            count: usize,
        ) -> i32,
    >,
    /// Delivers what is buffered before the call's deadline.
    pub flush: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call) -> i32>,
    /// Ends the instance.
    #[sabi(last_prefix_field)]
    pub close: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call) -> i32>,
}

const _: () = {
    assert!(std::mem::size_of::<Event>() == 128);
    assert!(std::mem::size_of::<SinkTable>() == 48);
};
