//! Invalidation by what entries have in common, for `retainit._invalidation`; and which tags a call has.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use retainit_core::invalidate::{self, Outcome, Places};
use retainit_core::{tags, Result};

use crate::backend::Backend;
use crate::caller::{Objects, FLIGHTS};
use crate::data::Failure;
use crate::{errors, function, handle, miss, outcall};

/// Backends with a namespace each, nearest first.
type Named<'py> = Vec<(PyRef<'py, Backend>, String)>;

/// How many something was done to, and what went wrong.
type Done<'py> = PyResult<(u64, Vec<Bound<'py, PyAny>>)>;

fn run<'py>(
    py: Python<'py>,
    named: Named<'py>,
    everywhere: bool,
    namespace: Option<&str>,
    invalidate: impl FnOnce(&Places) -> Result<Outcome> + Send,
) -> Done<'py> {
    let named =
        named.iter().map(|(backend, namespace)| (backend.instance().clone(), namespace.clone())).collect();
    let outcome = py.detach(|| invalidate(&Places::new(named, everywhere, namespace)));
    // SAFETY: attached, no lock held.
    unsafe { handle::drain() };
    let Outcome { found, failures } = outcome.map_err(|error| errors::from_core(&error))?;
    let failures =
        failures.iter().map(|error| errors::from_core(error).into_value(py).into_bound(py).into_any());
    Ok((found, failures.collect()))
}

/// Invalidates tags in these backends, and in those of all functions with `everywhere`; in one `namespace` only, if it
/// is given. How many of the tags something carried.
#[pyfunction]
pub fn invalidate_tags<'py>(
    py: Python<'py>,
    named: Named<'py>,
    everywhere: bool,
    namespace: Option<&str>,
    tags: Vec<String>,
) -> Done<'py> {
    run(py, named, everywhere, namespace, |places| invalidate::tags(places, names(tags)))
}

/// Removes the entries of a key that a key builder gave. How many there were.
#[pyfunction]
pub fn invalidate_key<'py>(
    py: Python<'py>,
    named: Named<'py>,
    everywhere: bool,
    namespace: Option<&str>,
    key: &str,
) -> Done<'py> {
    run(py, named, everywhere, namespace, |places| Ok(invalidate::key(&FLIGHTS, places, key)))
}

/// Removes the entries whose keys, which a key builder gave, match a glob. How many there were.
#[pyfunction]
pub fn invalidate_pattern<'py>(
    py: Python<'py>,
    named: Named<'py>,
    everywhere: bool,
    namespace: Option<&str>,
    pattern: &str,
) -> Done<'py> {
    run(py, named, everywhere, namespace, |places| invalidate::pattern(&FLIGHTS, places, pattern))
}

/// Finds the backends of a function that may not have been called yet.
#[pyfunction]
pub fn resolve(function: &Bound<'_, PyAny>) -> PyResult<()> {
    miss::resolve(function, function::of(function)?)
}

/// Sets after how many seconds a hit in memory looks whether another process has invalidated one of its tags.
#[pyfunction]
pub fn set_tag_interval(seconds: f64) {
    tags::set_interval(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
}

/// Names of tags, as the engine has them.
pub fn names(names: Vec<String>) -> Vec<Box<str>> {
    names.into_iter().map(String::into_boxed_str).collect()
}

impl<'py> Objects<'_, 'py> {
    /// The tags of a call with these arguments, in normal form.
    ///
    /// # Errors
    /// It cannot be said, or they are no names of tags.
    pub fn tags_of(
        &self,
        tags: &Py<PyAny>,
        by_position: Bound<'py, PyTuple>,
        by_name: &Bound<'py, PyDict>,
    ) -> Result<Vec<Box<str>>> {
        let said = outcall::call(tags.bind(self.py), by_position, Some(by_name));
        let said = said.and_then(|said| said.extract()).map(names).map_err(|error| {
            self.failure("tag", "it cannot be said which tags a call has", Failure::Raised(error))
        })?;
        tags::checked(said)
    }
}

/// How many tags something in this process carries.
#[pyfunction]
pub fn count_tags() -> usize {
    tags::count()
}
