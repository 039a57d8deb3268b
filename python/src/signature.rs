//! A function's parameters, and the canonical form of a call's arguments.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use retainit_core::key::{tag, KeyBuffer};

use crate::encode::{fast, interned, Encoder};
use crate::intern::Interns;

/// Kinds as numbered by `inspect.Parameter`.
const POSITIONAL_ONLY: u8 = 0;
const POSITIONAL_OR_KEYWORD: u8 = 1;
const VAR_POSITIONAL: u8 = 2;
const VAR_KEYWORD: u8 = 4;

/// One parameter.
pub struct Parameter {
    name: Py<PyString>,
    kind: u8,
    default: Option<Py<PyAny>>,
    /// The default's encoding, where it is an immutable value of a simple type.
    encoded_default: Option<Vec<u8>>,
    excluded: bool,
}

/// A function's parameters.
pub struct Signature {
    parameters: Vec<Parameter>,
    /// Parameters that can be given by position.
    positional: usize,
    /// Whether calls of simple values can be encoded without binding: no `*args`, no `**kwargs`,
    /// nothing excluded, not too many.
    simple: bool,
}

/// Most parameters the fast path looks at.
const SLOTS: usize = 8;

/// Arguments by position, and by name.
pub type NormalForm<'py> = (Vec<Bound<'py, PyAny>>, Bound<'py, PyDict>);

/// Arguments by parameter.
struct Bindings<'py> {
    values: Vec<Option<Bound<'py, PyAny>>>,
    rest: Vec<Bound<'py, PyAny>>,
    named: Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>,
}

impl Signature {
    /// From `(name, kind, has_default, default, excluded)` for each parameter.
    ///
    /// # Errors
    /// A tuple of another shape.
    pub fn new(py: Python<'_>, parameters: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut list = Vec::new();
        for item in parameters.try_iter()? {
            let (name, kind, has_default, default, excluded): (
                Bound<'_, PyString>,
                u8,
                bool,
                Bound<'_, PyAny>,
                bool,
            ) = item?.extract()?;
            let mut encoded_default = None;
            if has_default {
                let mut key = KeyBuffer::new();
                // SAFETY: attached, and the object is valid.
                if unsafe { fast(default.as_ptr(), &mut key) } {
                    encoded_default = Some(key.as_slice().to_vec());
                }
            }
            let name = py.import("sys")?.call_method1("intern", (name,))?.cast_into::<PyString>()?;
            list.push(Parameter {
                name: name.unbind(),
                kind,
                default: has_default.then(|| default.unbind()),
                encoded_default,
                excluded,
            });
        }
        let variadic = list.iter().any(|each| each.kind == VAR_POSITIONAL || each.kind == VAR_KEYWORD);
        let excluded = list.iter().any(|each| each.excluded);
        Ok(Signature {
            positional: list.iter().filter(|each| each.kind <= POSITIONAL_OR_KEYWORD).count(),
            simple: !variadic && !excluded && list.len() <= SLOTS,
            parameters: list,
        })
    }

    /// Visits what it refers to.
    pub fn traverse(&self, visit: &mut impl FnMut(*mut ffi::PyObject) -> i32) -> i32 {
        for parameter in &self.parameters {
            if let Some(default) = &parameter.default {
                let result = visit(default.as_ptr());
                if result != 0 {
                    return result;
                }
            }
        }
        0
    }

    /// Appends a call of simple values, and, given `interns`, of objects that are keyed by their own
    /// equality; `false` if it is not one.
    ///
    /// # Safety
    /// Attached; `arguments` and `names` are those of a vectorcall. May run code of the arguments.
    #[inline(always)]
    pub unsafe fn encode_fast(
        &self,
        arguments: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
        key: &mut KeyBuffer,
        interns: Option<&Interns>,
    ) -> bool {
        if !self.simple {
            return false;
        }
        // SAFETY: `count` positional arguments are there.
        unsafe {
            if names.is_null() && count == self.parameters.len() && count == self.positional {
                for index in 0..count {
                    if !append(*arguments.add(index), key, interns) {
                        return false;
                    }
                }
                return true;
            }
            self.encode_slots(arguments, count, names, key, interns)
        }
    }

