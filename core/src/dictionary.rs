//! Dictionaries that a compressor is trained with from a tier's own values.
//!
//! Small values that are alike hardly get smaller one by one; with a dictionary of what they have in
//! common they do. One is trained once enough values have been written, and stored beside the entries, so
//! that every process that shares the store finds it. Entries name the one they need: `zstd#<id>`.
//!
//! A dictionary that is lost costs the entries that need it, which are misses then, and is trained anew.

use std::sync::Arc;

use base64::prelude::{Engine, BASE64_STANDARD};
use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::sdk::Value;
use serde_json::json;

use crate::codec::Compressor;
use crate::entry::{self, Meta};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Compression, Format};
use crate::instance::Instance;
use crate::lock::Mutex;
use crate::{clock, fork};

/// What the payload of a dictionary's entry is called.
const CODEC: &str = "dictionary";
/// Shorter ones have nothing that could be found again; trainers pass them over.
const SHORTEST: usize = 8;
/// Longer values have enough to refer to in themselves, in bytes.
const LONGEST: usize = 32 * 1024;
/// The most bytes of a dictionary.
const SIZE: u64 = 32 * 1024;
/// Training begins with so many values that have so many bytes together, or with more bytes.
const SAMPLES: usize = 256;
const SAMPLE_BYTES: usize = 64 * 1024;
const MOST_BYTES: usize = 2 << 20;

/// A compressor with a dictionary, by the name that entries have for it.
type Trained = (Arc<str>, Arc<Compressor>);

/// The dictionaries of one tier.
pub struct Dictionaries {
    instance: Arc<Instance>,
    /// The key of the entry that names the dictionary in use; followed by `#` and an id, that of the
    /// dictionary.
    key: Vec<u8>,
    // Taken inside the gate of forks only.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    known: Vec<Trained>,
}

#[derive(Default)]
enum Phase {
    /// Nobody has looked yet whether there is one.
    #[default]
    Unknown,
    /// Values are gathered.
    Sampling(Vec<Vec<u8>>, usize),
    /// Somebody looks or trains.
    Busy,
    /// There is one.
    Ready(Trained),
    /// There will be none: the values have nothing in common.
    Without,
}

impl std::fmt::Debug for Dictionaries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dictionaries(..)")
    }
}

impl Dictionaries {
    /// Of the tier that keeps its entries in `instance` under keys that begin with `prefix`.
    pub fn new(instance: Arc<Instance>, prefix: &[u8]) -> Self {
        // Beside the entries, not among them: they are neither counted nor cleared with them.
        let key = [prefix.strip_suffix(b":").unwrap_or(prefix), b";dictionary"].concat();
        Dictionaries { instance, key, state: Mutex::default() }
    }

    /// What `plain` is to be compressed with; `None` for the compressor alone.
    pub fn trained(&self, format: &Format, compression: &Compression, plain: &[u8]) -> Option<Trained> {
        if !(SHORTEST..=LONGEST).contains(&plain.len()) {
            return None;
        }
        let work = {
            let _gate = fork::enter();
            let mut state = self.state.lock();
            match &mut state.phase {
                Phase::Ready(trained) => return Some(trained.clone()),
                Phase::Busy | Phase::Without => return None,
                Phase::Unknown => {}
                Phase::Sampling(samples, bytes) => {
                    samples.push(plain.to_vec());
                    *bytes += plain.len();
                    let enough = samples.len() >= SAMPLES && *bytes >= SAMPLE_BYTES;
                    if !enough && *bytes < MOST_BYTES {
                        return None;
                    }
                }
            }
            match std::mem::replace(&mut state.phase, Phase::Busy) {
                Phase::Sampling(samples, _) => Some(samples),
                _ => None,
            }
        };
        let outcome = match &work {
            // Another process may have trained one.
            None => {
                self.current(format).map(|found| found.map_or(Phase::Sampling(Vec::new(), 0), Phase::Ready))
            }
            Some(samples) => self.train(format, compression, samples).map(Phase::Ready),
        };
        let phase = outcome.unwrap_or_else(|error| {
            tracing::debug!("compression goes on without a dictionary: {error}");
            // A store that could not be asked may be asked again; values without a dictionary have none.
            if work.is_none() {
                Phase::Unknown
            } else {
                Phase::Without
            }
        });
        let trained = if let Phase::Ready(trained) = &phase { Some(trained.clone()) } else { None };
        let _gate = fork::enter();
        let mut state = self.state.lock();
        state.phase = phase;
        state.known.extend(trained.clone());
        trained
    }

