//! Messages laid out so that every buffer begins at a multiple of 64 bytes.

use arrow_buffer::Buffer;
use arrow_ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow_ipc::MetadataVersion;
use arrow_schema::ArrowError;
use retainit_plugin_api::sdk::Result;

use super::ALIGNMENT;
use crate::contain::unsupported;
use crate::stream::Table;

/// A stream as the pieces it is made of.
pub struct Stream(Vec<Buffer>);

/// The stream of a table.
///
/// The encoder gives its messages as references to the arrays' own buffers, so that [`Stream::write`] copies each
/// byte once.
pub fn encode(table: &Table) -> Result<Stream> {
    segments(table).map(Stream).map_err(unsupported)
}

impl Stream {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.iter().map(Buffer::len).sum()
    }

    /// Writes it into as many bytes as it has.
    pub fn write(&self, mut out: &mut [u8]) {
        for segment in &self.0 {
            let (place, rest) = out.split_at_mut(segment.len());
            place.copy_from_slice(segment);
            out = rest;
        }
    }

    /// Its bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.write(&mut bytes);
        bytes
    }
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