    unsafe fn encode_slots(
        &self,
        arguments: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
        key: &mut KeyBuffer,
        interns: Option<&Interns>,
    ) -> bool {
        if count > self.positional {
            return false;
        }
        let mut slots = [std::ptr::null_mut::<ffi::PyObject>(); SLOTS];
        // SAFETY: the arguments of a vectorcall; at most `SLOTS` parameters.
        unsafe {
            for (index, slot) in slots.iter_mut().enumerate().take(count) {
                *slot = *arguments.add(index);
            }
            if !names.is_null() {
                let named = ffi::PyTuple_GET_SIZE(names) as usize;
                for index in 0..named {
                    let name = ffi::PyTuple_GET_ITEM(names, index as ffi::Py_ssize_t);
                    // Names at call sites are interned, and mostly in the order of the parameters.
                    let guess = count + index;
                    let at = if guess < self.parameters.len() && self.parameters[guess].name.as_ptr() == name
                    {
                        guess
                    } else {
                        match self.parameters.iter().position(|each| each.name.as_ptr() == name) {
                            Some(at) => at,
                            None => return false,
                        }
                    };
                    if self.parameters[at].kind == POSITIONAL_ONLY || !slots[at].is_null() {
                        return false;
                    }
                    slots[at] = *arguments.add(count + index);
                }
            }
            for (parameter, slot) in self.parameters.iter().zip(slots) {
                if !slot.is_null() {
                    if !append(slot, key, interns) {
                        return false;
                    }
                } else if let Some(encoded) = &parameter.encoded_default {
                    key.extend(encoded);
                } else {
                    return false;
                }
            }
        }
        true
    }

    /// Appends any call. `false` if the arguments do not fit the signature.
    ///
    /// # Errors
    /// A value that has no key; the message names its argument.
    pub fn encode<'py>(
        &self,
        encoder: &mut Encoder<'_, 'py>,
        arguments: &Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<bool> {
        let py = arguments.py();
        let Some(bound) = self.bind(arguments, keywords)? else { return Ok(false) };
        for (index, parameter) in self.parameters.iter().enumerate() {
            if parameter.excluded {
                continue;
            }
            let encoded = match parameter.kind {
                VAR_POSITIONAL => {
                    let start = encoder.key.len();
                    encoder.key.push(tag::TUPLE);
                    encoder.key.length(bound.rest.len());
                    let items = bound.rest.iter().try_for_each(|value| encoder.value(value));
                    encoder.key.finish(start);
                    items
                }
                VAR_KEYWORD => encode_named(encoder, &bound.named),
                _ => match &bound.values[index] {
                    Some(value) => encoder.value(value),
                    None => Ok(()),
                },
            };
            encoded.map_err(|error| name_argument(py, error, parameter.name.bind(py)))?;
        }
        Ok(true)
    }

