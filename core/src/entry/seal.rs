//! Sealing and opening.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::layout::{invalid, Kind, Layout};
use super::opened::{Opened, Payload, Tags};
use super::{allocate, v1, Keyring, Meta, Unreadable};
use crate::error::Result;

/// How entries are sealed, and what is required of those that are read.
#[derive(Debug, Clone, Default)]
pub enum Seal {
    /// Written without a checksum; read with one or without.
    Open,
    /// Against damage.
    #[default]
    Checksum,
    /// Against forgery: read only if signed, or encrypted, with a key of the ring.
    Signed(Arc<Keyring>),
    /// Against forgery and being read: read only if encrypted with a key of the ring.
    Encrypted(Arc<Keyring>),
}

impl Seal {
    /// The entry of `payload` under the storage key `key`, in one allocation. The payload is copied
    /// once.
    ///
    /// # Errors
    /// When the header is too long, or the system has no random bytes to give.
    pub fn seal(&self, key: &[u8], meta: &Meta<'_>, payload: &[u8]) -> Result<Vec<u8>> {
        let layout = self.plan(meta, payload.len())?;
        let mut entry = allocate(layout.payload() + payload.len());
        entry.resize(layout.payload(), 0);
        entry.extend_from_slice(payload);
        self.fill(key, meta, layout, &mut entry)?;
        Ok(entry)
    }

    /// Bytes that [`Seal::seal_in`] needs before a payload of `payload_len` bytes.
    ///
    /// # Errors
    /// When the header is too long.
    pub fn headroom(&self, meta: &Meta<'_>, payload_len: usize) -> Result<usize> {
        self.plan(meta, payload_len).map(Layout::payload)
    }

    /// Makes an entry of the payload that lies in `buffer` from `headroom` on, without a copy: writes
    /// the header right before it, and encrypts it in place. Gives where in `buffer` the entry begins.
    ///
    /// # Errors
    /// As [`Seal::seal`], and when there is less room than [`Seal::headroom`] says.
    pub fn seal_in(&self, key: &[u8], meta: &Meta<'_>, buffer: &mut [u8], headroom: usize) -> Result<usize> {
        let layout = self.plan(meta, buffer.len().saturating_sub(headroom))?;
        let need = layout.payload();
        if headroom > buffer.len() || headroom < need {
            let len = buffer.len();
            return Err(invalid(format!(
                "a headroom of {headroom} bytes in a buffer of {len}: expected at least {need}, within the buffer"
            )));
        }
        let start = headroom - need;
        self.fill(key, meta, layout, &mut buffer[start..])?;
        Ok(start)
    }

