//! Whether a batch has the buffers that its types call for.
//!
//! The decoder finds most of what is missing by itself, and panics over the rest: bits of validity for fewer rows
//! than there are, unions whose rows have no types, buffers that end within an item, and sizes below zero.

use arrow_ipc::{Buffer, FieldNode, RecordBatch};
use arrow_schema::{DataType, UnionMode};
use retainit_plugin_api::sdk::Result;

use crate::contain::corrupt;

/// Checks a batch of columns of these types, whose buffers and rows have been found to be within bounds.
pub fn check<'t>(batch: &RecordBatch<'_>, types: impl Iterator<Item = &'t DataType>) -> Result<()> {
    let mut rest = Rest {
        nodes: batch.nodes().into_iter().flatten(),
        buffers: batch.buffers().into_iter().flatten(),
        counts: batch.variadicBufferCounts().into_iter().flatten(),
    };
    types.into_iter().try_for_each(|data_type| rest.array(data_type))
}

/// What has not been looked at yet.
struct Rest<N, B, C> {
    nodes: N,
    buffers: B,
    /// How many buffers the text of each column of views has.
    counts: C,
}

impl<'b, N, B, C> Rest<N, B, C>
where
    N: Iterator<Item = &'b FieldNode>,
    B: Iterator<Item = &'b Buffer>,
    C: Iterator<Item = i64>,
{
    fn array(&mut self, data_type: &DataType) -> Result<()> {
        use DataType::*;
        let Some(node) = self.nodes.next() else {
            return Err(corrupt("an arrow batch has fewer arrays than its schema"));
        };
        let rows = node.length().unsigned_abs();
        match data_type {
            FixedSizeBinary(..0) | FixedSizeList(_, ..0) => {
                return Err(corrupt(format_args!("an arrow column has the type `{data_type}`")))
            }
            Null => return Ok(()),
            RunEndEncoded(ends, values) => {
                self.array(ends.data_type())?;
                return self.array(values.data_type());
            }
            Union(fields, mode) => {
                self.buffer(rows)?;
                if *mode == UnionMode::Dense {
                    self.buffer(4 * rows)?;
                }
                return fields.iter().try_for_each(|(_, field)| self.array(field.data_type()));
            }
            _ => self.buffer(if node.null_count() > 0 { rows.div_ceil(8) } else { 0 })?,
        }
        for width in widths(data_type) {
            self.items(*width)?;
        }
        if let Utf8View | BinaryView = data_type {
            let texts = self.counts.next().unwrap_or(0);
            (0..texts).try_for_each(|_| self.buffer(0))?;
        }
        match data_type {
            List(item) | LargeList(item) | ListView(item) | LargeListView(item) | Map(item, _) => {
                self.array(item.data_type())
            }
            FixedSizeList(item, _) => self.array(item.data_type()),
            Struct(fields) => fields.iter().try_for_each(|field| self.array(field.data_type())),
            // The values of a dictionary are a message of their own.
            _ => Ok(()),
        }
    }

    fn buffer(&mut self, least: u64) -> Result<()> {
        match self.next()? {
            len if len >= least => Ok(()),
            len => Err(corrupt(format_args!("an arrow buffer has {len} bytes: expected at least {least}"))),
        }
    }

    fn items(&mut self, width: u64) -> Result<()> {
        match self.next()? {
            len if len.is_multiple_of(width) => Ok(()),
            len => Err(corrupt(format_args!("an arrow buffer has {len} bytes: expected items of {width}"))),
        }
    }

    fn next(&mut self) -> Result<u64> {
        match self.buffers.next() {
            Some(buffer) => Ok(buffer.length().unsigned_abs()),
            None => Err(corrupt("an arrow batch has fewer buffers than its schema")),
        }
    }
}

/// The widths of the items in each buffer but that of the validity, and those of which there are any number.
fn widths(data_type: &DataType) -> &'static [u64] {
    use DataType::*;
    match data_type {
        Struct(_) | FixedSizeList(..) => &[],
        Utf8 | Binary => &[4, 1],
        LargeUtf8 | LargeBinary => &[8, 1],
        Utf8View | BinaryView => &[16],
        List(_) | Map(..) => &[4],
        LargeList(_) => &[8],
        ListView(_) => &[4, 4],
        LargeListView(_) => &[8, 8],
        Dictionary(keys, _) => widths(keys),
        other => match other.primitive_width() {
            Some(2) => &[2],
            Some(4) => &[4],
            Some(8) => &[8],
            Some(16) => &[16],
            Some(32) => &[32],
            _ => &[1],
        },
    }
}
