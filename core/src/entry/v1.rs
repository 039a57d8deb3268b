//! Version 1 of the format, all numbers little-endian:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `RTN1` |
//! | 4 | 2 | codec of the payload |
//! | 6 | 2 | zero |
//! | 8 | 8 | created, Unix time in nanoseconds |
//! | 16 | 8 | expires, Unix time in nanoseconds, `i64::MAX` for never |
//! | 24 | 8 | XXH3-64 of the storage key, bytes 0 to 24 and the payload |
//! | 32 | | payload |
//!
//! The checksum covers the key, so an entry that was moved to another key does not open. Whatever
//! does not open is a miss, never an error of the caller.

use xxhash_rust::xxh3::Xxh3;

use super::Unreadable;

/// First bytes of an entry.
pub const MAGIC: [u8; 4] = *b"RTN1";
/// Bytes before the payload.
pub const HEADER: usize = 32;

/// Codecs of payloads.
pub mod codec {
    /// Python's pickle, protocol 5.
    pub const PICKLE: u16 = 1;
}

/// An entry that has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<'a> {
    /// One of [`codec`].
    pub codec: u16,
    /// Unix time in nanoseconds.
    pub created: i64,
    /// Unix time in nanoseconds, or [`NEVER`](super::NEVER).
    pub expires: i64,
    /// The value's bytes.
    pub payload: &'a [u8],
}

/// Puts a header before `payload`.
pub fn seal(key: &[u8], codec: u16, created: i64, expires: i64, payload: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(HEADER + payload.len());
    entry.extend_from_slice(&MAGIC);
    entry.extend_from_slice(&codec.to_le_bytes());
    entry.extend_from_slice(&[0; 2]);
    entry.extend_from_slice(&created.to_le_bytes());
    entry.extend_from_slice(&expires.to_le_bytes());
    let checksum = checksum(key, &entry[..24], payload);
    entry.extend_from_slice(&checksum.to_le_bytes());
    entry.extend_from_slice(payload);
    entry
}

/// Checks an entry read under `key` at `now` (Unix time in nanoseconds). One that was `verified`
/// before, and has not changed since, is spared the checksum.
///
/// # Errors
/// Why it is a miss.
pub fn open<'a>(key: &[u8], entry: &'a [u8], now: i64, verified: bool) -> Result<Opened<'a>, Unreadable> {
    let (header, payload) = entry.split_at_checked(HEADER).ok_or(Unreadable::Format)?;
    if header[..4] != MAGIC || header[6..8] != [0; 2] {
        return Err(Unreadable::Format);
    }
    let number = |at: usize| i64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if !verified && number(24) as u64 != checksum(key, &header[..24], payload) {
        return Err(Unreadable::Checksum);
    }
    let opened = Opened {
        codec: u16::from_le_bytes([header[4], header[5]]),
        created: number(8),
        expires: number(16),
        payload,
    };
    if opened.expires <= now {
        return Err(Unreadable::Expired);
    }
    Ok(opened)
}

fn checksum(key: &[u8], header: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    // The length keeps key and header apart.
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(header);
    hasher.update(payload);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::super::NEVER;
    use super::*;

    #[test]
    fn what_is_sealed_opens() {
        let entry = seal(b"key", codec::PICKLE, 5, 100, b"value");
        let opened = open(b"key", &entry, 99, false).unwrap();
        assert_eq!(
            (opened.codec, opened.created, opened.expires, opened.payload),
            (1, 5, 100, &b"value"[..])
        );
        assert_eq!(open(b"key", &entry, 100, false), Err(Unreadable::Expired));
        assert_eq!(open(b"other", &entry, 0, false), Err(Unreadable::Checksum));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_a_miss() {
        let entry = seal(b"key", codec::PICKLE, 5, NEVER, b"value");
        for len in 0..entry.len() {
            assert!(open(b"key", &entry[..len], 0, false).is_err(), "{len}");
        }
        for bit in 0..entry.len() * 8 {
            let mut flipped = entry.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(b"key", &flipped, 0, false).is_err(), "{bit}");
        }
    }
}
