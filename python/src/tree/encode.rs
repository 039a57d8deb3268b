//! Built-in types to a tree.
//!
//! Exact types are read where their layout or a macro of CPython's API gives it, so nothing runs in between
//! and nobody changes a container meanwhile. Where something does run (the text of a path, a finaliser), a
//! container may shrink: places are looked up anew for each item, items are held while they are encoded,
//! and a count that came out wrong is an error. In a build without the GIL containers are held in critical
//! sections, which give way under the same conditions.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::{PyByteArray, PyBytes};
use retainit_plugin_api::sdk::tree::{self, write};

use super::ints;
use super::library::{field, name};
use super::NotPlain;
use crate::encode::small_int;

/// Containers nested deeper than this are not plain: they are most likely cyclic.
pub const DEPTH: u32 = tree::DEPTH;

/// An object as a tree, or why it has none.
///
/// # Errors
/// It was changed meanwhile, or there is no memory.
pub fn encode(object: &Bound<'_, PyAny>) -> PyResult<Result<Vec<u8>, NotPlain>> {
    let mut encoder = Encoder { py: object.py(), out: Vec::with_capacity(512), why: None };
    // SAFETY: attached and valid.
    match unsafe { encoder.value(object.as_ptr(), DEPTH) } {
        Ok(()) => Ok(Ok(encoder.out)),
        Err(Stopped) => match encoder.why {
            Some(Why::NotPlain(reason)) => Ok(Err(reason)),
            Some(Why::Raised(error)) => Err(error),
            None => Err(PyErr::fetch(object.py())),
        },
    }
}

/// The encoder stopped; it knows why.
pub struct Stopped;

/// What encoding a part gives.
pub type Done = Result<(), Stopped>;

enum Why {
    NotPlain(NotPlain),
    Raised(PyErr),
}

/// A tree that is being written.
pub struct Encoder<'py> {
    pub py: Python<'py>,
    pub out: Vec<u8>,
    why: Option<Why>,
}

impl<'py> Encoder<'py> {
    /// The object is not plain.
    #[cold]
    pub fn refuse(&mut self, reason: NotPlain) -> Stopped {
        self.why = Some(Why::NotPlain(reason));
        Stopped
    }

    /// Something raised.
    #[cold]
    pub fn raise(&mut self, error: PyErr) -> Stopped {
        self.why = Some(Why::Raised(error));
        Stopped
    }

    /// What a call of Python's API gave.
    #[inline]
    pub fn given<T>(&mut self, result: PyResult<T>) -> Result<T, Stopped> {
        result.map_err(|error| self.raise(error))
    }

    /// A head that there is, unless what it is for is too long.
    #[inline(always)]
    pub fn head(&mut self, written: Option<()>) -> Done {
        written.ok_or_else(|| self.refuse(NotPlain::Long))
    }

    #[cold]
    fn changed(&mut self) -> Stopped {
        self.raise(PyRuntimeError::new_err("a container changed while it was encoded"))
    }

    /// Writes an object.
    ///
    /// # Safety
    /// Attached; `object` is valid for as long as nothing else runs: it is held where something may.
    #[inline(always)]
    pub unsafe fn value(&mut self, object: *mut ffi::PyObject, depth: u32) -> Done {
        // SAFETY: exact types are checked before their layouts are used.
        unsafe {
            let kind = ffi::Py_TYPE(object);
            if kind == &raw mut ffi::PyUnicode_Type {
                return self.text(object);
            }
            if kind == &raw mut ffi::PyLong_Type {
                let Some(value) = small_int(object) else { return self.long(object) };
                write::int(&mut self.out, value);
                return Ok(());
            }
            if kind == &raw mut ffi::PyFloat_Type {
                write::float(&mut self.out, ffi::PyFloat_AS_DOUBLE(object));
                return Ok(());
            }
            if object == ffi::Py_None() {
                self.out.push(0xc0);
                return Ok(());
            }
            if kind == &raw mut ffi::PyBool_Type {
                self.out.push(if object == ffi::Py_True() { 0xc3 } else { 0xc2 });
                return Ok(());
            }
            self.larger(object, kind, depth)
        }
    }

