//! Python values as canonical key bytes (see `retainit_core::key`).
//!
//! Exact built-in types are encoded here; everything else is reduced to them by what
//! `retainit._keys.reducer` gives for its type, or, where every tier is in the process, interned by its
//! own equality.

use pyo3::exceptions::PyRecursionError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple,
    PyType,
};
use retainit_core::key::{digest, tag, KeyBuffer};

use crate::content::{Content, Exported};
use crate::errors::UNKEYABLE;
use crate::handle;
use crate::intern::Interns;
use crate::once::Once;
use crate::outcall;

/// Values nested deeper than this have no key: they are most likely cyclic.
const DEPTH: usize = 100;
/// From this many bytes on, other threads may run while a digest is made.
const DETACH: usize = 1 << 20;

/// Appends the few types that hits are made of, without touching Python's API where the layout is
/// known. `false` if `object` is of another type, or the buffer is not for short keys any more.
///
/// # Safety
/// Attached; `object` is valid.
#[inline(always)]
pub unsafe fn fast(object: *mut ffi::PyObject, key: &mut KeyBuffer) -> bool {
    // SAFETY: exact types are checked before their layouts are used.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyLong_Type {
            let Some(value) = small_int(object) else { return false };
            key.int(value);
            return true;
        }
        if kind == &raw mut ffi::PyUnicode_Type {
            if ffi::PyUnicode_IS_COMPACT_ASCII(object) == 0 {
                return false;
            }
            let len = (*object.cast::<ffi::PyASCIIObject>()).length as usize;
            let data = object.cast::<ffi::PyASCIIObject>().add(1).cast::<u8>();
            key.text(std::slice::from_raw_parts(data, len));
            return true;
        }
        if kind == &raw mut ffi::PyFloat_Type {
            key.float(ffi::PyFloat_AS_DOUBLE(object));
            return true;
        }
        if object == ffi::Py_None() {
            key.push(tag::NONE);
            return true;
        }
        if kind == &raw mut ffi::PyBool_Type {
            key.push(if object == ffi::Py_True() { tag::TRUE } else { tag::FALSE });
            return true;
        }
    }
    false
}

/// What Python's side has answered by type: a reducer, or `None` for types without an encoding.
static REDUCERS: Once<Py<PyDict>> = Once::new();
/// Types remembered; beyond it the list starts over, so that classes made at run time can go.
const TYPES: usize = 4096;

/// Appends the number of an object that is keyed by its own equality, where it has one already.
///
/// # Safety
/// Attached; `object` is valid. Runs the object's `__hash__` and `__eq__`.
#[inline(never)]
pub unsafe fn interned(object: *mut ffi::PyObject, key: &mut KeyBuffer, interns: &Interns) -> bool {
    // SAFETY: as promised.
    unsafe {
        let Some(types) = REDUCERS.get(Python::assume_attached()) else { return false };
        let reducer = outcall::dict_get(types.as_ptr(), ffi::Py_TYPE(object).cast());
        if reducer != ffi::Py_None() {
            if reducer.is_null() {
                ffi::PyErr_Clear();
            }
            return false;
        }
        let Some(number) = interns.known(object) else { return false };
        key.interned(number);
    }
    true
}

/// CPython's int: up to 3.11 the sign is that of the size, from 3.12 on it is in the tag's low bits.
#[repr(C)]
struct Long {
    head: ffi::PyObject,
    size_or_tag: usize,
    digits: [u32; 2],
}

/// The value of an int of at most two 30-bit digits.
///
/// # Safety
/// Attached; an exact int.
#[inline(always)]
pub unsafe fn small_int(object: *mut ffi::PyObject) -> Option<i64> {
    let long: *const Long = object.cast();
    // SAFETY: an exact int; the second digit is read only where there is one.
    unsafe {
        #[cfg(not(Py_3_12))]
        let (count, negative) = {
            let size = (*long).size_or_tag as isize;
            (size.unsigned_abs(), size < 0)
        };
        #[cfg(Py_3_12)]
        let (count, negative) = {
            let tag = (*long).size_or_tag;
            (tag >> 3, tag & 3 == 2)
        };
        let digit = &raw const (*long).digits as *const u32;
        let magnitude = match count {
            0 => 0,
            1 => i64::from(*digit),
            2 => i64::from(*digit) | i64::from(*digit.add(1)) << 30,
            _ => return None,
        };
        // A zero of 3.12 has one digit and the sign bits "zero"; its digit is zero all the same.
        Some(if negative { -magnitude } else { magnitude })
    }
}

