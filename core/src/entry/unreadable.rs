//! Why an entry did not open.

use std::fmt;

/// Why an entry did not open. All of them are misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// Not an entry, cut short, or with lengths that do not add up.
    Format,
    /// Written by a later version of retainit.
    Version,
    /// Of a serializer that is not known here.
    Codec,
    /// The checksum does not fit: damaged, or under another key.
    Checksum,
    /// Signed or encrypted, and the seal does not fit: damaged, forged, or under another key.
    Authentication,
    /// Signed or encrypted with a key that is not, or no longer, on the ring.
    UnknownKey,
    /// Not encrypted, not signed or without a checksum, where that is required.
    Unsealed,
    /// Of another schema version.
    Schema,
    /// Past its expiry.
    Expired,
}

impl Unreadable {
    /// Its name in events and metrics; stays the same from release to release.
    pub const fn class(self) -> &'static str {
        match self {
            Unreadable::Format => "format",
            Unreadable::Version => "version",
            Unreadable::Codec => "codec",
            Unreadable::Checksum => "checksum",
            Unreadable::Authentication => "authentication",
            Unreadable::UnknownKey => "unknown_key",
            Unreadable::Unsealed => "unsealed",
            Unreadable::Schema => "schema",
            Unreadable::Expired => "expired",
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unreadable::Format => "it is no entry, or was cut short",
            Unreadable::Version => "a later version of retainit wrote it",
            Unreadable::Codec => "its serializer is not known here",
            Unreadable::Checksum => "its checksum does not fit: it was damaged, or moved to another key",
            Unreadable::Authentication => {
                "its seal does not fit: it was damaged, forged, or moved to another key"
            }
            Unreadable::UnknownKey => {
                "it was sealed with a key that is not configured; hint: list a key that was rotated after the new one"
            }
            Unreadable::Unsealed => "it lacks the seal that is required here",
            Unreadable::Schema => "it is of another schema version",
            Unreadable::Expired => "it has expired",
        })
    }
}

impl std::error::Error for Unreadable {}
