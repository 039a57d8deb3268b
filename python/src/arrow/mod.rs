//! Data of Arrow libraries as plain values for keys.
//!
//! What an object holds is read through Arrow's PyCapsule interface, whoever made it, and said so that
//! how it lies in memory makes no difference: chunks, offsets, unused bits, what stands where a value is
//! null, the order of a dictionary. `docs/keys.md` specifies the values.
//!
//! | file | what it holds |
//! |---|---|
//! | `interface` | the structures of the C data interface, owned |
//! | `layout` | what a format string says about buffers |
//! | `schema` | a schema as a value |
//! | `column` | the values of an array, as digests |

mod column;
mod interface;
mod layout;
mod schema;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use self::column::Column;
use self::interface::{Array, Schema, Stream};
use crate::{handle, outcall};

/// From this many rows on, other threads may run while digests are made.
const DETACH: i64 = 1 << 14;

/// Schema and content of an object that gives out an Arrow stream or array.
#[pyfunction]
pub fn arrow_content<'py>(
    py: Python<'py>,
    object: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    // No schema of ours is asked for; some versions want to be told so.
    if let Some(export) = object.getattr_opt("__arrow_c_stream__")? {
        let capsule = outcall::call(&export, (py.None(),), None)?;
        let mut stream = Stream::take(&capsule)?;
        let schema = stream.schema().map_err(PyValueError::new_err)?;
        let mut column = Column::new(&schema).map_err(PyValueError::new_err)?;
        while let Some(array) = stream.next().map_err(PyValueError::new_err)? {
            feed(py, &mut column, &array)?;
        }
        return Ok((schema::value(py, &schema)?, column.value(py)?));
    }
    let Some(export) = object.getattr_opt("__arrow_c_array__")? else {
        return Err(PyTypeError::new_err("expected an object that exports Arrow data"));
    };
    let capsules = outcall::call(&export, (py.None(),), None)?.cast_into::<PyTuple>()?;
    let schema = Schema::take(&capsules.get_item(0)?)?;
    let array = Array::take(&capsules.get_item(1)?)?;
    let mut column = Column::new(&schema).map_err(PyValueError::new_err)?;
    feed(py, &mut column, &array)?;
    Ok((schema::value(py, &schema)?, column.value(py)?))
}

/// The schema of an object that gives one out.
#[pyfunction]
pub fn arrow_schema<'py>(py: Python<'py>, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let capsule = outcall::call(&object.getattr("__arrow_c_schema__")?, (), None)?;
    schema::value(py, &Schema::take(&capsule)?)
}

fn feed(py: Python<'_>, column: &mut Column, array: &Array) -> PyResult<()> {
    // At the end of the interpreter a thread that lets go of its lock may never get it again.
    let fed = if array.length() < DETACH || handle::is_closed() {
        column.feed(array)
    } else {
        py.detach(|| column.feed(array))
    };
    fed.map_err(PyValueError::new_err)
}
