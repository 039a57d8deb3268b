//! Values of the test host, whose references are counted.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::{ensure, Outcome};
use crate::abi::value::{RefTable, Value, BYTES, OBJECT};

/// One value: bytes or an object. It is not freed with its last reference, so that one released once too often
/// is found out rather than undefined.
#[derive(Debug)]
pub(crate) struct Handle {
    references: AtomicI64,
    misused: AtomicBool,
    bytes: *mut [u8],
    /// Of an object.
    weight: Option<u64>,
}

// SAFETY: the bytes are written only by whoever a fresh buffer was given to.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

static TABLE: RefTable = RefTable { retain, release };

impl Handle {
    /// A value of bytes with one reference.
    pub(crate) fn bytes(bytes: Vec<u8>) -> &'static Handle {
        Self::leak(bytes, None)
    }

    /// An object that weighs `weight` bytes, with one reference.
    pub(crate) fn object(weight: usize) -> &'static Handle {
        Self::leak(Vec::new(), Some(weight as u64))
    }

    fn leak(bytes: Vec<u8>, weight: Option<u64>) -> &'static Handle {
        Box::leak(Box::new(Handle {
            references: AtomicI64::new(1),
            misused: AtomicBool::new(false),
            bytes: Box::into_raw(bytes.into_boxed_slice()),
            weight,
        }))
    }

    /// The value, whose one reference passes to the receiver.
    pub(crate) fn value(&'static self) -> Value {
        Value {
            ptr: if self.weight.is_some() { std::ptr::null() } else { self.bytes.cast_const().cast() },
            len: self.weight.unwrap_or(self.bytes.len() as u64),
            owner: std::ptr::from_ref(self).cast_mut().cast(),
            table: &TABLE,
            kind: if self.weight.is_some() { OBJECT } else { BYTES },
            reserved: 0,
        }
    }

    /// Lends the bytes out and takes them back: whoever got them must have released them once when `body` has
    /// returned.
    pub(crate) fn lend(bytes: Vec<u8>, body: impl FnOnce(Value) -> Outcome) -> Outcome {
        let handle = Self::bytes(bytes);
        body(handle.value())?;
        ensure!(!handle.misused(), "a value's reference was released more than once");
        ensure!(handle.references() == 0, "a value's reference was not released");
        let handle = std::ptr::from_ref(handle).cast_mut();
        // SAFETY: both came out of boxes, and nobody has a reference left.
        unsafe {
            drop(Box::from_raw((*handle).bytes));
            drop(Box::from_raw(handle));
        }
        Ok(())
    }

    /// References held by anybody.
    pub(crate) fn references(&self) -> i64 {
        self.references.load(Ordering::SeqCst)
    }

    /// Whether a reference was released or added after the last one had gone.
    pub(crate) fn misused(&self) -> bool {
        self.misused.load(Ordering::SeqCst)
    }
}

unsafe extern "C" fn retain(owner: *mut c_void) {
    // SAFETY: a handle lives for as long as its check passes.
    let handle = unsafe { &*owner.cast::<Handle>() };
    if handle.references.fetch_add(1, Ordering::SeqCst) < 1 {
        handle.misused.store(true, Ordering::SeqCst);
    }
}

unsafe extern "C" fn release(owner: *mut c_void) {
    // SAFETY: a handle lives for as long as its check passes.
    let handle = unsafe { &*owner.cast::<Handle>() };
    if handle.references.fetch_sub(1, Ordering::SeqCst) < 1 {
        handle.misused.store(true, Ordering::SeqCst);
    }
}
