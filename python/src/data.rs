//! Python objects as stored bytes, and back: which form an object has, and which serializer it goes to.
//!
//! Plain data takes the short way, from here to MessagePack. Whatever else there is, is sorted out by
//! `retainit._serializers`.

use std::borrow::Cow;
use std::ffi::c_void;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use pyo3::buffer::PyBuffer;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyString, PyTuple};
use retainit_core::abi::codec::{form, Data, Tensor};
use retainit_core::abi::value::{self as raw, Slice};
use retainit_core::access::Access;
use retainit_core::codec::Serializer;
use retainit_core::format::Format;
use retainit_core::language::{self, Dumped, Payload};
use retainit_core::sdk::Value;
use retainit_core::{Error, ErrorKind};

use crate::caller::{KeptError, Within};
use crate::once::Once;
use crate::pickle::Policy;
use crate::stream::Stream;
use crate::{outcall, tree, view};

/// The serializer of plain data.
const MSGPACK: &str = "msgpack";
/// The codec of Python's pickle.
pub const PICKLE: &str = "pickle";
/// The codec of exceptions that are kept in place of a result.
const EXCEPTION: &str = "exception";
/// Of all codecs today. One that changes what it writes gets a higher one, and goes on reading this.
const VERSION: u16 = 1;
/// Serializing more bytes than this lets other threads run.
const LONG: usize = 64 * 1024;

/// What a function's tier was told of how its values are stored.
#[derive(Debug, PartialEq)]
pub struct Choice {
    /// `auto`, or the name of a serializer.
    pub serializer: String,
    /// When pickle may be used.
    pub pickle: Policy,
    /// Whether frames are to be laid out for reading in place.
    pub mapped: bool,
}

/// The choice that a tier was set up with.
pub fn choice(format: &Format) -> &Choice {
    format.choice.downcast_ref().expect("every format of this language is made with a choice")
}

/// Bytes of an object.
pub enum Bytes {
    /// Of Python's.
    Python(PyBackedBytes),
    /// Of a serializer's.
    Value(Value),
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Bytes::Python(bytes) => bytes,
            Bytes::Value(value) => value.as_bytes().unwrap_or_default(),
        }
    }
}

impl language::Bytes for Bytes {
    fn value(&self) -> Option<&Value> {
        match self {
            Bytes::Python(_) => None,
            Bytes::Value(value) => Some(value),
        }
    }
}

/// Why an object could not be turned into bytes or back.
pub enum Failure {
    /// Python code raised.
    Raised(PyErr),
    /// A serializer failed, or a policy forbids it.
    Refused(Error),
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Failure::Raised(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Refused(error)
    }
}

type Done<T> = Result<T, Failure>;

