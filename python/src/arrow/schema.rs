//! A schema as a plain value.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::interface::{RawSchema, Schema};

/// `(format, name, flags, metadata, children, dictionary)`.
///
/// # Errors
/// Out of memory.
pub fn value<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyAny>> {
    of(py, schema.raw())
}

fn of<'py>(py: Python<'py>, schema: &RawSchema) -> PyResult<Bound<'py, PyAny>> {
    let metadata: Vec<_> = schema
        .metadata()
        .into_iter()
        .map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value)))
        .collect();
    let children = schema.children().map(|child| of(py, child)).collect::<PyResult<Vec<_>>>()?;
    let dictionary = schema.dictionary().map(|dictionary| of(py, dictionary)).transpose()?;
    let parts = (
        schema.format(),
        schema.name(),
        schema.flags(),
        PyTuple::new(py, metadata)?,
        PyTuple::new(py, children)?,
        dictionary,
    );
    Ok(parts.into_pyobject(py)?.into_any())
}
