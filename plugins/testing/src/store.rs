//! The three backends: the same entries, script and record behind three manners of answering.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use retainit_plugin_api::sdk::{
    capability, Backend, Call, Completer, Entry, Error, ErrorKind, Host, Item, Lease, Request, Result,
    ScanPage, Token, Value, NEVER,
};
use serde_json::json;

use super::channel::{self, Asked, Begun, Channel};
use super::config::Config;
use super::later::{self, Threads};
use super::map::{end, Map};

/// What a damaged store gives: too short for a header, and not text.
const GARBAGE: [u8; 16] = [0xDE; 16];

const COMMON: u64 =
    capability::TTL | capability::CAS | capability::COUNTER | capability::SCAN | capability::LEASE;

/// How a backend answers.
pub trait Manner: Send + Sync + fmt::Debug + 'static {
    /// The component's name.
    const NAME: &'static str;
    /// Its capabilities.
    const CAPABILITIES: u64;
}

/// Callers wait for the answer; entries are bytes that others may see.
#[derive(Debug)]
pub struct Blocking;

impl Manner for Blocking {
    const NAME: &'static str = "testing";
    const CAPABILITIES: u64 = capability::BLOCKING | capability::SHARED | COMMON;
}

/// The answer comes from a thread of the backend's own; entries are bytes that others may see.
#[derive(Debug)]
pub struct Later;

impl Manner for Later {
    const NAME: &'static str = "testing_async";
    const CAPABILITIES: u64 = capability::ASYNC | capability::SHARED | COMMON;
}

/// The answer is there at once; entries may be objects.
#[derive(Debug)]
pub struct Inline;

impl Manner for Inline {
    const NAME: &'static str = "testing_inline";
    const CAPABILITIES: u64 = capability::INLINE | capability::OBJECTS | COMMON;
}

/// One of the backends.
#[derive(Debug)]
pub struct Scripted<M> {
    store: Arc<Store>,
    threads: Threads,
    manner: PhantomData<M>,
}

/// What an instance and its threads share.
#[derive(Debug)]
pub struct Store {
    channel: Arc<Channel>,
    entries: Arc<Mutex<Map>>,
    takes_objects: bool,
    host: Host,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.channel.leave();
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Map> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the entries, under the lock for no longer than that.
    fn with<T>(&self, body: impl FnOnce(&mut Map) -> T) -> T {
        body(&mut self.lock())
    }

    fn begin<'a>(
        &'a self,
        call: &Call<'_>,
        operation: &'static str,
        keys: &[&[u8]],
        ttl: Option<i64>,
    ) -> Result<Begun<'a>> {
        let begun =
            self.channel.begin(self.host, Asked { operation, keys, ttl, deadline: call.deadline() })?;
        if begun.is_twice {
            later::answer_twice();
        }
        Ok(begun)
    }

    /// The time after a wait, or zero where the host wants no look at expiry.
    fn now(&self, call: &Call<'_>) -> i64 {
        if call.now() == 0 {
            0
        } else {
            call.now().max(self.host.monotonic())
        }
    }

    /// When what is stored now for `ttl` is over.
    fn end(&self, ttl: i64) -> Result<i64> {
        end(self.host.monotonic(), ttl)
    }

    fn find(&self, call: &Call<'_>, map: &Map, key: &[u8]) -> Option<Item> {
        map.live(key, self.now(call)).map(|stored| Item {
            value: stored.value.share(call),
            expires: stored.expires,
            token: stored.token,
        })
    }

    /// Stores an entry if `allow` says so of the version there is.
    fn write(
        &self,
        call: &Call<'_>,
        entry: Entry<'_>,
        allow: impl FnOnce(Option<Token>) -> bool,
    ) -> Result<Option<Token>> {
        if entry.value.is_object() && !self.takes_objects {
            return Err(Error::new(ErrorKind::Invalid, "expected bytes, found an object"));
        }
        let (now, expires) = (self.now(call), self.end(entry.ttl)?);
        let mut map = self.lock();
        if !allow(map.live(entry.key, now).map(|stored| stored.token)) {
            return Ok(None);
        }
        let (token, old) = map.put(entry.key, entry.value, expires);
        drop(map);
        drop(old);
        Ok(Some(token))
    }

    fn remove(&self, call: &Call<'_>, key: &[u8]) -> bool {
        let now = self.now(call);
        let mut map = self.lock();
        let was_there = map.live(key, now).is_some();
        let removed = map.take(key);
        drop(map);
        drop(removed);
        was_there
    }
}

