//! Messages laid out so that every buffer begins at a multiple of 64 bytes.

use arrow_buffer::Buffer;
use arrow_ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow_ipc::MetadataVersion;
use arrow_schema::ArrowError;
use retainit_plugin_api::sdk::{Error, ErrorKind, Result};

use super::memory::Memory;
use super::ALIGNMENT;
use crate::contain::unsupported;
use crate::stream::Table;

/// The stream's bytes, in memory that is aligned as a reader wants it.
///
/// The encoder gives its messages as references to the arrays' own buffers, so that this copies each byte once.
/// The host's `allocate` would not do: it clears its buffers, which is a second walk over the memory, and does not
/// align them.
pub fn encode(table: &Table) -> Result<Memory> {
    let segments = segments(table).map_err(unsupported)?;
    let len = segments.iter().map(Buffer::len).sum();
    let Some(mut out) = Memory::with_capacity(len) else {
        return Err(Error::new(ErrorKind::Retryable, format!("no memory for an entry of {len} bytes")));
    };
    for segment in &segments {
        out.extend(segment);
    }
    Ok(out)
}

fn segments(table: &Table) -> Result<Vec<Buffer>, ArrowError> {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut encoder = StreamEncoder::try_new_with_options(&table.schema, options)?;
    let mut segments = match &table.batch {
        Some(batch) => encoder.encode(batch)?,
        None => Vec::new(),
    };
    segments.extend(encoder.finish()?);
    Ok(segments)
}
