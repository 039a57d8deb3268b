//! The bytes of a key while they are put together.

use super::{tag, VALUE_LIMIT};

/// Bytes of tag and length before a body that makes an encoding about as long as [`VALUE_LIMIT`].
const HEAD: usize = 3;

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
        self.bytes(tag::STR, utf8);
    }

    /// Appends a tag, a length and bytes, or the digest of these.
    #[inline]
    pub fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        if bytes.len() > VALUE_LIMIT - HEAD {
            return self.long(&digest(tag, bytes));
        }
        self.push(tag);
        self.length(bytes.len());
        self.extend(bytes);
    }

    /// Appends a value of which only the digest is at hand, as [`digest`] makes it.
    pub fn long(&mut self, digest: &[u8; 32]) {
        self.push(tag::LONG);
        self.extend(digest);
    }

    /// Ends a value that began at `start`: a long encoding gives way to its digest.
    #[inline]
    pub fn finish(&mut self, start: usize) {
        if self.len() - start > VALUE_LIMIT {
            let digest = blake3::hash(&self.as_slice()[start..]);
            self.truncate(start);
            self.long(digest.as_bytes());
        }
    }

    fn truncate(&mut self, len: usize) {
        self.spilled.truncate(len);
        if self.spilled.is_empty() {
            // Without spilled bytes the array is the key again, whose own count is that of before.
            self.len = len;
        }
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

/// The digest that stands for bytes with a tag and their length, where these are a long encoding.
#[cold]
pub fn digest(tag: u8, bytes: &[u8]) -> [u8; 32] {
    let mut head = KeyBuffer::new();
    head.push(tag);
    head.length(bytes.len());
    let mut hasher = blake3::Hasher::new();
    hasher.update(head.as_slice());
    hasher.update(bytes);
    *hasher.finalize().as_bytes()
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
    fn a_value_is_digested_from_one_byte_too_many_on() {
        let longest = vec![b'a'; VALUE_LIMIT - HEAD];
        let mut key = KeyBuffer::new();
        key.text(&longest);
        assert_eq!(key.len(), VALUE_LIMIT);
        key.finish(0);
        assert_eq!(key.as_slice()[0], tag::STR);

        let longer = vec![b'a'; VALUE_LIMIT - HEAD + 1];
        let mut key = KeyBuffer::new();
        key.text(&longer);
        let mut whole = vec![tag::STR, 0xfe, 0x1f];
        whole.extend(&longer);
        assert_eq!(key.as_slice()[0], tag::LONG);
        assert_eq!(&key.as_slice()[1..], blake3::hash(&whole).as_bytes());
    }

    #[test]
    fn a_digest_takes_the_place_of_a_long_value_and_leaves_what_is_before_it() {
        for before in [0, 1, 100, 300, 5000] {
            let mut key = KeyBuffer::new();
            key.extend(&vec![7; before]);
            let start = key.len();
            for _ in 0..=VALUE_LIMIT {
                key.push(9);
            }
            key.finish(start);
            let mut expected = vec![7; before];
            expected.push(tag::LONG);
            expected.extend(blake3::hash(&[9; VALUE_LIMIT + 1]).as_bytes());
            assert_eq!(key.as_slice(), expected);
            key.int(1);
            expected.extend([0x11, 1]);
            assert_eq!(key.as_slice(), expected);
        }
    }
}
