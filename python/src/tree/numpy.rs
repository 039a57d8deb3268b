//! NumPy's arrays and single elements within plain data, both ways.
//!
//! Arrays that are a whole result take another way, as tensors; these are those in dicts and lists.

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use retainit_plugin_api::sdk::tree::{self, write, Dtype, Tensor};

use super::encode::{Done, Encoder, Stopped};
use super::library::{attribute, field, imported, name, Class, Name};
use super::NotPlain;
use crate::content::Exported;
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
        let dtype = field(object, name!("dtype")).and_then(|dtype| Notation::of(&dtype));
        let Some(dtype) = self.given(dtype)?.filter(|dtype| dtype.kind.as_ptr() == kind.cast()) else {
            return Err(self.refuse(NotPlain::Value("a NumPy scalar of such a dtype")));
        };
        let data =
            object.call_method0(name!("tobytes").get(py)).and_then(|data| Ok(data.cast_into::<PyBytes>()?));
        let data = self.given(data)?;
        let data = data.as_bytes();
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
        let dtype = field(array, name!("dtype")).and_then(|dtype| Notation::of(&dtype));
        let Some(dtype) = self.given(dtype)? else {
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
            let exported = Exported::of(&layout.held);
            let exported = encoder.given(exported)?;
            encoder.plain_bytes(exported.as_slice())
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

/// A dtype as trees write it, which gives it again: a structured one, one with metadata, and those of C's
/// types that share their size with another (`longlong`) have none.
struct Notation {
    text: String,
    dtype: Py<PyAny>,
    /// The class of its single elements.
    kind: Py<PyAny>,
}

/// NumPy has one object for each of its own dtypes, of which there are fewer than these.
static NOTATIONS: [Once<Notation>; 32] = [const { Once::new() }; 32];

impl Notation {
    fn of(dtype: &Bound<'_, PyAny>) -> PyResult<Option<Notation>> {
        let py = dtype.py();
        for place in &NOTATIONS {
            let Some(known) = place.get(py) else { break };
            if known.dtype.is(dtype) {
                return Ok(Some(known.clone_ref(py)));
            }
        }
        let text: String = field(dtype, name!("str"))?.extract()?;
        if Dtype::parse(&text).is_none() {
            return Ok(None);
        }
        let again = outcall::call(DTYPE.import(py, "numpy", "dtype")?, (&text,), None)?;
        let same = |name: &Name| -> PyResult<bool> { attribute(&again, name)?.eq(attribute(dtype, name)?) };
        let exact = same(name!("num"))?
            && same(name!("itemsize"))?
            && attribute(dtype, name!("metadata"))?.is_none()
            && attribute(dtype, name!("names"))?.is_none();
        if !exact {
            return Ok(None);
        }
        let kind = attribute(dtype, name!("type"))?;
        let found = Notation { text, dtype: dtype.clone().unbind(), kind: kind.unbind() };
        if attribute(dtype, name!("isbuiltin"))?.extract::<i32>()? == 1 {
            found.clone_ref(py).keep(py)?;
        }
        Ok(Some(found))
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        Notation { text: self.text.clone(), dtype: self.dtype.clone_ref(py), kind: self.kind.clone_ref(py) }
    }

    /// Its dtype is found by its address from now on, or by its text.
    fn keep(self, py: Python<'_>) -> PyResult<()> {
        for place in &NOTATIONS {
            if place.get(py).is_none() {
                place.get_or_make(py, || Ok(self))?;
                break;
            }
        }
        Ok(())
    }
}

/// Where an array's elements lie, one after the other.
struct Layout<'py> {
    // What has them, in C's order: the array itself, its transpose, or a copy without gaps.
    held: Bound<'py, PyAny>,
    shape: Vec<usize>,
    fortran: bool,
}

impl<'py> Layout<'py> {
    fn of(array: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = array.py();
        let shape = field(array, name!("shape"))?.extract()?;
        let flags = field(array, name!("flags"))?;
        let is = |name: &Name| field(&flags, name)?.is_truthy();
        let fortran = !is(name!("c_contiguous"))? && is(name!("f_contiguous"))?;
        let held = if fortran {
            field(array, name!("T"))?
        } else if is(name!("c_contiguous"))? {
            array.clone()
        } else {
            outcall::call(&field(array, name!("copy"))?, ("C",), None)?
        };
        // Dates and durations have no buffers of their own.
        let dated =
            matches!(field(&held, name!("dtype"))?.getattr(name!("char").get(py))?.extract()?, 'M' | 'm');
        let held = if dated { held.call_method1(name!("view").get(py), ("i8",))? } else { held };
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
    static SCALAR: Once<Py<PyAny>> = Once::new();
    // What pickles call, which is what makes an element of its bytes.
    let make = SCALAR.get_or_make(py, || {
        static INT8: Once<Py<PyAny>> = Once::new();
        let any = outcall::call(INT8.import(py, "numpy", "int8")?, (0,), None)?;
        Ok(any.call_method0("__reduce__")?.get_item(0)?.unbind())
    });
    outcall::call(make?.bind(py), (dtype(py, tensor.dtype)?, PyBytes::new(py, tensor.data)), None)
}

fn dtype<'py>(py: Python<'py>, dtype: Dtype<'_>) -> PyResult<Bound<'py, PyAny>> {
    let known = NOTATIONS.iter().map_while(|place| place.get(py)).find(|known| known.text == dtype.text);
    if let Some(known) = known {
        return Ok(known.dtype.bind(py).clone());
    }
    let made = outcall::call(DTYPE.import(py, "numpy", "dtype")?, (dtype.text,), None)?;
    // So that it is known from now on.
    Notation::of(&made)?;
    Ok(made)
}
