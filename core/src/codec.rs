//! Open serializers and compressors.

use std::ffi::c_void;
use std::sync::Arc;

use retainit_plugin_api::abi::codec::{CompressorTable, Data, SerializerTable};
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::sdk::Value;

use crate::component::Handle;
use crate::error::Result;
use crate::loader::Component;

/// An open serializer.
#[derive(Debug, Clone)]
pub struct Serializer(Arc<Handle<SerializerTable>>);

impl Serializer {
    pub(crate) fn open(
        component: Component,
        table: SerializerTable,
        options: &serde_json::Value,
    ) -> Result<Self> {
        Handle::open(component, table, table.open, table.close, options).map(Serializer)
    }

    /// What it is an instance of.
    pub fn component(&self) -> &Component {
        self.0.component()
    }

    /// Turns data, whose reference it takes over, into bytes.
    ///
    /// # Safety
    /// What `data` points to must be valid for the call.
    pub unsafe fn serialize(&self, data: &Data) -> Result<Value> {
        let serialize = self.0.need(self.0.table().serialize, "serialize")?;
        let mut out = value::Value::NONE;
        // SAFETY: the instance is open; the rest is promised by the caller.
        let done =
            self.0.call("serialize", |handle, call| unsafe { serialize(handle, call, data, &mut out) });
        // SAFETY: the plugin gave the reference to us.
        let out = unsafe { Value::from_raw(out) };
        done.map(|()| out)
    }

    /// Turns bytes into data. The caller owns the references in the result. `stream` is the address of
    /// an empty `ArrowArrayStream`, which is where a stream gets to; null if none is wanted.
    ///
    /// # Safety
    /// `stream` is null, or valid for the call and used by nobody else.
    pub unsafe fn deserialize(&self, bytes: Value, stream: *mut c_void) -> Result<Data> {
        let deserialize = self.0.need(self.0.table().deserialize, "deserialize")?;
        let bytes = bytes.into_raw();
        let mut data =
            Data { form: 0, reserved: 0, value: value::Value::NONE, tensor: std::ptr::null(), stream };
        // SAFETY: the instance is open; the plugin takes the reference over.
        self.0.call("deserialize", |handle, call| unsafe { deserialize(handle, call, &bytes, &mut data) })?;
        Ok(data)
    }
}

/// An open compressor.
#[derive(Debug, Clone)]
pub struct Compressor(Arc<Handle<CompressorTable>>);

impl Compressor {
    pub(crate) fn open(
        component: Component,
        table: CompressorTable,
        options: &serde_json::Value,
    ) -> Result<Self> {
        Handle::open(component, table, table.open, table.close, options).map(Compressor)
    }

    /// What it is an instance of.
    pub fn component(&self) -> &Component {
        self.0.component()
    }

    /// Compresses `input`.
    pub fn compress(&self, input: &[u8]) -> Result<Value> {
        let compress = self.0.need(self.0.table().compress, "compress")?;
        // SAFETY: the instance is open, and everything is valid for the call.
        self.value("compress", |handle, call, out| unsafe { compress(handle, call, Slice::new(input), out) })
    }

    /// Decompresses `input` into at most `limit` bytes.
    pub fn decompress(&self, input: &[u8], limit: u64) -> Result<Value> {
        let decompress = self.0.need(self.0.table().decompress, "decompress")?;
        // SAFETY: as above.
        self.value("decompress", |handle, call, out| unsafe {
            decompress(handle, call, Slice::new(input), limit, out)
        })
    }

    /// `DICTIONARY`: trains a dictionary of at most `size` bytes.
    pub fn train(&self, samples: &[&[u8]], size: u64) -> Result<Value> {
        let train = self.0.need(self.0.table().train, "train")?;
        let samples: Vec<Slice> = samples.iter().map(|sample| Slice::new(sample)).collect();
        // SAFETY: as above.
        self.value("train", |handle, call, out| unsafe {
            train(handle, call, samples.as_ptr(), samples.len(), size, out)
        })
    }

    fn value(
        &self,
        operation: &'static str,
        function: impl FnOnce(*mut c_void, *const retainit_plugin_api::abi::call::Call, *mut value::Value) -> i32,
    ) -> Result<Value> {
        let mut out = value::Value::NONE;
        let done = self.0.call(operation, |handle, call| function(handle, call, &mut out));
        // SAFETY: the plugin gave the reference to us.
        let out = unsafe { Value::from_raw(out) };
        done.map(|()| out)
    }
}
