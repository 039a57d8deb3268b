//! Calls that may run Python code.
//!
//! While it runs, the interpreter may come to its end, and up to 3.13 CPython then ends every other
//! thread that asks for its lock, with `pthread_exit`: that unwinds the stack, and a Rust frame that
//! does not expect to be unwound aborts the process. So these calls expect it, and the thread stays
//! where it is until the process has gone, as threads do from 3.14 on.

use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::BoundObject;

use crate::handle;

/// Functions of `pyo3::ffi` that may unwind.
macro_rules! unwinding {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => { $(
        #[allow(non_snake_case)]
        #[inline(always)]
        unsafe fn $name($($argument: $type),*) -> $result {
            type Declared = unsafe extern "C" fn($($type),*) -> $result;
            type Unwinding = unsafe extern "C-unwind" fn($($type),*) -> $result;
            // Hidden from the optimiser: there is one declaration of a symbol in a compiled module, and
            // that of `pyo3::ffi` says that it never unwinds, so that no call of it by name would be
            // prepared for it.
            // SAFETY: the types differ only in what may leave the function; the caller promises the rest.
            unsafe {
                let function = std::mem::transmute::<Declared, Unwinding>(ffi::$name);
                std::hint::black_box(function)($($argument),*)
            }
        }
    )* };
}

unwinding! {
    PyObject_Call(callable: *mut ffi::PyObject, arguments: *mut ffi::PyObject, keywords: *mut ffi::PyObject) -> *mut ffi::PyObject;
    PyObject_Hash(object: *mut ffi::PyObject) -> ffi::Py_hash_t;
    PyDict_GetItemWithError(dict: *mut ffi::PyObject, key: *mut ffi::PyObject) -> *mut ffi::PyObject;
    PyDict_SetDefault(dict: *mut ffi::PyObject, key: *mut ffi::PyObject, value: *mut ffi::PyObject) -> *mut ffi::PyObject;
    PyDict_DelItem(dict: *mut ffi::PyObject, key: *mut ffi::PyObject) -> std::ffi::c_int;
    PyImport_Import(name: *mut ffi::PyObject) -> *mut ffi::PyObject;
    PyObject_GetBuffer(object: *mut ffi::PyObject, view: *mut ffi::Py_buffer, flags: std::ffi::c_int) -> std::ffi::c_int;
    PyBuffer_Release(view: *mut ffi::Py_buffer) -> ();
    PySet_Add(set: *mut ffi::PyObject, member: *mut ffi::PyObject) -> std::ffi::c_int;
    Py_DecRef(object: *mut ffi::PyObject) -> ();
}

// From 3.12 on the collector no longer runs where a container is made, and nothing else does there.
#[cfg(not(Py_3_12))]
unwinding! {
    PyList_New(count: ffi::Py_ssize_t) -> *mut ffi::PyObject;
    PyTuple_New(count: ffi::Py_ssize_t) -> *mut ffi::PyObject;
    PyDict_New() -> *mut ffi::PyObject;
    PySet_New(items: *mut ffi::PyObject) -> *mut ffi::PyObject;
    PyFrozenSet_New(items: *mut ffi::PyObject) -> *mut ffi::PyObject;
}
#[cfg(Py_3_12)]
use pyo3::ffi::{PyDict_New, PyFrozenSet_New, PyList_New, PySet_New, PyTuple_New};

/// Stops a thread that is being unwound.
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

#[inline(always)]
fn staying<R>(call: impl FnOnce() -> R) -> R {
    let stay = Stay;
    let result = call();
    std::mem::forget(stay);
    result
}

/// Calls an object.
///
/// # Errors
/// What it raised.
pub fn call<'py, A>(
    callable: &Bound<'py, PyAny>,
    arguments: A,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple>,
    A::Error: Into<PyErr>,
{
    let py = callable.py();
    let arguments = arguments.into_pyobject(py).map_err(Into::into)?.into_bound();
    let keywords = keywords.map_or(ptr::null_mut(), Bound::as_ptr);
    // SAFETY: attached, with valid objects; the result is a new reference or null.
    unsafe {
        let result = staying(|| PyObject_Call(callable.as_ptr(), arguments.as_ptr(), keywords));
        Bound::from_owned_ptr_or_err(py, result)
    }
}

/// A module, imported at the first time.
///
/// # Errors
/// What importing raised.
pub fn import<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let bare = |name: &str| {
        let name = PyString::new(py, name);
        // SAFETY: attached, with a valid object; the result is a new reference or null.
        unsafe { Bound::from_owned_ptr_or_err(py, staying(|| PyImport_Import(name.as_ptr()))) }
    };
    // At the end of the interpreter the lock may be held by a thread that has ended.
    if handle::is_closed() {
        return bare(name);
    }
    // No fork while a module is half imported: its child could never import it.
    let lock = bare("retainit._process")?.getattr("lock")?;
    call(&lock.getattr("acquire")?, (), None)?;
    let imported = bare(name);
    call(&lock.getattr("release")?, (), None)?;
    imported
}

