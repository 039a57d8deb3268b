//! How much memory a file can come to, found out before it is read.
//!
//! Whoever decodes a page believes its header: how many bytes it has once it is decompressed, and how many values.
//! Both are bounded here, for all pages of the file together. One thing no header says: how often a long text
//! of a dictionary is repeated. For that there is [`Shape::rows_at_once`], within which it cannot matter.

use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use retainit_plugin_api::sdk::Result;

use super::thrift::{Kind, Thrift};
use crate::contain::corrupt;

const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
/// Plain, run lengths, and dictionaries under their two names: with all others a page's size says nothing of what it
/// comes to.
const ENCODINGS: [i64; 4] = [0, 2, 3, 8];
/// Levels and the flag of a value.
const BESIDE: u64 = 8;
/// Offset and view of a text.
const TEXT: u64 = 24;
/// Enough for the cost of a batch not to show.
const MOST_ROWS: u64 = 1 << 16;

/// What a file holds, by its own account.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Bytes that reading takes, apart from repeated texts.
    pub bytes: u64,
    /// Rows to read at a time, so that these take no more than the limit whatever they are.
    pub rows_at_once: usize,
}

/// Walks over all pages; `Corrupt` where they come to more than `max_bytes`.
pub fn check(file: &[u8], metadata: &ParquetMetaData, max_bytes: u64) -> Result<Shape> {
    let mut sum = Sum { left: max_bytes, longest: 1, row: 1, values: 1, end: 0 };
    for group in metadata.row_groups() {
        for column in group.columns() {
            sum.column(file, column)?;
        }
    }
    let rows = MOST_ROWS.min(sum.values).min(max_bytes / sum.row).min(max_bytes / sum.longest);
    Ok(Shape { bytes: max_bytes - sum.left, rows_at_once: rows.max(1) as usize })
}

struct Sum {
    /// Bytes that are still free.
    left: u64,
    /// Most bytes that one value can have that a dictionary repeats.
    longest: u64,
    /// Bytes of one value of each column.
    row: u64,
    /// Values of the longest column.
    values: u64,
    /// Where the last column ended.
    end: u64,
}

impl Sum {
    fn column(&mut self, file: &[u8], column: &ColumnChunkMetaData) -> Result<()> {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let range = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
        let pages = range.and_then(|(start, len)| {
            let end = start.checked_add(len).filter(|_| start >= self.end)?;
            self.end = end;
            file.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
        });
        // One after the other, so that no byte is paid for twice.
        let Some(pages) = pages else {
            return Err(corrupt("a parquet column lies outside the file, or over another one"));
        };
        let description = column.column_descr();
        let text = description.physical_type() == Type::BYTE_ARRAY;
        let width = BESIDE
            + match description.physical_type() {
                Type::BOOLEAN => 1,
                Type::INT32 | Type::FLOAT => 4,
                Type::INT64 | Type::DOUBLE => 8,
                Type::INT96 => {
                    return Err(corrupt("a parquet column of type INT96, which nobody writes here"))
                }
                Type::BYTE_ARRAY => TEXT,
                Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(description.type_length()).map_err(corrupt)?,
            };
        self.row = self.row.saturating_add(width);
        let mut values = 0_u64;
        let mut rest = Thrift(pages);
        while !rest.0.is_empty() {
            let page = Page::read(&mut rest)?;
            self.take(page.uncompressed)?;
            if page.dictionary {
                if text && description.max_rep_level() > 0 {
                    return Err(corrupt(
                        "a parquet list of texts has a dictionary, which nobody writes here",
                    ));
                }
                self.longest = if text { self.longest.max(page.uncompressed) } else { self.longest };
            } else {
                values = values.saturating_add(page.values);
            }
            self.take(page.values.saturating_mul(width))?;
        }
        self.values = self.values.max(values);
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> Result<()> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            corrupt("a parquet file comes to more bytes than `max_bytes` of serializer `parquet` allows")
        })?;
        Ok(())
    }
}

/// The header of a page.
#[derive(Debug, Default)]
struct Page {
    dictionary: bool,
    uncompressed: u64,
    values: u64,
}

impl Page {
    /// Reads a header and passes over the page.
    fn read(rest: &mut Thrift<'_>) -> Result<Page> {
        let (mut kind, mut uncompressed, mut compressed) = (None, None, None);
        let (mut data, mut dictionary) = (None, None);
        rest.fields(|value, number, shape| {
            match (number, shape) {
                (1, Kind::Integer) => kind = Some(value.integer()?),
                (2, Kind::Integer) => uncompressed = Some(value.integer()?),
                (3, Kind::Integer) => compressed = Some(value.integer()?),
                (5, Kind::Struct) => data = Some(values(value)?),
                (7, Kind::Struct) => dictionary = Some(values(value)?),
                (_, shape) => value.skip(shape)?,
            }
            Ok(())
        })?;
        let (values, dictionary) = match (kind, data, dictionary) {
            (Some(DATA_PAGE), Some(values), None) => (values, false),
            (Some(DICTIONARY_PAGE), None, Some(values)) => (values, true),
            _ => return Err(corrupt("a parquet page of a kind that nobody writes here")),
        };
        let size = |size: Option<i64>| size.and_then(|size| u64::try_from(size).ok());
        let (Some(uncompressed), Some(compressed)) = (size(uncompressed), size(compressed)) else {
            return Err(corrupt("a parquet page has no size"));
        };
        let Some(after) = usize::try_from(compressed).ok().and_then(|len| rest.0.get(len..)) else {
            return Err(corrupt("a parquet page ends outside its column"));
        };
        rest.0 = after;
        Ok(Page { dictionary, uncompressed, values })
    }
}

/// The number of values of a page whose encodings are bounded.
fn values(header: &mut Thrift<'_>) -> Result<u64> {
    let mut count = None;
    header.fields(|value, number, shape| {
        match (number, shape) {
            (1, Kind::Integer) => count = Some(value.integer()?),
            (2..=4, Kind::Integer) => {
                let encoding = value.integer()?;
                if !ENCODINGS.contains(&encoding) {
                    return Err(corrupt(format_args!("a parquet page has the encoding {encoding}")));
                }
            }
            (_, shape) => value.skip(shape)?,
        }
        Ok(())
    })?;
    count.and_then(|count| u64::try_from(count).ok()).ok_or_else(|| corrupt("a parquet page has no values"))
}