/// Encodes values that the fast path leaves.
pub struct Encoder<'a, 'py> {
    /// The key so far.
    pub key: &'a mut KeyBuffer,
    /// Where hashable objects of other types are numbered; `None` where keys must mean something
    /// outside the process.
    pub interns: Option<&'a Interns>,
    /// Objects that must live as long as the entry.
    pub keep: Vec<Bound<'py, PyAny>>,
}

impl<'py> Encoder<'_, 'py> {
    /// Appends `object`.
    ///
    /// # Errors
    /// `UnkeyableError`, and whatever an object's own `__retain_key__` or `__hash__` raises.
    pub fn value(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        self.nested(object, DEPTH)
    }

    fn nested(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> PyResult<()> {
        // SAFETY: attached and valid.
        if unsafe { fast(object.as_ptr(), self.key) } {
            return Ok(());
        }
        if depth == 0 {
            return Err(UNKEYABLE
                .error(format!("a value nested more than {DEPTH} deep (or within itself) has no key")));
        }
        let start = self.key.len();
        self.whole(object, depth)?;
        self.key.finish(start);
        Ok(())
    }

    /// A value that may turn out long.
    fn whole(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> PyResult<()> {
        if let Ok(text) = object.cast_exact::<PyString>() {
            return self.text(text);
        }
        if let Ok(tuple) = object.cast_exact::<PyTuple>() {
            self.key.push(tag::TUPLE);
            self.key.length(tuple.len());
            return tuple.iter().try_for_each(|item| self.nested(&item, depth - 1));
        }
        if let Ok(bytes) = object.cast_exact::<PyBytes>() {
            self.bytes(object.py(), bytes.as_bytes(), true);
            return Ok(());
        }
        if let Ok(int) = object.cast_exact::<PyInt>() {
            return self.int(int);
        }
        if let Ok(list) = object.cast_exact::<PyList>() {
            self.key.push(tag::LIST);
            let items = list.to_tuple();
            self.key.length(items.len());
            return items.iter().try_for_each(|item| self.nested(&item, depth - 1));
        }
        if let Ok(dict) = object.cast_exact::<PyDict>() {
            let pairs: Vec<_> = dict.iter().collect();
            let mut items = Vec::with_capacity(pairs.len());
            for (name, value) in pairs {
                items.push(self.apart(|encoder| {
                    encoder.nested(&name, depth - 1)?;
                    encoder.nested(&value, depth - 1)
                })?);
            }
            self.key.sorted(tag::DICT, items);
            return Ok(());
        }
        if let Ok(set) = object.cast_exact::<PyFrozenSet>() {
            return self.set(tag::FROZENSET, set.iter().collect(), depth);
        }
        if let Ok(set) = object.cast_exact::<PySet>() {
            return self.set(tag::SET, set.iter().collect(), depth);
        }
        if let Ok(float) = object.cast_exact::<PyFloat>() {
            self.key.float(float.value());
            return Ok(());
        }
        if let Ok(complex) = object.cast_exact::<PyComplex>() {
            self.key.push(tag::COMPLEX);
            self.key.extend(&complex.real().to_bits().to_le_bytes());
            self.key.extend(&complex.imag().to_bits().to_le_bytes());
            return Ok(());
        }
        if object.is_exact_instance_of::<PyByteArray>() {
            self.key.bytes(tag::BYTEARRAY, Exported::of(object)?.as_slice());
            return Ok(());
        }
        if let Ok(content) = object.cast_exact::<Content>() {
            let content = content.get();
            self.bytes(object.py(), content.export(object.py())?.as_slice(), content.shared);
            return Ok(());
        }
        self.other(object, depth)
    }

    /// Another type: what its reducer makes of it, or a number of its own.
    fn other(&mut self, object: &Bound<'py, PyAny>, depth: usize) -> PyResult<()> {
        static REDUCER: Once<Py<PyAny>> = Once::new();
        let py = object.py();
        let kind = object.get_type();
        let reducers = REDUCERS.get_or_make(py, || Ok(PyDict::new(py).unbind()))?.bind(py);
        let reducer = match outcall::dict_find(reducers, kind.as_any())? {
            Some(known) => known,
            None => {
                let asked = outcall::call(REDUCER.import(py, "retainit._keys", "reducer")?, (&kind,), None)?;
                if reducers.len() >= TYPES {
                    reducers.clear();
                }
                reducers.set_item(&kind, &asked)?;
                asked
            }
        };
        if !reducer.is_none() {
            let reduced = outcall::call(&reducer, (object,), None).map_err(|error| {
                if error.is_instance_of::<PyRecursionError>(py) {
                    UNKEYABLE.error("a value that contains itself has no key")
                } else {
                    error
                }
            })?;
            if !reduced.is_none() {
                let (name, value): (String, Bound<'py, PyAny>) = reduced.extract()?;
                self.key.push(tag::EXTENSION);
                self.key.length(name.len());
                self.key.extend(name.as_bytes());
                return self.nested(&value, depth - 1);
            }
        }
        if let Some(interns) = self.interns {
            if let Some((number, token)) = interns.number(object)? {
                self.key.interned(number);
                self.keep.push(token);
                return Ok(());
            }
        }
        let what = match object.cast::<PyType>() {
            Ok(class) => {
                format!("the class `{}`, which is not found by its name,", class.fully_qualified_name()?)
            }
            Err(_) => format!("a value of type `{}`", kind.fully_qualified_name()?),
        };
        let remedy = "give the type a `__retain_key__` method, name the argument in `exclude_args`, \
                      or use a `key_builder`";
        Err(UNKEYABLE.error(if self.interns.is_some() {
            format!("{what} has no key and is not hashable; hint: {remedy}")
        } else {
            format!("{what} has no key that means anything outside this process; hint: {remedy}")
        }))
    }

    fn bytes(&mut self, py: Python<'py>, bytes: &[u8], shared: bool) {
        // At the end of the interpreter a thread that lets go of its lock may never get it again.
        if !shared || bytes.len() < DETACH || handle::is_closed() {
            self.key.bytes(tag::BYTES, bytes);
        } else {
            let digest = py.detach(|| digest(tag::BYTES, bytes));
            self.key.long(&digest);
        }
    }

    fn text(&mut self, text: &Bound<'py, PyString>) -> PyResult<()> {
        if let Ok(utf8) = text.to_str() {
            self.key.text(utf8.as_bytes());
            return Ok(());
        }
        // Lone surrogates: UTF-8 in which they stand as three bytes, as no valid text does.
        let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
        self.key.text(bytes.cast::<PyBytes>()?.as_bytes());
        Ok(())
    }

    fn int(&mut self, int: &Bound<'py, PyInt>) -> PyResult<()> {
        if let Ok(value) = int.extract::<i64>() {
            self.key.int(value);
            return Ok(());
        }
        let bits: usize = int.call_method0("bit_length")?.extract()?;
        let options = PyDict::new(int.py());
        options.set_item("signed", true)?;
        let bytes = int.call_method("to_bytes", (bits / 8 + 1, "little"), Some(&options))?;
        self.key.big_int(bytes.cast::<PyBytes>()?.as_bytes());
        Ok(())
    }

    fn set(&mut self, tag: u8, members: Vec<Bound<'py, PyAny>>, depth: usize) -> PyResult<()> {
        let mut items = Vec::with_capacity(members.len());
        for member in members {
            items.push(self.apart(|encoder| encoder.nested(&member, depth - 1))?);
        }
        self.key.sorted(tag, items);
        Ok(())
    }

    /// Encodes into a buffer of its own.
    fn apart(&mut self, encode: impl FnOnce(&mut Encoder<'_, 'py>) -> PyResult<()>) -> PyResult<Vec<u8>> {
        let mut key = KeyBuffer::new();
        let mut inner = Encoder { key: &mut key, interns: self.interns, keep: Vec::new() };
        encode(&mut inner)?;
        self.keep.append(&mut inner.keep);
        Ok(key.as_slice().to_vec())
    }
}
