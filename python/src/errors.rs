//! Exceptions: the classes of `retainit.errors`, raised from here.

use pyo3::prelude::*;
use retainit_core::loader::LOAD;
use retainit_core::{Error, ErrorKind};

use crate::once::Once;

/// A class of `retainit.errors`.
pub struct Exception {
    name: &'static str,
    class: Once<Py<PyAny>>,
}

impl Exception {
    const fn new(name: &'static str) -> Self {
        Exception { name, class: Once::new() }
    }

    /// An exception of this class.
    pub fn error(&self, message: impl Into<String>) -> PyErr {
        let message = message.into();
        Python::attach(|py| {
            match self
                .class
                .import(py, "retainit.errors", self.name)
                .and_then(|class| class.call1((message,)))
            {
                Ok(exception) => PyErr::from_value(exception),
                Err(error) => error,
            }
        })
    }

    /// Whether `error` is of this class.
    pub fn matches(&self, py: Python<'_>, error: &PyErr) -> bool {
        self.class
            .import(py, "retainit.errors", self.name)
            .is_ok_and(|class| error.matches(py, class).unwrap_or(false))
    }
}

/// Options, arguments or files are wrong.
pub static CONFIGURATION: Exception = Exception::new("ConfigurationError");
static PLUGIN: Exception = Exception::new("PluginError");
static BACKEND: Exception = Exception::new("BackendError");
/// A load that took too long.
pub static TIMEOUT: Exception = Exception::new("LoadTimeoutError");
/// A value that has no key.
pub static UNKEYABLE: Exception = Exception::new("UnkeyableError");
/// A result that cannot be turned into bytes.
pub static SERIALIZATION: Exception = Exception::new("SerializationError");

/// The exception of an engine's error.
pub fn from_core(error: &Error) -> PyErr {
    let class = match error.kind() {
        ErrorKind::Configuration if error.operation() == LOAD => &PLUGIN,
        ErrorKind::Configuration => &CONFIGURATION,
        ErrorKind::Invalid if error.operation() == "make a key" => &UNKEYABLE,
        ErrorKind::Invalid | ErrorKind::Unsupported | ErrorKind::Corrupt
            if matches!(error.operation(), "serialize" | "deserialize") =>
        {
            &SERIALIZATION
        }
        _ => &BACKEND,
    };
    class.error(error.to_string())
}
