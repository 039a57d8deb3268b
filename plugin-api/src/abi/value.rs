//! Borrowed bytes, and reference-counted values: bytes or opaque object handles.

use std::ffi::c_void;

use abi_stable::StableAbi;

/// Bytes borrowed for the duration of one call.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Slice {
    /// First byte; may be dangling (not null) when `len` is zero.
    pub ptr: *const u8,
    /// Number of bytes.
    pub len: usize,
}

impl Slice {
    /// No bytes.
    pub const EMPTY: Slice = Slice { ptr: std::ptr::NonNull::dangling().as_ptr(), len: 0 };

    /// Borrows `bytes`.
    pub const fn new(bytes: &[u8]) -> Self {
        Slice { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// `ptr` must be valid for `len` bytes for the lifetime `'a`.
    pub const unsafe fn as_bytes<'a>(&self) -> &'a [u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// How a value's owner counts its references. One static table for each kind of owner.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct RefTable {
    /// Adds a reference. Called only while the value is held; for object handles only on a thread
    /// that the host itself is calling on.
    pub retain: unsafe extern "C" fn(*mut c_void),
    /// Drops a reference; may be called from any thread, never while a lock is held that the owner
    /// could want.
    pub release: unsafe extern "C" fn(*mut c_void),
}

/// [`Value::kind`]: no value.
pub const NONE: u32 = 0;
/// [`Value::kind`]: `ptr` and `len` are bytes, kept alive by `owner`.
pub const BYTES: u32 = 1;
/// [`Value::kind`]: `owner` is an opaque host handle, `len` its weight in bytes, `ptr` null.
pub const OBJECT: u32 = 2;

/// A reference-counted value. Whoever holds one owns one reference and must release it once.
///
/// A null `table` means that nothing needs releasing (static data).
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Value {
    /// Bytes, or null for objects.
    pub ptr: *const u8,
    /// Number of bytes, or the object's weight.
    pub len: u64,
    /// What the reference count belongs to; the object handle itself for objects.
    pub owner: *mut c_void,
    /// How to count; null if there is nothing to count.
    pub table: *const RefTable,
    /// [`NONE`], [`BYTES`] or [`OBJECT`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
}

impl Value {
    /// No value.
    pub const NONE: Value = Value {
        ptr: std::ptr::null(),
        len: 0,
        owner: std::ptr::null_mut(),
        table: std::ptr::null(),
        kind: NONE,
        reserved: 0,
    };

    /// Drops the reference this value holds and leaves [`Value::NONE`].
    ///
    /// # Safety
    /// `self` must be a value whose reference the caller owns.
    #[inline]
    pub unsafe fn release(&mut self) {
        let value = std::mem::replace(self, Value::NONE);
        if value.kind != NONE && !value.table.is_null() {
            // SAFETY: a non-null table is valid for as long as the value is held.
            unsafe { ((*value.table).release)(value.owner) }
        }
    }

    /// Adds a reference for a second holder.
    ///
    /// # Safety
    /// `self` must be held by the caller; objects only on a thread the host is calling on.
    #[inline]
    pub unsafe fn retain(&self) {
        if self.kind != NONE && !self.table.is_null() {
            // SAFETY: as above.
            unsafe { ((*self.table).retain)(self.owner) }
        }
    }
}

const _: () = {
    assert!(std::mem::size_of::<Slice>() == 16);
    assert!(std::mem::size_of::<RefTable>() == 16);
    assert!(std::mem::size_of::<Value>() == 40);
};
