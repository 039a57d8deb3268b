//! The bytes of a buffer as part of a key, without a copy.

use std::mem::MaybeUninit;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::outcall;

/// Stands for `bytes` of the same content where keys are made. What it is made of exports a buffer
/// that is contiguous.
#[pyclass(module = "retainit._native", frozen)]
pub struct Content(Py<PyAny>);

#[pymethods]
impl Content {
    #[new]
    fn new(buffer: Py<PyAny>) -> Self {
        Content(buffer)
    }
}

impl Content {
    /// Borrows the bytes, which keep their place meanwhile.
    ///
    /// # Errors
    /// There is no such buffer.
    pub fn export(&self, py: Python<'_>) -> PyResult<Exported> {
        let mut view = Box::new(MaybeUninit::uninit());
        // SAFETY: attached and valid; the view stays where it is until it is released.
        unsafe {
            if outcall::get_buffer(self.0.as_ptr(), view.as_mut_ptr(), ffi::PyBUF_SIMPLE) < 0 {
                return Err(PyErr::fetch(py));
            }
            Ok(Exported(view.assume_init()))
        }
    }
}

/// A buffer while it is exported. Lives on an attached thread.
pub struct Exported(Box<ffi::Py_buffer>);

impl Exported {
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