/// The bytes of an object for a tier of this format.
///
/// # Errors
/// It cannot be stored there.
pub fn dump(object: &Bound<'_, PyAny>, format: &Format, within: Within<'_>) -> Done<Dumped<Bytes>> {
    let choice = choice(format);
    if object.is_exact_instance_of::<KeptError>() {
        return dump_error(object, within);
    }
    let serializer = &*choice.serializer;
    if serializer == PICKLE {
        return pickled(object, choice, within);
    }
    // Trees have arrays too, but copy them; one that is a whole value can be read where it lies.
    if serializer == MSGPACK || (serializer == "auto" && !tree::is_array(object)) {
        match tree::encode(object)? {
            Ok(tree) => {
                return through(format, Cow::Borrowed(MSGPACK), form::TREE, Value::from_vec(tree));
            }
            Err(reason) if serializer == MSGPACK => return Err(unsuitable(serializer, &reason).into()),
            Err(_) => {}
        }
    }
    static DUMP: Once<Py<PyAny>> = Once::new();
    let py = object.py();
    let sorted = within
        .call(DUMP.import(py, "retainit._serializers", "dump")?, (object, serializer, choice.mapped))?;
    let sorted = sorted.cast_into::<PyTuple>().map_err(PyErr::from)?;
    let kind: String = sorted.get_item(0)?.extract()?;
    let codec: String = sorted.get_item(1)?.extract()?;
    match &*kind {
        "pickle" => pickled(object, choice, within),
        "raw" => Ok(Dumped { codec: codec.into(), version: VERSION, bytes: bytes_of(&sorted.get_item(2)?)? }),
        "tree" => match tree::encode(&sorted.get_item(2)?)? {
            Ok(tree) => through(format, codec.into(), form::TREE, Value::from_vec(tree)),
            Err(reason) => Err(unsuitable(serializer, &reason).into()),
        },
        "bytes" => {
            let bytes = bytes_of(&sorted.get_item(2)?)?;
            through(format, codec.into(), form::BYTES, Value::from_vec(bytes.as_ref().to_vec()))
        }
        "tensor" => {
            let dtype: String = sorted.get_item(2)?.extract()?;
            let shape: Vec<i64> = sorted.get_item(3)?.extract()?;
            let strides: Vec<i64> = sorted.get_item(4)?.extract()?;
            tensor(format, codec, &dtype, &shape, &strides, &sorted.get_item(5)?)
        }
        "arrow" => {
            let stream = Stream::of(&sorted.get_item(2)?)?;
            let mut data = Data { form: form::ARROW, ..EMPTY };
            data.stream = stream.pointer();
            let serializer = format.codecs.serializer(&codec, false)?;
            // SAFETY: the capsule keeps the stream in place; the plugin moves it out or releases it.
            let value = serialize(py, &serializer, &data, true)?;
            Ok(Dumped { codec: codec.into(), version: VERSION, bytes: Bytes::Value(value) })
        }
        other => unreachable!("`retainit._serializers.dump` gave `{other}`"),
    }
}

/// The bytes of an exception: a tree, whatever the serializer of results is.
fn dump_error(kept: &Bound<'_, PyAny>, within: Within<'_>) -> Done<Dumped<Bytes>> {
    static DUMP: Once<Py<PyAny>> = Once::new();
    let plain = within.call(DUMP.import(kept.py(), "retainit._exceptions", "dump")?, (kept,))?;
    match tree::encode(&plain)? {
        Ok(tree) => {
            let bytes = Bytes::Value(Value::from_vec(tree));
            Ok(Dumped { codec: EXCEPTION.into(), version: VERSION, bytes })
        }
        Err(reason) => Err(unsuitable(EXCEPTION, &reason).into()),
    }
}

const EMPTY: Data = Data {
    form: 0,
    reserved: 0,
    value: raw::Value::NONE,
    tensor: std::ptr::null(),
    stream: std::ptr::null_mut(),
};

/// Gives a value to a serializer.
fn through(format: &Format, codec: Cow<'static, str>, form: u32, value: Value) -> Done<Dumped<Bytes>> {
    let serializer = format.codecs.serializer(&codec, false)?;
    let data = Data { form, value: value.into_raw(), ..EMPTY };
    // SAFETY: the value's reference goes to the plugin with the call.
    let value = unsafe { serializer.serialize(&data) }?;
    Ok(Dumped { codec, version: VERSION, bytes: Bytes::Value(value) })
}

fn serialize(py: Python<'_>, serializer: &Serializer, data: &Data, long: bool) -> Done<Value> {
    struct Shared<'a>(&'a Data);
    // SAFETY: what the data points to stays in place, and nobody else uses it until the call is over.
    unsafe impl Send for Shared<'_> {}
    let shared = Shared(data);
    let call = move || {
        let shared = &shared;
        // SAFETY: the caller keeps what `data` points to valid for the call.
        unsafe { serializer.serialize(shared.0) }
    };
    Ok(if long { py.detach(call) } else { call() }?)
}

