//! Python objects as trees (`docs/tree.md`): exactly what goes in comes out, types included.
//!
//! | file | what it holds |
//! |---|---|
//! | `encode`, `decode` | built-in types both ways |
//! | `text`, `keys` | strings both ways; strings that are keys again and again |
//! | `ints` | those beyond 64 bits, both ways |
//! | `temporal`, `standard`, `numpy` | other types of the standard library and of NumPy, both ways |
//! | `library` | the classes of those, found without importing anything to write |
//!
//! What is not plain is no failure of an encoder: it says so, and its caller takes another way (pickle).
//! Whether two places of a value are one object is not kept.

mod decode;
mod encode;
mod ints;
mod keys;
mod library;
mod numpy;
mod standard;
mod temporal;
mod text;

use std::ffi::CStr;
use std::fmt;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

pub use decode::decode;
pub use encode::encode;

/// Why an object has no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotPlain {
    /// It is, or holds, an object of this type, which is not plain.
    Type(String),
    /// It is, or holds, an object of this plain type that has something a tree cannot say.
    Value(&'static str),
    /// It is nested deeper than a tree, or within itself.
    Nested,
    /// Something in it has 4 GiB or more.
    Long,
}

impl fmt::Display for NotPlain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotPlain::Type(name) => write!(f, "a value of type `{name}` is not plain data"),
            NotPlain::Value(what) => write!(f, "{what} is not plain data"),
            NotPlain::Nested => {
                write!(
                    f,
                    "a value nested more than {} deep (or within itself) is not plain data",
                    encode::DEPTH
                )
            }
            NotPlain::Long => f.write_str("a text, bytes or container of 4 GiB or more is not plain data"),
        }
    }
}

/// Whether an object is an array of NumPy's, as a first look has it: the name of its type says so.
pub fn is_array(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: attached; a type has a name.
    unsafe { CStr::from_ptr((*object.get_type_ptr()).tp_name) == c"numpy.ndarray" }
}

/// An object as a tree; `None` if it is not plain.
#[pyfunction]
pub fn dump_tree<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    Ok(encode(object)?.ok().map(|tree| PyBytes::new(object.py(), &tree)))
}

/// Why an object has no tree; `None` if it has one.
#[pyfunction]
pub fn why_no_tree(object: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    Ok(encode(object)?.err().map(|reason| reason.to_string()))
}

/// The object of a tree.
#[pyfunction]
pub fn load_tree<'py>(tree: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if let Ok(bytes) = tree.cast::<PyBytes>() {
        return decode(tree.py(), bytes.as_bytes());
    }
    // A copy, since its owner may write to it while objects are made of it.
    let bytes = pyo3::buffer::PyBuffer::<u8>::get(tree)?.to_vec(tree.py())?;
    decode(tree.py(), &bytes)
}
