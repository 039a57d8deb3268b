//! The traits of serializers and compressors, and the data they see.

use std::ffi::c_void;

use serde::de::DeserializeOwned;

use super::call::{Call, Host};
use super::error::{Error, Result};
use super::tensor::TensorInfo;
use super::value::Value;

/// Data in one of the four public forms.
#[derive(Debug)]
#[non_exhaustive]
pub enum Data {
    /// Plain bytes.
    Bytes(Value),
    /// MessagePack with retainit's extension types.
    Tree(Value),
    /// The elements of an array, and its description.
    Tensor(Value, TensorInfo),
    /// A stream of Arrow record batches.
    Arrow(ArrowStream),
}

/// An owned stream of the Arrow C stream interface, released when dropped.
///
/// The layout is that interface's `ArrowArrayStream`, so that a pointer to this is a pointer to that.
#[repr(C)]
#[derive(Debug)]
pub struct ArrowStream {
    get_schema: Option<unsafe extern "C" fn(*mut ArrowStream, *mut c_void) -> i32>,
    get_next: Option<unsafe extern "C" fn(*mut ArrowStream, *mut c_void) -> i32>,
    get_last_error: Option<unsafe extern "C" fn(*mut ArrowStream) -> *const std::ffi::c_char>,
    release: Option<unsafe extern "C" fn(*mut ArrowStream)>,
    private_data: *mut c_void,
}

// SAFETY: the interface lets a stream move between threads, as long as one uses it at a time.
unsafe impl Send for ArrowStream {}

impl ArrowStream {
    /// None: what a stream leaves behind where it was moved out.
    pub const fn empty() -> Self {
        ArrowStream {
            get_schema: None,
            get_next: None,
            get_last_error: None,
            release: None,
            private_data: std::ptr::null_mut(),
        }
    }

    /// Whether there is nothing here, or nothing any more.
    pub const fn is_released(&self) -> bool {
        self.release.is_none()
    }

    /// Takes the stream at `source`, which is left marked as released.
    ///
    /// # Safety
    /// `source` must point to an `ArrowArrayStream` that nobody else uses.
    pub unsafe fn take(source: *mut c_void) -> Self {
        let source = source.cast::<ArrowStream>();
        // SAFETY: promised by the caller; clearing `release` is the interface's way to move.
        unsafe {
            let stream = std::ptr::read(source);
            (*source).release = None;
            stream
        }
    }

    /// Moves the stream to `place`, over whatever bytes are there.
    ///
    /// # Safety
    /// `place` must have room for an `ArrowArrayStream` and hold none that is still to be released.
    pub unsafe fn put(self, place: *mut c_void) {
        // SAFETY: promised by the caller.
        unsafe { place.cast::<ArrowStream>().write(self) }
    }

    /// The `ArrowArrayStream`, still owned by `self`.
    pub fn as_mut_ptr(&mut self) -> *mut c_void {
        (self as *mut ArrowStream).cast()
    }
}

impl Drop for ArrowStream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: a stream whose `release` is set is live and ours.
            unsafe { release(self) }
        }
    }
}

/// Turns data into bytes and back. One instance serves many threads.
pub trait Serializer: Send + Sync + Sized + 'static {
    /// The name that configurations use.
    const NAME: &'static str;
    /// The forms it takes: `FORM_*` of [`capability`](crate::abi::capability).
    const CAPABILITIES: u64;
    /// JSON Schema of [`Serializer::Options`], an object with `properties`.
    const SCHEMA: &'static str;
    /// Options, read from the JSON object that the host gives.
    type Options: DeserializeOwned;

    /// Makes an instance.
    fn open(options: Self::Options, host: Host) -> Result<Self>;
    /// Turns data of one of the declared forms into bytes.
    fn serialize(&self, call: &Call<'_>, data: Data) -> Result<Value>;
    /// Turns bytes into data that may keep them alive; `Corrupt` where it cannot.
    fn deserialize(&self, call: &Call<'_>, bytes: Value) -> Result<Data>;
}

/// Makes bytes smaller and back. One instance serves many threads.
pub trait Compressor: Send + Sync + Sized + 'static {
    /// The name that configurations use.
    const NAME: &'static str;
    /// [`DICTIONARY`](crate::abi::capability::DICTIONARY) or zero.
    const CAPABILITIES: u64;
    /// JSON Schema of [`Compressor::Options`], an object with `properties`.
    const SCHEMA: &'static str;
    /// Options, read from the JSON object that the host gives.
    type Options: DeserializeOwned;

    /// Makes an instance.
    fn open(options: Self::Options, host: Host) -> Result<Self>;
    /// Compresses.
    fn compress(&self, call: &Call<'_>, input: &[u8]) -> Result<Value>;
    /// Decompresses into at most `limit` bytes; `Corrupt` where it cannot, or where there are more.
    fn decompress(&self, call: &Call<'_>, input: &[u8], limit: u64) -> Result<Value>;
    /// `DICTIONARY`: trains a dictionary of at most `size` bytes.
    fn train(&self, _call: &Call<'_>, _samples: &[&[u8]], _size: u64) -> Result<Value> {
        Err(Error::unsupported("train"))
    }
}