fn tensor(
    format: &Format,
    codec: String,
    dtype: &str,
    shape: &[i64],
    strides: &[i64],
    elements: &Bound<'_, PyAny>,
) -> Done<Dumped<Bytes>> {
    let serializer = format.codecs.serializer(&codec, false)?;
    let description = Tensor {
        dtype: Slice::new(dtype.as_bytes()),
        shape: shape.as_ptr(),
        strides: strides.as_ptr(),
        ndim: shape.len() as u32,
        reserved: 0,
    };
    let value = Value::from_owner(Arc::new(Exported::of(elements)?));
    let long = value.weight() as usize > LONG;
    let data = Data { form: form::TENSOR, value: value.into_raw(), tensor: &raw const description, ..EMPTY };
    let value = serialize(elements.py(), &serializer, &data, long)?;
    Ok(Dumped { codec: codec.into(), version: VERSION, bytes: Bytes::Value(value) })
}

/// A contiguous buffer of a Python object. It is given back on the thread that asked for it, which is
/// the one that a serializer is called on: no other may touch Python.
struct Exported {
    view: ffi::Py_buffer,
    thread: ThreadId,
}

// SAFETY: the bytes may be read by any thread while the buffer is exported.
unsafe impl Send for Exported {}
// SAFETY: as above.
unsafe impl Sync for Exported {}

impl Exported {
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = ffi::Py_buffer::new();
        // SAFETY: attached; a buffer that was filled is released once, on drop.
        if unsafe { outcall::get_buffer(object.as_ptr(), &mut view, ffi::PyBUF_SIMPLE) } < 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(Exported { view, thread: thread::current().id() })
    }
}

impl AsRef<[u8]> for Exported {
    fn as_ref(&self) -> &[u8] {
        if self.view.len == 0 {
            return &[];
        }
        // SAFETY: exported memory stays where it is.
        unsafe { std::slice::from_raw_parts(self.view.buf.cast_const().cast(), self.view.len as usize) }
    }
}

impl Drop for Exported {
    fn drop(&mut self) {
        // A serializer that kept it and drops it elsewhere leaves the buffer exported for ever.
        if self.thread == thread::current().id() {
            Python::try_attach(|_| {
                // SAFETY: attached; released once.
                unsafe { outcall::release_buffer(&mut self.view) }
            });
        }
    }
}

fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Bytes::Python(bytes.clone().into()));
    }
    let buffer = PyBuffer::<u8>::get(object)?;
    Ok(Bytes::Value(Value::from_vec(buffer.to_vec(object.py())?)))
}

fn pickled(object: &Bound<'_, PyAny>, choice: &Choice, within: Within<'_>) -> Done<Dumped<Bytes>> {
    choice.pickle.check("serialize", &object.get_type().fully_qualified_name()?.to_string_lossy())?;
    let bytes = choice.pickle.dumps(object, within)?;
    Ok(Dumped { codec: PICKLE.into(), version: VERSION, bytes: Bytes::Python(bytes) })
}

fn unsuitable(serializer: &str, reason: &tree::NotPlain) -> Error {
    let message = format!(
        "serializer `{serializer}`: {reason}; hint: use `serializer=\"auto\"`, or register a serializer for the type"
    );
    Error::new(ErrorKind::Unsupported, "serialize", message)
}

