//! Files to tables.

use std::sync::Arc;

use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use retainit_plugin_api::sdk::{Result, Value};

use super::limits::{self, Shape};
use super::thrift::{Kind, Thrift};
use super::{storage, HEADER};
use crate::contain::corrupt;
use crate::header;
use crate::stream::Table;

/// The last bytes of a file: the length of its metadata, and its name.
const TAIL: usize = 8;
const MAGIC: &[u8] = b"PAR1";

/// A file whose claims are within bounds.
pub struct Opened {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    shape: Shape,
    header: Table,
}

/// Looks at a file's metadata and at the headers of its pages.
pub fn open(file: &Value, max_bytes: u64) -> Result<Opened> {
    let Some(value) = file.share_bytes() else {
        return Err(corrupt("expected bytes, found an object"));
    };
    let bytes = Bytes::from_owner(Owner(value));
    let header = header::decode(own_header(&bytes)?)?;
    let schema = storage::schema(&header.schema).map_err(corrupt)?;
    // The types are told, not read: a file's own tree of types can be built so that building it ends the process.
    let options = ArrowReaderOptions::new()
        .with_parquet_schema(Arc::new(storage::descriptor(&schema).map_err(corrupt)?))
        .with_schema(schema);
    let metadata = ArrowReaderMetadata::load(&bytes, options).map_err(corrupt)?;
    let shape = limits::check(&bytes, metadata.metadata(), max_bytes)?;
    Ok(Opened { bytes, metadata, shape, header })
}

/// Reads a file into at most `max_bytes`.
pub fn decode(file: &Value, max_bytes: u64) -> Result<Table> {
    let Opened { bytes, metadata, shape, header } = open(file, max_bytes)?;
    let Some(model) = header.batch.as_ref().filter(|batch| batch.num_columns() > 0) else {
        return Ok(header);
    };
    let stored = Arc::clone(metadata.schema());
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
        .with_batch_size(shape.rows_at_once)
        .build()
        .map_err(corrupt)?;
    let mut batches = Vec::new();
    let mut left = max_bytes;
    for batch in reader {
        let batch = batch.map_err(corrupt)?;
        left = left.checked_sub(batch.get_array_memory_size() as u64).ok_or_else(|| {
            corrupt("a parquet file holds more bytes than `max_bytes` of serializer `parquet` allows")
        })?;
        batches.push(batch);
    }
    let batch = match batches.len() {
        0 => return Ok(header),
        1 => batches.swap_remove(0),
        _ => concat_batches(&stored, &batches).map_err(corrupt)?,
    };
    let batch = storage::from_storage(&batch, model)?;
    Ok(Table { schema: header.schema, batch: Some(batch) })
}

impl Opened {
    /// The types that reading gives.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }
}

/// The text that [`header`] made, out of the file's metadata.
fn own_header(file: &[u8]) -> Result<&[u8]> {
    let tail = file.len().checked_sub(TAIL).map(|start| file.split_at(start));
    let Some((front, tail)) = tail.filter(|(_, tail)| tail.ends_with(MAGIC)) else {
        return Err(corrupt("a parquet file does not end as one"));
    };
    let len = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
    let Some(start) = front.len().checked_sub(len) else {
        return Err(corrupt("a parquet file's metadata is longer than the file"));
    };
    let mut found = None;
    Thrift(&front[start..]).fields(|value, number, kind| match (number, kind) {
        (5, Kind::List) => value.items(|pair, kind| {
            if kind != Kind::Struct {
                return pair.skip(kind);
            }
            let (mut key, mut text) = (None, None);
            pair.fields(|value, number, kind| {
                match (number, kind) {
                    (1, Kind::Binary) => key = Some(value.binary()?),
                    (2, Kind::Binary) => text = Some(value.binary()?),
                    (_, kind) => value.skip(kind)?,
                }
                Ok(())
            })?;
            if key == Some(HEADER.as_bytes()) {
                found = text;
            }
            Ok(())
        }),
        (_, kind) => value.skip(kind),
    })?;
    found.ok_or_else(|| corrupt(format_args!("a parquet file has no `{HEADER}`")))
}

/// A value as an owner of bytes.
struct Owner(Value);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes().unwrap_or_default()
    }
}
