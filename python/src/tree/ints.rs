//! Ints beyond 64 bits, both ways: two's complement, most significant byte first.

use std::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;

/// As short as it gets.
///
/// # Errors
/// There is no memory.
pub fn to_bytes(int: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut bytes = vec![0; room(int)];
    // SAFETY: attached; an exact int, and as many bytes as there are.
    let done = unsafe { write(int.as_ptr(), &mut bytes) };
    if done < 0 {
        return Err(PyErr::fetch(int.py()));
    }
    // A byte that only repeats the sign of the one behind it says nothing.
    let spare = bytes.windows(2).take_while(|pair| match pair[0] {
        0 => pair[1] < 0x80,
        0xff => pair[1] >= 0x80,
        _ => false,
    });
    let spare = spare.count();
    bytes.drain(..spare);
    Ok(bytes)
}

/// # Errors
/// There is no memory.
pub fn from_bytes<'py>(py: Python<'py>, bytes: &[u8], signed: bool) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached; the bytes are valid for the call, which gives a new reference or null.
    unsafe { Bound::from_owned_ptr_or_err(py, read(bytes, signed)) }
}

/// Bytes enough for an exact int.
#[cfg(not(Py_3_13))]
fn room(int: &Bound<'_, PyAny>) -> usize {
    // SAFETY: attached; an exact int, of which this is the number of digits with its sign, or, from 3.12
    // on, with three bits behind it.
    let size = unsafe { (*int.as_ptr().cast::<ffi::PyVarObject>()).ob_size };
    let digits = if cfg!(Py_3_12) { size as usize >> 3 } else { size.unsigned_abs() };
    // A digit has 30 bits, and the sign needs one.
    digits * 4 + 1
}

#[cfg(not(Py_3_13))]
unsafe fn write(int: *mut ffi::PyObject, bytes: &mut [u8]) -> c_int {
    // SAFETY: as promised.
    unsafe { ffi::_PyLong_AsByteArray(int.cast(), bytes.as_mut_ptr(), bytes.len(), 0, 1) }
}

#[cfg(not(Py_3_13))]
unsafe fn read(bytes: &[u8], signed: bool) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe { ffi::_PyLong_FromByteArray(bytes.as_ptr(), bytes.len(), 0, c_int::from(signed)) }
}

#[cfg(Py_3_13)]
const BIG_ENDIAN: c_int = 0;

#[cfg(Py_3_13)]
fn room(int: &Bound<'_, PyAny>) -> usize {
    // SAFETY: attached; an exact int, of which nothing is written.
    let size = unsafe { ffi::PyLong_AsNativeBytes(int.as_ptr(), std::ptr::null_mut(), 0, BIG_ENDIAN) };
    size.max(1) as usize
}

#[cfg(Py_3_13)]
unsafe fn write(int: *mut ffi::PyObject, bytes: &mut [u8]) -> c_int {
    let len = bytes.len() as ffi::Py_ssize_t;
    // SAFETY: as promised.
    let size = unsafe { ffi::PyLong_AsNativeBytes(int, bytes.as_mut_ptr().cast(), len, BIG_ENDIAN) };
    if size < 0 {
        -1
    } else {
        0
    }
}

#[cfg(Py_3_13)]
unsafe fn read(bytes: &[u8], signed: bool) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe {
        if signed {
            ffi::PyLong_FromNativeBytes(bytes.as_ptr().cast(), bytes.len(), BIG_ENDIAN)
        } else {
            ffi::PyLong_FromUnsignedNativeBytes(bytes.as_ptr().cast(), bytes.len(), BIG_ENDIAN)
        }
    }
}
