//! NumPy's arrays and single elements within plain data, both ways.
//!
//! Arrays that are a whole result take another way, as tensors; these are those in dicts and lists.

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use retainit_plugin_api::sdk::tree::{self, write, Dtype, Tensor};

use super::encode::{Done, Encoder, Stopped};
use super::library::{attribute, imported, name, Class, Name};
use super::NotPlain;
use crate::once::Once;
use crate::outcall;

/// The base class of all single elements.
static GENERIC: Once<Py<PyAny>> = Once::new();
static DTYPE: Once<Py<PyAny>> = Once::new();

impl<'py> Encoder<'py> {
    /// Writes a single element; `false` if it is none.
    pub fn numpy_scalar(&mut self, object: &Bound<'py, PyAny>) -> Result<bool, Stopped> {
        let kind = object.get_type_ptr();
        // SAFETY: attached; the type is valid.
        let heap = unsafe { ffi::PyType_GetFlags(kind) } & ffi::Py_TPFLAGS_HEAPTYPE != 0;
        // NumPy's own are static; subclasses are not, and not plain.
        if heap {
            return Ok(false);
        }
        let py = self.py;
        let generic = match GENERIC.get(py) {
            Some(known) => known.bind(py),
            None => {
                let found = imported(py, "numpy", "generic");
                let Some(found) = self.given(found)? else { return Ok(false) };
                let kept = GENERIC.get_or_make(py, || Ok(found.unbind()));
                self.given(kept)?.bind(py)
            }
        };
        // SAFETY: attached; both are types.
        if unsafe { ffi::PyType_IsSubtype(kind, generic.as_ptr().cast()) } == 0 {
            return Ok(false);
        }
        let dtype = attribute(object, name!("dtype")).and_then(|dtype| Notation::of(&dtype));
        let dtype = self.given(dtype)?;
        let data = attribute(object, name!("tobytes"))
            .and_then(|tobytes| Ok(outcall::call(&tobytes, (), None)?.cast_into::<PyBytes>()?));
        let data = self.given(data)?;
        let data = data.as_bytes();
        let Some(dtype) = dtype.filter(|dtype| dtype.exact && dtype.kind.as_ptr() == kind.cast()) else {
            return Err(self.refuse(NotPlain::Value("a NumPy scalar of such a dtype")));
        };
        // Arrays fill texts up with zeros, so that zeros at the end of one would be lost.
        let text = dtype.text[1..].starts_with(['S', 'U']);
        let unit = if dtype.text.contains('U') { 4 } else { 1 };
        if text && data.iter().rev().take(unit).all(|byte| *byte == 0) {
            return Err(self.refuse(NotPlain::Value("a NumPy text with zeros at its end")));
        }
        self.enclosed(tree::SCALAR, |encoder| {
            let head = write::list(&mut encoder.out, 2);
            encoder.head(head)?;
            encoder.plain_text(&dtype.text)?;
            encoder.plain_bytes(data)
        })?;
        Ok(true)
    }

    /// Writes an exact `numpy.ndarray`.
    pub fn numpy_array(&mut self, array: &Bound<'py, PyAny>) -> Done {
        let dtype = attribute(array, name!("dtype")).and_then(|dtype| Notation::of(&dtype));
        let Some(dtype) = self.given(dtype)?.filter(|dtype| dtype.exact) else {
            return Err(self.refuse(NotPlain::Value("a NumPy array of such a dtype")));
        };
        let layout = Layout::of(array);
        let layout = self.given(layout)?;
        self.enclosed(tree::TENSOR, |encoder| {
            let head = write::list(&mut encoder.out, 4);
            encoder.head(head)?;
            encoder.plain_text(&dtype.text)?;
            let head = write::list(&mut encoder.out, layout.shape.len());
            encoder.head(head)?;
            for extent in &layout.shape {
                write::int(&mut encoder.out, *extent as i64);
            }
            encoder.plain_text(if layout.fortran { "F" } else { "C" })?;
            let elements = elements(&layout.held);
            let (place, len) = encoder.given(elements)?;
            if len == 0 {
                // It may lie nowhere.
                return encoder.plain_bytes(&[]);
            }
            // SAFETY: the array is held and has so many bytes there; nobody else runs while they are copied.
            encoder.plain_bytes(unsafe { std::slice::from_raw_parts(place, len) })
        })
    }

