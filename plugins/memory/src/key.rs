//! A key that has left its record.

use super::record::INLINE_KEY;

/// A key, owned.
pub enum Key {
    /// Bytes and how many of them count.
    Short([u8; INLINE_KEY], u8),
    /// A key that had an allocation of its own.
    Long(Box<[u8]>),
}

impl Key {
    /// Copies a key of at most [`INLINE_KEY`] bytes.
    pub fn short(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE_KEY];
        bytes[..key.len()].copy_from_slice(key);
        Key::Short(bytes, key.len() as u8)
    }

    /// The key.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Key::Short(bytes, len) => &bytes[..usize::from(*len)],
            Key::Long(bytes) => bytes,
        }
    }
}
