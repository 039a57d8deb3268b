//! The backend.

use std::sync::Arc;

use retainit_plugin_api::sdk::{
    capability, Backend, Call, Entry, Error, ErrorKind, Host, Item, Lease, Result, ScanPage, Token, Value,
    NEVER,
};
use serde_json::json;

use super::cache::{integer, Cache, Condition, Write};
use super::config::Config;
use super::hasher::Hasher;
use super::lease::Leases;
use super::sweeper::Sweeper;

/// Most keys of a page of `scan`, whatever is asked for.
const MAX_PAGE: u64 = 10_000;

/// Entries in the memory of this process.
pub struct MemoryBackend {
    cache: Arc<Cache>,
    sweeper: Sweeper,
    leases: Leases,
    host: Host,
}

impl MemoryBackend {
    /// An instance whose hashes, and so whose shards and evictions, are the same in every run: for tests
    /// and measurements only, because whoever knows the seed can choose keys that collide. No option
    /// leads here.
    ///
    /// # Errors
    /// Those of [`open`](Backend::open).
    #[doc(hidden)]
    pub fn seeded(options: Config, host: Host, seed: u64) -> Result<Self> {
        Self::hashing_with(Hasher::seeded(seed), options, host)
    }

    fn hashing_with(hasher: Hasher, options: Config, host: Host) -> Result<Self> {
        options.check()?;
        Ok(MemoryBackend {
            cache: Arc::new(Cache::new(&options, hasher, host)),
            sweeper: Sweeper::new(options.sweep_interval(), host),
            // Microseconds: more than are ever acquired in one.
            leases: Leases::new(u64::try_from(host.unix_time() / 1_000).unwrap_or(0)),
            host,
        })
    }

    /// The time, for what needs one even where the call does not say.
    fn now(&self, call: &Call<'_>) -> i64 {
        match call.now() {
            0 => self.host.monotonic(),
            now => now,
        }
    }

    /// When something that lives for `ttl` is over.
    fn expires(&self, call: &Call<'_>, ttl: i64) -> Result<i64> {
        match ttl {
            NEVER => Ok(NEVER),
            1.. => Ok(self.now(call).saturating_add(ttl)),
            _ => Err(Error::new(
                ErrorKind::Invalid,
                format!("invalid time to live: expected at least one nanosecond, found `{ttl}`"),
            )),
        }
    }

    fn put(&self, call: &Call<'_>, entry: Entry<'_>, condition: Condition) -> Result<Option<Token>> {
        let expires = self.expires(call, entry.ttl)?;
        Ok(self.write(call, Write { key: entry.key, value: entry.value, expires, condition }))
    }

    fn write(&self, call: &Call<'_>, write: Write<'_>) -> Option<Token> {
        let expires = write.expires;
        let token = self.cache.put(call.now(), write);
        if expires != NEVER {
            self.sweeper.ensure(&self.cache);
        }
        token
    }
}

impl Backend for MemoryBackend {
    const NAME: &'static str = "memory";
    const CAPABILITIES: u64 = capability::INLINE
        | capability::OBJECTS
        | capability::TTL
        | capability::CAS
        | capability::COUNTER
        | capability::SCAN
        | capability::LEASE
        | capability::FORK
        | capability::EVICTS;
    const SCHEMA: &'static str = crate::SCHEMA;
    type Options = Config;

    fn open(options: Config, host: Host) -> Result<Self> {
        Self::hashing_with(Hasher::random(), options, host)
    }

    #[inline(always)]
    fn get(&self, call: &Call<'_>, key: &[u8]) -> Result<Option<Item>> {
        Ok(self.cache.get(call, key))
    }

    fn set(&self, call: &Call<'_>, entry: Entry<'_>) -> Result<()> {
        self.put(call, entry, Condition::Always).map(drop)
    }

    fn delete(&self, call: &Call<'_>, key: &[u8]) -> Result<bool> {
        Ok(self.cache.delete(call.now(), key))
    }

    fn clear(&self, call: &Call<'_>, prefix: &[u8]) -> Result<u64> {
        Ok(self.cache.clear(call.now(), prefix))
    }

