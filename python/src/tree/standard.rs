//! Numbers, identifiers, paths and addresses of the standard library, both ways.

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString};
use retainit_plugin_api::sdk::tree::{self, write, PathClass};

use super::encode::{Done, Encoder, DEPTH};
use super::library::{attribute, field, name, text_of, Class};
use super::{ints, text, NotPlain};
use crate::once::Once;
use crate::outcall;

impl<'py> Encoder<'py> {
    /// An object of none of the built-in types.
    pub fn other(&mut self, object: &Bound<'py, PyAny>) -> Done {
        if self.temporal(object)? {
            return Ok(());
        }
        let class = Class::of(self.py, object.get_type_ptr());
        match self.given(class)? {
            Some(Class::Decimal) => self.decimal(object),
            Some(Class::Fraction) => self.fraction(object),
            Some(Class::Uuid) => self.uuid(object),
            Some(Class::ZoneInfo) => self.zone_info(object),
            Some(Class::Path(class)) => self.path(object, class),
            Some(Class::Ip(class)) => {
                let text = text_of(object);
                let text = self.given(text)?;
                self.labelled(tree::IP, class as u8, &text)
            }
            Some(Class::NdArray) => self.numpy_array(object),
            None => {
                if self.numpy_scalar(object)? {
                    return Ok(());
                }
                let name = object.get_type().fully_qualified_name();
                let name = self.given(name)?;
                Err(self.refuse(NotPlain::Type(name.to_string())))
            }
        }
    }

    fn decimal(&mut self, object: &Bound<'py, PyAny>) -> Done {
        let text = text_of(object);
        let text = self.given(text)?;
        let text = self.given(text.to_str().map(str::as_bytes))?;
        self.extension(tree::DECIMAL, text.len())?;
        // The exponent's letter is small where the thread's decimal context says so.
        self.out.extend(text.iter().map(|byte| if *byte == b'e' { b'E' } else { *byte }));
        Ok(())
    }

    fn fraction(&mut self, object: &Bound<'py, PyAny>) -> Done {
        let start = self.out.len();
        self.enclosed(tree::FRACTION, |encoder| {
            let head = write::list(&mut encoder.out, 2);
            encoder.head(head)?;
            for name in [name!("_numerator"), name!("_denominator")] {
                let part = field(object, name);
                let part = encoder.given(part)?;
                if !part.is_exact_instance_of::<PyInt>() {
                    return Err(encoder.refuse(NotPlain::Value("a fraction of other numbers than ints")));
                }
                // SAFETY: attached, and held.
                unsafe { encoder.value(part.as_ptr(), DEPTH) }?;
            }
            Ok(())
        })?;
        if self.out.len() - start > tree::LONGEST_FRACTION as usize {
            return Err(self.refuse(NotPlain::Value("a fraction of so many digits")));
        }
        Ok(())
    }

    fn uuid(&mut self, object: &Bound<'py, PyAny>) -> Done {
        let py = self.py;
        let bytes = field(object, name!("int")).and_then(|int| {
            Ok(int.call_method1(name!("to_bytes").get(py), (16, "big"))?.cast_into::<PyBytes>()?)
        });
        let bytes = self.given(bytes)?;
        let safe = field(object, name!("is_safe")).and_then(|safe| Safety::of(&safe));
        let safe: &[u8] = match self.given(safe)? {
            Some(Safety::Unknown) => &[],
            Some(Safety::Unsafe) => &[0],
            Some(Safety::Safe) => &[1],
            None => return Err(self.refuse(NotPlain::Value("a UUID with an `is_safe` of its own"))),
        };
        self.extension(tree::UUID, 16 + safe.len())?;
        self.out.extend_from_slice(bytes.as_bytes());
        self.out.extend_from_slice(safe);
        Ok(())
    }

    fn path(&mut self, object: &Bound<'py, PyAny>, class: PathClass) -> Done {
        let text = text_of(object);
        let text = self.given(text)?;
        // What Windows says of drives makes texts of some odd paths that are other paths.
        if matches!(class, PathClass::PureWindows | PathClass::Windows) {
            let again = outcall::call(object.get_type().as_any(), (&text,), None)
                .and_then(|again| attribute(&again, name!("parts"))?.eq(attribute(object, name!("parts"))?));
            if !self.given(again)? {
                return Err(self.refuse(NotPlain::Value("a path whose text is another path's")));
            }
        }
        self.labelled(tree::PATH, class as u8, &text)
    }

