//! The tables of serializers and compressors.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{array, guard, instance, options};
use crate::abi::call as raw;
use crate::abi::codec::{form, CompressorTable, Data as RawData, SerializerTable, Tensor};
use crate::abi::host::HostRef;
use crate::abi::value::{Slice, Value as RawValue};
use crate::abi::{capability, status, Prelude};
use crate::sdk::call::Call;
use crate::sdk::codec::{ArrowStream, Compressor, Data, Serializer};
use crate::sdk::error::{Error, ErrorKind, Result};
use crate::sdk::tensor::TensorInfo;
use crate::sdk::value::Value;

/// The table of serializer `T`.
#[derive(Debug)]
pub struct SerializerExport<T>(PhantomData<T>);

impl<T: Serializer> SerializerExport<T> {
    /// The functions.
    pub const TABLE: SerializerTable = SerializerTable {
        prelude: Prelude::of::<SerializerTable>(T::CAPABILITIES),
        open: Some(open_serializer::<T>),
        serialize: Some(serialize::<T>),
        deserialize: Some(deserialize::<T>),
        close: Some(super::close::<T>),
    };
}

/// The table of compressor `T`.
#[derive(Debug)]
pub struct CompressorExport<T>(PhantomData<T>);

impl<T: Compressor> CompressorExport<T> {
    /// The functions; `train` only with `DICTIONARY`.
    pub const TABLE: CompressorTable = CompressorTable {
        prelude: Prelude::of::<CompressorTable>(T::CAPABILITIES),
        open: Some(open_compressor::<T>),
        compress: Some(compress::<T>),
        decompress: Some(decompress::<T>),
        train: if T::CAPABILITIES & capability::DICTIONARY != 0 { Some(train::<T>) } else { None },
        close: Some(super::close::<T>),
    };
}

unsafe extern "C" fn open_serializer<T: Serializer>(
    host: HostRef,
    call: *const raw::Call,
    json: Slice,
    out: *mut *mut c_void,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        super::open(host, call, json, out, |json, host| {
            T::open(options::parse("serializer", T::NAME, T::SCHEMA, json)?, host)
        })
    }
}

unsafe extern "C" fn serialize<T: Serializer>(
    i: *mut c_void,
    call: *const raw::Call,
    data: *const RawData,
    out: *mut RawValue,
) -> i32 {
    // SAFETY: the arguments are the host's, which gives the data away.
    unsafe {
        guard(call, || {
            let data = take_data(&*data)?;
            out.write(instance::<T>(i).component.serialize(&Call::new(&*call), data)?.into_raw());
            Ok(status::OK)
        })
    }
}

unsafe extern "C" fn deserialize<T: Serializer>(
    i: *mut c_void,
    call: *const raw::Call,
    bytes: *const RawValue,
    out: *mut RawData,
) -> i32 {
    // SAFETY: the arguments are the host's, which gives the bytes away and owns the place of a stream.
    unsafe {
        guard(call, || {
            let bytes = Value::from_raw(*bytes);
            give_data(instance::<T>(i).component.deserialize(&Call::new(&*call), bytes)?, out)?;
            Ok(status::OK)
        })
    }
}

/// Takes over the host's data.
///
/// # Safety
/// The data must be the host's, and be taken once.
unsafe fn take_data(data: &RawData) -> Result<Data> {
    // SAFETY: promised by the caller; a value that turns out not to be wanted is released here.
    let value = unsafe { Value::from_raw(data.value) };
    let invalid = |message: String| Err(Error::new(ErrorKind::Invalid, message));
    Ok(match data.form {
        form::BYTES => Data::Bytes(value),
        form::TREE => Data::Tree(value),
        form::TENSOR => {
            // SAFETY: a tensor's description is null or valid for the call.
            let Some(tensor) = (unsafe { data.tensor.as_ref() }) else {
                return invalid("a tensor came without a description".to_owned());
            };
            let rank = tensor.ndim as usize;
            // SAFETY: both arrays have `ndim` elements, and the text is valid for the call.
            let (dtype, shape, strides) =
                unsafe { (tensor.dtype.as_bytes(), array(tensor.shape, rank), array(tensor.strides, rank)) };
            let Ok(dtype) = std::str::from_utf8(dtype) else {
                return invalid("a tensor's element type is not text".to_owned());
            };
            Data::Tensor(
                value,
                TensorInfo { dtype: dtype.to_owned(), shape: shape.to_vec(), strides: strides.to_vec() },
            )
        }
        form::ARROW => {
            if data.stream.is_null() {
                return invalid("arrow data came without a stream".to_owned());
            }
            // SAFETY: the stream is given to this call.
            Data::Arrow(unsafe { ArrowStream::take(data.stream) })
        }
        other => return invalid(format!("data came in the unknown form {other}")),
    })
}

