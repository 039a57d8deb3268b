//! The function tables of serializers and compressors.

use std::ffi::c_void;

use abi_stable::StableAbi;

use super::call::Call;
use super::host::HostRef;
use super::value::{Slice, Value};
use super::Prelude;

/// [`Data::form`] numbers: the four public forms a serializer sees.
pub mod form {
    /// Plain bytes in `value`.
    pub const BYTES: u32 = 1;
    /// MessagePack with retainit's extension types in `value`.
    pub const TREE: u32 = 2;
    /// An array: `value` holds its elements, `tensor` describes them.
    pub const TENSOR: u32 = 3;
    /// `stream` is an `ArrowArrayStream` of the Arrow C stream interface; the receiver takes it over.
    pub const ARROW: u32 = 4;
}

/// Description of an n-dimensional array.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Tensor {
    /// Element type as in NumPy's array interface, such as `<f8`.
    pub dtype: Slice,
    /// Extents, `ndim` of them.
    pub shape: *const i64,
    /// Strides in bytes, `ndim` of them.
    pub strides: *const i64,
    /// Number of dimensions.
    pub ndim: u32,
    /// Zero.
    pub reserved: u32,
}

/// One piece of data in one of the four forms.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct Data {
    /// One of [`form`].
    pub form: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes of `BYTES`, `TREE` and `TENSOR`; owned by the receiver.
    pub value: Value,
    /// For `TENSOR`. Given to a plugin: borrowed for the call. Given by a plugin: valid for as long
    /// as `value` is held.
    pub tensor: *const Tensor,
    /// For `ARROW`: an `ArrowArrayStream` in memory of the host, either way. Given to a plugin: the
    /// plugin moves the stream out (and clears its `release`) or releases it. To be given by a plugin:
    /// the host puts the address of an empty one here, and the plugin moves its stream there.
    pub stream: *mut c_void,
}

/// Functions of one serializer component.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = SerializerTableRef, prefix_fields = SerializerTablePrefix)))]
#[sabi(missing_field(option))]
pub struct SerializerTable {
    /// Size, version and capabilities (the forms it takes).
    pub prelude: Prelude,
    /// Makes an instance from a JSON object of options.
    pub open: Option<
        unsafe extern "C" fn(host: HostRef, call: *const Call, options: Slice, out: *mut *mut c_void) -> i32,
    >,
    /// Turns data into bytes.
    pub serialize: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            data: *const Data,
            out: *mut Value,
        ) -> i32,
    >,
    /// Turns bytes (the plugin takes over the reference, so that it may keep them alive) into data;
    /// `CORRUPT` where it cannot.
    pub deserialize: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            bytes: *const Value,
            out: *mut Data,
        ) -> i32,
    >,
    /// Ends the instance.
    #[sabi(last_prefix_field)]
    pub close: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call) -> i32>,
}

/// Functions of one compressor component.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
#[sabi(kind(Prefix(prefix_ref = CompressorTableRef, prefix_fields = CompressorTablePrefix)))]
#[sabi(missing_field(option))]
pub struct CompressorTable {
    /// Size, version and capabilities.
    pub prelude: Prelude,
    /// Makes an instance from a JSON object of options.
    pub open: Option<
        unsafe extern "C" fn(host: HostRef, call: *const Call, options: Slice, out: *mut *mut c_void) -> i32,
    >,
    /// Compresses `input`.
    pub compress: Option<
        unsafe extern "C" fn(instance: *mut c_void, call: *const Call, input: Slice, out: *mut Value) -> i32,
    >,
    /// Decompresses `input` into at most `limit` bytes; `CORRUPT` where it cannot, or where the
    /// result would be larger.
    pub decompress: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            input: Slice,
            limit: u64,
            out: *mut Value,
        ) -> i32,
    >,
    /// `DICTIONARY`: trains a dictionary of at most `size` bytes from samples.
    pub train: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            call: *const Call,
            samples: *const Slice,
            count: usize,
            size: u64,
            out: *mut Value,
        ) -> i32,
    >,
    /// Ends the instance.
    #[sabi(last_prefix_field)]
    pub close: Option<unsafe extern "C" fn(instance: *mut c_void, call: *const Call) -> i32>,
}

const _: () = {
    assert!(std::mem::size_of::<Tensor>() == 40);
    assert!(std::mem::size_of::<Data>() == 64);
    assert!(std::mem::size_of::<SerializerTable>() == 48);
    assert!(std::mem::size_of::<CompressorTable>() == 56);
};