/// As `PyObject_Vectorcall`, which 3.10 has not as a function: a new reference, or null with an error.
///
/// # Safety
/// Attached, with valid objects.
pub unsafe fn vectorcall(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised; the tuple and the dict own references of their own.
    unsafe {
        let positional = ffi::PyTuple_New(count as ffi::Py_ssize_t);
        let keywords = if names.is_null() { ptr::null_mut() } else { ffi::PyDict_New() };
        let mut failed = positional.is_null() || (!names.is_null() && keywords.is_null());
        for index in 0..if failed { 0 } else { count } {
            let argument = ffi::Py_NewRef(*arguments.add(index));
            ffi::PyTuple_SET_ITEM(positional, index as ffi::Py_ssize_t, argument);
        }
        for index in 0..if failed || names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) } {
            let name = ffi::PyTuple_GET_ITEM(names, index);
            failed |= ffi::PyDict_SetItem(keywords, name, *arguments.add(count + index as usize)) < 0;
        }
        let result =
            if failed { ptr::null_mut() } else { staying(|| PyObject_Call(callable, positional, keywords)) };
        release(positional);
        release(keywords);
        result
    }
}

/// An object's own hash.
///
/// # Errors
/// What its method raised.
pub fn hash(object: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: attached and valid.
    if unsafe { staying(|| PyObject_Hash(object.as_ptr())) } == -1 {
        return Err(PyErr::fetch(object.py()));
    }
    Ok(())
}

/// `PyDict_GetItemWithError`: a borrowed reference, or null with or without an error.
///
/// # Safety
/// Attached, with valid objects.
#[inline(always)]
pub unsafe fn dict_get(dict: *mut ffi::PyObject, key: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe { staying(|| PyDict_GetItemWithError(dict, key)) }
}

/// What a dict has for a key.
///
/// # Errors
/// What the key's methods raised.
pub fn dict_find<'py>(
    dict: &Bound<'py, PyDict>,
    key: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = dict.py();
    // SAFETY: attached, with valid objects; the result is borrowed from the dict.
    let found = unsafe { Bound::from_borrowed_ptr_or_opt(py, dict_get(dict.as_ptr(), key.as_ptr())) };
    match (found, PyErr::take(py)) {
        (None, Some(error)) => Err(error),
        (found, _) => Ok(found),
    }
}

/// `PyDict_SetDefault`: a borrowed reference, or null with an error.
///
/// # Safety
/// Attached, with valid objects.
pub unsafe fn dict_set_default(
    dict: *mut ffi::PyObject,
    key: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe { staying(|| PyDict_SetDefault(dict, key, value)) }
}

/// Takes a key out of a dict.
///
/// # Errors
/// It is not there, or what its methods raised.
pub fn dict_remove(dict: &Bound<'_, PyDict>, key: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: attached, with valid objects.
    if unsafe { staying(|| PyDict_DelItem(dict.as_ptr(), key.as_ptr())) } < 0 {
        return Err(PyErr::fetch(dict.py()));
    }
    Ok(())
}

/// `PyObject_GetBuffer`: zero, or -1 with an error.
///
/// # Safety
/// Attached, with a valid object and a buffer to fill.
pub unsafe fn get_buffer(
    object: *mut ffi::PyObject,
    view: *mut ffi::Py_buffer,
    flags: std::ffi::c_int,
) -> std::ffi::c_int {
    // SAFETY: as promised.
    unsafe { staying(|| PyObject_GetBuffer(object, view, flags)) }
}

/// `PyBuffer_Release`.
///
/// # Safety
/// Attached; the buffer has been filled, and is not used any more.
pub unsafe fn release_buffer(view: *mut ffi::Py_buffer) {
    // SAFETY: as promised.
    unsafe { staying(|| PyBuffer_Release(view)) }
}

/// `PyList_New`: a new reference to a list of nulls, or null with an error.
///
/// # Safety
/// Attached.
#[inline(always)]
pub unsafe fn new_list(count: ffi::Py_ssize_t) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe { staying(|| PyList_New(count)) }
}

/// `PyTuple_New`: a new reference to a tuple of nulls, or null with an error.
///
/// # Safety
/// Attached.
#[inline(always)]
pub unsafe fn new_tuple(count: ffi::Py_ssize_t) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe { staying(|| PyTuple_New(count)) }
}

/// `PyDict_New`: a new reference, or null with an error.
///
/// # Safety
/// Attached.
#[inline(always)]
pub unsafe fn new_dict() -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe { staying(|| PyDict_New()) }
}

/// `PySet_New` or `PyFrozenSet_New`: a new reference to an empty set, or null with an error.
///
/// # Safety
/// Attached.
pub unsafe fn new_set(frozen: bool) -> *mut ffi::PyObject {
    let nothing = ptr::null_mut();
    // SAFETY: as promised.
    unsafe { staying(|| if frozen { PyFrozenSet_New(nothing) } else { PySet_New(nothing) }) }
}

/// `PySet_Add`: zero, or -1 with an error.
///
/// # Safety
/// Attached, with valid objects; a frozenset is new.
pub unsafe fn set_add(set: *mut ffi::PyObject, member: *mut ffi::PyObject) -> std::ffi::c_int {
    // SAFETY: as promised.
    unsafe { staying(|| PySet_Add(set, member)) }
}

/// Gives a reference up, or nothing for null.
///
/// # Safety
/// Attached; the caller owns the reference.
pub unsafe fn release(object: *mut ffi::PyObject) {
    // SAFETY: as promised.
    unsafe { staying(|| Py_DecRef(object)) }
}
