//! The header of version 2: where its fields are, written and read.
//!
//! Reading checks bounds and nothing else that depends on the content: whether the content is what
//! was written, the seal says.

use std::ops::Range;

use super::{Meta, Unreadable};
use crate::error::{Error, ErrorKind, Result};

/// First bytes of an entry.
pub const MAGIC: [u8; 4] = *b"RTN2";
/// Bytes before the first text.
pub(super) const FIXED: usize = 64;
/// Payloads of at least this many bytes begin at a multiple of [`ALIGNMENT`].
const LARGE: usize = 4096;
/// What the buffers of Arrow and NumPy want in mapped memory.
const ALIGNMENT: usize = 64;

/// How an entry is sealed; the number in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Not at all.
    Open = 0,
    /// XXH3-64.
    Checksum = 1,
    /// HMAC-SHA-256.
    Signed = 2,
    /// AES-256-GCM.
    Encrypted = 3,
}

impl Kind {
    /// Bytes of the seal in the header.
    const fn len(self) -> usize {
        match self {
            Kind::Open => 0,
            Kind::Checksum => 8,
            Kind::Signed => 32,
            // Salt, nonce and tag.
            Kind::Encrypted => 16 + 12 + 16,
        }
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Kind::Open),
            1 => Some(Kind::Checksum),
            2 => Some(Kind::Signed),
            3 => Some(Kind::Encrypted),
            _ => None,
        }
    }
}

/// Where the parts of an entry are, and the numbers in its header.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub kind: Kind,
    pub key_id: [u8; 8],
    pub codec_version: u16,
    pub created: i64,
    pub expires: i64,
    pub stale_until: i64,
    pub plain_len: u64,
    pub tag_count: u16,
    pub codec: Range<usize>,
    pub compressor: Range<usize>,
    pub schema: Range<usize>,
    pub tags: Range<usize>,
    /// The seal's own bytes; what is before them is sealed.
    pub seal: Range<usize>,
    /// Where the payload begins.
    pub payload: usize,
}

impl Layout {
    /// Of an entry that is to be written. The key id is filled in by who seals it.
    ///
    /// # Errors
    /// When texts and tags are longer than their lengths can say.
    pub fn plan(kind: Kind, meta: &Meta<'_>, payload_len: usize) -> Result<Self> {
        fits("the codec's name", meta.codec, u8::MAX.into())?;
        fits("the compressor's name", meta.compressor, u8::MAX.into())?;
        fits("the schema version", meta.schema, u16::MAX.into())?;
        for tag in meta.tags {
            fits("a tag", tag.name, u16::MAX.into())?;
        }
        let codec = FIXED..FIXED + meta.codec.len();
        let compressor = codec.end..codec.end + meta.compressor.len();
        let schema = compressor.end..compressor.end + meta.schema.len();
        let tags = meta.tags.iter().map(|tag| 2 + tag.name.len() + tag.token.len()).sum::<usize>();
        let tags = schema.end..schema.end + tags;
        let seal = tags.end..tags.end + kind.len();
        let payload = if payload_len >= LARGE { seal.end.next_multiple_of(ALIGNMENT) } else { seal.end };
        // Each tag takes 18 bytes at least, so their number fits when this does.
        if payload > u16::MAX.into() {
            let (most, count) = (u16::MAX, meta.tags.len());
            return Err(invalid(format!(
                "the header of the entry takes {payload} bytes, {count} tags included: expected at most {most}; \
                 hint: fewer or shorter tags"
            )));
        }
        let plain_len = if meta.compressor.is_empty() { payload_len as u64 } else { meta.plain_len };
        Ok(Layout {
            kind,
            key_id: [0; 8],
            codec_version: meta.codec_version,
            created: meta.created,
            expires: meta.expires,
            stale_until: meta.stale_until.max(meta.expires),
            plain_len,
            tag_count: meta.tags.len() as u16,
            codec,
            compressor,
            schema,
            tags,
            seal,
            payload,
        })
    }

