//! Numbers for hashable objects that have no encoding.
//!
//! An object is looked up by its own `__hash__` and `__eq__`, outside locks, and gets a number that is
//! never used again. Entries whose key holds the number keep a [`Token`]; the last one to go takes the
//! object out of the table.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::PyTraverseError;

/// A function's table of interned objects.
pub struct Interns {
    /// Object to weak reference of its token.
    table: Py<PyDict>,
    next: AtomicU64,
}

/// Keeps one object's number; belongs to entries.
#[pyclass(module = "retainit._native", weakref, frozen)]
pub struct Token {
    number: u64,
    object: Py<PyAny>,
    table: Py<PyDict>,
}

#[pymethods]
impl Token {
    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        visit.call(&self.table)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        Python::attach(|py| {
            // By the time a token goes a new one of an equal object may have taken its place.
            let table = self.table.bind(py);
            let object = self.object.bind(py);
            let replaced = matches!(table.get_item(object), Ok(Some(reference)) if !dead(&reference));
            if !replaced && table.del_item(object).is_err() {
                // The table was cleared by the collector: there is nothing to take out.
            }
        });
    }
}

fn dead(reference: &Bound<'_, PyAny>) -> bool {
    reference.call0().is_ok_and(|target| target.is_none())
}

impl Interns {
    /// An empty table.
    pub fn new(py: Python<'_>) -> Self {
        Interns { table: PyDict::new(py).unbind(), next: AtomicU64::new(0) }
    }

    /// The table, for the garbage collector.
    pub fn table(&self) -> &Py<PyDict> {
        &self.table
    }

    /// The number of an object equal to this one, and its token; `None` if it is not hashable.
    ///
    /// # Errors
    /// What the object's own methods raise.
    pub fn number<'py>(&self, object: &Bound<'py, PyAny>) -> PyResult<Option<(u64, Bound<'py, PyAny>)>> {
        let py = object.py();
        let table = self.table.bind(py);
        let known = match table.get_item(object) {
            Ok(known) => known,
            Err(error) if error.is_instance_of::<PyTypeError>(py) && object.hash().is_err() => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(reference) = known {
            let token = reference.call0()?;
            if !token.is_none() {
                return Ok(Some((token.cast::<Token>()?.get().number, token)));
            }
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let token = Bound::new(py, Token { number, object: object.clone().unbind(), table: self.table.clone_ref(py) })?;
        let reference = py.import("weakref")?.getattr("ref")?.call1((&token,))?;
        table.set_item(object, reference)?;
        Ok(Some((number, token.into_any())))
    }
}
