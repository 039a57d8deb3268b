//! From bytes to messages, whose claims are checked against the bytes that are there.

use std::collections::HashSet;

use arrow_buffer::Buffer;
use arrow_ipc::{root_as_message, Field, Message, MessageHeader, RecordBatch, Schema};
use retainit_plugin_api::sdk::Result;

use super::ALIGNMENT;
use crate::contain::corrupt;

const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Rows that may take no bytes at all (nulls, empty structs); beyond it each row has to be worth a bit.
const FREE_ROWS: u64 = 1 << 32;

/// The messages of a stream, one after the other.
pub struct Messages<'a> {
    rest: &'a [u8],
    whole: &'a Buffer,
}

/// One message, and the bytes that follow it.
pub struct Part<'a> {
    /// The message, verified.
    pub message: Message<'a>,
    /// Its body, which shares the stream's memory.
    pub body: Buffer,
}

impl<'a> Messages<'a> {
    /// The messages in `bytes`.
    pub fn new(bytes: &'a Buffer) -> Self {
        Messages { rest: bytes.as_slice(), whole: bytes }
    }

    /// The next message; `None` at the end, which is the marker and nothing after it.
    pub fn next(&mut self) -> Result<Option<Part<'a>>> {
        if self.take(4)? != CONTINUATION {
            return Err(corrupt("an arrow message does not begin with its marker"));
        }
        let len = u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default());
        if len == 0 {
            return match self.rest.len() {
                0 => Ok(None),
                more => Err(corrupt(format_args!("{more} bytes follow the end of the arrow stream"))),
            };
        }
        let message = root_as_message(self.take(u64::from(len))?).map_err(corrupt)?;
        let body = u64::try_from(message.bodyLength()).map_err(corrupt)?;
        let start = self.whole.len() - self.rest.len();
        if !start.is_multiple_of(ALIGNMENT) {
            return Err(corrupt(format_args!(
                "the body of an arrow message lies at {start}, which is no place for it"
            )));
        }
        let body = self.whole.slice_with_length(start, self.take(body)?.len());
        Ok(Some(Part { message, body }))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let taken = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((taken, rest)) = taken else {
            let left = self.rest.len();
            return Err(corrupt(format_args!(
                "an arrow stream ends early: expected {len} bytes, found {left}"
            )));
        };
        self.rest = rest;
        Ok(taken)
    }
}

impl Part<'_> {
    /// What kind of message this is.
    pub fn kind(&self) -> MessageHeader {
        self.message.header_type()
    }

    /// Checks what the decoder takes on trust: that buffers lie within the body, one after the other, so that
    /// no byte is paid for twice, and that lengths are such that a multiplication cannot overflow.
    pub fn check(&self, batch: &RecordBatch<'_>) -> Result<()> {
        if batch.compression().is_some() {
            return Err(corrupt("the buffers of an arrow stream are compressed: expected them as they are"));
        }
        let len = self.body.len() as u64;
        let mut end = 0;
        for buffer in batch.buffers().into_iter().flatten() {
            let (Ok(offset), Ok(size)) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()))
            else {
                return Err(corrupt("an arrow buffer has a negative place"));
            };
            let aligned = offset.is_multiple_of(ALIGNMENT as u64);
            let stop = offset.checked_add(size).filter(|stop| aligned && offset >= end && *stop <= len);
            let Some(stop) = stop else {
                return Err(corrupt(format_args!(
                    "an arrow buffer lies at {offset}, {size} bytes long: expected it between {end} and {len}"
                )));
            };
            end = stop;
        }
        let most = FREE_ROWS.max(len.saturating_mul(8));
        let rows = |rows: i64| u64::try_from(rows).ok().filter(|rows| *rows <= most);
        let nodes = batch.nodes().into_iter().flatten();
        let fit = rows(batch.length()).is_some()
            && nodes.into_iter().all(|node| {
                rows(node.length()).is_some() && (0..=node.length()).contains(&node.null_count())
            });
        if !fit {
            return Err(corrupt(format_args!("an arrow batch claims more rows than {len} bytes can hold")));
        }
        Ok(())
    }
}

/// Checks that no two columns share a dictionary: each would be validated again for every column.
pub fn check_dictionaries(schema: &Schema<'_>) -> Result<()> {
    let mut seen = HashSet::new();
    schema.fields().into_iter().flatten().try_for_each(|field| check_dictionary(&field, &mut seen))
}

fn check_dictionary(field: &Field<'_>, seen: &mut HashSet<i64>) -> Result<()> {
    if let Some(dictionary) = field.dictionary() {
        if !seen.insert(dictionary.id()) {
            return Err(corrupt(format_args!("two columns share the dictionary {}", dictionary.id())));
        }
    }
    // The verifier of the message bounds how deep this goes.
    field.children().into_iter().flatten().try_for_each(|child| check_dictionary(&child, seen))
}
