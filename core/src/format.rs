//! How a tier keeps values: which compressor, which seal, and what the language wants to know of it.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use retainit_plugin_api::sdk::Value;

use crate::access::Access;
use crate::buffer;
use crate::codec::Compressor;
use crate::codecs::Codecs;
use crate::dictionary::Dictionaries;
use crate::entry::{self, Meta, Seal, Unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::freshness::Moments;
use crate::language::{Bytes, Dumped, Payload};
use crate::tags::Token;

/// More than this many bytes are not compressed, and nothing is decompressed into more.
const MOST: u64 = 1 << 30;
/// What is compressed must come out at least this much smaller: `1 / GAIN` of its length.
const GAIN: usize = 10;

/// Compression of what is written.
pub struct Compression {
    /// The name it is called by in entries.
    pub name: String,
    /// What compresses.
    pub compressor: Arc<Compressor>,
    /// The options it was opened with.
    pub options: serde_json::Value,
    /// Whether it is to be trained with the values that are written.
    pub dictionary: bool,
    /// Values of fewer bytes stay as they are.
    pub threshold: u64,
}

/// What is known of an entry that is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// Unix time in nanoseconds.
    pub now: i64,
    /// Who may write to its bytes.
    pub access: Access,
    /// Whether this process has checked them before.
    pub verified: bool,
    /// Whether an expired value is wanted too.
    pub stale: bool,
}

/// What an entry held.
pub struct Unsealed {
    /// The codec of the payload.
    pub codec: String,
    /// Which version of the codec.
    pub codec_version: u16,
    /// Unix time in nanoseconds.
    pub created: i64,
    /// Unix time in nanoseconds, or [`entry::NEVER`].
    pub expires: i64,
    /// Unix time in nanoseconds, or [`entry::NEVER`].
    pub stale_until: i64,
    /// Its tags.
    pub tags: Vec<(Box<str>, Token)>,
    /// The plain bytes.
    pub payload: Payload,
}

/// How entries of a tier are made and read.
pub struct Format {
    /// Where compressors are found that entries name.
    pub codecs: Arc<Codecs>,
    /// Of what is written. What is read says itself how it was compressed.
    pub compression: Option<Compression>,
    /// What is written, and what is accepted.
    pub seal: Seal,
    /// What the language chose when it set up the tier: serializer, policies.
    pub choice: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let compression = self.compression.as_ref().map(|compression| &compression.name);
        write!(f, "Format({compression:?}, {:?})", self.seal)
    }
}

impl Format {
    /// Whether the language makes the same bytes for `other`.
    pub fn dumps_like(&self, other: &Format) -> bool {
        Arc::ptr_eq(&self.choice, &other.choice)
    }

    /// Whether it trains its compressor with what is written.
    pub fn trains(&self) -> bool {
        self.compression.as_ref().is_some_and(|compression| compression.dictionary)
    }

