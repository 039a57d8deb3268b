//! A tree to built-in types.
//!
//! Whatever the bytes are, there is an object or an error. What is allocated for a container is bounded by
//! the bytes that are there (see `sdk::tree::Reader`), and nesting by `DEPTH`.

use std::ptr::NonNull;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use retainit_plugin_api::sdk::tree::{self, Error, Group, Leaf, Reader, Token};

use super::encode::DEPTH;
use super::{ints, keys, numpy, standard, temporal, text};
use crate::outcall;

/// The object of a tree.
///
/// # Errors
/// `ValueError` where the bytes are no tree; whatever else making an object of them raises: a key that has
/// no hash, a time zone or a package that is not here.
pub fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut decoder = Decoder { py, reader: Reader::new(bytes), failed: None };
    let made = decoder.value(DEPTH).map(|made| {
        // SAFETY: attached; a new reference.
        unsafe { Bound::from_owned_ptr(py, made.as_ptr()) }
    });
    let made = made.and_then(|made| decoder.read(|reader| reader.finish()).map(|()| made));
    made.map_err(|Stopped| match decoder.failed {
        Some(error) => PyValueError::new_err(error.to_string()),
        None => PyErr::fetch(py),
    })
}

/// The decoder stopped: it has the error, or Python has.
struct Stopped;

/// A new reference.
type Made = Result<NonNull<ffi::PyObject>, Stopped>;

struct Decoder<'py, 'a> {
    py: Python<'py>,
    reader: Reader<'a>,
    failed: Option<Error>,
}

/// What is not yet anybody's, given up where making the rest fails.
struct Filling(NonNull<ffi::PyObject>);

impl Filling {
    fn done(self) -> NonNull<ffi::PyObject> {
        let made = self.0;
        std::mem::forget(self);
        made
    }

    fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// Gives a reference up that is not the last one.
    #[inline(always)]
    fn shared(self) {
        // SAFETY: attached; we own the reference.
        unsafe { ffi::Py_DECREF(self.done().as_ptr()) };
    }
}

/// A string, whose end runs nothing.
struct Plain(NonNull<ffi::PyObject>);

impl Drop for Plain {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: attached; we own the reference.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) };
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        // SAFETY: attached; we own the reference.
        unsafe { outcall::release(self.0.as_ptr()) };
    }
}

