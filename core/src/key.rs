//! Canonical keys: an injective encoding of a call's bound arguments.
//!
//! Every value is encoded as a tag byte and a self-delimiting body, so that a sequence of values has
//! exactly one reading. Two values that Python tells apart (`1`, `1.0`, `True`, `"1"`, `[1]`, `(1,)`)
//! never share bytes; two that are one value (a dict in another order) do. A value whose encoding is
//! long is written as the BLAKE3 digest of it, so that keys stay short whatever the arguments hold.
//! `docs/keys.md` specifies the bytes.
//!
//! A key has two spellings: the *local* one, a function's number and the encoding, for tiers inside
//! the process; and the *storage* one, the function's printable name and the encoding (or its BLAKE3
//! digest, when it is long), for tiers that others can see.

mod buffer;

pub use buffer::{digest, KeyBuffer};

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
    /// A value whose encoding is long: the BLAKE3 digest of that encoding, 32 bytes.
    pub const LONG: u8 = 0x22;
    /// The digest of a long encoding, in storage keys.
    pub const DIGEST: u8 = 0xff;
}

/// Encodings longer than this become a digest in storage keys, in bytes.
pub const PLAIN_LIMIT: usize = 64;

/// A value whose encoding is longer than this is written as its digest, in bytes. Below it, comparing
/// the bytes themselves costs less than digesting them.
pub const VALUE_LIMIT: usize = 4096;

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

/// The key of a tag's token: `(tag):{namespace}::{name}`, the namespace escaped as in [`storage_prefix`]. No key of a
/// function begins so, since that has its `(` escaped.
pub fn tag_key(namespace: &str, name: &str) -> Vec<u8> {
    format!("(tag):{}::{name}", escape(namespace)).into_bytes()
}

/// The text that a key builder gave for the call which has this storage key; `None` for another kind of key.
pub fn built_text(storage_key: &[u8]) -> Option<&[u8]> {
    let third = storage_key.iter().enumerate().filter(|(_, byte)| **byte == b':').nth(2)?.0;
    if storage_key.starts_with(b"(") {
        return None;
    }
    storage_key[third + 1..].strip_prefix(&[tag::BUILT])
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

    #[test]
    fn prefixes_do_not_run_into_each_other() {
        let one = storage_prefix("a:b", "f", &["x"], "");
        let two = storage_prefix("a", "b:f", &["x"], "");
        assert_ne!(one, two);
        assert_eq!(storage_prefix("", "m.f", &["x", "y"], "2"), b":m.f(x,y):2:");
    }

    #[test]
    fn the_text_of_a_built_key_is_found_whatever_it_contains() {
        let prefix = storage_prefix("a:b", "m.f", &["x"], "2:(1)");
        let key = storage_key(&prefix, &[&[tag::BUILT], &b"user:7:!"[..]].concat());
        assert_eq!(built_text(&key), Some(&b"user:7:!"[..]));
        assert_eq!(built_text(&storage_key(&prefix, &[0x11, 7])), None);
        assert_eq!(built_text(b"no key at all"), None);
        assert_eq!(built_text(&tag_key("a", "!user")), None);
        assert_eq!(built_text(&[&prefix[..prefix.len() - 1], b";dictionary"].concat()), None);
    }

    #[test]
    fn no_tag_has_the_key_of_another_or_of_a_function() {
        let keys = [tag_key("a", "b"), tag_key("a::b", ""), tag_key("", "a::b"), tag_key("a", "b:")];
        for (at, key) in keys.iter().enumerate() {
            assert!(keys[at + 1..].iter().all(|other| other != key));
        }
        assert!(!storage_prefix("(tag)", "m.f", &[], "").starts_with(b"(tag):"));
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