    fn quiesce(&self, call: &Call<'_>) -> Result<()> {
        if self.sweeper.stop(call.remaining()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Timeout, "the sweep of expired entries did not end before the deadline"))
    }

    fn add(&self, call: &Call<'_>, entry: Entry<'_>) -> Result<Option<Token>> {
        self.put(call, entry, Condition::Token(Token::default()))
    }

    fn compare_and_set(&self, call: &Call<'_>, entry: Entry<'_>, token: Token) -> Result<Option<Token>> {
        self.put(call, entry, Condition::Token(token))
    }

    fn increment(&self, call: &Call<'_>, key: &[u8], delta: i64, ttl: i64) -> Result<i64> {
        // Ends: a write that does not take place was overtaken by one that did.
        loop {
            let (number, expires, token) = match self.cache.peek(key, call.now(), integer) {
                Some(seen) => (seen.what?, seen.expires, seen.token),
                None => (0, self.expires(call, ttl)?, Token::default()),
            };
            let Some(sum) = number.checked_add(delta) else {
                let message = format!("adding `{delta}` to `{number}` exceeds 64 bits");
                return Err(Error::new(ErrorKind::Invalid, message));
            };
            let value = Value::from_vec(sum.to_string().into_bytes());
            let write = Write { key, value, expires, condition: Condition::Token(token) };
            if self.write(call, write).is_some() {
                return Ok(sum);
            }
        }
    }

    fn touch(&self, call: &Call<'_>, key: &[u8], ttl: i64) -> Result<bool> {
        let expires = self.expires(call, ttl)?;
        let found = self.cache.touch(call.now(), key, expires);
        if expires != NEVER {
            self.sweeper.ensure(&self.cache);
        }
        Ok(found)
    }

    fn ttl(&self, call: &Call<'_>, key: &[u8]) -> Result<Option<i64>> {
        let now = self.now(call);
        Ok(self.cache.peek(key, now, |_| ()).map(|seen| match seen.expires {
            NEVER => NEVER,
            expires => expires - now,
        }))
    }

    fn scan(
        &self,
        call: &Call<'_>,
        prefix: &[u8],
        pattern: &[u8],
        cursor: u64,
        limit: u64,
    ) -> Result<ScanPage> {
        Ok(self.cache.scan(call.now(), prefix, pattern, cursor, limit.clamp(1, MAX_PAGE) as usize))
    }

    fn count(&self, call: &Call<'_>, prefix: &[u8]) -> Result<u64> {
        Ok(self.cache.count(call.now(), prefix))
    }

    fn lease_acquire(&self, call: &Call<'_>, name: &[u8], ttl: i64) -> Result<Option<Lease>> {
        Ok(self.leases.acquire(name, self.now(call), self.expires(call, ttl)?))
    }

    fn lease_renew(&self, call: &Call<'_>, name: &[u8], ttl: i64, lease: &Lease) -> Result<bool> {
        Ok(self.leases.renew(name, lease, self.now(call), self.expires(call, ttl)?))
    }

    fn lease_release(&self, call: &Call<'_>, name: &[u8], lease: &Lease) -> Result<bool> {
        Ok(self.leases.release(name, lease, self.now(call)))
    }

    fn statistics(&self, _call: &Call<'_>) -> Result<serde_json::Value> {
        let (numbers, refused) = self.cache.numbers();
        Ok(json!({
            "entries": numbers.entries,
            "bytes": numbers.bytes,
            "evictions": numbers.evictions,
            "expirations": numbers.expirations,
            "refused": refused,
            "allocated": numbers.allocated,
            "shards": self.cache.shards(),
        }))
    }

    fn fork_prepare(&self) {
        self.sweeper.acquire_lock();
        self.leases.acquire_lock();
        self.cache.acquire_all();
    }

    fn fork_parent(&self) {
        self.cache.release_all();
        self.leases.release_lock();
        self.sweeper.release_lock();
    }

    fn fork_child(&self) {
        self.fork_parent();
        self.leases.forget_all();
        self.sweeper.forget_thread();
    }
}

impl Drop for MemoryBackend {
    fn drop(&mut self) {
        self.sweeper.stop(None);
        // Explicitly, for in the child of a fork the parent's thread may never give its reference
        // to the cache back.
        self.cache.clear(0, b"");
    }
}
