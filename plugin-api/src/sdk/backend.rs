//! The trait of backends.

use serde::de::DeserializeOwned;

use super::call::{Call, Host};
use super::error::{Error, Result};
use super::request::{Completer, Request};
use super::value::Value;
use super::{Lease, Token, NEVER};

/// What `get` finds.
#[derive(Debug)]
pub struct Item {
    /// The value.
    pub value: Value,
    /// When it expires, on the host's monotonic clock; [`NEVER`] if it does not.
    pub expires: i64,
    /// Its version, where the backend has `CAS`.
    pub token: Token,
}

impl Item {
    /// A value that does not expire, without a version.
    pub fn new(value: Value) -> Self {
        Item { value, expires: NEVER, token: Token::default() }
    }
}

/// What `set` and its relatives store.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: Value,
    /// Time to live in nanoseconds; [`NEVER`] for none.
    pub ttl: i64,
}

/// One page of a scan.
#[derive(Debug, Default)]
pub struct ScanPage {
    /// Keys.
    pub keys: Vec<Vec<u8>>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<std::num::NonZeroU64>,
}

/// A store. One instance serves many threads.
///
/// The required methods are the core; the others are used only where the capability is declared.
/// Methods are called synchronously. A backend that declares [`ASYNC`](crate::abi::capability::ASYNC)
/// gets calls that carry an operation id through [`Backend::start`] instead.
pub trait Backend: Send + Sync + Sized + 'static {
    /// The name that configurations use.
    const NAME: &'static str;
    /// Bits of [`capability`](crate::abi::capability).
    const CAPABILITIES: u64;
    /// JSON Schema of [`Backend::Options`], an object with `properties`.
    const SCHEMA: &'static str;
    /// Options, read from the JSON object that the host gives.
    type Options: DeserializeOwned;

    /// Makes an instance. Cheap: threads, sockets and files start at the first use.
    fn open(options: Self::Options, host: Host) -> Result<Self>;

    /// Reads an entry; an expired one is absent.
    fn get(&self, call: &Call<'_>, key: &[u8]) -> Result<Option<Item>>;
    /// Stores an entry, replacing what was there.
    fn set(&self, call: &Call<'_>, entry: Entry<'_>) -> Result<()>;
    /// Removes an entry; says whether it was there.
    fn delete(&self, call: &Call<'_>, key: &[u8]) -> Result<bool>;
    /// Removes all entries whose key starts with `prefix`; says how many there were.
    fn clear(&self, call: &Call<'_>, prefix: &[u8]) -> Result<u64>;
    /// Finishes work in flight before the deadline and stops background threads; the instance still
    /// answers afterwards.
    fn quiesce(&self, call: &Call<'_>) -> Result<()>;

    /// Reads many.
    fn get_many(&self, call: &Call<'_>, keys: &[&[u8]]) -> Vec<Result<Option<Item>>> {
        keys.iter().map(|key| self.get(call, key)).collect()
    }
    /// Stores many.
    fn set_many(&self, call: &Call<'_>, entries: Vec<Entry<'_>>) -> Vec<Result<()>> {
        entries.into_iter().map(|entry| self.set(call, entry)).collect()
    }
    /// Removes many.
    fn delete_many(&self, call: &Call<'_>, keys: &[&[u8]]) -> Vec<Result<bool>> {
        keys.iter().map(|key| self.delete(call, key)).collect()
    }

    /// `CAS`: stores only where no entry is; the new token, or `None` where one was.
    fn add(&self, _call: &Call<'_>, _entry: Entry<'_>) -> Result<Option<Token>> {
        Err(Error::unsupported("add"))
    }
    /// `CAS`: stores only where the entry's token is `token` (all zero: where none is); the new
    /// token, or `None` where it was another.
    fn compare_and_set(&self, _call: &Call<'_>, _entry: Entry<'_>, _token: Token) -> Result<Option<Token>> {
        Err(Error::unsupported("compare_and_set"))
    }
    /// `COUNTER`: adds `delta` to a decimal integer that starts at zero (with `ttl`, when created).
    fn increment(&self, _call: &Call<'_>, _key: &[u8], _delta: i64, _ttl: i64) -> Result<i64> {
        Err(Error::unsupported("increment"))
    }
    /// `TTL`: gives a present entry a new time to live; says whether it was there.
    fn touch(&self, _call: &Call<'_>, _key: &[u8], _ttl: i64) -> Result<bool> {
        Err(Error::unsupported("touch"))
    }
    /// `TTL`: remaining nanoseconds ([`NEVER`] for no expiry), or `None` where there is no entry.
    fn ttl(&self, _call: &Call<'_>, _key: &[u8]) -> Result<Option<i64>> {
        Err(Error::unsupported("ttl"))
    }
    /// `SCAN`: a page of keys that start with `prefix` and match the glob `pattern` (empty: all).
    fn scan(
        &self,
        _call: &Call<'_>,
        _prefix: &[u8],
        _pattern: &[u8],
        _cursor: u64,
        _limit: u64,
    ) -> Result<ScanPage> {
        Err(Error::unsupported("scan"))
    }
    /// `SCAN`: number of entries whose key starts with `prefix`.
    fn count(&self, _call: &Call<'_>, _prefix: &[u8]) -> Result<u64> {
        Err(Error::unsupported("count"))
    }

    /// `LEASE`: takes the lease `name` for `ttl` nanoseconds, or `None` if somebody holds it.
    fn lease_acquire(&self, _call: &Call<'_>, _name: &[u8], _ttl: i64) -> Result<Option<Lease>> {
        Err(Error::unsupported("lease_acquire"))
    }
    /// `LEASE`: prolongs a lease; `false` if it was lost.
    fn lease_renew(&self, _call: &Call<'_>, _name: &[u8], _ttl: i64, _lease: &Lease) -> Result<bool> {
        Err(Error::unsupported("lease_renew"))
    }
    /// `LEASE`: gives a lease back; `false` if it was lost.
    fn lease_release(&self, _call: &Call<'_>, _name: &[u8], _lease: &Lease) -> Result<bool> {
        Err(Error::unsupported("lease_release"))
    }
    /// `SUBSCRIBE`: reports changes made elsewhere through [`Host::invalidated`].
    fn subscribe(&self, _call: &Call<'_>, _prefix: &[u8]) -> Result<()> {
        Err(Error::unsupported("subscribe"))
    }

    /// Answers as soon as the store can be reached.
    fn ping(&self, _call: &Call<'_>) -> Result<()> {
        Ok(())
    }
    /// A JSON object of numbers: `entries`, `bytes`, `evictions`, and whatever else.
    fn statistics(&self, _call: &Call<'_>) -> Result<serde_json::Value> {
        Ok(serde_json::json!({}))
    }
    /// Makes acknowledged writes as durable as they get.
    fn flush(&self, _call: &Call<'_>) -> Result<()> {
        Ok(())
    }

    /// `FORK`: before `fork`, in the parent: brings locks into a known state.
    fn fork_prepare(&self) {}
    /// `FORK`: after `fork`, in the parent.
    fn fork_parent(&self) {}
    /// `FORK`: after `fork`, in the child, where no thread of the parent lives.
    fn fork_child(&self) {}

    /// `CLAIM`: makes the bytes of a value that `get` or `get_many` gave its holder's own, who may write
    /// to them from then on; claiming them again changes nothing. [`Value::owner`] tells which value it
    /// is. There may be no instance any more.
    fn claim(_value: &Value) -> Result<()> {
        Err(Error::unsupported("claim"))
    }

    /// `ASYNC`: takes a request that carries an operation id and completes it later, from any thread.
    /// Dropping the completer completes with an error. Bounded: refuse with `Busy` beyond the bound.
    fn start(&self, _call: &Call<'_>, _request: Request, completer: Completer) {
        completer.complete(Err(Error::unsupported("asynchronous calls")));
    }
    /// `ASYNC`: cancels a started request, best effort; its completer is still used.
    fn cancel(&self, _op: u64) {}
}