    /// A class's number and a text; that of paths may have lone surrogates.
    fn labelled(&mut self, code: i8, class: u8, text: &Bound<'py, PyString>) -> Done {
        self.enclosed(code, |encoder| {
            encoder.out.push(class);
            encoder.surrogate_utf8(text)
        })
    }
}

/// `uuid.SafeUUID`, as the byte behind a UUID's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Safety {
    Unsafe,
    Safe,
    Unknown,
}

impl Safety {
    const ALL: [Safety; 3] = [Safety::Unknown, Safety::Safe, Safety::Unsafe];

    fn of(member: &Bound<'_, PyAny>) -> PyResult<Option<Safety>> {
        for safety in Self::ALL {
            if safety.member(member.py())?.is(member) {
                return Ok(Some(safety));
            }
        }
        Ok(None)
    }

    fn member(self, py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
        static MEMBERS: [Once<Py<PyAny>>; 3] = [const { Once::new() }; 3];
        static CLASS: Once<Py<PyAny>> = Once::new();
        let name = match self {
            Safety::Unknown => name!("unknown"),
            Safety::Safe => name!("safe"),
            Safety::Unsafe => name!("unsafe"),
        };
        let made = MEMBERS[self as usize]
            .get_or_make(py, || Ok(attribute(CLASS.import(py, "uuid", "SafeUUID")?, name)?.unbind()))?;
        Ok(made.bind(py))
    }
}

/// A `decimal.Decimal`.
///
/// # Errors
/// It is beyond what this platform has.
pub fn decimal<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let made = outcall::call(Class::Decimal.get(py)?, (text,), None)?;
    // An exponent out of range becomes NaN where the thread's decimal context does not trap it.
    let exponent = text.find('E').map_or(0, |at| text.len() - at);
    if exponent > 9 && !text_of(&made)?.to_str()?.eq_ignore_ascii_case(text) {
        return Err(PyValueError::new_err("a decimal number out of range"));
    }
    Ok(made)
}

/// A `fractions.Fraction`.
///
/// # Errors
/// It is not in lowest terms.
pub fn fraction<'py>(
    numerator: &Bound<'py, PyAny>,
    denominator: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = numerator.py();
    let made = outcall::call(Class::Fraction.get(py)?, (numerator, denominator), None)?;
    if !field(&made, name!("_numerator"))?.eq(numerator)?
        || !field(&made, name!("_denominator"))?.eq(denominator)?
    {
        return Err(PyValueError::new_err("a fraction that is not in lowest terms"));
    }
    Ok(made)
}

/// A `uuid.UUID`, without its constructor's many checks.
///
/// # Errors
/// There is no memory.
pub fn uuid<'py>(py: Python<'py>, bytes: [u8; 16], safe: Option<bool>) -> PyResult<Bound<'py, PyAny>> {
    static NEW: Once<Py<PyAny>> = Once::new();
    let new = NEW.get_or_make(py, || Ok(py.get_type::<PyAny>().getattr("__new__")?.unbind()))?;
    let made = outcall::call(new.bind(py), (Class::Uuid.get(py)?,), None)?;
    let int = ints::from_bytes(py, &bytes, false)?;
    let safety = match safe {
        None => Safety::Unknown,
        Some(true) => Safety::Safe,
        Some(false) => Safety::Unsafe,
    };
    for (name, value) in [(name!("int"), &int), (name!("is_safe"), safety.member(py)?)] {
        let name = name.get(py);
        // SAFETY: attached, with valid objects; the class's own way would refuse.
        if unsafe { ffi::PyObject_GenericSetAttr(made.as_ptr(), name.as_ptr(), value.as_ptr()) } < 0 {
            return Err(PyErr::fetch(py));
        }
    }
    Ok(made)
}

/// A path of `pathlib`.
///
/// # Errors
/// This platform has no such paths.
pub fn path<'py>(py: Python<'py>, class: PathClass, utf8: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    outcall::call(Class::Path(class).get(py)?, (text::with_surrogates(py, utf8)?,), None)
}

/// An address, network or interface of `ipaddress`.
///
/// # Errors
/// The text is none.
pub fn ip<'py>(py: Python<'py>, class: tree::IpClass, text: &str) -> PyResult<Bound<'py, PyAny>> {
    outcall::call(Class::Ip(class).get(py)?, (text,), None)
}
