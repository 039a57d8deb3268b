//! Arguments and results of calls. These structs are frozen: growth is new functions.

use std::ffi::c_void;

use abi_stable::StableAbi;

use super::value::{Slice, Value};

/// "Never", for deadlines and expiries.
pub const NEVER: i64 = i64::MAX;

/// What every call carries.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct Call {
    /// Generational operation id, unique in the process. Zero: the answer must be ready on return.
    pub op: u64,
    /// The host's monotonic clock, in nanoseconds, read just before the call; zero where no expiry
    /// is to be looked at.
    pub now: i64,
    /// When the call must be over, on the same clock; [`NEVER`] for no bound.
    pub deadline: i64,
    /// Where an error's message goes, as an owned value; starts as `Value::NONE`. May be null.
    pub error: *mut Value,
}

/// A version of an entry, compared for equality only; all zero means "no entry".
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, StableAbi)]
pub struct Token {
    /// Opaque bytes.
    pub bytes: [u8; 16],
}

/// What `get` finds. A plugin writes `value`, `expires` and, with `CAS`, `token`; `status` is for
/// batches, where every field is written.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Item {
    /// The value; the receiver owns one reference.
    pub value: Value,
    /// When it expires, on the host's monotonic clock; [`NEVER`] if it does not.
    pub expires: i64,
    /// The entry's version, where the backend has `CAS`.
    pub token: Token,
    /// The status of this item.
    pub status: i32,
    /// Zero.
    pub reserved: u32,
}

impl Item {
    /// No item.
    pub const EMPTY: Item = Item {
        value: Value::NONE,
        expires: NEVER,
        token: Token { bytes: [0; 16] },
        status: super::status::NOT_FOUND,
        reserved: 0,
    };
}

/// What `set` and its relatives store.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Entry {
    /// The key, borrowed for the call.
    pub key: Slice,
    /// The value; the plugin takes over the caller's reference, whatever the outcome.
    pub value: Value,
    /// Time to live in nanoseconds; [`NEVER`] for none.
    pub ttl: i64,
}

/// The result of a pending operation.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Outcome {
    /// As a synchronous call would have returned; never `PENDING`.
    pub status: i32,
    /// Zero.
    pub reserved: u32,
    /// Items of `get` and `get_many`, in order; the host copies them out during the callback and
    /// owns their references. For `*_many` without values only `status` of each matters; `add` and
    /// `compare_and_set` give one item with the new token, `lease_acquire` one whose token is the
    /// holder (and the fence in `number`).
    pub items: *const Item,
    /// Number of items.
    pub item_count: usize,
    /// Result of counting operations: `increment`, `count`, `ttl` (ns), `clear`; the next cursor of
    /// `scan`; the fence of `lease_acquire`.
    pub number: i64,
    /// An error's message, a page of `scan`, or the text of `statistics`; owned by the host.
    pub text: Value,
}

/// What is given to `lease_acquire` and comes back from it.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Lease {
    /// Identifies the holder; made by the backend.
    pub holder: Token,
    /// Grows with every acquisition of the name: a write carrying an older one must be refused.
    pub fence: u64,
}

/// One page of a scan: `keys` is `u32` little-endian lengths, each followed by that many key bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Page {
    /// The keys.
    pub keys: Value,
    /// Where the next page starts; zero when there is none.
    pub cursor: u64,
    /// Number of keys.
    pub count: u64,
}

/// An opaque plugin instance.
pub type Instance = *mut c_void;

const _: () = {
    assert!(std::mem::size_of::<Call>() == 32);
    assert!(std::mem::size_of::<Item>() == 72);
    assert!(std::mem::size_of::<Entry>() == 64);
    assert!(std::mem::size_of::<Outcome>() == 72);
    assert!(std::mem::size_of::<Lease>() == 24);
    assert!(std::mem::size_of::<Page>() == 56);
};