impl<'py, 'a> Decoder<'py, 'a> {
    #[inline(always)]
    fn next(&mut self) -> Result<Token<'a>, Stopped> {
        match self.reader.next() {
            Ok(token) => Ok(token),
            Err(error) => {
                self.failed = Some(error);
                Err(Stopped)
            }
        }
    }

    fn read<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<T, Error>) -> Result<T, Stopped> {
        match read(&mut self.reader) {
            Ok(read) => Ok(read),
            Err(error) => {
                self.failed = Some(error);
                Err(Stopped)
            }
        }
    }

    #[cold]
    fn fail(&mut self, what: &'static str) -> Stopped {
        self.failed = Some(self.reader.error(what));
        Stopped
    }

    fn given(&mut self, result: PyResult<Bound<'py, PyAny>>) -> Made {
        match result {
            // SAFETY: an object's address is not null.
            Ok(object) => Ok(unsafe { NonNull::new_unchecked(object.into_ptr()) }),
            Err(error) => {
                error.restore(self.py);
                Err(Stopped)
            }
        }
    }

    #[inline(always)]
    fn value(&mut self, depth: u32) -> Made {
        let token = self.next()?;
        self.made(token, depth)
    }

    #[inline(always)]
    fn made(&mut self, token: Token<'a>, depth: u32) -> Made {
        // SAFETY: attached; each call gives a new reference, or null with an exception set.
        unsafe {
            match token {
                Token::Text(utf8) => text::string(utf8).ok_or(Stopped),
                Token::Int(value) => owned(ffi::PyLong_FromLongLong(value)),
                Token::Float(value) => owned(ffi::PyFloat_FromDouble(value)),
                Token::Nil => owned(ffi::Py_NewRef(ffi::Py_None())),
                Token::Bool(true) => owned(ffi::Py_NewRef(ffi::Py_True())),
                Token::Bool(false) => owned(ffi::Py_NewRef(ffi::Py_False())),
                Token::Dict(count) => self.dict(count, depth),
                Token::List(count) => self.list(count, depth),
                Token::Group(group) => self.group(group, depth),
                Token::Leaf(code, body) => self.leaf(code, body),
                Token::Unsigned(value) => owned(ffi::PyLong_FromUnsignedLongLong(value)),
                Token::Bytes(bytes) => {
                    let len = bytes.len() as ffi::Py_ssize_t;
                    owned(ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), len))
                }
            }
        }
    }

    #[inline(always)]
    fn deeper(&mut self, depth: u32) -> Result<u32, Stopped> {
        depth.checked_sub(1).ok_or_else(|| self.fail("nested too deep"))
    }

    #[inline(never)]
    fn list(&mut self, count: usize, depth: u32) -> Made {
        let depth = self.deeper(depth)?;
        // SAFETY: attached; each place is filled once, with a reference that the list takes over. Until
        // then it is null, which lists can be dropped with.
        unsafe {
            let list = Filling(owned(outcall::new_list(count as ffi::Py_ssize_t))?);
            for index in 0..count {
                let item = self.value(depth)?;
                ffi::PyList_SET_ITEM(list.as_ptr(), index as ffi::Py_ssize_t, item.as_ptr());
            }
            Ok(list.done())
        }
    }

    #[inline(never)]
    fn dict(&mut self, count: usize, depth: u32) -> Made {
        let depth = self.deeper(depth)?;
        // SAFETY: attached; the dict takes references of its own, and ours are given up.
        unsafe {
            let dict = Filling(owned(new_dict(count))?);
            for _ in 0..count {
                match self.next()? {
                    Token::Text(utf8) => {
                        let key = Plain(keys::key(utf8).ok_or(Stopped)?);
                        let value = Filling(self.value(depth)?);
                        // A string's hash and comparison run nothing.
                        if ffi::PyDict_SetItem(dict.as_ptr(), key.0.as_ptr(), value.as_ptr()) < 0 {
                            return Err(Stopped);
                        }
                        // The dict has another, unless the key came twice, which is found out below.
                        value.shared();
                    }
                    token => {
                        let key = Filling(self.made(token, depth)?);
                        let value = Filling(self.value(depth)?);
                        if outcall::dict_set_default(dict.as_ptr(), key.as_ptr(), value.as_ptr()).is_null() {
                            return Err(Stopped);
                        }
                    }
                }
            }
            if ffi::PyDict_Size(dict.as_ptr()) as usize != count {
                return Err(self.fail("two keys of a dict are equal"));
            }
            Ok(dict.done())
        }
    }

    fn group(&mut self, group: Group, depth: u32) -> Made {
        let depth = self.deeper(depth)?;
        let made = match group.code {
            tree::TUPLE => self.tuple(group.count, depth),
            tree::SET | tree::FROZENSET => self.set(group, depth),
            tree::FRACTION => {
                let parts = self.parts::<2>(depth, true)?;
                self.given(standard::fraction(&parts[0], &parts[1]))
            }
            tree::RANGE => {
                let [start, stop, step] = self.parts(depth, true)?;
                // SAFETY: attached; the type is one.
                let range = unsafe {
                    Bound::from_borrowed_ptr(self.py, (&raw mut ffi::PyRange_Type).cast::<ffi::PyObject>())
                };
                self.given(outcall::call(&range, (start, stop, step), None))
            }
            // The reader gives no other groups.
            _ => {
                let [start, stop, step] = self.parts(depth, false)?;
                // SAFETY: attached, with valid objects; a new reference or null.
                owned(unsafe { ffi::PySlice_New(start.as_ptr(), stop.as_ptr(), step.as_ptr()) })
            }
        };
        let made = Filling(made?);
        self.read(|reader| reader.close(group))?;
        Ok(made.done())
    }

    #[inline(never)]
    fn tuple(&mut self, count: usize, depth: u32) -> Made {
        // SAFETY: as for lists.
        unsafe {
            let tuple = Filling(owned(outcall::new_tuple(count as ffi::Py_ssize_t))?);
            for index in 0..count {
                let item = self.value(depth)?;
                ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as ffi::Py_ssize_t, item.as_ptr());
            }
            Ok(tuple.done())
        }
    }

    #[inline(never)]
    fn set(&mut self, group: Group, depth: u32) -> Made {
        // SAFETY: attached; the set takes references of its own, and ours are given up. Nobody has seen
        // the frozenset yet.
        unsafe {
            let set = Filling(owned(outcall::new_set(group.code == tree::FROZENSET))?);
            for _ in 0..group.count {
                let member = Filling(self.value(depth)?);
                if outcall::set_add(set.as_ptr(), member.as_ptr()) < 0 {
                    return Err(Stopped);
                }
            }
            if ffi::PySet_Size(set.as_ptr()) as usize != group.count {
                return Err(self.fail("two members of a set are equal"));
            }
            Ok(set.done())
        }
    }

    /// The values of a group that has so many, ints only where `ints` says so.
    fn parts<const N: usize>(&mut self, depth: u32, ints: bool) -> Result<[Bound<'py, PyAny>; N], Stopped> {
        let mut parts = Vec::with_capacity(N);
        for _ in 0..N {
            let part = self.value(depth)?;
            // SAFETY: attached; a new reference.
            let part = unsafe { Bound::from_owned_ptr(self.py, part.as_ptr()) };
            if ints && !part.is_exact_instance_of::<pyo3::types::PyInt>() {
                return Err(self.fail("an integer was expected"));
            }
            parts.push(part);
        }
        parts.try_into().map_err(|_| self.fail("a wrong number of values"))
    }

    #[inline(never)]
    fn leaf(&mut self, code: i8, body: &'a [u8]) -> Made {
        let py = self.py;
        let made = match self.read(|reader| Leaf::parse(code, body, reader.at()))? {
            Leaf::BigInt(bytes) => ints::from_bytes(py, bytes, true),
            Leaf::Surrogates(utf8) => text::with_surrogates(py, utf8).map(Bound::into_any),
            // SAFETY: attached; a new reference or null; the bytes are copied.
            Leaf::Bytearray(bytes) => unsafe {
                let len = bytes.len() as ffi::Py_ssize_t;
                return owned(ffi::PyByteArray_FromStringAndSize(bytes.as_ptr().cast(), len));
            },
            // SAFETY: attached; a new reference or null.
            Leaf::Complex(real, imaginary) => unsafe {
                return owned(ffi::PyComplex_FromDoubles(real, imaginary));
            },
            Leaf::Decimal(text) => standard::decimal(py, text),
            Leaf::Uuid(bytes, safe) => standard::uuid(py, bytes, safe),
            Leaf::Date(date) => temporal::date(py, date),
            Leaf::Time(time) => temporal::time(py, time),
            Leaf::Datetime(date, time) => temporal::datetime(py, date, time),
            Leaf::Timedelta(duration) => temporal::timedelta(py, duration),
            Leaf::Zone(zone) => temporal::zone(py, zone),
            // SAFETY: attached; there is one for ever.
            Leaf::Ellipsis => unsafe { return owned(ffi::Py_NewRef(ffi::Py_Ellipsis())) },
            Leaf::Path(class, utf8) => standard::path(py, class, utf8),
            Leaf::Ip(class, text) => standard::ip(py, class, text),
            Leaf::Tensor(tensor) => numpy::array(py, &tensor),
            Leaf::Scalar(tensor) => numpy::scalar(py, &tensor),
        };
        self.given(made)
    }
}

#[inline(always)]
fn owned(made: *mut ffi::PyObject) -> Made {
    NonNull::new(made).ok_or(Stopped)
}

/// A dict with room for so many.
#[inline(always)]
unsafe fn new_dict(_count: usize) -> *mut ffi::PyObject {
    // SAFETY: attached, as the caller promises.
    unsafe { outcall::new_dict() }
}
