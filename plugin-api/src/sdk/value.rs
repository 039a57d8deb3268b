//! An owned reference to bytes or to a host object.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use super::call::Call;
use crate::abi::value as raw;

/// One reference to reference-counted bytes, or to an opaque object of the host; dropped with it.
///
/// Drop values outside locks: the owner's release function runs then.
#[repr(transparent)]
pub struct Value(raw::Value);

// SAFETY: the contract of `RefTable` lets references be released from any thread; bytes are immutable.
unsafe impl Send for Value {}
// SAFETY: as above; sharing gives access to immutable bytes and to `retain`, which needs a `Call`
// for objects.
unsafe impl Sync for Value {}

impl Value {
    /// Bytes that this plugin owns.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        Self::from_owner(Arc::new(bytes))
    }

    /// Bytes kept alive by any shared owner: a memory map, a network buffer.
    pub fn from_owner<O: AsRef<[u8]> + Send + Sync + 'static>(owner: Arc<O>) -> Self {
        let bytes = (*owner).as_ref();
        let (ptr, len) = (bytes.as_ptr(), bytes.len() as u64);
        Value(raw::Value {
            ptr,
            len,
            owner: Arc::into_raw(owner).cast_mut().cast(),
            table: &Owned::<O>::TABLE,
            kind: raw::BYTES,
            reserved: 0,
        })
    }

    /// As [`Value::from_owner`], of a plugin that wants to find the owner again: see [`Value::owner`].
    pub fn from_owner_in<O>(owner: Arc<O>, table: &'static OwnerTable<O>) -> Self
    where
        O: AsRef<[u8]> + Send + Sync + 'static,
    {
        let mut value = Self::from_owner(owner);
        value.0.table = &table.functions;
        value
    }

    /// The owner of a value that was made with this very `table`; `None` for any other value.
    pub fn owner<O: Send + Sync + 'static>(&self, table: &'static OwnerTable<O>) -> Option<&O> {
        // SAFETY: only `from_owner_in` hands the table out, with an `Arc<O>` of which `self` holds a reference.
        ptr::eq(self.0.table, &table.functions).then(|| unsafe { &*self.0.owner.cast_const().cast::<O>() })
    }

    /// Takes over a raw value's reference.
    ///
    /// # Safety
    /// The caller must own one reference to `value` and give it up.
    pub const unsafe fn from_raw(value: raw::Value) -> Self {
        Value(value)
    }

    /// A raw value that somebody else holds meanwhile.
    ///
    /// # Safety
    /// The reference must not be released while the result is used.
    pub(super) const unsafe fn borrowed(value: &raw::Value) -> &Self {
        // SAFETY: of the same layout, and a reference runs no drop.
        unsafe { &*ptr::from_ref(value).cast() }
    }

    /// Gives the reference away.
    pub fn into_raw(self) -> raw::Value {
        let value = self.0;
        std::mem::forget(self);
        value
    }

    /// The raw value, still owned by `self`.
    pub const fn as_raw(&self) -> &raw::Value {
        &self.0
    }

    /// The bytes, or `None` for an object.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if self.0.kind != raw::BYTES {
            return None;
        }
        // SAFETY: bytes of a held value are valid and immutable.
        Some(unsafe { raw::Slice { ptr: self.0.ptr, len: self.0.len as usize }.as_bytes() })
    }

    /// The part of bytes in `range`, under the same reference; `None` for objects, and where the range is not
    /// within the bytes.
    pub fn slice(mut self, range: Range<usize>) -> Option<Self> {
        let part = self.as_bytes()?.get(range)?;
        // The owner alone keeps the bytes alive, whichever of them are shown.
        (self.0.ptr, self.0.len) = (part.as_ptr(), part.len() as u64);
        Some(self)
    }

    /// Whether this is an object of the host.
    pub fn is_object(&self) -> bool {
        self.0.kind == raw::OBJECT
    }

    /// Length of bytes, weight of an object; bytes either way.
    pub fn weight(&self) -> u64 {
        self.0.len
    }

    /// A second reference. `call` shows that the host is calling on this thread, where alone
    /// references to objects may be added.
    #[inline]
    pub fn share(&self, _call: &Call<'_>) -> Self {
        // SAFETY: `self` holds the value, and the host is calling on this thread.
        unsafe { self.0.retain() };
        Value(self.0)
    }

    /// A second reference to bytes; `None` for objects, which need [`Value::share`].
    pub fn share_bytes(&self) -> Option<Self> {
        if self.0.kind != raw::BYTES {
            return None;
        }
        // SAFETY: `self` holds the value; bytes may be retained on any thread.
        unsafe { self.0.retain() };
        Some(Value(self.0))
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: `self` owns the reference.
        unsafe { self.0.release() }
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_object() { "object" } else { "bytes" };
        write!(f, "Value({kind}, {} B)", self.weight())
    }
}