    /// # Safety
    /// As for `value`; `kind` is the object's type.
    #[inline(never)]
    unsafe fn larger(
        &mut self,
        object: *mut ffi::PyObject,
        kind: *mut ffi::PyTypeObject,
        depth: u32,
    ) -> Done {
        // SAFETY: attached and valid.
        let held = unsafe { Bound::from_borrowed_ptr(self.py, object) };
        // SAFETY: the type is the exact one that each function is for, and the object is held.
        unsafe {
            if kind == &raw mut ffi::PyDict_Type {
                let depth = self.deeper(depth)?;
                return with_critical_section(&held, || self.dict(object, depth));
            }
            if kind == &raw mut ffi::PyList_Type {
                let depth = self.deeper(depth)?;
                return with_critical_section(&held, || self.list(object, depth));
            }
            if kind == &raw mut ffi::PyTuple_Type {
                let depth = self.deeper(depth)?;
                return self.tuple(object, depth);
            }
        }
        if let Ok(bytes) = held.cast_exact::<PyBytes>() {
            let bytes = bytes.as_bytes();
            let head = write::bytes(&mut self.out, bytes.len());
            self.head(head)?;
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        if kind == &raw mut ffi::PySet_Type || kind == &raw mut ffi::PyFrozenSet_Type {
            let depth = self.deeper(depth)?;
            let code = if kind == &raw mut ffi::PySet_Type { tree::SET } else { tree::FROZENSET };
            return self.set(&held, code, depth);
        }
        if kind == &raw mut ffi::PyComplex_Type {
            // SAFETY: an exact complex number.
            let (real, imaginary) =
                unsafe { (ffi::PyComplex_RealAsDouble(object), ffi::PyComplex_ImagAsDouble(object)) };
            self.extension(tree::COMPLEX, 16)?;
            self.out.extend_from_slice(&real.to_bits().to_be_bytes());
            self.out.extend_from_slice(&imaginary.to_bits().to_be_bytes());
            return Ok(());
        }
        if let Ok(bytes) = held.cast_exact::<PyByteArray>() {
            return with_critical_section(&held, || {
                // SAFETY: nobody else runs while it is copied.
                let bytes = unsafe { bytes.as_bytes() };
                self.extension(tree::BYTEARRAY, bytes.len())?;
                self.out.extend_from_slice(bytes);
                Ok(())
            });
        }
        if kind == &raw mut ffi::PyRange_Type {
            return self.three(&held, tree::RANGE, depth);
        }
        if kind == &raw mut ffi::PySlice_Type {
            return self.three(&held, tree::SLICE, depth);
        }
        // SAFETY: attached.
        if object == unsafe { ffi::Py_Ellipsis() } {
            return self.extension(tree::ELLIPSIS, 0);
        }
        self.other(&held)
    }

    /// The head of an extension type's body.
    pub fn extension(&mut self, code: i8, len: usize) -> Done {
        let head = write::extension(&mut self.out, code, len);
        self.head(head)
    }

    /// An extension type whose body `inside` writes.
    pub fn enclosed(&mut self, code: i8, inside: impl FnOnce(&mut Self) -> Done) -> Done {
        let open = write::open(&mut self.out, code);
        inside(self)?;
        let closed = write::close(&mut self.out, open);
        self.head(closed)
    }

    fn deeper(&mut self, depth: u32) -> Result<u32, Stopped> {
        depth.checked_sub(1).ok_or_else(|| self.refuse(NotPlain::Nested))
    }

    /// # Safety
    /// Attached; an exact dict that is held.
    unsafe fn dict(&mut self, dict: *mut ffi::PyObject, depth: u32) -> Done {
        // SAFETY: as promised; key and value are valid until something else runs.
        unsafe {
            let count = ffi::PyDict_Size(dict) as usize;
            let head = write::dict(&mut self.out, count);
            self.head(head)?;
            let mut left = count;
            let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
            while ffi::PyDict_Next(dict, &mut at, &mut key, &mut value) != 0 {
                let Some(fewer) = left.checked_sub(1) else { return Err(self.changed()) };
                left = fewer;
                if ffi::Py_TYPE(key) == &raw mut ffi::PyUnicode_Type {
                    self.text(key)?;
                    self.value(value, depth)?;
                } else {
                    // Writing the key may run something that takes the value out of the dict.
                    let value = Bound::from_borrowed_ptr(self.py, value);
                    self.value(key, depth)?;
                    self.value(value.as_ptr(), depth)?;
                }
            }
            if left != 0 {
                return Err(self.changed());
            }
        }
        Ok(())
    }

    /// # Safety
    /// Attached; an exact list that is held.
    unsafe fn list(&mut self, list: *mut ffi::PyObject, depth: u32) -> Done {
        // SAFETY: as promised; an item is valid until something else runs, and its place is looked up anew.
        unsafe {
            let count = ffi::PyList_GET_SIZE(list);
            let head = write::list(&mut self.out, count as usize);
            self.head(head)?;
            for index in 0..count {
                if index >= ffi::PyList_GET_SIZE(list) {
                    return Err(self.changed());
                }
                self.value(ffi::PyList_GET_ITEM(list, index), depth)?;
            }
            if ffi::PyList_GET_SIZE(list) != count {
                return Err(self.changed());
            }
        }
        Ok(())
    }

    /// # Safety
    /// Attached; an exact tuple that is held.
    unsafe fn tuple(&mut self, tuple: *mut ffi::PyObject, depth: u32) -> Done {
        self.enclosed(tree::TUPLE, |encoder| {
            // SAFETY: as promised; tuples do not change.
            unsafe {
                let count = ffi::PyTuple_GET_SIZE(tuple);
                let head = write::list(&mut encoder.out, count as usize);
                encoder.head(head)?;
                (0..count).try_for_each(|index| encoder.value(ffi::PyTuple_GET_ITEM(tuple, index), depth))
            }
        })
    }

    fn set(&mut self, set: &Bound<'py, PyAny>, code: i8, depth: u32) -> Done {
        self.enclosed(code, |encoder| {
            let count = set.len();
            let mut left = encoder.given(count)?;
            let head = write::list(&mut encoder.out, left);
            encoder.head(head)?;
            // Its own iterator says when it changes.
            let members = set.try_iter();
            for member in encoder.given(members)? {
                let member = encoder.given(member)?;
                let Some(fewer) = left.checked_sub(1) else { return Err(encoder.changed()) };
                left = fewer;
                // SAFETY: attached, and held.
                unsafe { encoder.value(member.as_ptr(), depth) }?;
            }
            if left != 0 {
                return Err(encoder.changed());
            }
            Ok(())
        })
    }

    /// A range or a slice.
    fn three(&mut self, object: &Bound<'py, PyAny>, code: i8, depth: u32) -> Done {
        let depth = self.deeper(depth)?;
        self.enclosed(code, |encoder| {
            let head = write::list(&mut encoder.out, 3);
            encoder.head(head)?;
            for name in [name!("start"), name!("stop"), name!("step")] {
                let part = field(object, name);
                let part = encoder.given(part)?;
                // SAFETY: attached, and held.
                unsafe { encoder.value(part.as_ptr(), depth) }?;
            }
            Ok(())
        })
    }

    /// An int of more than 60 bits.
    #[inline(never)]
    unsafe fn long(&mut self, object: *mut ffi::PyObject) -> Done {
        let mut overflow = 0;
        // SAFETY: attached; an exact int.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow) };
        if overflow == 0 {
            write::int(&mut self.out, value);
            return Ok(());
        }
        // SAFETY: as above.
        let int = unsafe { Bound::from_borrowed_ptr(self.py, object) };
        let bytes = ints::to_bytes(&int);
        let bytes = self.given(bytes)?;
        if let Some((0, bits)) = bytes.split_first().filter(|(_, bits)| bits.len() == 8) {
            write::unsigned(&mut self.out, bits.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte)));
            return Ok(());
        }
        self.extension(tree::BIG_INT, bytes.len())?;
        self.out.extend_from_slice(&bytes);
        Ok(())
    }
}
