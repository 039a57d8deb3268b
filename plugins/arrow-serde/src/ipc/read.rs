//! From messages to arrays that lie in the bytes.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_data::UnsafeFlag;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary_impl, RecordBatchDecoder};
use arrow_ipc::{MessageHeader, MetadataVersion};
use arrow_schema::{DataType, SchemaRef};
use retainit_plugin_api::sdk::{Result, Value};

use super::message::{check_dictionaries, Messages, Part};
use super::{layout, views, ALIGNMENT};
use crate::contain::corrupt;
use crate::stream::Table;

/// How much a reader believes.
#[derive(Debug, Clone)]
pub struct Trust(UnsafeFlag);

impl Trust {
    /// Offsets, text, keys and counts are looked at.
    pub fn nothing() -> Self {
        Trust(UnsafeFlag::new())
    }

    /// Nothing but the messages' structure is looked at.
    ///
    /// # Safety
    /// The bytes must be valid: undefined behaviour would be the outcome of any that are not.
    pub unsafe fn everything() -> Self {
        let mut flag = UnsafeFlag::new();
        // SAFETY: promised by the caller.
        unsafe { flag.set(true) };
        Trust(flag)
    }
}

/// Reads a stream. The arrays lie in `bytes`, which live as long as any of them, unless `bytes` are badly aligned:
/// then they are copied.
pub fn decode(bytes: Value, trust: &Trust) -> Result<Table> {
    let bytes = shared(bytes)?;
    let mut messages = Messages::new(&bytes);
    let schema = match messages.next()? {
        Some(first) => schema(&first)?,
        None => return Err(corrupt("an arrow stream has no schema")),
    };
    let mut dictionaries = HashMap::new();
    let mut batch = None;
    while let Some(part) = messages.next()? {
        match part.kind() {
            MessageHeader::DictionaryBatch if batch.is_none() => {
                read_dictionary(&part, &schema, &mut dictionaries, trust)?;
            }
            MessageHeader::RecordBatch if batch.is_none() => {
                batch = Some(read_batch(&part, &schema, &dictionaries, trust)?);
            }
            other => {
                return Err(corrupt(format_args!(
                    "an arrow stream holds {} where dictionaries, one batch and the end are expected",
                    other.variant_name().unwrap_or("an unknown message")
                )))
            }
        }
    }
    Ok(Table { schema, batch })
}

/// The bytes as memory that arrays can share.
fn shared(bytes: Value) -> Result<Buffer> {
    let Some(slice) = bytes.as_bytes() else {
        return Err(corrupt("expected bytes, found an object"));
    };
    if slice.as_ptr().align_offset(ALIGNMENT) != 0 {
        return Ok(Buffer::from(slice));
    }
    let (start, len) = (NonNull::from(slice).cast::<u8>(), slice.len());
    // SAFETY: the bytes stay where they are, unchanged, for as long as the value is held.
    Ok(unsafe { Buffer::from_custom_allocation(start, len, Arc::new(AssertUnwindSafe(bytes))) })
}

fn schema(part: &Part<'_>) -> Result<SchemaRef> {
    let Some(schema) = part.message.header_as_schema() else {
        return Err(corrupt("an arrow stream does not begin with its schema"));
    };
    if !schema.endianness().equals_to_target_endianness() {
        return Err(corrupt("an arrow stream has another byte order than this machine"));
    }
    check_dictionaries(&schema)?;
    try_fb_to_schema(schema).map(Arc::new).map_err(corrupt)
}

fn read_dictionary(
    part: &Part<'_>,
    schema: &SchemaRef,
    dictionaries: &mut HashMap<i64, ArrayRef>,
    trust: &Trust,
) -> Result<()> {
    let Some((dictionary, data)) = part
        .message
        .header_as_dictionary_batch()
        .and_then(|dictionary| Some((dictionary, dictionary.data()?)))
    else {
        return Err(corrupt("an arrow dictionary has no values"));
    };
    part.check(&data)?;
    // Neither is written here, and both let a small stream be worth a lot of work.
    if dictionary.isDelta() || dictionaries.contains_key(&dictionary.id()) {
        return Err(corrupt(format_args!("the dictionary {} comes more than once", dictionary.id())));
    }
    #[expect(deprecated, reason = "there is no other way from a dictionary to its type")]
    let fields = schema.fields_with_dict_id(dictionary.id());
    let Some(DataType::Dictionary(_, values)) = fields.first().map(|field| field.data_type()) else {
        return Err(corrupt(format_args!("the dictionary {} belongs to no column", dictionary.id())));
    };
    layout::check(&data, std::iter::once(values.as_ref()))?;
    let version = version(part)?;
    read_dictionary_impl(&part.body, dictionary, schema, dictionaries, &version, true, trust.0.clone())
        .map_err(corrupt)
}

fn read_batch(
    part: &Part<'_>,
    schema: &SchemaRef,
    dictionaries: &HashMap<i64, ArrayRef>,
    trust: &Trust,
) -> Result<RecordBatch> {
    let Some(batch) = part.message.header_as_record_batch() else {
        return Err(corrupt("an arrow batch has no description"));
    };
    part.check(&batch)?;
    layout::check(&batch, schema.fields().iter().map(|field| field.data_type()))?;
    let version = version(part)?;
    // Columns of text views are read as bytes, and then found to be text in less time than the decoder takes.
    let as_bytes = if trust.0.get() { None } else { views::as_bytes(schema) };
    let read = as_bytes.as_ref().unwrap_or(schema);
    let batch = RecordBatchDecoder::try_new(&part.body, batch, Arc::clone(read), dictionaries, &version)
        .map_err(corrupt)?
        // A buffer that is not aligned is refused, not copied: the bytes themselves are.
        .with_require_alignment(true)
        .with_skip_validation(trust.0.clone())
        .read_record_batch()
        .map_err(corrupt)?;
    match as_bytes {
        Some(_) => views::as_text(&batch, schema),
        None => Ok(batch),
    }
}

fn version(part: &Part<'_>) -> Result<MetadataVersion> {
    match part.message.version() {
        MetadataVersion::V5 => Ok(MetadataVersion::V5),
        other => Err(corrupt(format_args!("arrow messages of version {other:?}: expected V5"))),
    }
}
