//! `lz4`: blocks behind their size.
//!
//! All numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | size of the value |
//! | 4 | length of the first block, unless it is the last |
//! | | the first block: 4 MiB of the value in LZ4's block format |
//! | ... | further blocks, in the same way; the last one ends with the data |
//!
//! LZ4's own frame format would add a header and two hashes of it, more than many small values
//! gain; its block format alone has no size, and no room for values beyond 2 GiB.

use lz4_flex::block::{compress_into_with_table, decompress_into, get_maximum_output_size, CompressTable};
use retainit_plugin_api::sdk::{Call, Compressor, Error, ErrorKind, Host, Result, Value};

use super::{claimed, corrupt, first_room, reserve};
use crate::config::Lz4Config;
use crate::pool::Pool;

/// Bytes of the value in each block but the last. Blocks know nothing of each other, and beyond 64 KiB
/// LZ4 does not look back anyway.
const BLOCK: usize = 4 << 20;
const SIZE: usize = size_of::<u64>();
const LENGTH: usize = size_of::<u32>();
/// No byte of a block stands for more bytes than this.
const STEEPEST: u64 = 255;
/// From this size on, a table needs wider numbers.
const LARGE: usize = u16::MAX as usize;

/// The compressor `lz4`.
pub struct Lz4 {
    small: Pool<CompressTable>,
    large: Pool<CompressTable>,
}

impl Compressor for Lz4 {
    const NAME: &'static str = "lz4";
    const CAPABILITIES: u64 = 0;
    const SCHEMA: &'static str = crate::LZ4_SCHEMA;
    type Options = Lz4Config;

    fn open(options: Lz4Config, _: Host) -> Result<Self> {
        Ok(Self::new(&options))
    }

    fn compress(&self, _: &Call<'_>, input: &[u8]) -> Result<Value> {
        self.pack(input).map(Value::from_vec)
    }

    fn decompress(&self, _: &Call<'_>, input: &[u8], limit: u64) -> Result<Value> {
        self.unpack(input, limit).map(Value::from_vec)
    }
}

impl Lz4 {
    /// A compressor with these options.
    pub fn new(_: &Lz4Config) -> Self {
        Lz4 { small: Pool::new(), large: Pool::new() }
    }

    /// The size of `input` and its blocks.
    pub fn pack(&self, input: &[u8]) -> Result<Vec<u8>> {
        let (pool, fresh): (_, fn() -> CompressTable) = if input.len() < LARGE {
            (&self.small, CompressTable::small)
        } else {
            (&self.large, CompressTable::large)
        };
        let mut table = pool.take().unwrap_or_else(fresh);
        let mut output = Vec::new();
        let blocks = input.len() / BLOCK + 1;
        reserve(&mut output, SIZE + blocks * (LENGTH + get_maximum_output_size(input.len().min(BLOCK))))?;
        output.extend_from_slice(&(input.len() as u64).to_le_bytes());
        let mut rest = input;
        loop {
            let (block, after) = rest.split_at(rest.len().min(BLOCK));
            let start = output.len() + if after.is_empty() { 0 } else { LENGTH };
            output.resize(start + get_maximum_output_size(block.len()), 0);
            let length = compress_into_with_table(block, &mut output[start..], &mut table)
                .map_err(|error| Error::new(ErrorKind::Fatal, format!("lz4 could not compress: {error}")))?;
            output.truncate(start + length);
            if after.is_empty() {
                break;
            }
            // At most `get_maximum_output_size(BLOCK)`, which is far below 4 GiB.
            output[start - LENGTH..start].copy_from_slice(&(length as u32).to_le_bytes());
            rest = after;
        }
        pool.put(table);
        output.shrink_to_fit();
        Ok(output)
    }

    /// The value in `input`, of at most `limit` bytes; `Corrupt` where there is another thing.
    pub fn unpack(&self, input: &[u8], limit: u64) -> Result<Vec<u8>> {
        let (size, mut rest) = input.split_first_chunk::<SIZE>().ok_or_else(truncated)?;
        let size = u64::from_le_bytes(*size);
        let possible = (rest.len() as u64).saturating_mul(STEEPEST);
        if size > possible {
            return Err(corrupt(format!(
                "the lz4 data says it has {size} bytes: it can have {possible} at most"
            )));
        }
        let size = claimed(size, limit)?;
        let mut output = Vec::new();
        reserve(&mut output, first_room(input.len(), size))?;
        loop {
            let left = size - output.len();
            let block = if left <= BLOCK {
                std::mem::take(&mut rest)
            } else {
                let (length, after) = rest.split_first_chunk::<LENGTH>().ok_or_else(truncated)?;
                let length = u32::from_le_bytes(*length) as usize;
                let (block, after) = after.split_at_checked(length).ok_or_else(truncated)?;
                rest = after;
                block
            };
            let (start, expected) = (output.len(), left.min(BLOCK));
            if expected as u64 > (block.len() as u64).saturating_mul(STEEPEST) {
                return Err(corrupt("a block of the lz4 data is too short for what it should hold"));
            }
            if start + expected > output.capacity() {
                // Twice as much each time, so that not every block moves all before it.
                let room = output.capacity().saturating_mul(2).clamp(start + expected, size);
                reserve(&mut output, room)?;
            }
            output.resize(start + expected, 0);
            let found = decompress_into(block, &mut output[start..])
                .map_err(|error| corrupt(format!("the lz4 data is damaged: {error}")))?;
            if found != expected {
                return Err(corrupt(format!(
                    "a block of the lz4 data has {found} bytes: expected {expected}"
                )));
            }
            if output.len() == size {
                return Ok(output);
            }
        }
    }
}

fn truncated() -> Error {
    corrupt("the lz4 data is truncated")
}