/// References to owners of one type, as a `static` of a plugin that wants to know its own values again.
pub struct OwnerTable<O> {
    functions: raw::RefTable,
    owner: PhantomData<fn(O)>,
    /// Nobody writes to it. But somebody could, so a table is never merged with one of another type that
    /// has the same bytes: its address says whose it is.
    _distinct: UnsafeCell<u8>,
}

// SAFETY: what could be changed never is.
unsafe impl<O> Sync for OwnerTable<O> {}

impl<O: Send + Sync + 'static> OwnerTable<O> {
    /// For a `static`.
    #[allow(clippy::new_without_default)] // each one is different
    pub const fn new() -> Self {
        OwnerTable { functions: Owned::<O>::TABLE, owner: PhantomData, _distinct: UnsafeCell::new(0) }
    }
}

impl<O> std::fmt::Debug for OwnerTable<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnerTable<{}>", std::any::type_name::<O>())
    }
}

/// The reference table of values owned by an `Arc<O>`.
struct Owned<O>(PhantomData<O>);

impl<O: Send + Sync + 'static> Owned<O> {
    const TABLE: raw::RefTable = raw::RefTable { retain: Self::retain, release: Self::release };

    unsafe extern "C" fn retain(owner: *mut c_void) {
        // SAFETY: `owner` came from `Arc::into_raw`, and the caller holds a reference.
        unsafe { Arc::increment_strong_count(owner.cast_const().cast::<O>()) }
    }

    unsafe extern "C" fn release(owner: *mut c_void) {
        // An owner's `Drop` is plugin code: a panic in it must not leave this function.
        super::export::guard_silent(|| {
            // SAFETY: as above; the caller gives its reference up.
            unsafe { Arc::decrement_strong_count(owner.cast_const().cast::<O>()) }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_keeps_its_owner_and_shows_a_part() {
        let owner = Arc::new(b"header and elements".to_vec());
        let whole = Value::from_owner(Arc::clone(&owner));
        let part = whole.slice(11..19).unwrap();
        assert_eq!(part.as_bytes(), Some(&b"elements"[..]));
        assert_eq!(part.as_bytes().unwrap().as_ptr(), owner[11..].as_ptr(), "no copy");
        let second = part.share_bytes().unwrap().slice(0..4).unwrap();
        assert_eq!(Arc::strong_count(&owner), 3);
        drop(part);
        assert_eq!(second.as_bytes(), Some(&b"elem"[..]));
        assert_eq!(second.slice(4..4).unwrap().as_bytes(), Some(&b""[..]));
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    #[test]
    fn an_owner_is_found_by_its_own_table_alone() {
        static MINE: OwnerTable<Vec<u8>> = OwnerTable::new();
        static OTHER: OwnerTable<Vec<u8>> = OwnerTable::new();
        // The same functions, for a type of the same shape.
        static BOXED: OwnerTable<Box<[u8]>> = OwnerTable::new();
        let owner = Arc::new(b"owned".to_vec());
        let value = Value::from_owner_in(Arc::clone(&owner), &MINE);
        assert_eq!(value.as_bytes(), Some(&b"owned"[..]));
        assert!(ptr::eq(value.owner(&MINE).unwrap(), &*owner));
        let part = value.share_bytes().unwrap().slice(1..3).unwrap();
        assert!(ptr::eq(part.owner(&MINE).unwrap(), &*owner), "of a part too");
        assert!(value.owner(&OTHER).is_none() && value.owner(&BOXED).is_none());
        assert!(Value::from_owner(Arc::clone(&owner)).owner(&MINE).is_none());
        drop((value, part));
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    #[test]
    fn a_slice_beyond_the_bytes_is_none_and_releases_them() {
        let owner = Arc::new(vec![0; 4]);
        let value = || Value::from_owner(Arc::clone(&owner));
        assert!(value().slice(2..5).is_none());
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = value().slice(3..2);
        assert!(reversed.is_none());
        assert_eq!(Arc::strong_count(&owner), 1);
    }
}
