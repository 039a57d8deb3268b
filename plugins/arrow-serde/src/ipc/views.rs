//! Whether views lead to text.
//!
//! Arrow's own check takes every text by itself; where each is a few bytes, that is most of what reading costs. So
//! columns of text views are read as views of bytes, which has them checked for where they lead, and here whole
//! buffers are found to be text at once. What is left is where each text begins and ends in them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BinaryViewArray, RecordBatch, RecordBatchOptions};
use arrow_data::{ByteView, MAX_INLINE_VIEW_LEN};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use retainit_plugin_api::sdk::Result;

use crate::contain::corrupt;

/// The highest bits of the twelve bytes that lie in a view.
const NOT_ASCII: u128 = 0x8080_8080_8080_8080_8080_8080 << 32;

/// The schema with bytes in place of text; `None` where there are no such columns.
pub fn as_bytes(schema: &SchemaRef) -> Option<SchemaRef> {
    let is_text = |field: &&FieldRef| *field.data_type() == DataType::Utf8View;
    schema.fields().iter().find(is_text)?;
    let fields = schema.fields().iter().map(|field| match is_text(&field) {
        true => Arc::new(Field::new("", DataType::BinaryView, field.is_nullable())),
        false => Arc::clone(field),
    });
    Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The batch with text in place of bytes, where `schema` has it.
pub fn as_text(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if *field.data_type() != DataType::Utf8View {
            return Ok(Arc::clone(column));
        }
        let column = column.as_binary_view();
        check(column)?;
        // SAFETY: all of it is text, as was just found.
        Ok(Arc::new(unsafe { column.clone().to_string_view_unchecked() }) as ArrayRef)
    });
    let columns = columns.collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(corrupt)
}

fn check(column: &BinaryViewArray) -> Result<()> {
    let texts: Vec<Option<&str>> =
        column.data_buffers().iter().map(|buffer| std::str::from_utf8(buffer).ok()).collect();
    let is_text = |(row, view): (usize, &u128)| {
        let len = *view as u32;
        if len <= MAX_INLINE_VIEW_LEN {
            return view & NOT_ASCII == 0 || is_text(column, row);
        }
        let view = ByteView::from(*view);
        let start = view.offset as usize;
        match texts[view.buffer_index as usize] {
            Some(text) => text.is_char_boundary(start) && text.is_char_boundary(start + len as usize),
            // Bytes that no view leads to may be anything.
            None => is_text(column, row),
        }
    };
    match column.views().iter().enumerate().position(|view| !is_text(view)) {
        Some(row) => Err(corrupt(format_args!("row {row} of a column of text is not text"))),
        None => Ok(()),
    }
}

fn is_text(column: &BinaryViewArray, row: usize) -> bool {
    std::str::from_utf8(column.value(row)).is_ok()
}

#[cfg(test)]
mod tests {
    use arrow_buffer::Buffer;
    use arrow_data::validate_string_view;

    use super::*;

    fn inline(text: &[u8]) -> u128 {
        let mut bytes = [0; 16];
        bytes[0] = text.len() as u8;
        bytes[4..4 + text.len()].copy_from_slice(text);
        u128::from_le_bytes(bytes)
    }

    fn elsewhere(text: &[u8], start: usize, end: usize) -> u128 {
        let prefix = u32::from_le_bytes(text[start..start + 4].try_into().unwrap());
        let (length, offset) = ((end - start) as u32, start as u32);
        ByteView { length, prefix, buffer_index: 0, offset }.into()
    }

    /// What this check says, which has to be what Arrow's own does.
    fn verdict(views: &[u128], text: &[u8]) -> bool {
        let buffers = vec![Buffer::from(text)];
        let own = validate_string_view(views, &buffers).is_ok();
        let column = BinaryViewArray::try_new(views.to_vec().into(), buffers, None).unwrap();
        assert_eq!(check(&column).is_ok(), own, "{views:x?}");
        own
    }

    #[test]
    fn it_agrees_with_the_check_of_each_text() {
        let text = "a text of which some is not ascii: größe".as_bytes();
        let end = text.len();
        assert!(verdict(&[inline(b""), inline("größe".as_bytes()), inline(b"twelve bytes")], text));
        for start in 0..end - 13 {
            for end in start + 13..=end {
                let part = verdict(&[elsewhere(text, start, end)], text);
                assert_eq!(part, std::str::from_utf8(&text[start..end]).is_ok());
            }
        }
        assert!(!verdict(&[inline(b"\xFF")], text));
        assert!(!verdict(&[inline(b""), inline(b"twelve byte\xC3")], text));
    }

    #[test]
    fn bytes_that_no_view_leads_to_may_be_anything() {
        let text = b"thirteen byte\xFF\xFE";
        assert!(verdict(&[elsewhere(text, 0, 13)], text));
        assert!(!verdict(&[elsewhere(text, 0, 14)], text));
    }
}