fn garbage() -> Item {
    Item::new(Value::from_vec(GARBAGE.to_vec()))
}

impl<M: Manner> Scripted<M> {
    fn begin(
        &self,
        call: &Call<'_>,
        operation: &'static str,
        keys: &[&[u8]],
        ttl: Option<i64>,
    ) -> Result<Begun<'_>> {
        self.store.begin(call, operation, keys, ttl)
    }

    /// The same backend for a thread of its own, which answers as if on return.
    fn twin(&self) -> Self {
        Scripted { store: Arc::clone(&self.store), threads: Threads::default(), manner: PhantomData }
    }
}

impl<M: Manner> Backend for Scripted<M> {
    const NAME: &'static str = M::NAME;
    const CAPABILITIES: u64 = M::CAPABILITIES;
    const SCHEMA: &'static str = crate::SCHEMA;
    type Options = Config;

    fn open(options: Config, host: Host) -> Result<Self> {
        options.check()?;
        let channel = channel::open(M::NAME, options.channel.as_deref(), options.max_calls);
        let is_shared = M::CAPABILITIES & capability::SHARED != 0;
        let store = Store {
            entries: if is_shared { channel.entries() } else { Arc::default() },
            channel,
            takes_objects: M::CAPABILITIES & capability::OBJECTS != 0,
            host,
        };
        let store = Arc::new(store);
        Ok(Scripted { store, threads: Threads::default(), manner: PhantomData })
    }

    fn get(&self, call: &Call<'_>, key: &[u8]) -> Result<Option<Item>> {
        let begun = self.begin(call, "get", &[key], None)?;
        if begun.is_garbage {
            return Ok(Some(garbage()));
        }
        Ok(self.store.with(|map| self.store.find(call, map, key)))
    }

    fn set(&self, call: &Call<'_>, entry: Entry<'_>) -> Result<()> {
        let _begun = self.begin(call, "set", &[entry.key], Some(entry.ttl))?;
        self.store.write(call, entry, |_| true).map(drop)
    }

    fn delete(&self, call: &Call<'_>, key: &[u8]) -> Result<bool> {
        let _begun = self.begin(call, "delete", &[key], None)?;
        Ok(self.store.remove(call, key))
    }

    fn clear(&self, call: &Call<'_>, prefix: &[u8]) -> Result<u64> {
        let _begun = self.begin(call, "clear", &[prefix], None)?;
        let removed = self.store.with(|map| map.clear(prefix));
        Ok(removed.len() as u64)
    }

    fn quiesce(&self, call: &Call<'_>) -> Result<()> {
        // Nobody is left who would release what hangs.
        self.store.channel.release();
        self.threads.finish(call.remaining())
    }

    fn get_many(&self, call: &Call<'_>, keys: &[&[u8]]) -> Vec<Result<Option<Item>>> {
        match self.begin(call, "get_many", keys, None) {
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
            Ok(begun) if begun.is_garbage => keys.iter().map(|_| Ok(Some(garbage()))).collect(),
            Ok(_begun) => {
                let map = self.store.lock();
                keys.iter().map(|key| Ok(self.store.find(call, &map, key))).collect()
            }
        }
    }

    fn set_many(&self, call: &Call<'_>, entries: Vec<Entry<'_>>) -> Vec<Result<()>> {
        let keys: Vec<&[u8]> = entries.iter().map(|entry| entry.key).collect();
        match self.begin(call, "set_many", &keys, entries.first().map(|entry| entry.ttl)) {
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
            Ok(_begun) => {
                entries.into_iter().map(|entry| self.store.write(call, entry, |_| true).map(drop)).collect()
            }
        }
    }

    fn delete_many(&self, call: &Call<'_>, keys: &[&[u8]]) -> Vec<Result<bool>> {
        match self.begin(call, "delete_many", keys, None) {
            Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
            Ok(_begun) => keys.iter().map(|key| Ok(self.store.remove(call, key))).collect(),
        }
    }

    fn add(&self, call: &Call<'_>, entry: Entry<'_>) -> Result<Option<Token>> {
        let _begun = self.begin(call, "add", &[entry.key], Some(entry.ttl))?;
        self.store.write(call, entry, |there| there.is_none())
    }

