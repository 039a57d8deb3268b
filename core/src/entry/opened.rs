//! What a reader gets.

use std::ops::Range;
use std::str;

use super::layout::{Layout, Numbers};
use super::{Tag, Unreadable};

/// An entry that has been checked. Times are Unix time in nanoseconds.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The serializer's name.
    pub codec: &'a str,
    /// The version of its format.
    pub codec_version: u16,
    /// The compressor's name; empty for a payload that is stored as it is.
    pub compressor: &'a str,
    /// When it was made.
    pub created: i64,
    /// From when on it is no longer fresh, or [`NEVER`](super::NEVER).
    pub expires: i64,
    /// Until when it may be served stale; at least `expires`.
    pub stale_until: i64,
    /// Its tags.
    pub tags: Tags<'a>,
    /// Bytes before compression, as the writer said: to be held against a bound before anything is
    /// made of that size.
    pub plain_len: u64,
    /// The value's bytes, compressed by `compressor`.
    pub payload: Payload,
}

/// Where the value's bytes are.
#[derive(Debug, PartialEq, Eq)]
pub enum Payload {
    /// In the entry itself.
    Range(Range<usize>),
    /// Decrypted, in memory of their own.
    Decrypted(Vec<u8>),
}

impl Payload {
    /// The bytes, of the `entry` that was opened.
    pub fn bytes<'p>(&'p self, entry: &'p [u8]) -> &'p [u8] {
        match self {
            Payload::Range(range) => &entry[range.clone()],
            Payload::Decrypted(bytes) => bytes,
        }
    }
}

/// The tags of an entry.
#[derive(Debug, Clone)]
pub struct Tags<'a> {
    left: u16,
    rest: &'a [u8],
}

impl Tags<'_> {
    pub(super) const NONE: Tags<'static> = Tags { left: 0, rest: &[] };
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let (len, rest) = self.rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        let (token, rest) = rest.split_first_chunk()?;
        self.left -= 1;
        self.rest = rest;
        Some(Tag { name: str::from_utf8(name).expect("checked when it was opened"), token: *token })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.into(), Some(self.left.into()))
    }
}

impl ExactSizeIterator for Tags<'_> {}

impl<'a> Opened<'a> {
    /// What `entry` says of itself, once its seal has been checked.
    #[inline(always)] // one caller
    pub(super) fn new(
        entry: &'a [u8],
        layout: Layout,
        numbers: &Numbers,
        payload: Payload,
    ) -> Result<Self, Unreadable> {
        let text = |range: Range<usize>| match &entry[range] {
            [] => Ok(""),
            bytes => str::from_utf8(bytes).map_err(|_| Unreadable::Format),
        };
        let tags = Tags { left: numbers.tag_count, rest: &entry[layout.tags()] };
        let mut rest = tags.rest;
        while let Some((len, after)) = rest.split_first_chunk() {
            let (name, after) = after.split_at(u16::from_le_bytes(*len).into());
            str::from_utf8(name).map_err(|_| Unreadable::Format)?;
            rest = &after[16..];
        }
        Ok(Opened {
            codec: text(layout.codec())?,
            codec_version: numbers.codec_version,
            compressor: text(layout.compressor())?,
            created: numbers.created,
            expires: numbers.expires,
            stale_until: numbers.stale_until,
            tags,
            plain_len: numbers.plain_len,
            payload,
        })
    }
}
