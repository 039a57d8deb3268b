//! The trait of backends.

use serde::de::DeserializeOwned;

use super::call::{Call, Host};
use super::error::{Error, ErrorKind, Result};
use super::value::Value;
use super::{Lease, Token, NEVER};
use crate::abi::call as raw;
use crate::abi::status;

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
    fn scan(&self, _call: &Call<'_>, _prefix: &[u8], _pattern: &[u8], _cursor: u64, _limit: u64) -> Result<ScanPage> {
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

    /// `ASYNC`: takes a request that carries an operation id and completes it later, from any thread.
    /// Dropping the completer completes with an error. Bounded: refuse with `Busy` beyond the bound.
    fn start(&self, _call: &Call<'_>, _request: Request, completer: Completer) {
        completer.complete(Err(Error::unsupported("asynchronous calls")));
    }
    /// `ASYNC`: cancels a started request, best effort; its completer is still used.
    fn cancel(&self, _op: u64) {}
}

/// An operation whose arguments are owned, for [`Backend::start`].
#[derive(Debug)]
#[non_exhaustive]
#[allow(missing_docs)] // the fields are those of the method of the same name
pub enum Request {
    Get { key: Vec<u8> },
    Set { key: Vec<u8>, value: Value, ttl: i64 },
    Delete { key: Vec<u8> },
    Clear { prefix: Vec<u8> },
    GetMany { keys: Vec<Vec<u8>> },
    SetMany { entries: Vec<(Vec<u8>, Value, i64)> },
    DeleteMany { keys: Vec<Vec<u8>> },
    Add { key: Vec<u8>, value: Value, ttl: i64 },
    CompareAndSet { key: Vec<u8>, value: Value, ttl: i64, token: Token },
    Increment { key: Vec<u8>, delta: i64, ttl: i64 },
    Touch { key: Vec<u8>, ttl: i64 },
    Ttl { key: Vec<u8> },
    Scan { prefix: Vec<u8>, pattern: Vec<u8>, cursor: u64, limit: u64 },
    Count { prefix: Vec<u8> },
    LeaseAcquire { name: Vec<u8>, ttl: i64 },
    LeaseRenew { name: Vec<u8>, ttl: i64, lease: Lease },
    LeaseRelease { name: Vec<u8>, lease: Lease },
    Subscribe { prefix: Vec<u8> },
    Ping,
    Statistics,
    Flush,
}

/// The answer to a [`Request`].
#[derive(Debug)]
pub enum Reply {
    /// Done, or "it was there".
    Done,
    /// There was no such entry.
    NotFound,
    /// The condition did not hold.
    Conflict,
    /// `get`.
    Item(Item),
    /// `get_many`.
    Items(Vec<Result<Option<Item>>>),
    /// `set_many`, `delete_many`: whether each was done (deleted: was there).
    Each(Vec<Result<bool>>),
    /// `add`, `compare_and_set`.
    Token(Token),
    /// `increment`, `count`, `ttl`, `clear`.
    Number(i64),
    /// `lease_acquire`.
    Lease(Lease),
    /// `scan`.
    Page(ScanPage),
    /// `statistics`.
    Text(String),
}

/// Completes one pending operation, exactly once.
#[derive(Debug)]
pub struct Completer {
    host: Host,
    op: u64,
    done: bool,
}

impl Completer {
    pub(super) fn new(host: Host, op: u64) -> Self {
        Completer { host, op, done: false }
    }

    /// The operation's id, as [`Backend::cancel`] names it.
    pub fn op(&self) -> u64 {
        self.op
    }

    /// Completes the operation.
    pub fn complete(mut self, reply: Result<Reply>) {
        self.send(reply);
    }

    fn send(&mut self, reply: Result<Reply>) {
        self.done = true;
        let mut outcome = raw::Outcome {
            status: status::OK,
            reserved: 0,
            items: std::ptr::null(),
            item_count: 0,
            number: 0,
            text: crate::abi::value::Value::NONE,
        };
        let mut items: Vec<raw::Item> = Vec::new();
        match reply {
            Ok(Reply::Done) => {}
            Ok(Reply::NotFound) => outcome.status = status::NOT_FOUND,
            Ok(Reply::Conflict) => outcome.status = status::CONFLICT,
            Ok(Reply::Item(item)) => items.push(raw_item(Ok(Some(item)))),
            Ok(Reply::Items(found)) => items.extend(found.into_iter().map(raw_item)),
            Ok(Reply::Each(statuses)) => items.extend(statuses.into_iter().map(|each| raw::Item {
                status: match each {
                    Ok(true) => status::OK,
                    Ok(false) => status::NOT_FOUND,
                    Err(error) => error.kind().status(),
                },
                ..raw::Item::EMPTY
            })),
            Ok(Reply::Token(token)) => items.push(raw::Item { token, status: status::OK, ..raw::Item::EMPTY }),
            Ok(Reply::Number(number)) => outcome.number = number,
            Ok(Reply::Lease(lease)) => {
                items.push(raw::Item { token: lease.holder, status: status::OK, ..raw::Item::EMPTY });
                outcome.number = lease.fence as i64;
            }
            Ok(Reply::Page(page)) => {
                outcome.number = page.next.map_or(0, |next| next.get() as i64);
                outcome.text = Value::from_vec(page_bytes(&page.keys)).into_raw();
            }
            Ok(Reply::Text(text)) => outcome.text = Value::from_vec(text.into_bytes()).into_raw(),
            Err(error) => {
                outcome.status = error.kind().status();
                outcome.text = Value::from_vec(error.message().as_bytes().to_vec()).into_raw();
            }
        }
        outcome.items = items.as_ptr();
        outcome.item_count = items.len();
        self.host.complete(self.op, &outcome);
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        if !self.done {
            self.send(Err(Error::new(ErrorKind::Panic, "the operation was dropped without an answer")));
        }
    }
}

pub(super) fn raw_item(found: Result<Option<Item>>) -> raw::Item {
    match found {
        Ok(Some(item)) => raw::Item {
            value: item.value.into_raw(),
            expires: item.expires,
            token: item.token,
            status: status::OK,
            reserved: 0,
        },
        Ok(None) => raw::Item::EMPTY,
        Err(error) => raw::Item { status: error.kind().status(), ..raw::Item::EMPTY },
    }
}

/// Keys as `u32` little-endian lengths, each followed by that many bytes.
pub(super) fn page_bytes(keys: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(keys.iter().map(|key| key.len() + 4).sum());
    for key in keys {
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
    }
    bytes
}
