//! Classes beyond the built-in ones.
//!
//! An object of a module that nobody has imported does not exist, so that writing imports none: an unknown
//! type is held against the modules there are, once, and known from then on. Reading imports.

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;
use retainit_plugin_api::sdk::tree::{IpClass, PathClass};

use crate::once::Once;
use crate::outcall;

/// A class that trees know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Decimal,
    Fraction,
    Uuid,
    ZoneInfo,
    Path(PathClass),
    Ip(IpClass),
    NdArray,
}

/// Classes with their modules and names, by which they are told from each other.
const CLASSES: [(Class, &str, &str); 15] = [
    (Class::Decimal, "decimal", "Decimal"),
    (Class::Uuid, "uuid", "UUID"),
    (Class::ZoneInfo, "zoneinfo", "ZoneInfo"),
    (Class::Fraction, "fractions", "Fraction"),
    (Class::NdArray, "numpy", "ndarray"),
    (Class::Path(PathClass::PurePosix), "pathlib", "PurePosixPath"),
    (Class::Path(PathClass::PureWindows), "pathlib", "PureWindowsPath"),
    (Class::Path(PathClass::Posix), "pathlib", "PosixPath"),
    (Class::Path(PathClass::Windows), "pathlib", "WindowsPath"),
    (Class::Ip(IpClass::Address4), "ipaddress", "IPv4Address"),
    (Class::Ip(IpClass::Address6), "ipaddress", "IPv6Address"),
    (Class::Ip(IpClass::Network4), "ipaddress", "IPv4Network"),
    (Class::Ip(IpClass::Network6), "ipaddress", "IPv6Network"),
    (Class::Ip(IpClass::Interface4), "ipaddress", "IPv4Interface"),
    (Class::Ip(IpClass::Interface6), "ipaddress", "IPv6Interface"),
];

static FOUND: [Once<Py<PyAny>>; CLASSES.len()] = [const { Once::new() }; CLASSES.len()];

impl Class {
    /// The class of which `kind` is the type.
    ///
    /// # Errors
    /// There is no memory.
    pub fn of(py: Python<'_>, kind: *mut ffi::PyTypeObject) -> PyResult<Option<Class>> {
        let known = FOUND
            .iter()
            .position(|found| found.get(py).is_some_and(|found| std::ptr::eq(found.as_ptr(), kind.cast())));
        if let Some(index) = known {
            return Ok(Some(CLASSES[index].0));
        }
        // SAFETY: attached; a type has a name.
        let name = unsafe { CStr::from_ptr((*kind).tp_name) }.to_bytes();
        let bare = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
        let Some(index) = CLASSES.iter().position(|(_, _, name)| name.as_bytes() == bare) else {
            return Ok(None);
        };
        let (class, module, name) = CLASSES[index];
        match imported(py, module, name)? {
            Some(found) if std::ptr::eq(found.as_ptr(), kind.cast()) => {
                // Another thread may have found it too, or, after a reload, another class.
                let kept = FOUND[index].get_or_make(py, || Ok(found.unbind()))?;
                Ok(std::ptr::eq(kept.as_ptr(), kind.cast()).then_some(class))
            }
            _ => Ok(None),
        }
    }

    /// The class, imported where it has not been.
    ///
    /// # Errors
    /// What importing raised.
    pub fn get(self, py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
        let index = CLASSES.iter().position(|(class, _, _)| *class == self).expect("each has its line");
        let (_, module, name) = CLASSES[index];
        FOUND[index].import(py, module, name)
    }
}

/// `name` of a module, if that has been imported; runs nothing.
///
/// # Errors
/// There is no memory.
pub fn imported<'py>(py: Python<'py>, module: &str, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: attached; what is borrowed is held before anything else is done.
    unsafe {
        let modules = ffi::PyImport_GetModuleDict();
        let module = PyString::new(py, module);
        let found = ffi::PyDict_GetItemWithError(modules, module.as_ptr());
        if found.is_null() {
            return if ffi::PyErr_Occurred().is_null() { Ok(None) } else { Err(PyErr::fetch(py)) };
        }
        let found = Bound::from_borrowed_ptr(py, found);
        if ffi::PyModule_Check(found.as_ptr()) == 0 {
            return Ok(None);
        }
        let names = ffi::PyModule_GetDict(found.as_ptr());
        let name = PyString::new(py, name);
        let found = ffi::PyDict_GetItemWithError(names, name.as_ptr());
        if found.is_null() && !ffi::PyErr_Occurred().is_null() {
            return Err(PyErr::fetch(py));
        }
        Ok(Bound::from_borrowed_ptr_or_opt(py, found))
    }
}

/// The name of an attribute, interned: the interpreter's cache of attributes keeps the names it has seen,
/// by where they lie.
pub struct Name {
    text: &'static str,
    made: Once<Py<PyString>>,
}

impl Name {
    pub const fn new(text: &'static str) -> Self {
        Name { text, made: Once::new() }
    }

    pub fn get<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        let made = self.made.get_or_make(py, || Ok(PyString::intern(py, self.text).unbind()));
        made.expect("making it does not fail").bind(py)
    }
}

/// A name as an object that is made once.
macro_rules! name {
    ($text:literal) => {{
        static NAME: $crate::tree::library::Name = $crate::tree::library::Name::new($text);
        &NAME
    }};
}
pub(super) use name;

/// `object.name`, where asking may run Python code.
///
/// # Errors
/// What it raised.
pub fn attribute<'py>(object: &Bound<'py, PyAny>, name: &Name) -> PyResult<Bound<'py, PyAny>> {
    static GETATTR: Once<Py<PyAny>> = Once::new();
    let py = object.py();
    outcall::call(GETATTR.import(py, "builtins", "getattr")?, (object, name.get(py)), None)
}

/// `object.name`, where it is C that answers, and runs nothing.
///
/// # Errors
/// There is none.
pub fn field<'py>(object: &Bound<'py, PyAny>, name: &Name) -> PyResult<Bound<'py, PyAny>> {
    object.getattr(name.get(object.py()))
}

/// `str(object)`, where it may run Python code.
///
/// # Errors
/// What it raised.
pub fn text_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    let text = outcall::call(object.py().get_type::<PyString>().as_any(), (object,), None)?;
    Ok(text.cast_into_exact::<PyString>()?)
}
