//! Text to a tree.

use std::fmt;

use retainit_plugin_api::sdk::tree::{write, DEPTH};
use retainit_plugin_api::sdk::{Error, ErrorKind, Result};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::keys::Keys;
use super::number::has_wide_integer;

/// The tree of a text. `CORRUPT` for what is no JSON text, and for what the tree could not say exactly.
pub(crate) fn read(text: &[u8]) -> Result<Vec<u8>> {
    let mut state =
        State { out: Vec::with_capacity(text.len() + 16), keys: Keys::default(), doubtful: false };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Node { state: &mut state, depth: DEPTH }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| corrupt(&error.to_string()))?;
    if state.doubtful && has_wide_integer(text) {
        return Err(corrupt("an integer is beyond 64 bits or a negative zero"));
    }
    Ok(state.out)
}

#[cold]
fn corrupt(why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("expected json text, found otherwise: {why}"))
}

/// The tree as far as it is written.
struct State {
    out: Vec<u8>,
    keys: Keys,
    /// Whether a float was read that the text may have as an integer.
    doubtful: bool,
}

/// The place of one value.
struct Node<'a> {
    state: &'a mut State,
    depth: u32,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Node<'_> {
    fn deeper<E: de::Error>(&mut self) -> Result<u32, E> {
        self.depth.checked_sub(1).ok_or_else(|| E::custom(format_args!("nested deeper than {DEPTH}")))
    }

    /// Room for a head whose count is known at the end only: one for counts of four bytes.
    fn open(&mut self, marker: u8) -> usize {
        let at = self.state.out.len();
        self.state.out.extend([marker, 0, 0, 0, 0]);
        at
    }

    fn close<E: de::Error>(self, at: usize, count: usize) -> Result<(), E> {
        let count = u32::try_from(count).map_err(|_| E::custom("a list or a map has too many items"))?;
        self.state.out[at + 1..at + 5].copy_from_slice(&count.to_be_bytes());
        Ok(())
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.state.out.push(0xc0);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.state.out.push(0xc2 + u8::from(value));
        Ok(())
    }

    #[inline]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        write::int(&mut self.state.out, value);
        Ok(())
    }

    #[inline]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        match i64::try_from(value) {
            Ok(value) => write::int(&mut self.state.out, value),
            Err(_) => write::unsigned(&mut self.state.out, value),
        }
        Ok(())
    }

    #[inline]
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        // What is less than this is a float as it was written, but for `-0`.
        const WIDE: f64 = i64::MAX as f64;
        self.state.doubtful |= value.abs() >= WIDE || (value == 0.0 && value.is_sign_negative());
        write::float(&mut self.state.out, value);
        Ok(())
    }

    #[inline]
    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        write::text(&mut self.state.out, text.len()).ok_or_else(|| E::custom("a text is too long"))?;
        self.state.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let at = self.open(0xdd);
        let mut count = 0;
        while items.next_element_seed(Node { state: self.state, depth })?.is_some() {
            count += 1;
        }
        self.close(at, count)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let at = self.open(0xdf);
        let keys = self.state.keys.begin();
        let mut count = 0;
        while entries.next_key_seed(Key(self.state))?.is_some() {
            entries.next_value_seed(Node { state: self.state, depth })?;
            count += 1;
        }
        if !self.state.keys.end(keys, &self.state.out) {
            return Err(de::Error::custom("a map has a key twice"));
        }
        self.close(at, count)
    }
}

/// The place of a map's key.
struct Key<'a>(&'a mut State);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text for a key")
    }

    #[inline]
    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let State { out, keys, .. } = self.0;
        write::text(out, text.len()).ok_or_else(|| E::custom("a key is too long"))?;
        out.extend_from_slice(text.as_bytes());
        keys.push(out.len() - text.len()..out.len());
        Ok(())
    }
}