    /// The compressor that an entry names.
    ///
    /// # Errors
    /// Its dictionary has been lost.
    pub fn find(&self, format: &Format, name: &str) -> Result<Arc<Compressor>> {
        {
            let _gate = fork::enter();
            let state = self.state.lock();
            if let Some((_, known)) = state.known.iter().find(|(known, _)| **known == *name) {
                return Ok(known.clone());
            }
        }
        let found = self.load(format, name)?;
        let _gate = fork::enter();
        self.state.lock().known.push((name.into(), found.clone()));
        Ok(found)
    }

    fn current(&self, format: &Format) -> Result<Option<Trained>> {
        let Some(name) = self.read(format, &self.key)? else { return Ok(None) };
        let name = String::from_utf8_lossy(&name).into_owned();
        // Named, but lost: a new one is trained.
        Ok(self.load(format, &name).ok().map(|compressor| (name.into(), compressor)))
    }

    fn load(&self, format: &Format, name: &str) -> Result<Arc<Compressor>> {
        let lost = || {
            let message =
                format!("the dictionary of `{name}`, which an entry was compressed with, has been lost");
            Error::new(ErrorKind::Corrupt, "decompress", message).with("reason", "codec")
        };
        let (component, id) = name.split_once('#').ok_or_else(lost)?;
        let bytes =
            self.read(format, &self.key_of(id))?.filter(|bytes| id_of(bytes) == id).ok_or_else(lost)?;
        open(format, component, &json!({}), &bytes)
    }

    fn train(&self, format: &Format, compression: &Compression, samples: &[Vec<u8>]) -> Result<Trained> {
        let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
        let dictionary = compression.compressor.train(&samples, SIZE)?;
        let dictionary = dictionary.as_bytes().unwrap_or_default();
        let id = id_of(dictionary);
        let name = format!("{}#{id}", compression.name);
        let compressor = open(format, &compression.name, &compression.options, dictionary)?;
        // The dictionary first: whoever finds its name finds it as well.
        self.write(format, &self.key_of(&id), dictionary)?;
        self.write(format, &self.key, name.as_bytes())?;
        Ok((name.into(), compressor))
    }

    fn key_of(&self, id: &str) -> Vec<u8> {
        [&self.key, b"#".as_slice(), id.as_bytes()].concat()
    }

    fn read(&self, format: &Format, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(item) = self.instance.read(key)? else { return Ok(None) };
        let bytes = item.value.as_bytes().unwrap_or_default();
        // What cannot be read is not there.
        let opened = format.seal.open(key, "", bytes, clock::unix(), false).ok();
        let opened = opened.filter(|opened| opened.codec == CODEC && opened.compressor.is_empty());
        Ok(opened.map(|opened| opened.payload.bytes(bytes).to_vec()))
    }

    fn write(&self, format: &Format, key: &[u8], payload: &[u8]) -> Result<()> {
        let meta = Meta {
            codec: CODEC,
            created: clock::unix(),
            expires: entry::NEVER,
            stale_until: entry::NEVER,
            plain_len: payload.len() as u64,
            ..Meta::default()
        };
        self.instance.set(key, Value::from_vec(format.seal.seal(key, &meta, payload)?), NEVER)
    }
}

/// A dictionary is called by what it is.
fn id_of(dictionary: &[u8]) -> String {
    blake3::hash(dictionary).to_hex()[..16].to_owned()
}

fn open(
    format: &Format,
    component: &str,
    options: &serde_json::Value,
    dictionary: &[u8],
) -> Result<Arc<Compressor>> {
    let mut options = options.clone();
    options["dictionary"] = BASE64_STANDARD.encode(dictionary).into();
    // Not kept among the process's compressors: it goes with the tier.
    format.codecs.open_compressor(component, &options).map(Arc::new)
}
