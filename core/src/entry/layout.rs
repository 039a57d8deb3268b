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

/// Where the parts of an entry are: each begins where the one before it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub kind: Kind,
    codec_end: usize,
    compressor_end: usize,
    schema_end: usize,
    tags_end: usize,
    payload: usize,
}

impl Layout {
    /// Of an entry that is to be written.
    ///
    /// # Errors
    /// When texts and tags are longer than their lengths can say.
    pub fn plan(kind: Kind, meta: &Meta<'_>, payload_len: usize) -> Result<Self> {
        fits("the codec's name", meta.codec, u8::MAX.into())?;
        fits("the compressor's name", meta.compressor, u8::MAX.into())?;
        fits("the schema version", meta.schema, u16::MAX.into())?;
        let mut tags_end = FIXED + meta.codec.len() + meta.compressor.len() + meta.schema.len();
        let schema_end = tags_end;
        for tag in meta.tags {
            fits("a tag", tag.name, u16::MAX.into())?;
            tags_end += 2 + tag.name.len() + tag.token.len();
        }
        let seal_end = tags_end + kind.len();
        let payload = if payload_len >= LARGE { seal_end.next_multiple_of(ALIGNMENT) } else { seal_end };
        // Each tag takes 18 bytes at least, so their number fits when this does.
        let most = usize::from(u16::MAX);
        if payload > most {
            let count = meta.tags.len();
            return Err(invalid(format!(
                "the header of the entry takes {payload} bytes, {count} tags included: expected at most {most}; \
                 hint: fewer or shorter tags"
            )));
        }
        let codec_end = FIXED + meta.codec.len();
        let compressor_end = codec_end + meta.compressor.len();
        Ok(Layout { kind, codec_end, compressor_end, schema_end, tags_end, payload })
    }

    /// Writes all but the seal into `header`, which ends where the payload begins.
    pub fn write(self, meta: &Meta<'_>, key_id: [u8; 8], payload_len: usize, header: &mut [u8]) {
        let plain_len = if meta.compressor.is_empty() { payload_len as u64 } else { meta.plain_len };
        let (fixed, mut rest) = header.split_first_chunk_mut::<FIXED>().expect("planned");
        fixed[..4].copy_from_slice(&MAGIC);
        fixed[4] = self.kind as u8;
        fixed[5] = 0;
        fixed[6..8].copy_from_slice(&(self.payload as u16).to_le_bytes());
        fixed[8..16].copy_from_slice(&meta.created.to_le_bytes());
        fixed[16..24].copy_from_slice(&meta.expires.to_le_bytes());
        fixed[24..32].copy_from_slice(&meta.stale_until.max(meta.expires).to_le_bytes());
        fixed[32..40].copy_from_slice(&(payload_len as u64).to_le_bytes());
        fixed[40..48].copy_from_slice(&plain_len.to_le_bytes());
        fixed[48..56].copy_from_slice(&key_id);
        fixed[56..58].copy_from_slice(&meta.codec_version.to_le_bytes());
        fixed[58] = meta.codec.len() as u8;
        fixed[59] = meta.compressor.len() as u8;
        fixed[60..62].copy_from_slice(&(meta.schema.len() as u16).to_le_bytes());
        fixed[62..64].copy_from_slice(&(meta.tags.len() as u16).to_le_bytes());
        let mut put = |part: &[u8]| {
            let (place, after) = std::mem::take(&mut rest).split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        };
        put(meta.codec.as_bytes());
        put(meta.compressor.as_bytes());
        put(meta.schema.as_bytes());
        for tag in meta.tags {
            put(&(tag.name.len() as u16).to_le_bytes());
            put(tag.name.as_bytes());
            put(&tag.token);
        }
        rest.fill(0);
    }

    /// Of an entry that was read, and the numbers in its header.
    ///
    /// # Errors
    /// [`Unreadable::Format`] and [`Unreadable::Version`].
    #[inline(always)] // one caller, and results of odd sizes
    pub fn read(entry: &[u8]) -> Result<(Self, Numbers), Unreadable> {
        let Some(fixed) = entry.first_chunk::<FIXED>() else { return Err(Unreadable::Format) };
        match fixed[..4] {
            [b'R', b'T', b'N', b'2'] => {}
            [b'R', b'T', b'N', b'3'..=b'9'] => return Err(Unreadable::Version),
            _ => return Err(Unreadable::Format),
        }
        let two = |at: usize| u16::from_le_bytes([fixed[at], fixed[at + 1]]);
        let eight = |at: usize| -> [u8; 8] { fixed[at..at + 8].try_into().expect("eight bytes") };
        let kind = Kind::from_number(fixed[4]).ok_or(Unreadable::Version)?;
        if fixed[5] != 0 {
            return Err(Unreadable::Version);
        }
        let payload = usize::from(two(6));
        // No sum below can overflow: each adds less than 128 KiB to one that was within the entry.
        let codec_end = FIXED + usize::from(fixed[58]);
        let compressor_end = codec_end + usize::from(fixed[59]);
        let schema_end = compressor_end + usize::from(two(60));
        let tag_count = two(62);
        let mut tags_end = schema_end;
        for _ in 0..tag_count {
            let len = entry.get(tags_end..tags_end + 2).ok_or(Unreadable::Format)?;
            tags_end += 2 + usize::from(u16::from_le_bytes([len[0], len[1]])) + 16;
        }
        let padding = entry.get(tags_end + kind.len()..payload).ok_or(Unreadable::Format)?;
        if padding.len() >= ALIGNMENT || padding.iter().any(|byte| *byte != 0) {
            return Err(Unreadable::Format);
        }
        let layout = Layout { kind, codec_end, compressor_end, schema_end, tags_end, payload };
        let numbers = Numbers {
            created: i64::from_le_bytes(eight(8)),
            expires: i64::from_le_bytes(eight(16)),
            stale_until: i64::from_le_bytes(eight(24)),
            plain_len: u64::from_le_bytes(eight(40)),
            key_id: eight(48),
            codec_version: two(56),
            tag_count,
        };
        let stored = u64::from_le_bytes(eight(32));
        let keyed = matches!(kind, Kind::Signed | Kind::Encrypted);
        let fits = stored == (entry.len() - payload) as u64
            && numbers.stale_until >= numbers.expires
            && (keyed || numbers.key_id == [0; 8])
            && (compressor_end > codec_end || numbers.plain_len == stored);
        if fits {
            Ok((layout, numbers))
        } else {
            Err(Unreadable::Format)
        }
    }

    /// The codec's name.
    pub fn codec(self) -> Range<usize> {
        FIXED..self.codec_end
    }

    /// The compressor's name.
    pub fn compressor(self) -> Range<usize> {
        self.codec_end..self.compressor_end
    }

    /// The schema version.
    pub fn schema(self) -> Range<usize> {
        self.compressor_end..self.schema_end
    }

    /// The tags.
    pub fn tags(self) -> Range<usize> {
        self.schema_end..self.tags_end
    }

    /// The seal's own bytes; what is before them is sealed.
    pub fn seal(self) -> Range<usize> {
        self.tags_end..self.tags_end + self.kind.len()
    }

    /// Where the payload begins.
    pub fn payload(self) -> usize {
        self.payload
    }
}

/// What the header of an entry says in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub created: i64,
    pub expires: i64,
    pub stale_until: i64,
    pub plain_len: u64,
    pub key_id: [u8; 8],
    pub codec_version: u16,
    pub tag_count: u16,
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