    /// Writes all but the seal into `header`, which is as long as [`Layout::payload`] says.
    pub fn write(&self, meta: &Meta<'_>, payload_len: usize, header: &mut [u8]) {
        header[..4].copy_from_slice(&MAGIC);
        header[4] = self.kind as u8;
        header[5] = 0;
        header[6..8].copy_from_slice(&(self.payload as u16).to_le_bytes());
        header[8..16].copy_from_slice(&self.created.to_le_bytes());
        header[16..24].copy_from_slice(&self.expires.to_le_bytes());
        header[24..32].copy_from_slice(&self.stale_until.to_le_bytes());
        header[32..40].copy_from_slice(&(payload_len as u64).to_le_bytes());
        header[40..48].copy_from_slice(&self.plain_len.to_le_bytes());
        header[48..56].copy_from_slice(&self.key_id);
        header[56..58].copy_from_slice(&self.codec_version.to_le_bytes());
        header[58] = self.codec.len() as u8;
        header[59] = self.compressor.len() as u8;
        header[60..62].copy_from_slice(&(self.schema.len() as u16).to_le_bytes());
        header[62..64].copy_from_slice(&self.tag_count.to_le_bytes());
        header[self.codec.clone()].copy_from_slice(meta.codec.as_bytes());
        header[self.compressor.clone()].copy_from_slice(meta.compressor.as_bytes());
        header[self.schema.clone()].copy_from_slice(meta.schema.as_bytes());
        let mut rest = &mut header[self.tags.start..];
        for tag in meta.tags {
            for part in [&(tag.name.len() as u16).to_le_bytes(), tag.name.as_bytes(), &tag.token[..]] {
                let (place, after) = rest.split_at_mut(part.len());
                place.copy_from_slice(part);
                rest = after;
            }
        }
        header[self.seal.start..].fill(0);
    }

    /// Of an entry that was read.
    ///
    /// # Errors
    /// [`Unreadable::Format`] and [`Unreadable::Version`].
    pub fn read(entry: &[u8]) -> Result<Self, Unreadable> {
        let Some(header) = entry.first_chunk::<FIXED>() else { return Err(Unreadable::Format) };
        match header[..4] {
            [b'R', b'T', b'N', b'2'] => {}
            [b'R', b'T', b'N', b'3'..=b'9'] => return Err(Unreadable::Version),
            _ => return Err(Unreadable::Format),
        }
        let two = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let eight = |at: usize| -> [u8; 8] { header[at..at + 8].try_into().expect("eight bytes") };
        let kind = Kind::from_number(header[4]).ok_or(Unreadable::Version)?;
        if header[5] != 0 {
            return Err(Unreadable::Version);
        }
        let payload = usize::from(two(6));
        // No sum below can overflow: each adds at most 65 535 to the one before.
        let codec = FIXED..FIXED + usize::from(header[58]);
        let compressor = codec.end..codec.end + usize::from(header[59]);
        let schema = compressor.end..compressor.end + usize::from(two(60));
        let tag_count = two(62);
        let mut end = schema.end;
        for _ in 0..tag_count {
            let len = entry.get(end..end + 2).ok_or(Unreadable::Format)?;
            end += 2 + usize::from(u16::from_le_bytes([len[0], len[1]])) + 16;
            if end > payload {
                return Err(Unreadable::Format);
            }
        }
        let tags = schema.end..end;
        let seal = end..end + kind.len();
        let padding = entry.get(seal.end..payload).ok_or(Unreadable::Format)?;
        if padding.len() >= ALIGNMENT || padding.iter().any(|byte| *byte != 0) {
            return Err(Unreadable::Format);
        }
        let stored = u64::from_le_bytes(eight(32));
        let layout = Layout {
            kind,
            key_id: eight(48),
            codec_version: two(56),
            created: i64::from_le_bytes(eight(8)),
            expires: i64::from_le_bytes(eight(16)),
            stale_until: i64::from_le_bytes(eight(24)),
            plain_len: u64::from_le_bytes(eight(40)),
            tag_count,
            codec,
            compressor,
            schema,
            tags,
            seal,
            payload,
        };
        let keyed = matches!(kind, Kind::Signed | Kind::Encrypted);
        let fits = stored == (entry.len() - payload) as u64
            && layout.stale_until >= layout.expires
            && (keyed || layout.key_id == [0; 8])
            && (!layout.compressor.is_empty() || layout.plain_len == stored);
        if fits {
            Ok(layout)
        } else {
            Err(Unreadable::Format)
        }
    }
}

fn fits(what: &str, text: &str, most: usize) -> Result<()> {
    let len = text.len();
    if len <= most {
        return Ok(());
    }
    Err(invalid(format!("{what} has {len} bytes: expected at most {most}")))
}

pub(super) fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, "seal", message)
}