    fn plain_text(&mut self, text: &str) -> Done {
        let head = write::text(&mut self.out, text.len());
        self.head(head)?;
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn plain_bytes(&mut self, bytes: &[u8]) -> Done {
        let head = write::bytes(&mut self.out, bytes.len());
        self.head(head)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// A dtype as trees write it.
struct Notation<'py> {
    text: String,
    /// The class of its single elements.
    kind: Bound<'py, PyAny>,
    /// Whether the text alone gives this dtype again: a structured one, one with metadata, and those of
    /// C's types that share their size with another (`longlong`) are others then.
    exact: bool,
}

impl<'py> Notation<'py> {
    /// `None` for what trees have no notation of.
    fn of(dtype: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let text: String = attribute(dtype, name!("str"))?.extract()?;
        if Dtype::parse(&text).is_none() {
            return Ok(None);
        }
        let again = outcall::call(DTYPE.import(dtype.py(), "numpy", "dtype")?, (&text,), None)?;
        let same = |name: &Name| -> PyResult<bool> { attribute(&again, name)?.eq(attribute(dtype, name)?) };
        let exact = same(name!("num"))?
            && same(name!("itemsize"))?
            && attribute(dtype, name!("metadata"))?.is_none()
            && attribute(dtype, name!("names"))?.is_none();
        Ok(Some(Notation { text, kind: attribute(dtype, name!("type"))?, exact }))
    }
}

/// Where an array's elements lie, one after the other.
struct Layout<'py> {
    // What has them: the array itself, or a copy without gaps.
    held: Bound<'py, PyAny>,
    shape: Vec<usize>,
    fortran: bool,
}

impl<'py> Layout<'py> {
    fn of(array: &Bound<'py, PyAny>) -> PyResult<Self> {
        let shape = attribute(array, name!("shape"))?.extract()?;
        let flags = attribute(array, name!("flags"))?;
        if attribute(&flags, name!("c_contiguous"))?.is_truthy()? {
            return Ok(Layout { held: array.clone(), shape, fortran: false });
        }
        let fortran = attribute(&flags, name!("f_contiguous"))?.is_truthy()?;
        let held = if fortran {
            array.clone()
        } else {
            outcall::call(&attribute(array, name!("copy"))?, ("C",), None)?
        };
        Ok(Layout { held, shape, fortran })
    }
}

/// Where the elements of an array without gaps lie, and how many bytes they are.
fn elements(array: &Bound<'_, PyAny>) -> PyResult<(*mut u8, usize)> {
    let len: usize = attribute(array, name!("nbytes"))?.extract()?;
    let interface = attribute(array, name!("__array_interface__"))?;
    let place: usize = interface.get_item("data")?.get_item(0)?.extract()?;
    Ok((place as *mut u8, len))
}

/// A `numpy.ndarray`.
///
/// # Errors
/// There is no NumPy, or this one has no such arrays.
pub fn array<'py>(py: Python<'py>, tensor: &Tensor<'_>) -> PyResult<Bound<'py, PyAny>> {
    let shape = PyTuple::new(py, &tensor.shape)?;
    let order = if tensor.fortran { "F" } else { "C" };
    let options = PyDict::new(py);
    options.set_item("dtype", dtype(py, tensor.dtype)?)?;
    options.set_item("order", order)?;
    // Without values at first: the class itself, rather than a function in front of it.
    let array = outcall::call(Class::NdArray.get(py)?, (shape,), Some(&options))?;
    let (place, len) = elements(&array)?;
    if len != tensor.data.len() {
        return Err(PyValueError::new_err("NumPy makes an array of another size"));
    }
    if len > 0 {
        // SAFETY: the array is new, has so many bytes there, and nobody else has seen it.
        unsafe { tensor.data.as_ptr().copy_to_nonoverlapping(place, len) };
    }
    Ok(array)
}

/// A single element.
///
/// # Errors
/// As for `array`.
pub fn scalar<'py>(py: Python<'py>, tensor: &Tensor<'_>) -> PyResult<Bound<'py, PyAny>> {
    let array = array(py, tensor)?;
    array.get_item(PyTuple::empty(py))
}

fn dtype<'py>(py: Python<'py>, dtype: Dtype<'_>) -> PyResult<Bound<'py, PyAny>> {
    outcall::call(DTYPE.import(py, "numpy", "dtype")?, (dtype.text,), None)
}
