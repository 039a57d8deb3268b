//! What a writer says of a value.

use super::NEVER;

/// A tag, with the token it had when the value was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its token; an invalidation of the tag replaces it.
    pub token: [u8; 16],
}

/// What an entry says of its payload. Times are Unix time in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a> {
    /// The serializer's name.
    pub codec: &'a str,
    /// The version of its format.
    pub codec_version: u16,
    /// The compressor's name; empty for a payload that is stored as it is.
    pub compressor: &'a str,
    /// When it was made.
    pub created: i64,
    /// From when on it is no longer fresh; [`NEVER`] for never.
    pub expires: i64,
    /// Until when it may be served stale; anything before `expires` is not at all.
    pub stale_until: i64,
    /// The schema version that the user gave; empty for none.
    pub schema: &'a str,
    /// Its tags.
    pub tags: &'a [Tag<'a>],
    /// Bytes before compression; without a compressor, the payload's length counts.
    pub plain_len: u64,
}

impl Default for Meta<'_> {
    /// Without codec, compressor, schema and tags; never expires.
    fn default() -> Self {
        Meta {
            codec: "",
            codec_version: 0,
            compressor: "",
            created: 0,
            expires: NEVER,
            stale_until: i64::MIN,
            schema: "",
            tags: &[],
            plain_len: 0,
        }
    }
}
