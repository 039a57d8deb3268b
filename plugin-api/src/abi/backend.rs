//! The function table of a backend component.

use std::ffi::c_void;

use abi_stable::StableAbi;

use super::call::{Call, Entry, Item, Lease, Page, Token};
use super::host::HostRef;
use super::value::{Slice, Value};
use super::Prelude;

/// Functions of one backend component.
///
/// The required core is `open`, `get`, `set`, `delete`, `clear`, `quiesce` and `close`; all else is
/// `None` where the capability is missing. Every function returns a status, see [`super::status`].
/// Every function may be called from many threads at once, except `close`, which is the last call on
/// its instance.
///
/// Growth is new functions at the end; nothing here is ever renamed, reordered or retyped.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = BackendTableRef, prefix_fields = BackendTablePrefix)))]
#[sabi(missing_field(option))]
pub struct BackendTable {
    /// Size, version and capabilities.
    pub prelude: Prelude,
    /// Makes an instance from `options` (a JSON object that satisfies the manifest's schema).
    /// Cheap: threads, sockets and files start at the first use.
    pub open: Option<
        unsafe extern "C" fn(host: HostRef, call: *const Call, options: Slice, out: *mut *mut c_void) -> i32,
    >,
    /// Reads an entry into `out`: `OK`, `NOT_FOUND`, or an error.
    pub get: Option<
        unsafe extern "C" fn(instance: *mut c_void, call: *const Call, key: Slice, out: *mut Item) -> i32,
    >,
    /// Stores an entry, replacing what was there.
    pub set:
        Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call, entry: *const Entry) -> i32>,
    /// Removes an entry: `OK` or `NOT_FOUND`.
    pub delete: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call, key: Slice) -> i32>,
    /// Removes all entries whose key starts with `prefix`; `removed` gets their number.
    pub clear: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            prefix: Slice,
            removed: *mut u64,
        ) -> i32,
    >,
    /// Finishes work in flight before the call's deadline and stops background threads; the
    /// instance still answers calls afterwards.
    pub quiesce: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call) -> i32>,
    /// Ends the instance. All pending operations have completed when it returns.
    pub close: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call) -> i32>,

    /// Reads many: `items[i]` for `keys[i]`, each with a status of its own.
    pub get_many: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            keys: *const Slice,
            count: usize,
            items: *mut Item,
        ) -> i32,
    >,
    /// Stores many; `statuses[i]` for `entries[i]`.
    pub set_many: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            entries: *const Entry,
            count: usize,
            statuses: *mut i32,
        ) -> i32,
    >,
    /// Removes many; `statuses[i]` for `keys[i]`.
    pub delete_many: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            keys: *const Slice,
            count: usize,
            statuses: *mut i32,
        ) -> i32,
    >,
    /// Cancels the pending operation `op`, best effort; one completion still follows.
    pub cancel: Option<unsafe extern "C" fn(instance: *mut c_void, op: u64)>,

    /// `CAS`: stores only where no entry is: `OK` (with the new `token`) or `CONFLICT`.
    pub add: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            entry: *const Entry,
            token: *mut Token,
        ) -> i32,
    >,
    /// `CAS`: stores only where the entry's token is `*token` (all zero: where none is); writes the
    /// new token there. `CONFLICT` otherwise.
    pub compare_and_set: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            entry: *const Entry,
            token: *mut Token,
        ) -> i32,
    >,
    /// `COUNTER`: adds `delta` to a decimal integer (starting from zero, with `ttl` when created).
    pub increment: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            key: Slice,
            delta: i64,
            ttl: i64,
            value: *mut i64,
        ) -> i32,
    >,
    /// `TTL`: gives a present entry a new time to live in nanoseconds.
    pub touch:
        Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call, key: Slice, ttl: i64) -> i32>,
    /// `TTL`: remaining time to live in nanoseconds, [`NEVER`](super::call::NEVER) for none.
    pub ttl: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            key: Slice,
            remaining: *mut i64,
        ) -> i32,
    >,
    /// `SCAN`: a page of at most `limit` keys that start with `prefix` and match the glob `pattern`
    /// (`*`, `?`, `[...]`, `\` escapes; empty: all). Keys present throughout appear at least once.
    pub scan: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            prefix: Slice,
            pattern: Slice,
            cursor: u64,
            limit: u64,
            page: *mut Page,
        ) -> i32,
    >,
    /// `SCAN`: number of entries whose key starts with `prefix`.
    pub count: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            prefix: Slice,
            number: *mut u64,
        ) -> i32,
    >,

    /// `LEASE`: takes the lease `name` for `ttl` nanoseconds, or `CONFLICT`.
    pub lease_acquire: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            name: Slice,
            ttl: i64,
            lease: *mut Lease,
        ) -> i32,
    >,
    /// `LEASE`: prolongs a lease that is still held, or `CONFLICT`.
    pub lease_renew: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            name: Slice,
            ttl: i64,
            lease: *const Lease,
        ) -> i32,
    >,
    /// `LEASE`: gives a lease back, or `CONFLICT` if it was lost before.
    pub lease_release: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            name: Slice,
            lease: *const Lease,
        ) -> i32,
    >,
    /// `SUBSCRIBE`: from now on reports changes of keys that start with `prefix`, made elsewhere, to
    /// [`HostTable::invalidated`](super::host::HostTable::invalidated).
    pub subscribe:
        Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call, prefix: Slice) -> i32>,

    /// Answers as soon as the store can be reached.
    pub ping: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call) -> i32>,
    /// A JSON object of numbers, in `text`: `entries`, `bytes`, `evictions`, and whatever else.
    pub statistics:
        Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call, text: *mut Value) -> i32>,
    /// Makes acknowledged writes as durable as they get.
    pub flush: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call) -> i32>,

    /// `FORK`: before `fork`, in the parent: brings locks into a known state.
    pub fork_prepare: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// `FORK`: after `fork`, in the parent.
    pub fork_parent: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// `FORK`: after `fork`, in the child, where no thread of the parent lives.
    #[sabi(last_prefix_field)]
    pub fork_child: Option<unsafe extern "C" fn(instance: *mut c_void)>,

    /// `CLAIM`, since 1.1: makes the bytes of a value that `get` or `get_many` gave the holder's own, who
    /// may write to them from then on. The value stays the caller's; its instance may be closed by now.
    pub claim: Option<unsafe extern "C" fn(value: *const Value) -> i32>,
}

const _: () = assert!(std::mem::size_of::<BackendTable>() == 16 + 29 * 8);