    /// Makes an entry of `dumped` for `key` that carries `tags`. Its moments are Unix time.
    ///
    /// # Errors
    /// The compressor failed, or the system has no random numbers.
    pub fn seal<B: Bytes>(
        &self,
        key: &[u8],
        schema: &str,
        dumped: &Dumped<B>,
        dictionaries: Option<&Dictionaries>,
        moments: &Moments,
        tags: &[entry::Tag<'_>],
    ) -> Result<Value> {
        let plain = dumped.bytes.as_ref();
        let compressed = self.compressed(plain, dictionaries)?;
        let meta = Meta {
            codec: &dumped.codec,
            codec_version: dumped.version,
            compressor: compressed.as_ref().map_or("", |(name, _)| name),
            created: moments.created,
            expires: moments.expires,
            stale_until: moments.stale_until,
            schema,
            tags,
            plain_len: plain.len() as u64,
        };
        let stored = compressed.as_ref().map_or(plain, |(_, value)| value.as_bytes().unwrap_or_default());
        // Encrypting in place would change the bytes, which another tier may want as well.
        if let (None, false, Some(value)) =
            (&compressed, matches!(self.seal, Seal::Encrypted(_)), dumped.bytes.value())
        {
            let write = |buffer: &mut [u8], room: usize| self.seal.seal_in(key, &meta, buffer, room);
            if let Some(entry) = buffer::extend(value, write) {
                return entry;
            }
        }
        self.seal.seal(key, &meta, stored).map(Value::from_vec)
    }

    /// Opens the entry of `key` in `value`; `None` if it has expired.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(
        &self,
        key: &[u8],
        schema: &str,
        value: Value,
        dictionaries: Option<&Dictionaries>,
        state: State,
    ) -> Result<Option<Unsealed>> {
        let State { now, access, verified, stale } = state;
        let bytes = value.as_bytes().unwrap_or_default();
        let opened = if stale {
            self.seal.open_stale(key, schema, bytes, now, verified)
        } else {
            self.seal.open(key, schema, bytes, now, verified)
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(Unreadable::Expired) => return Ok(None),
            Err(reason) => {
                let error =
                    Error::new(ErrorKind::Corrupt, "get", format!("an entry cannot be read: {reason}"));
                return Err(error.with("reason", reason.class()));
            }
        };
        let (codec, codec_version) = (opened.codec.to_owned(), opened.codec_version);
        let (created, expires, stale_until) = (opened.created, opened.expires, opened.stale_until);
        let tags = opened.tags.map(|tag| (tag.name.into(), tag.token)).collect();
        let (compressor, plain_len) = (opened.compressor.to_owned(), opened.plain_len);
        let stored = match opened.payload {
            entry::Payload::Range(range) => Payload::new(value, range, access, verified),
            entry::Payload::Decrypted(bytes) => Payload::of(Value::from_vec(bytes), Access::Holder, false),
        };
        let payload = if compressor.is_empty() {
            stored
        } else {
            decompressed(&*self.decompressor(&compressor, dictionaries)?, &stored, plain_len)?
        };
        Ok(Some(Unsealed { codec, codec_version, created, expires, stale_until, tags, payload }))
    }

    fn compressed(
        &self,
        plain: &[u8],
        dictionaries: Option<&Dictionaries>,
    ) -> Result<Option<(Cow<'_, str>, Value)>> {
        let Some(compression) = &self.compression else { return Ok(None) };
        let len = plain.len() as u64;
        if len < compression.threshold || len > MOST {
            return Ok(None);
        }
        let dictionaries = dictionaries.filter(|_| compression.dictionary);
        let trained = dictionaries.and_then(|dictionaries| dictionaries.trained(self, compression, plain));
        let (name, compressor) = match &trained {
            Some((name, compressor)) => (Cow::Owned((**name).to_owned()), compressor),
            None => (Cow::Borrowed(&*compression.name), &compression.compressor),
        };
        let compressed = compressor.compress(plain)?;
        let pays = compressed.weight() <= (plain.len() - plain.len() / GAIN) as u64;
        Ok(pays.then_some((name, compressed)))
    }

    fn decompressor(&self, name: &str, dictionaries: Option<&Dictionaries>) -> Result<Arc<Compressor>> {
        match (&self.compression, dictionaries) {
            (Some(compression), _) if compression.name == name => Ok(compression.compressor.clone()),
            (_, Some(dictionaries)) if name.contains('#') => dictionaries.find(self, name),
            _ => self.codecs.compressor(name, &serde_json::json!({})),
        }
    }
}

fn decompressed(compressor: &Compressor, stored: &Payload, len: u64) -> Result<Payload> {
    let corrupt =
        |message: String| Error::new(ErrorKind::Corrupt, "decompress", message).with("reason", "format");
    if len > MOST {
        return Err(corrupt(format!("an entry of {len} bytes: expected at most {MOST}")));
    }
    let plain = compressor.decompress(stored.as_bytes(), len)?;
    if plain.weight() != len {
        return Err(corrupt(format!("an entry has {} bytes, expected {len}", plain.weight())));
    }
    Ok(Payload::of(plain, Access::Holder, false))
}
