//! Canonical keys: an injective encoding of a call's bound arguments.
//!
//! Every value is encoded as a tag byte and a self-delimiting body, so that a sequence of values has
//! exactly one reading. Two values that Python tells apart (`1`, `1.0`, `True`, `"1"`, `[1]`, `(1,)`)
//! never share bytes; two that are one value (a dict in another order) do. `docs/keys.md` specifies
//! the bytes.
//!
//! A key has two spellings: the *local* one, a function's number and the encoding, for tiers inside
//! the process; and the *storage* one, the function's printable name and the encoding (or its BLAKE3
//! digest, when it is long), for tiers that others can see.

use crate::error::{Error, ErrorKind, Result};

/// Tag bytes. Frozen: stored keys depend on them.
pub mod tag {
    /// `None`.
    pub const NONE: u8 = 0x01;
    /// `False`.
    pub const FALSE: u8 = 0x02;
    /// `True`.
    pub const TRUE: u8 = 0x03;
    /// A float: eight bytes, IEEE 754 little-endian.
    pub const FLOAT: u8 = 0x04;
    /// A complex number: two floats without tags.
    pub const COMPLEX: u8 = 0x05;
    /// An integer beyond 64 bits: a length, then two's complement little-endian, as short as it gets.
    pub const BIG_INT: u8 = 0x06;
    /// Text: a length, then UTF-8 (lone surrogates as three bytes each).
    pub const STR: u8 = 0x07;
    /// `bytes`: a length, then the bytes.
    pub const BYTES: u8 = 0x08;
    /// `bytearray`, as `bytes`.
    pub const BYTEARRAY: u8 = 0x09;
    /// A tuple: a count, then the items.
    pub const TUPLE: u8 = 0x0a;
    /// A list, as a tuple.
    pub const LIST: u8 = 0x0b;
    /// A set: a count, then the items' encodings in ascending order.
    pub const SET: u8 = 0x0c;
    /// A frozenset, as a set.
    pub const FROZENSET: u8 = 0x0d;
    /// A dict: a count, then pairs of key and value in ascending order of their encodings.
    pub const DICT: u8 = 0x0e;
    /// Another type: the name of the type (as text without a tag), then one value.
    pub const EXTENSION: u8 = 0x0f;
    /// `0x10 + n`: an integer of n = 0 to 8 bytes, two's complement little-endian, as short as it gets.
    pub const INT: u8 = 0x10;
    /// An object that is keyed by its own equality: eight bytes of a number. Never stored.
    pub const INTERNED: u8 = 0x20;
    /// The whole key as text, made by a key builder.
    pub const BUILT: u8 = 0x21;
    /// The digest of a long encoding, in storage keys.
    pub const DIGEST: u8 = 0xff;
}

/// Encodings longer than this become a digest in storage keys, in bytes.
pub const PLAIN_LIMIT: usize = 64;

/// A growable key: short ones stay on the stack.
pub struct KeyBuffer {
    inline: [std::mem::MaybeUninit<u8>; KeyBuffer::INLINE],
    len: usize,
    spilled: Vec<u8>,
}

impl Default for KeyBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyBuffer {
    const INLINE: usize = 256;

    /// An empty buffer.
    #[inline]
    pub const fn new() -> Self {
        KeyBuffer {
            inline: [const { std::mem::MaybeUninit::uninit() }; Self::INLINE],
            len: 0,
            spilled: Vec::new(),
        }
    }