/// The object of stored bytes.
///
/// # Errors
/// They are not understood, or a policy forbids to read them.
pub fn load<'py>(
    py: Python<'py>,
    (codec, version): (&str, u16),
    payload: Payload,
    format: &Format,
    within: Within<'_>,
) -> Done<Bound<'py, PyAny>> {
    if version != VERSION {
        let message = format!("a value in version {version} of `{codec}`: expected version {VERSION}");
        return Err(Error::new(ErrorKind::Corrupt, "deserialize", message).with("reason", "codec").into());
    }
    let choice = choice(format);
    if codec == EXCEPTION {
        static LOAD_ERROR: Once<Py<PyAny>> = Once::new();
        let kept = tree::decode(py, payload.as_bytes())?;
        return Ok(within.call(LOAD_ERROR.import(py, "retainit._exceptions", "load")?, (kept,))?);
    }
    if codec == PICKLE {
        choice.pickle.check("deserialize", "stored value")?;
        return Ok(choice.pickle.loads(view::of(py, payload)?, within)?);
    }
    if is_of_python(codec) {
        static LOAD: Once<Py<PyAny>> = Once::new();
        let load = LOAD.import(py, "retainit._serializers", "load")?;
        return Ok(within.call(load, (codec, view::of(py, payload)?, &choice.serializer))?);
    }
    let serializer = format.codecs.serializer(codec, payload.is_trusted())?;
    let stream = Stream::empty();
    let mut data = {
        let bytes = payload.share();
        let stream = stream.pointer();
        if payload.as_bytes().len() > LONG {
            struct Place(*mut c_void);
            // SAFETY: the place is this function's own, and nobody else's until the call is over.
            unsafe impl Send for Place {}
            let place = Place(stream);
            py.detach(|| {
                let place = place;
                // SAFETY: the place is valid, and this call's alone.
                unsafe { serializer.deserialize(bytes, place.0) }.map(Held)
            })?
            .0
        } else {
            // SAFETY: as above.
            unsafe { serializer.deserialize(bytes, stream) }?
        }
    };
    // SAFETY: the plugin gave the reference to us.
    let value = unsafe { Value::from_raw(std::mem::replace(&mut data.value, raw::Value::NONE)) };
    let bytes = || value.as_bytes().unwrap_or_default();
    match data.form {
        form::TREE => Ok(tree::decode(py, bytes())?),
        form::BYTES if codec == "text" => {
            let text = std::str::from_utf8(bytes()).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "deserialize", format!("stored text is not UTF-8: {error}"))
            })?;
            Ok(PyString::new(py, text).into_any())
        }
        form::BYTES => Ok(PyBytes::new(py, bytes()).into_any()),
        form::TENSOR => array(py, &data, value, &payload),
        form::ARROW => frame(py, stream, payload),
        other => {
            let message = format!("serializer `{codec}` gave data of an unknown form ({other})");
            Err(Error::new(ErrorKind::Corrupt, "deserialize", message).into())
        }
    }
}

/// Data on its way between threads, which nobody else knows.
struct Held(Data);
// SAFETY: see above.
unsafe impl Send for Held {}

/// Codecs that are Python's own business.
fn is_of_python(codec: &str) -> bool {
    matches!(codec, "orjson" | "protobuf") || codec.starts_with("custom:")
}

fn array<'py>(py: Python<'py>, data: &Data, elements: Value, payload: &Payload) -> Done<Bound<'py, PyAny>> {
    static RESTORE: Once<Py<PyAny>> = Once::new();
    // SAFETY: a tensor's description lives as long as its value, which is held.
    let described = unsafe {
        data.tensor.as_ref().map(|tensor| {
            let extents = |start: *const i64| match tensor.ndim {
                0 => Vec::new(),
                ndim => std::slice::from_raw_parts(start, ndim as usize).to_vec(),
            };
            let dtype = String::from_utf8_lossy(tensor.dtype.as_bytes()).into_owned();
            (dtype, extents(tensor.shape), extents(tensor.strides))
        })
    };
    let Some((dtype, shape, strides)) = described else {
        return Err(Error::new(ErrorKind::Corrupt, "deserialize", "a tensor without a description").into());
    };
    let (shape, strides) = (PyTuple::new(py, shape)?, PyTuple::new(py, strides)?);
    // Whoever has an array may write to it. The elements lie in the payload.
    let access = if payload.claim() { Access::Holder } else { Access::Nobody };
    let elements = view::over(py, Payload::of(elements, access, false))?;
    let restore = RESTORE.import(py, "retainit._arrays", "from_tensor")?;
    Ok(outcall::call(restore, (dtype, shape, strides, elements), None)?)
}

fn frame(py: Python<'_>, stream: Stream, payload: Payload) -> Done<Bound<'_, PyAny>> {
    static RESTORE: Once<Py<PyAny>> = Once::new();
    let shared = matches!(payload.access(), Access::Nobody);
    let memory = (!shared).then(|| view::over(py, payload)).transpose()?;
    let restore = RESTORE.import(py, "retainit._frames", "from_stream")?;
    Ok(outcall::call(restore, (Bound::new(py, stream)?, memory), None)?)
}
