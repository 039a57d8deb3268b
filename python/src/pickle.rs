//! Python's pickle, and when it may be used: loading one runs whatever it says.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use retainit_core::{Error, ErrorKind};

use crate::caller::Within;
use crate::once::Once;

/// When pickle is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    Never,
    /// Where entries are authenticated.
    Signed,
    /// There, and where only this user of this machine can write.
    Local,
    /// Everywhere.
    Always,
}

/// What a tier may do with pickle.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// When it is allowed.
    pub mode: Mode,
    /// Qualified names of the only classes and functions it may refer to.
    pub allow: Option<Vec<String>>,
    /// The most bytes it may have.
    pub max_bytes: Option<u64>,
    /// Whether only this user of this machine can write to the tier.
    pub private: bool,
    /// Whether the tier's entries are authenticated.
    pub authenticated: bool,
}

impl Policy {
    /// Refuses where the policy does.
    ///
    /// # Errors
    /// The refusal, which names the remedies.
    pub fn check(&self, operation: &'static str, what: &str) -> Result<(), Error> {
        let (allowed, mode) = match self.mode {
            Mode::Never => (false, "never"),
            Mode::Signed => (self.authenticated, "signed"),
            Mode::Local => (self.authenticated || self.private, "local"),
            Mode::Always => (true, "always"),
        };
        if allowed {
            return Ok(());
        }
        let (reason, remedy) = match self.mode {
            Mode::Never => (
                "pickle is switched off",
                "return plain data, an array or a frame, register a serializer for the type, or allow pickle",
            ),
            Mode::Signed => (
                "its entries are not authenticated",
                "give an `encryption_key` with `integrity=\"signed\"` or `encryption=True`, or return plain data",
            ),
            _ => (
                "others can write to this backend, and its entries are not authenticated",
                "give an `encryption_key` with `integrity=\"signed\"` or `encryption=True`, return plain data, \
                 or register a serializer for the type",
            ),
        };
        let message = format!(
            "a `{what}` needs pickle, which `pickle=\"{mode}\"` refuses here: {reason}; hint: {remedy}"
        );
        Err(Error::new(ErrorKind::Unsupported, operation, message).with("reason", "pickle"))
    }

    /// The pickle of an object.
    ///
    /// # Errors
    /// It has none, refers to what is not allowed, or is too large.
    pub fn dumps(&self, object: &Bound<'_, PyAny>, within: Within<'_>) -> PyResult<PyBackedBytes> {
        static DUMPS: Once<Py<PyAny>> = Once::new();
        static BOUNDED: Once<Py<PyAny>> = Once::new();
        let py = object.py();
        let bytes = if self.is_unbounded() {
            within.call(DUMPS.import(py, "pickle", "dumps")?, (object, 5))?
        } else {
            let dumps = BOUNDED.import(py, "retainit._pickle", "dumps")?;
            within.call(dumps, (object, self.allow.clone(), self.max_bytes))?
        };
        Ok(bytes.cast_into::<PyBytes>()?.into())
    }

    /// The object of a pickle.
    ///
    /// # Errors
    /// What loading raised; what it refers to is not allowed; it is too large.
    pub fn loads<'py>(&self, bytes: Bound<'py, PyAny>, within: Within<'_>) -> PyResult<Bound<'py, PyAny>> {
        static LOADS: Once<Py<PyAny>> = Once::new();
        static BOUNDED: Once<Py<PyAny>> = Once::new();
        let py = bytes.py();
        if self.is_unbounded() {
            return within.call(LOADS.import(py, "pickle", "loads")?, (bytes,));
        }
        let loads = BOUNDED.import(py, "retainit._pickle", "loads")?;
        within.call(loads, (bytes, self.allow.clone(), self.max_bytes))
    }

    fn is_unbounded(&self) -> bool {
        self.allow.is_none() && self.max_bytes.is_none()
    }
}