    /// The bytes so far.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        if self.spilled.is_empty() {
            // SAFETY: the first `len` bytes have been written.
            unsafe { std::slice::from_raw_parts(self.inline.as_ptr().cast(), self.len) }
        } else {
            &self.spilled
        }
    }

    /// Number of bytes so far.
    #[inline]
    pub fn len(&self) -> usize {
        if self.spilled.is_empty() {
            self.len
        } else {
            self.spilled.len()
        }
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends one byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    /// Appends bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.spilled.is_empty() && self.len + bytes.len() <= Self::INLINE {
            // SAFETY: the target lies within the array.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    bytes.as_ptr(),
                    self.inline.as_mut_ptr().cast::<u8>().add(self.len),
                    bytes.len(),
                );
            }
            self.len += bytes.len();
        } else {
            self.spill(bytes);
        }
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) {
        if self.spilled.is_empty() {
            let mut spilled = Vec::with_capacity((self.len + bytes.len()).next_power_of_two());
            spilled.extend_from_slice(self.as_slice());
            self.spilled = spilled;
        }
        self.spilled.extend_from_slice(bytes);
    }

    /// Appends a length: seven bits a byte, least significant first, the high bit on all but the last.
    #[inline]
    pub fn length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.push(length as u8);
    }

    /// Appends a 64-bit integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        // Bits that only repeat the sign need not be stored.
        let redundant = if value < 0 { value.leading_ones() } else { value.leading_zeros() };
        let bytes = if value == 0 { 0 } else { (72 - redundant as usize) / 8 };
        let tag = tag::INT + bytes as u8;
        if self.spilled.is_empty() && self.len + 9 <= Self::INLINE {
            // All eight bytes are written and only the meaningful ones counted: no variable copy.
            // SAFETY: the target lies within the array.
            unsafe {
                let target = self.inline.as_mut_ptr().cast::<u8>().add(self.len);
                target.write(tag);
                target.add(1).cast::<[u8; 8]>().write(value.to_le_bytes());
            }
            self.len += 1 + bytes;
        } else {
            self.push(tag);
            self.extend(&value.to_le_bytes()[..bytes]);
        }
    }

    /// Appends text in UTF-8.
    #[inline]
    pub fn text(&mut self, utf8: &[u8]) {
        self.push(tag::STR);
        self.length(utf8.len());
        self.extend(utf8);
    }

    /// Appends a tag, a length and bytes.
    pub fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.push(tag);
        self.length(bytes.len());
        self.extend(bytes);
    }

    /// Appends a float.
    #[inline]
    pub fn float(&mut self, value: f64) {
        self.push(tag::FLOAT);
        self.extend(&value.to_bits().to_le_bytes());
    }

    /// Appends an integer of any size from two's complement little-endian bytes.
    pub fn big_int(&mut self, bytes: &[u8]) {
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let sign = if negative { 0xff } else { 0 };
        let mut len = bytes.len();
        // A leading byte goes where it only repeats the sign bit of the next.
        while len > 1 && bytes[len - 1] == sign && (bytes[len - 2] & 0x80 != 0) == negative {
            len -= 1;
        }
        if len <= 8 {
            let mut word = [sign; 8];
            word[..len].copy_from_slice(&bytes[..len]);
            self.int(i64::from_le_bytes(word));
        } else {
            self.bytes(tag::BIG_INT, &bytes[..len]);
        }
    }

    /// Appends the number of an object that is keyed by its own equality.
    #[inline]
    pub fn interned(&mut self, number: u64) {
        self.push(tag::INTERNED);
        self.extend(&number.to_le_bytes());
    }

    /// Appends already encoded values in ascending order of their bytes (sets, dicts).
    pub fn sorted(&mut self, tag: u8, mut items: Vec<Vec<u8>>) {
        items.sort_unstable();
        self.push(tag);
        self.length(items.len());
        for item in items {
            self.extend(&item);
        }
    }
}

/// What stays the same in all storage keys of one function.
///
/// `{namespace}:{function}({parameters}):{version}:`, each part with `%`, `:`, `(`, `)` and control
/// characters percent-escaped, so that no two functions share a prefix and keys can be listed and
/// matched.
pub fn storage_prefix(namespace: &str, function: &str, parameters: &[&str], version: &str) -> Vec<u8> {
    let parameters: Vec<String> = parameters.iter().map(|name| escape(name)).collect();
    format!("{}:{}({}):{}:", escape(namespace), escape(function), parameters.join(","), escape(version))
        .into_bytes()
}

