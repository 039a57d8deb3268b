//! Stored bytes as Python reads them: small ones copied, large ones in place. Who asks for a buffer to
//! write to claims them, where that can be had.

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use retainit_core::access::Access;
use retainit_core::language::Payload;

/// Up to this many bytes a copy costs less than an object that keeps the original alive.
const COPY: usize = 16 * 1024;

/// A buffer over bytes that a backend or a serializer keeps.
#[pyclass(module = "retainit._native", frozen)]
pub struct View(Payload);

#[pymethods]
impl View {
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let payload = &slf.get().0;
        let asks = flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE;
        if asks && !payload.claim() {
            return Err(PyBufferError::new_err("stored bytes are read-only"));
        }
        let bytes = payload.as_bytes();
        let (start, len) = (bytes.as_ptr(), bytes.len() as ffi::Py_ssize_t);
        // Bytes that would have to be claimed are shown to readers as what they are.
        let readonly = i32::from(!asks && !matches!(payload.access(), Access::Holder));
        // SAFETY: `view` is the caller's to fill; the bytes live as long as the object, which the
        // buffer refers to.
        unsafe {
            if ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                start.cast_mut().cast::<c_void>(),
                len,
                readonly,
                flags,
            ) < 0
            {
                (*view).obj = ptr::null_mut();
                return Err(PyErr::fetch(slf.py()));
            }
        }
        Ok(())
    }
}

/// A buffer over the bytes.
///
/// # Errors
/// Out of memory.
pub fn over(py: Python<'_>, payload: Payload) -> PyResult<Bound<'_, PyAny>> {
    Ok(Bound::new(py, View(payload))?.into_any())
}

/// An object that has the bytes.
///
/// # Errors
/// Out of memory.
pub fn of(py: Python<'_>, payload: Payload) -> PyResult<Bound<'_, PyAny>> {
    if payload.as_bytes().len() <= COPY {
        return Ok(PyBytes::new(py, payload.as_bytes()).into_any());
    }
    over(py, payload)
}
