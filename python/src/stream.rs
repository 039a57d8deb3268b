//! Arrow C streams as Python has them: capsules of the Arrow PyCapsule interface
//! (<https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>).

use std::cell::UnsafeCell;
use std::ffi::{c_void, CStr};

use pyo3::exceptions::{PyNotImplementedError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use retainit_core::sdk::ArrowStream;

/// The name that the interface gives such capsules.
const NAME: &CStr = c"arrow_array_stream";

/// A stream that is waiting for somebody to take it.
#[pyclass(module = "retainit._native", frozen, name = "ArrowStream")]
pub struct Stream {
    // Boxed, so that its address stays when this is moved into an object.
    stream: Box<UnsafeCell<ArrowStream>>,
    // What it was taken from, if it lies there.
    _capsule: Option<Py<PyAny>>,
}

// SAFETY: used by attached threads only, one at a time.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// Room for a stream.
    pub fn empty() -> Self {
        Stream { stream: Box::new(UnsafeCell::new(ArrowStream::empty())), _capsule: None }
    }

    /// The stream that an object exports.
    ///
    /// # Errors
    /// What exporting raised; it gave no capsule of a stream.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let capsule = object.call_method0("__arrow_c_stream__")?;
        // SAFETY: attached; the pointer of a valid capsule is that of a stream nobody else has taken.
        unsafe {
            let pointer = ffi::PyCapsule_GetPointer(capsule.as_ptr(), NAME.as_ptr());
            if pointer.is_null() {
                return Err(PyErr::fetch(py));
            }
            let stream = ArrowStream::take(pointer);
            Ok(Stream { stream: Box::new(UnsafeCell::new(stream)), _capsule: Some(capsule.unbind()) })
        }
    }

    /// Where it is, for who fills or takes it.
    pub fn pointer(&self) -> *mut c_void {
        self.stream.get().cast()
    }
}

#[pymethods]
impl Stream {
    /// Gives the stream away, once.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // Asking for another schema is a wish that a producer need not grant, but this one cannot tell
        // whether the schema it has is the one asked for.
        if requested_schema.is_some_and(|schema| !schema.is_none()) {
            return Err(PyNotImplementedError::new_err("this stream has the one schema it was stored with"));
        }
        // SAFETY: attached, so nobody else uses the stream; moving it out leaves it marked as released.
        unsafe {
            if (*self.stream.get()).is_released() {
                return Err(PyValueError::new_err("this stream has been taken already"));
            }
            let taken = Box::into_raw(Box::new(ArrowStream::take(self.pointer())));
            let capsule = ffi::PyCapsule_New(taken.cast(), NAME.as_ptr(), Some(release));
            if capsule.is_null() {
                drop(Box::from_raw(taken));
                return Err(PyErr::fetch(py));
            }
            Ok(Bound::from_owned_ptr(py, capsule))
        }
    }
}

/// The destructor of a capsule: releases the stream unless a consumer has taken it.
unsafe extern "C" fn release(capsule: *mut ffi::PyObject) {
    // SAFETY: the capsule is one of ours, at its end.
    unsafe {
        let pointer = ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr());
        if !pointer.is_null() {
            drop(Box::from_raw(pointer.cast::<ArrowStream>()));
        }
    }
}
