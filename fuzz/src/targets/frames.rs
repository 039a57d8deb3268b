//! Arrow data in its three formats. The decoders and what must hold are the plugin's own doors for tests.

// The tables of the plugin's tests are the seeds.
#[allow(dead_code)]
#[path = "../../../plugins/arrow-serde/tests/common/columns.rs"]
mod columns;

use std::ffi::c_void;
use std::ptr::{from_mut, null_mut};

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchIterator};
use retainit_arrow_serde::{fuzz, ArrowSerializer, CsvSerializer, ParquetSerializer};
use retainit_plugin_api::abi::call::{Call as RawCall, Outcome, NEVER};
use retainit_plugin_api::abi::host::{HostRef, HostTable};
use retainit_plugin_api::abi::value::{Slice, Value as RawValue};
use retainit_plugin_api::abi::Prelude;
use retainit_plugin_api::sdk::{ArrowStream, Call, Data, Host, Serializer};

pub fn arrow(data: &[u8]) -> Option<()> {
    fuzz::arrow(data);
    Some(())
}

pub fn parquet(data: &[u8]) -> Option<()> {
    fuzz::parquet(data);
    Some(())
}

pub fn csv(data: &[u8]) -> Option<()> {
    fuzz::csv(data);
    Some(())
}

pub fn arrow_seeds() -> Vec<Vec<u8>> {
    seeds::<ArrowSerializer>()
}

pub fn parquet_seeds() -> Vec<Vec<u8>> {
    seeds::<ParquetSerializer>()
}

pub fn csv_seeds() -> Vec<Vec<u8>> {
    seeds::<CsvSerializer>()
}

/// A table of each column alone, which keeps them small, and one of a few.
fn seeds<S: Serializer>() -> Vec<Vec<u8>> {
    // SAFETY: the table is static, and none of its functions looks at the context.
    let host = unsafe { Host::new(HostRef { table: &HOST, context: null_mut() }) };
    let serializer = S::open(serde_json::from_str("{}").expect("options"), host).expect("an instance");
    let columns: Vec<(&str, ArrayRef)> =
        [columns::flat(), columns::nested(), columns::others()].into_iter().flatten().collect();
    let few: Vec<(&str, ArrayRef)> = columns.iter().step_by(5).take(4).cloned().collect();
    let tables = columns.into_iter().map(|column| vec![column]).chain([few]);
    // Not every format has every type.
    tables.filter_map(|table| write(&serializer, table)).collect()
}

fn write<S: Serializer>(serializer: &S, table: Vec<(&str, ArrayRef)>) -> Option<Vec<u8>> {
    let nullable = table.into_iter().map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(nullable).expect("a batch");
    let schema = batch.schema();
    let mut stream = FFI_ArrowArrayStream::new(Box::new(RecordBatchIterator::new([Ok(batch)], schema)));
    // SAFETY: the layouts are the same, and the stream is left marked as released.
    let data = Data::Arrow(unsafe { ArrowStream::take(from_mut(&mut stream).cast()) });
    let mut error = RawValue::NONE;
    let call = RawCall { op: 0, now: 1, deadline: NEVER, error: &mut error };
    let written = serializer.serialize(&Call::new(&call), data).ok()?;
    Some(written.as_bytes().expect("bytes").to_vec())
}

/// A host that nobody asks anything.
static HOST: HostTable =
    HostTable { prelude: Prelude::of::<HostTable>(0), complete, evicted, invalidated, log, allocate, clock };

unsafe extern "C" fn complete(_: *mut c_void, _: u64, _: *const Outcome) {}
unsafe extern "C" fn evicted(_: *mut c_void, _: *const Slice, _: *const u32, _: usize) {}
unsafe extern "C" fn invalidated(_: *mut c_void, _: *const Slice, _: usize) {}
unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Slice) {}
unsafe extern "C" fn allocate(_: *mut c_void, _: usize) -> RawValue {
    RawValue::NONE
}
unsafe extern "C" fn clock(_: *mut c_void, _: u32) -> i64 {
    1
}
