//! What both compressors share: how they refuse, how they allocate.

mod lz4;
mod zstd;

pub use lz4::Lz4;
pub use zstd::Zstd;

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};

/// An input may claim this many times its own length, and [`SMALL`] more, before its claim is doubted.
const PROPORTIONATE: usize = 32;
/// Bytes that are allocated for any input.
const SMALL: usize = 64 * 1024;

/// What cannot be read; a miss.
fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// The size that an input says it has, where that is within `limit`.
fn claimed(size: u64, limit: u64) -> Result<usize> {
    if size > limit {
        return Err(corrupt(format!("the data says it has {size} bytes: expected at most {limit}")));
    }
    usize::try_from(size).map_err(|_| corrupt(format!("the data says it has {size} bytes")))
}

/// The bytes to begin with for an input of `len` bytes that claims `claimed`: all of them, unless
/// that is out of proportion. What is beyond has to be earned by content.
fn first_room(len: usize, claimed: usize) -> usize {
    claimed.min(len.saturating_mul(PROPORTIONATE).saturating_add(SMALL))
}

/// Makes room for `room` bytes altogether. Where there is no memory, another time there may be.
fn reserve(output: &mut Vec<u8>, room: usize) -> Result<()> {
    output
        .try_reserve_exact(room - output.len())
        .map_err(|_| Error::new(ErrorKind::Retryable, format!("no memory for {room} bytes")))
}