    /// Opens an entry that was read under `key`, where values of the schema version `schema` are
    /// wanted, at `now` (Unix time in nanoseconds). One that was `verified` before, and has not
    /// changed since, is spared the checksum unless it is compressed, but neither signature nor decryption.
    ///
    /// # Errors
    /// Why it is a miss.
    pub fn open<'a>(
        &self,
        key: &[u8],
        schema: &str,
        entry: &'a [u8],
        now: i64,
        verified: bool,
    ) -> Result<Opened<'a>, Unreadable> {
        self.open_at(key, schema, entry, now, verified, false)
    }

    /// As [`Seal::open`], and opens also what has expired, as long as it may be served stale: see
    /// [`Opened::expires`].
    ///
    /// # Errors
    /// Why it is a miss.
    pub fn open_stale<'a>(
        &self,
        key: &[u8],
        schema: &str,
        entry: &'a [u8],
        now: i64,
        verified: bool,
    ) -> Result<Opened<'a>, Unreadable> {
        self.open_at(key, schema, entry, now, verified, true)
    }

    fn open_at<'a>(
        &self,
        key: &[u8],
        schema: &str,
        entry: &'a [u8],
        now: i64,
        verified: bool,
        stale: bool,
    ) -> Result<Opened<'a>, Unreadable> {
        if entry.starts_with(&v1::MAGIC) {
            return self.open_v1(key, entry, now, verified);
        }
        let (layout, numbers) = Layout::read(entry)?;
        let payload = self.check(key, layout, numbers.key_id, entry, verified)?;
        let found = &entry[layout.schema()];
        // `memcmp` of an empty text, whose address may be anything, can take longer than all else here.
        if found.len() != schema.len() || !found.is_empty() && found != schema.as_bytes() {
            return Err(Unreadable::Schema);
        }
        if now >= if stale { numbers.stale_until } else { numbers.expires } {
            return Err(Unreadable::Expired);
        }
        Opened::new(entry, layout, &numbers, payload)
    }

    /// Checks the seal, and that it is one that suffices here.
    fn check(
        &self,
        key: &[u8],
        layout: Layout,
        id: [u8; 8],
        entry: &[u8],
        verified: bool,
    ) -> Result<Payload, Unreadable> {
        let plain = || Payload::Range(layout.payload()..entry.len());
        match (self, layout.kind) {
            (Seal::Open, Kind::Open) => Ok(plain()),
            (Seal::Open | Seal::Checksum, Kind::Checksum) => {
                let (sealed, payload) = (&entry[..layout.seal().start], &entry[layout.payload()..]);
                let found = &entry[layout.seal()];
                // Whoever decompresses has read all of it anyway.
                let spared = verified && layout.compressor().is_empty();
                if !spared && found != checksum(key, sealed, payload).to_le_bytes() {
                    return Err(Unreadable::Checksum);
                }
                Ok(plain())
            }
            (Seal::Open | Seal::Checksum, Kind::Signed | Kind::Encrypted) => Err(Unreadable::UnknownKey),
            (Seal::Signed(ring), Kind::Signed) => ring.verify(key, layout, id, entry).map(|()| plain()),
            (Seal::Signed(ring) | Seal::Encrypted(ring), Kind::Encrypted) => {
                ring.decrypt(key, layout, id, entry).map(Payload::Decrypted)
            }
            (Seal::Checksum, Kind::Open)
            | (Seal::Signed(_), Kind::Open | Kind::Checksum)
            | (Seal::Encrypted(_), Kind::Open | Kind::Checksum | Kind::Signed) => Err(Unreadable::Unsealed),
        }
    }

    /// The schema version is not in the header: it is part of the storage key, which is checked.
    fn open_v1<'a>(
        &self,
        key: &[u8],
        entry: &'a [u8],
        now: i64,
        verified: bool,
    ) -> Result<Opened<'a>, Unreadable> {
        if matches!(self, Seal::Signed(_) | Seal::Encrypted(_)) {
            return Err(Unreadable::Unsealed);
        }
        let opened = v1::open(key, entry, i64::MIN, verified)?;
        if opened.expires <= now {
            return Err(Unreadable::Expired);
        }
        let codec = match opened.codec {
            v1::codec::PICKLE => "pickle",
            _ => return Err(Unreadable::Codec),
        };
        Ok(Opened {
            codec,
            codec_version: 1,
            compressor: "",
            created: opened.created,
            expires: opened.expires,
            stale_until: opened.expires,
            tags: Tags::NONE,
            plain_len: opened.payload.len() as u64,
            payload: Payload::Range(v1::HEADER..entry.len()),
        })
    }

    fn plan(&self, meta: &Meta<'_>, payload_len: usize) -> Result<Layout> {
        let kind = match self {
            Seal::Open => Kind::Open,
            Seal::Checksum => Kind::Checksum,
            Seal::Signed(_) => Kind::Signed,
            Seal::Encrypted(_) => Kind::Encrypted,
        };
        Layout::plan(kind, meta, payload_len)
    }

    /// Writes the header before the payload of `entry`, and seals both.
    fn fill(&self, key: &[u8], meta: &Meta<'_>, layout: Layout, entry: &mut [u8]) -> Result<()> {
        let (header, payload) = entry.split_at_mut(layout.payload());
        let id = match self {
            Seal::Open | Seal::Checksum => [0; 8],
            Seal::Signed(ring) | Seal::Encrypted(ring) => ring.sealing_id(),
        };
        layout.write(meta, id, payload.len(), header);
        let (sealed, seal) = header[..layout.seal().end].split_at_mut(layout.seal().start);
        match self {
            Seal::Open => {}
            Seal::Checksum => seal.copy_from_slice(&checksum(key, sealed, payload).to_le_bytes()),
            Seal::Signed(ring) => ring.sign(key, sealed, payload, seal),
            Seal::Encrypted(ring) => ring.encrypt(key, sealed, payload, seal)?,
        }
        Ok(())
    }
}

/// XXH3-64 of the storage key with its length, the header up to the seal, and the payload.
pub(super) fn checksum(key: &[u8], sealed: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(sealed);
    hasher.update(payload);
    hasher.digest()
}
