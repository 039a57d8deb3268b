//! Things that are made once and kept: PyO3's cell, without its waiting.
//!
//! Making them runs Python code, during which another thread may run and fork. In its child a cell
//! that waits for whoever is making the thing would wait for ever. So each thread that finds nothing
//! makes it, and the first to be ready sets it.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::outcall;

/// A place for one thing.
pub struct Once<T>(PyOnceLock<T>);

impl<T> Once<T> {
    /// Empty.
    pub const fn new() -> Self {
        Once(PyOnceLock::new())
    }

    /// What has been set.
    pub fn get(&self, py: Python<'_>) -> Option<&T> {
        self.0.get(py)
    }

    /// What has been set, or else what `make` gives, unless another thread sets something meanwhile.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get_or_make(&self, py: Python<'_>, make: impl FnOnce() -> PyResult<T>) -> PyResult<&T> {
        if let Some(known) = self.0.get(py) {
            return Ok(known);
        }
        let made = make()?;
        // Nothing runs between looking and setting, so that nobody ever waits.
        Ok(self.0.get_or_init(py, || made))
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