    fn compare_and_set(&self, call: &Call<'_>, entry: Entry<'_>, token: Token) -> Result<Option<Token>> {
        let _begun = self.begin(call, "compare_and_set", &[entry.key], Some(entry.ttl))?;
        self.store.write(call, entry, |there| there.unwrap_or_default() == token)
    }

    fn increment(&self, call: &Call<'_>, key: &[u8], delta: i64, ttl: i64) -> Result<i64> {
        let _begun = self.begin(call, "increment", &[key], Some(ttl))?;
        let (now, expires) = (self.store.now(call), self.store.end(ttl)?);
        let (sum, replaced) = self.store.with(|map| map.increment(key, delta, now, expires))?;
        drop(replaced);
        Ok(sum)
    }

    fn touch(&self, call: &Call<'_>, key: &[u8], ttl: i64) -> Result<bool> {
        let _begun = self.begin(call, "touch", &[key], Some(ttl))?;
        let (now, expires) = (self.store.now(call), self.store.end(ttl)?);
        Ok(self.store.with(|map| map.touch(key, now, expires)))
    }

    fn ttl(&self, call: &Call<'_>, key: &[u8]) -> Result<Option<i64>> {
        let _begun = self.begin(call, "ttl", &[key], None)?;
        let (now, precise) = (self.store.now(call), self.store.host.monotonic());
        let left = |expires: i64| if expires == NEVER { NEVER } else { expires - precise };
        Ok(self.store.with(|map| map.live(key, now).map(|stored| left(stored.expires))))
    }

    fn scan(
        &self,
        call: &Call<'_>,
        prefix: &[u8],
        pattern: &[u8],
        cursor: u64,
        limit: u64,
    ) -> Result<ScanPage> {
        let _begun = self.begin(call, "scan", &[prefix], None)?;
        let now = self.store.now(call);
        Ok(self.store.with(|map| map.scan(prefix, pattern, now, cursor, limit)))
    }

    fn count(&self, call: &Call<'_>, prefix: &[u8]) -> Result<u64> {
        let _begun = self.begin(call, "count", &[prefix], None)?;
        let now = self.store.now(call);
        Ok(self.store.with(|map| map.count(prefix, now)))
    }

    fn lease_acquire(&self, call: &Call<'_>, name: &[u8], ttl: i64) -> Result<Option<Lease>> {
        let _begun = self.begin(call, "lease_acquire", &[name], Some(ttl))?;
        let (now, expires) = (self.store.host.monotonic(), self.store.end(ttl)?);
        Ok(self.store.with(|map| map.acquire(name, now, expires)))
    }

    fn lease_renew(&self, call: &Call<'_>, name: &[u8], ttl: i64, lease: &Lease) -> Result<bool> {
        let _begun = self.begin(call, "lease_renew", &[name], Some(ttl))?;
        let (now, expires) = (self.store.host.monotonic(), self.store.end(ttl)?);
        Ok(self.store.with(|map| map.hold(name, lease, now, Some(expires))))
    }

    fn lease_release(&self, call: &Call<'_>, name: &[u8], lease: &Lease) -> Result<bool> {
        let _begun = self.begin(call, "lease_release", &[name], None)?;
        let now = self.store.host.monotonic();
        Ok(self.store.with(|map| map.hold(name, lease, now, None)))
    }

    fn ping(&self, call: &Call<'_>) -> Result<()> {
        self.begin(call, "ping", &[], None).map(drop)
    }

    fn statistics(&self, call: &Call<'_>) -> Result<serde_json::Value> {
        let _begun = self.begin(call, "statistics", &[], None)?;
        let map = self.store.lock();
        Ok(json!({"entries": map.count(b"", 0), "bytes": map.bytes(), "evictions": 0}))
    }

    fn flush(&self, call: &Call<'_>) -> Result<()> {
        self.begin(call, "flush", &[], None).map(drop)
    }

    fn start(&self, call: &Call<'_>, request: Request, completer: Completer) {
        let host = self.store.host;
        self.threads.answer(host, call, self.twin(), request, completer);
    }
}

impl<M> Drop for Scripted<M> {
    fn drop(&mut self) {
        // The threads use the host, which is there as long as the instance.
        if !self.threads.are_idle() {
            self.store.channel.release();
            self.threads.join();
        }
    }
}