/// A tensor's elements together with its description, which lives as long as they are held.
struct Described {
    elements: Value,
    // The description points into `info`, whose vectors do not move.
    tensor: Tensor,
    _info: Box<TensorInfo>,
}

// SAFETY: everything is immutable, and the pointers lead into the struct's own box.
unsafe impl Send for Described {}
// SAFETY: as above.
unsafe impl Sync for Described {}

impl AsRef<[u8]> for Described {
    fn as_ref(&self) -> &[u8] {
        self.elements.as_bytes().unwrap_or_default()
    }
}

/// Gives data to the host.
///
/// # Safety
/// `out` must be valid; its `stream` must be null or a place for a stream.
unsafe fn give_data(data: Data, out: *mut RawData) -> Result<()> {
    // SAFETY: the host's `stream` says where one may be put.
    let place = unsafe { (*out).stream };
    let (form, value, tensor) = match data {
        Data::Bytes(value) => (form::BYTES, value.into_raw(), std::ptr::null()),
        Data::Tree(value) => (form::TREE, value.into_raw(), std::ptr::null()),
        Data::Tensor(elements, info) => {
            if info.shape.len() != info.strides.len() {
                let (shape, strides) = (info.shape.len(), info.strides.len());
                let message = format!("the plugin gave a tensor of {shape} extents and {strides} strides");
                return Err(Error::new(ErrorKind::Fatal, message));
            }
            let info = Box::new(info);
            let tensor = Tensor {
                dtype: Slice::new(info.dtype.as_bytes()),
                shape: info.shape.as_ptr(),
                strides: info.strides.as_ptr(),
                ndim: info.shape.len() as u32,
                reserved: 0,
            };
            let owner = Arc::new(Described { elements, tensor, _info: info });
            let tensor: *const Tensor = &owner.tensor;
            (form::TENSOR, Value::from_owner(owner).into_raw(), tensor)
        }
        Data::Arrow(stream) => {
            if place.is_null() {
                return Err(Error::new(ErrorKind::Invalid, "the host gave no place for an arrow stream"));
            }
            // SAFETY: promised by the caller.
            unsafe { stream.put(place) };
            (form::ARROW, RawValue::NONE, std::ptr::null())
        }
    };
    // SAFETY: promised by the caller.
    unsafe { out.write(RawData { form, reserved: 0, value, tensor, stream: place }) };
    Ok(())
}

unsafe extern "C" fn open_compressor<T: Compressor>(
    host: HostRef,
    call: *const raw::Call,
    json: Slice,
    out: *mut *mut c_void,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        super::open(host, call, json, out, |json, host| {
            T::open(options::parse("compressor", T::NAME, T::SCHEMA, json)?, host)
        })
    }
}

unsafe extern "C" fn compress<T: Compressor>(
    i: *mut c_void,
    call: *const raw::Call,
    input: Slice,
    out: *mut RawValue,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        guard(call, || {
            out.write(instance::<T>(i).component.compress(&Call::new(&*call), input.as_bytes())?.into_raw());
            Ok(status::OK)
        })
    }
}

unsafe extern "C" fn decompress<T: Compressor>(
    i: *mut c_void,
    call: *const raw::Call,
    input: Slice,
    limit: u64,
    out: *mut RawValue,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        guard(call, || {
            let bytes = instance::<T>(i).component.decompress(&Call::new(&*call), input.as_bytes(), limit)?;
            if bytes.weight() > limit {
                let message = format!("decompressed to {} bytes: expected at most {limit}", bytes.weight());
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            out.write(bytes.into_raw());
            Ok(status::OK)
        })
    }
}

unsafe extern "C" fn train<T: Compressor>(
    i: *mut c_void,
    call: *const raw::Call,
    samples: *const Slice,
    count: usize,
    size: u64,
    out: *mut RawValue,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        guard(call, || {
            let samples: Vec<&[u8]> = array(samples, count).iter().map(|sample| sample.as_bytes()).collect();
            out.write(instance::<T>(i).component.train(&Call::new(&*call), &samples, size)?.into_raw());
            Ok(status::OK)
        })
    }
}