/// The storage key of a call: `prefix`, and `encoding` or its digest.
pub fn storage_key(prefix: &[u8], encoding: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + encoding.len().min(PLAIN_LIMIT));
    key.extend_from_slice(prefix);
    if encoding.len() <= PLAIN_LIMIT || encoding[0] == tag::BUILT {
        key.extend_from_slice(encoding);
    } else {
        key.push(tag::DIGEST);
        key.extend_from_slice(blake3::hash(encoding).as_bytes());
    }
    key
}

fn escape(part: &str) -> String {
    let mut escaped = String::with_capacity(part.len());
    for character in part.chars() {
        match character {
            '%' | ':' | '(' | ')' | ',' => escaped.push_str(&format!("%{:02X}", character as u32)),
            control if control.is_control() => escaped.push_str(&format!("%{:02X}", control as u32)),
            plain => escaped.push(plain),
        }
    }
    escaped
}

/// The error of an argument that has no canonical encoding.
pub fn unkeyable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "make a key", message)
}

/// Checks that a built key is text a store can hold.
///
/// # Errors
/// An empty key, which would name the function itself.
pub fn check_built(text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(unkeyable("the key builder returned an empty key; expected a text that names the call"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(value: i64) -> Vec<u8> {
        let mut key = KeyBuffer::new();
        key.int(value);
        key.as_slice().to_vec()
    }

    #[test]
    fn integers_are_as_short_as_they_get() {
        assert_eq!(int(0), [0x10]);
        assert_eq!(int(1), [0x11, 1]);
        assert_eq!(int(-1), [0x11, 0xff]);
        assert_eq!(int(127), [0x11, 127]);
        assert_eq!(int(128), [0x12, 128, 0]);
        assert_eq!(int(-128), [0x11, 0x80]);
        assert_eq!(int(-129), [0x12, 0x7f, 0xff]);
        assert_eq!(int(i64::MAX).len(), 9);
        assert_eq!(int(i64::MIN).len(), 9);
    }

    #[test]
    fn a_big_integer_that_fits_is_a_small_one() {
        for value in [0i64, 1, -1, 255, -256, i64::MAX, i64::MIN] {
            let mut wide = value.to_le_bytes().to_vec();
            wide.extend(if value < 0 { [0xff; 8] } else { [0; 8] });
            let mut key = KeyBuffer::new();
            key.big_int(&wide);
            assert_eq!(key.as_slice(), int(value));
        }
    }

    #[test]
    fn integers_differ() {
        let mut seen = std::collections::HashSet::new();
        for value in (-70_000..70_000).chain([i64::MAX, i64::MIN]) {
            assert!(seen.insert(int(value)), "{value}");
        }
    }

    #[test]
    fn long_keys_spill_and_keep_their_bytes() {
        let mut key = KeyBuffer::new();
        let mut expected = Vec::new();
        for value in 0..1000i64 {
            key.int(value);
            expected.extend(int(value));
        }
        assert_eq!(key.as_slice(), expected);
        assert_eq!(key.len(), expected.len());
    }

    #[test]
    fn prefixes_do_not_run_into_each_other() {
        let one = storage_prefix("a:b", "f", &["x"], "");
        let two = storage_prefix("a", "b:f", &["x"], "");
        assert_ne!(one, two);
        assert_eq!(storage_prefix("", "m.f", &["x", "y"], "2"), b":m.f(x,y):2:");
    }

    #[test]
    fn long_encodings_become_digests() {
        let long = vec![7u8; PLAIN_LIMIT + 1];
        let key = storage_key(b"p:", &long);
        assert_eq!(key.len(), 2 + 1 + 32);
        assert_eq!(key[2], tag::DIGEST);
        assert_eq!(storage_key(b"p:", &long[..PLAIN_LIMIT]).len(), 2 + PLAIN_LIMIT);
    }
}
