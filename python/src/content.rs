//! The bytes of a buffer as part of a key, without a copy.

use std::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::outcall;

/// Stands for `bytes` of the same content where keys are made. What it is made of exports a buffer
/// that is contiguous.
#[pyclass(module = "retainit._native", frozen)]
pub struct Content {
    buffer: Py<PyAny>,
    /// Whether other threads may run meanwhile. While a buffer is exported it cannot be resized: where
    /// that is an everyday thing to do, another thread would get an error that it has not asked for.
    pub shared: bool,
}

#[pymethods]
impl Content {
    #[new]
    #[pyo3(signature = (buffer, *, shared=true))]
    fn new(buffer: Py<PyAny>, shared: bool) -> Self {
        Content { buffer, shared }
    }
}

impl Content {
    /// Borrows the bytes.
    ///
    /// # Errors
    /// There is no such buffer.
    pub fn export(&self, py: Python<'_>) -> PyResult<Exported> {
        Exported::of(self.buffer.bind(py))
    }
}

/// A buffer while it is exported. Lives on an attached thread.
pub struct Exported(Box<ffi::Py_buffer>);

impl Exported {
    /// Borrows an object's bytes, which keep their place meanwhile.
    ///
    /// # Errors
    /// It has no contiguous buffer.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = Box::new(MaybeUninit::uninit());
        // SAFETY: attached and valid; the view stays where it is until it is released.
        unsafe {
            if outcall::get_buffer(object.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_SIMPLE) < 0 {
                return Err(PyErr::fetch(object.py()));
            }
            Ok(Exported(view.assume_init()))
        }
    }

    /// The bytes. Whoever writes to them at the same time, as other threads may where the caller lets
    /// go of the interpreter's lock, gets a key of what was there in part.
    pub fn as_slice(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: the exporter promises so many bytes for as long as the buffer is not released.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.0.len as usize) }
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        // SAFETY: on the thread that exported it, which is attached.
        unsafe { outcall::release_buffer(&mut *self.0) };
    }
}
