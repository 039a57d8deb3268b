//! Numbers for hashable objects that have no encoding.
//!
//! An object is looked up by its own `__hash__` and `__eq__`, outside locks, and gets a number that is
//! never used again. Entries whose key holds the number keep a [`Keep`]; the last one to go takes the
//! object out of the table.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::PyTraverseError;

use crate::outcall;

/// A function's table of interned objects.
pub struct Interns {
    /// Object to [`Token`].
    table: Py<PyDict>,
    next: AtomicU64,
}

/// An object's number.
#[pyclass(module = "retainit._native", frozen)]
pub struct Token {
    number: u64,
    /// How many [`Keep`]s there are.
    keeps: AtomicUsize,
}

/// Keeps one object's number; belongs to entries.
#[pyclass(module = "retainit._native", frozen)]
pub struct Keep {
    token: Py<Token>,
    /// Given up with an [`outcall`], because its end may run code.
    object: ManuallyDrop<Py<PyAny>>,
    table: Py<PyDict>,
}

#[pymethods]
impl Keep {
    fn __traverse__(&self, visit: pyo3::PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&*self.object)?;
        visit.call(&self.table)
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        Python::attach(|py| {
            let token = self.token.bind(py);
            if token.get().keeps.fetch_sub(1, Ordering::Relaxed) != 1 {
                return;
            }
            let (table, object) = (self.table.bind(py), self.object.bind(py));
            // An object whose hash has changed meanwhile cannot be found, and stays; it is not ours
            // to complain about.
            let known = outcall::dict_find(table, object);
            if known.is_ok_and(|known| known.is_some_and(|known| known.is(token))) {
                let _ = outcall::dict_remove(table, object);
            }
        });
        // SAFETY: the last use of it, on the attached thread that deallocates the object.
        unsafe { outcall::release(ManuallyDrop::take(&mut self.object).into_ptr()) };
    }
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

    /// The number of an object equal to this one that entries keep, if there is one. What the object's
    /// methods raise is left to [`Interns::number`], which asks them again.
    ///
    /// # Safety
    /// Attached; `object` is valid. Runs the object's `__hash__` and `__eq__`.
    pub unsafe fn known(&self, object: *mut ffi::PyObject) -> Option<u64> {
        // SAFETY: as promised; the table holds tokens only, and the result is read before anything
        // else can run.
        unsafe {
            let token = outcall::dict_get(self.table.as_ptr(), object);
            if token.is_null() {
                if !ffi::PyErr_Occurred().is_null() {
                    ffi::PyErr_Clear();
                }
                return None;
            }
            let token = Bound::from_borrowed_ptr(Python::assume_attached(), token);
            Some(token.cast_unchecked::<Token>().get().number)
        }
    }

    /// The number of an object equal to this one, and what keeps it; `None` if it is not hashable.
    ///
    /// # Errors
    /// What the object's own methods raise.
    pub fn number<'py>(&self, object: &Bound<'py, PyAny>) -> PyResult<Option<(u64, Bound<'py, PyAny>)>> {
        let py = object.py();
        let table = self.table.bind(py);
        let known = match outcall::dict_find(table, object) {
            Ok(known) => known,
            Err(error) if error.is_instance_of::<PyTypeError>(py) && outcall::hash(object).is_err() => {
                return Ok(None)
            }
            Err(error) => return Err(error),
        };
        let token = match known {
            Some(token) => token,
            None => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let fresh = Bound::new(py, Token { number, keeps: AtomicUsize::new(0) })?;
                // Another thread may have been first while the object's methods ran.
                // SAFETY: attached; the result is borrowed from the table.
                unsafe {
                    let token = outcall::dict_set_default(table.as_ptr(), object.as_ptr(), fresh.as_ptr());
                    Bound::from_borrowed_ptr_or_err(py, token)?
                }
            }
        };
        let token = token.cast_into::<Token>()?;
        let number = token.get().number;
        token.get().keeps.fetch_add(1, Ordering::Relaxed);
        let keep = Keep {
            token: token.unbind(),
            object: ManuallyDrop::new(object.clone().unbind()),
            table: self.table.clone_ref(py),
        };
        Ok(Some((number, Bound::new(py, keep)?.into_any())))
    }
}
