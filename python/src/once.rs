//! Things that are made once and kept, without waiting for whoever makes them.
//!
//! Making them runs Python code, during which another thread may run and fork. In its child a cell
//! that waits for the maker would wait for ever, as PyO3's does. So each thread that finds nothing
//! makes the thing, and the first to be ready sets it.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::prelude::*;

use crate::outcall;

/// A place for one thing, which is never dropped: places are statics.
pub struct Once<T>(AtomicPtr<T>);

impl<T: Send + Sync> Once<T> {
    /// Empty.
    pub const fn new() -> Self {
        Once(AtomicPtr::new(ptr::null_mut()))
    }

    /// What has been set.
    pub fn get(&self, _: Python<'_>) -> Option<&T> {
        // SAFETY: what has been set is valid for ever.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// What has been set, or else what `make` gives, unless another thread sets something meanwhile.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get_or_make(&self, py: Python<'_>, make: impl FnOnce() -> PyResult<T>) -> PyResult<&T> {
        if let Some(known) = self.get(py) {
            return Ok(known);
        }
        let made = Box::into_raw(Box::new(make()?));
        let known = self.0.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
        // SAFETY: either is valid for ever, but for the one that came too late, which nobody has seen.
        Ok(unsafe {
            match known {
                Ok(_) => &*made,
                Err(first) => {
                    drop(Box::from_raw(made));
                    &*first
                }
            }
        })
    }
}

impl Once<Py<PyAny>> {
    /// `name` of `module`, imported at the first time.
    ///
    /// # Errors
    /// What importing raised.
    pub fn import<'py>(&self, py: Python<'py>, module: &str, name: &str) -> PyResult<&Bound<'py, PyAny>> {
        let found = self.get_or_make(py, || Ok(outcall::import(py, module)?.getattr(name)?.unbind()))?;
        Ok(found.bind(py))
    }
}
