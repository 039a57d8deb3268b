//! Keys of dicts that are made again and again.
//!
//! Rows of one table share their keys. Found here, a key costs a comparison rather than an allocation, it
//! has its hash already, and equal keys of many rows are one object. A direct-mapped table: what comes to
//! a place that is taken takes it over, so it never grows.
//!
//! The strings are not interned: some versions keep interned strings for ever, and keys may come from
//! anywhere.

use std::ptr::NonNull;

use pyo3::ffi;

use super::text;

/// The longest key that is kept, in bytes.
const LONGEST: usize = 64;

/// The string of a key, a new reference; `None` with an exception set.
///
/// # Safety
/// Attached.
#[inline(always)]
pub unsafe fn key(utf8: &[u8]) -> Option<NonNull<ffi::PyObject>> {
    if utf8.len() > LONGEST || cfg!(Py_GIL_DISABLED) {
        // SAFETY: as promised.
        return unsafe { text::string(utf8) };
    }
    // SAFETY: as promised; with the GIL nobody else uses the table meanwhile.
    unsafe { kept(utf8) }
}

const PLACES: usize = 1024;

struct Place {
    hash: u64,
    /// A compact ASCII string, which the place owns a reference of; or null.
    text: *mut ffi::PyObject,
}

struct Table(std::cell::UnsafeCell<[Place; PLACES]>);

// SAFETY: used by whoever has the GIL; where there is none it is not used.
unsafe impl Sync for Table {}

static TABLE: Table =
    Table(std::cell::UnsafeCell::new([const { Place { hash: 0, text: std::ptr::null_mut() } }; PLACES]));

/// # Safety
/// Attached, with the GIL.
#[inline(always)]
unsafe fn kept(utf8: &[u8]) -> Option<NonNull<ffi::PyObject>> {
    let hash = hash(utf8);
    // SAFETY: the index is within the table; what a place has is a compact ASCII string.
    unsafe {
        let place = TABLE.0.get().cast::<Place>().add(hash as usize % PLACES);
        if (*place).hash == hash && !(*place).text.is_null() && same(text::ascii((*place).text), utf8) {
            return NonNull::new(ffi::Py_NewRef((*place).text));
        }
        let made = text::string(utf8)?;
        keep(place, hash, made);
        Some(made)
    }
}

/// # Safety
/// As above; `made` is an exact string that has just been made.
#[inline(never)]
unsafe fn keep(place: *mut Place, hash: u64, made: NonNull<ffi::PyObject>) {
    // SAFETY: as promised; dropping a string runs nothing.
    unsafe {
        if ffi::PyUnicode_IS_COMPACT_ASCII(made.as_ptr()) == 0 {
            return;
        }
        // The string keeps its hash from now on.
        ffi::PyObject_Hash(made.as_ptr());
        let old = std::mem::replace(&mut *place, Place { hash, text: ffi::Py_NewRef(made.as_ptr()) });
        ffi::Py_XDECREF(old.text);
    }
}

/// Tells keys apart well enough to spread them: what has one hash is compared anyway.
#[inline(always)]
fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * u128::from(FACTOR);
        product as u64 ^ (product >> 64) as u64
    };
    let (words, _) = bytes.as_chunks();
    let state = words.iter().fold(bytes.len() as u64, |state, word| mix(state, u64::from_le_bytes(*word)));
    mix(state, last(bytes))
}

/// Whether keys are equal, compared by words rather than by a call.
#[inline(always)]
fn same(one: &[u8], other: &[u8]) -> bool {
    let ((words, _), (others, _)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    one.len() == other.len()
        && last(one) == last(other)
        && words.iter().zip(others).all(|(one, other)| one == other)
}

/// The last eight bytes, or all there are: with the length and the words before, they are all of a key.
#[inline(always)]
fn last(bytes: &[u8]) -> u64 {
    if let Some(last) = bytes.last_chunk() {
        return u64::from_le_bytes(*last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
    }
    match bytes {
        [] => 0,
        [a, .., b] => u64::from(*a) | u64::from(bytes[1]) << 8 | u64::from(*b) << 16,
        [a] => u64::from(*a),
    }
}
