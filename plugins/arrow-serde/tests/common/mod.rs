//! What the tests share: a serializer as a host opens it, and tables through C streams.

#![allow(dead_code)] // each test uses a part

use std::ffi::c_void;
use std::ptr::{from_mut, null_mut};
use std::sync::Arc;

use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader};
use arrow_schema::SchemaRef;
use memmap2::MmapMut;
use retainit_plugin_api::abi::call::{Call as RawCall, Outcome, NEVER};
use retainit_plugin_api::abi::host::{HostRef, HostTable};
use retainit_plugin_api::abi::value::{Slice, Value as RawValue};
use retainit_plugin_api::abi::Prelude;
use retainit_plugin_api::sdk::{ArrowStream, Call, Data, Host, Result, Serializer, Value};

unsafe extern "C" fn complete(_: *mut c_void, _: u64, _: *const Outcome) {}
unsafe extern "C" fn evicted(_: *mut c_void, _: *const Slice, _: *const u32, _: usize) {}
unsafe extern "C" fn invalidated(_: *mut c_void, _: *const Slice, _: usize) {}
unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Slice) {}
unsafe extern "C" fn allocate(_: *mut c_void, len: usize) -> RawValue {
    Value::from_owner(Arc::new(Pages::new(len))).into_raw()
}
unsafe extern "C" fn clock(_: *mut c_void, _: u32) -> i64 {
    1
}

/// Memory as the engine gives it: aligned, and in huge pages where there is enough of it.
struct Pages(MmapMut, std::ops::Range<usize>);

impl Pages {
    fn new(len: usize) -> Self {
        const HUGE: usize = 2 << 20;
        let pages = MmapMut::map_anon(len + HUGE).expect("memory");
        let start = pages.as_ptr().align_offset(HUGE);
        #[cfg(target_os = "linux")]
        if len >= HUGE {
            pages.advise(memmap2::Advice::HugePage).expect("huge pages");
        }
        Pages(pages, start..start + len)
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        &self.0[self.1.clone()]
    }
}

static HOST: HostTable =
    HostTable { prelude: Prelude::of::<HostTable>(0), complete, evicted, invalidated, log, allocate, clock };

/// A serializer with options as JSON.
pub fn open<S: Serializer>(options: &str) -> S {
    // SAFETY: the table is static, and none of its functions looks at the context.
    let host = unsafe { Host::new(HostRef { table: &HOST, context: null_mut() }) };
    S::open(serde_json::from_str(options).expect("options"), host).expect("an instance")
}

/// Makes a call of the host.
pub fn calling<T>(body: impl FnOnce(&Call<'_>) -> T) -> T {
    let mut error = RawValue::NONE;
    body(&Call::new(&RawCall { op: 0, now: 1, deadline: NEVER, error: &mut error }))
}

/// Batches as the host gives them.
pub fn stream(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Data {
    let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), schema.clone());
    let mut stream = FFI_ArrowArrayStream::new(Box::new(reader));
    // SAFETY: the layouts are the same, and the stream is left marked as released.
    Data::Arrow(unsafe { ArrowStream::take(from_mut(&mut stream).cast()) })
}

/// What the host gets: the schema, and the batches.
pub fn collect(data: Data) -> (SchemaRef, Vec<RecordBatch>) {
    let Data::Arrow(mut stream) = data else { panic!("expected an arrow stream") };
    // SAFETY: as above.
    let reader = unsafe { RecordBatchStreamReader::from_raw(stream.as_mut_ptr().cast()) }.expect("a stream");
    let schema = reader.schema();
    (schema, reader.map(|batch| batch.expect("a batch")).collect())
}

/// The bytes of one batch.
pub fn write<S: Serializer>(serializer: &S, batch: &RecordBatch) -> Result<Value> {
    calling(|call| serializer.serialize(call, stream(&batch.schema(), vec![batch.clone()])))
}

/// The stream in these bytes.
pub fn read<S: Serializer>(serializer: &S, bytes: Value) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    calling(|call| serializer.deserialize(call, bytes)).map(collect)
}

/// A copy of the bytes, at an address with this remainder by 64.
pub fn at_offset(bytes: &[u8], offset: usize) -> Value {
    struct Shifted(Vec<u8>, std::ops::Range<usize>);
    impl AsRef<[u8]> for Shifted {
        fn as_ref(&self) -> &[u8] {
            &self.0[self.1.clone()]
        }
    }
    let mut memory = vec![0; bytes.len() + 128];
    let start = memory.as_ptr().align_offset(64) + offset;
    memory[start..start + bytes.len()].copy_from_slice(bytes);
    Value::from_owner(Arc::new(Shifted(memory, start..start + bytes.len())))
}