    /// The call as a key builder gets it: positional-only parameters and `*args` by position, all else
    /// by keyword, defaults filled in. `None` if the arguments do not fit.
    ///
    /// # Errors
    /// Names that cannot be compared.
    pub fn normal_form<'py>(
        &self,
        arguments: &Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<NormalForm<'py>>> {
        let py = arguments.py();
        let Some(bound) = self.bind(arguments, keywords)? else { return Ok(None) };
        let mut by_position = Vec::new();
        let by_name = PyDict::new(py);
        // What stands before `*args` can only be given by position once there are any.
        let rest_follows = !bound.rest.is_empty();
        for (index, parameter) in self.parameters.iter().enumerate() {
            match (parameter.kind, &bound.values[index]) {
                (VAR_POSITIONAL, _) => by_position.extend(bound.rest.iter().cloned()),
                (VAR_KEYWORD, _) => {
                    for (name, value) in &bound.named {
                        by_name.set_item(name, value)?;
                    }
                }
                (POSITIONAL_ONLY, Some(value)) => by_position.push(value.clone()),
                (POSITIONAL_OR_KEYWORD, Some(value)) if rest_follows => by_position.push(value.clone()),
                (_, Some(value)) => by_name.set_item(parameter.name.bind(py), value)?,
                (_, None) => {}
            }
        }
        Ok(Some((by_position, by_name)))
    }

    fn bind<'py>(
        &self,
        arguments: &Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bindings<'py>>> {
        let py = arguments.py();
        let mut bound =
            Bindings { values: vec![None; self.parameters.len()], rest: Vec::new(), named: Vec::new() };
        let takes_rest = self.parameters.iter().any(|each| each.kind == VAR_POSITIONAL);
        for (index, value) in arguments.iter().enumerate() {
            if index < self.positional {
                bound.values[index] = Some(value);
            } else if takes_rest {
                bound.rest.push(value);
            } else {
                return Ok(None);
            }
        }
        let takes_named = self.parameters.iter().any(|each| each.kind == VAR_KEYWORD);
        for (name, value) in keywords.into_iter().flatten() {
            let mut at = None;
            for (index, parameter) in self.parameters.iter().enumerate() {
                let nameable = !matches!(parameter.kind, POSITIONAL_ONLY | VAR_POSITIONAL | VAR_KEYWORD);
                if nameable && name.eq(&parameter.name)? {
                    at = Some(index);
                    break;
                }
            }
            match at {
                Some(index) if bound.values[index].is_some() => return Ok(None),
                Some(index) => bound.values[index] = Some(value),
                None if takes_named => bound.named.push((name, value)),
                None => return Ok(None),
            }
        }
        for (index, parameter) in self.parameters.iter().enumerate() {
            if bound.values[index].is_none()
                && parameter.kind != VAR_POSITIONAL
                && parameter.kind != VAR_KEYWORD
            {
                match &parameter.default {
                    Some(default) => bound.values[index] = Some(default.bind(py).clone()),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(bound))
    }
}

/// Appends a value that hits are made of.
///
/// # Safety
/// Attached; `object` is valid. May run the object's `__hash__` and `__eq__`.
#[inline(always)]
unsafe fn append(object: *mut ffi::PyObject, key: &mut KeyBuffer, interns: Option<&Interns>) -> bool {
    // SAFETY: as promised.
    unsafe { fast(object, key) || interns.is_some_and(|interns| interned(object, key, interns)) }
}

/// `**kwargs`, whatever the order they were given in.
fn encode_named<'py>(
    encoder: &mut Encoder<'_, 'py>,
    named: &[(Bound<'py, PyAny>, Bound<'py, PyAny>)],
) -> PyResult<()> {
    let Some((first, _)) = named.first() else {
        encoder.key.sorted(tag::DICT, Vec::new());
        return Ok(());
    };
    let dict = PyDict::new(first.py());
    for (name, value) in named {
        dict.set_item(name, value)?;
    }
    encoder.value(dict.as_any())
}

fn name_argument(py: Python<'_>, error: PyErr, name: &Bound<'_, PyString>) -> PyErr {
    if !crate::errors::UNKEYABLE.matches(py, &error) {
        return error;
    }
    let named = crate::errors::UNKEYABLE.error(format!("argument `{name}`: {}", error.value(py)));
    named.set_cause(py, error.cause(py));
    named
}

/// The names and values of a vectorcall's keywords.
///
/// # Safety
/// Attached; the arguments are those of a vectorcall.
pub unsafe fn keywords<'py>(
    py: Python<'py>,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    if names.is_null() {
        return Ok(None);
    }
    let dict = PyDict::new(py);
    // SAFETY: as promised.
    unsafe {
        for index in 0..ffi::PyTuple_GET_SIZE(names) {
            let name = Bound::from_borrowed_ptr(py, ffi::PyTuple_GET_ITEM(names, index));
            let value = Bound::from_borrowed_ptr(py, *arguments.add(count + index as usize));
            dict.set_item(name, value)?;
        }
    }
    Ok(Some(dict))
}

/// The error of a template or builder that gave something else than text.
pub fn not_text(found: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "the key builder returned {}; expected `str`",
        found.get_type().name().map_or_else(|_| "another type".to_owned(), |name| format!("`{name}`"))
    ))
}
