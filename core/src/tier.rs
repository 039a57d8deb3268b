//! One tier of a function: a backend instance, and how entries are read from it and written to it.

use std::borrow::Cow;
use std::sync::Arc;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::abi::capability;
use retainit_plugin_api::sdk::{Item, Value};

use crate::entry::{self, Unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::function::Function;
use crate::instance::Instance;
use crate::language::{Language, Payload};
use crate::{clock, key, verified};

/// A backend in a function's list of tiers.
#[derive(Debug, Clone)]
pub struct Tier {
    instance: Arc<Instance>,
    ttl: i64,
    prefix: Vec<u8>,
}

/// A call's key: the function's number, and the encoding of the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallKey {
    local: Vec<u8>,
    portable: bool,
}

impl CallKey {
    /// The key of a function's call from the encoding of its arguments. One that is not `portable`
    /// has no meaning outside the process.
    pub fn new(function: &Function, encoding: &[u8], portable: bool) -> Self {
        CallKey { local: [&function.local_prefix(), encoding].concat(), portable }
    }

    /// As tiers inside the process know it.
    pub fn local(&self) -> &[u8] {
        &self.local
    }

    /// The encoding of the arguments.
    pub fn encoding(&self) -> &[u8] {
        &self.local[Function::LOCAL_PREFIX..]
    }

    /// Whether tiers outside the process may know it.
    pub fn is_portable(&self) -> bool {
        self.portable
    }
}

/// A value that was found.
pub struct Found<O> {
    /// The object.
    pub object: O,
    /// Nanoseconds it has left; [`NEVER`] for ever.
    pub remaining: i64,
}

impl Tier {
    /// A backend that keeps entries of `function` for `ttl` nanoseconds ([`NEVER`]: for ever), under
    /// `namespace` and `version` where others can see them.
    pub fn new(
        instance: Arc<Instance>,
        ttl: i64,
        function: &Function,
        namespace: &str,
        version: &str,
    ) -> Self {
        let outside = instance.capabilities() & (capability::SHARED | capability::PERSISTENT) != 0;
        let prefix = if outside {
            function.storage_prefix(namespace, version)
        } else {
            function.local_prefix().to_vec()
        };
        Tier { instance, ttl, prefix }
    }

    /// The backend.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Time to live of what is stored, in nanoseconds; [`NEVER`] for none.
    pub fn ttl(&self) -> i64 {
        self.ttl
    }

    /// First bytes of the keys that the function has here.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether it keeps the very objects.
    pub fn keeps_objects(&self) -> bool {
        self.instance.capabilities() & capability::OBJECTS != 0
    }

    /// Whether calls may block.
    pub fn may_block(&self) -> bool {
        self.instance.capabilities() & capability::INLINE == 0
    }

    /// Whether its entries can be seen from outside the process.
    pub fn is_outside(&self) -> bool {
        self.instance.capabilities() & (capability::SHARED | capability::PERSISTENT) != 0
    }

    /// The spelling of `key` it uses; `None` where the key must not get there.
    pub fn key<'k>(&self, key: &'k CallKey) -> Option<Cow<'k, [u8]>> {
        if !self.is_outside() {
            return Some(Cow::Borrowed(&key.local));
        }
        key.portable.then(|| Cow::Owned(key::storage_key(&self.prefix, key.encoding())))
    }

    /// Reads an entry. What cannot be read is a miss; `unreadable` is told why.
    ///
    /// # Errors
    /// The backend's, and the language's when it cannot make an object of the bytes.
    pub fn read<L: Language>(
        &self,
        language: &L,
        key: &CallKey,
        unreadable: impl FnOnce(Error),
    ) -> Result<Option<Found<L::Object>>> {
        let Some(key) = self.key(key) else { return Ok(None) };
        // References to objects are added only while the language is held.
        let item = if self.may_block() && !self.keeps_objects() {
            language.detached(|| self.instance.read(&key))?
        } else {
            self.instance.read(&key)?
        };
        let Some(Item { value, expires, token }) = item else { return Ok(None) };
        let remaining = if expires == NEVER { NEVER } else { expires.saturating_sub(clock::monotonic()) };
        if value.is_object() {
            return Ok(language.take(value).map(|object| Found { object, remaining }));
        }
        let now = clock::unix();
        let bytes = value.as_bytes().unwrap_or_default();
        let verified = verified::contains(bytes.len(), &token);
        let opened = match entry::open(&key, bytes, now, verified) {
            Ok(opened) => opened,
            Err(Unreadable::Expired) => return Ok(None),
            Err(reason) => {
                let error =
                    Error::new(ErrorKind::Corrupt, "get", format!("an entry could not be read: {reason:?}"));
                unreadable(error.with("backend", self.instance.name()));
                return Ok(None);
            }
        };
        verified::add(bytes.len(), &token);
        let (codec, expires) = (opened.codec, opened.expires);
        let sealed = if expires == entry::NEVER { NEVER } else { expires - now };
        let payload = entry::HEADER..bytes.len();
        match language.load(codec, Payload::new(value, payload)) {
            Ok(object) => Ok(Some(Found { object, remaining: remaining.min(sealed) })),
            Err(error) => {
                unreadable(error);
                Ok(None)
            }
        }
    }

    /// Seals `payload` for this tier under `key`.
    pub fn seal(&self, key: &[u8], codec: u16, payload: &[u8], ttl: i64) -> Value {
        let now = clock::unix();
        let expires = if ttl == NEVER { entry::NEVER } else { now.saturating_add(ttl) };
        Value::from_vec(entry::seal(key, codec, now, expires, payload))
    }
}
