//! Operations that are answered later.

use super::backend::{Backend, Entry, Item, ScanPage};
use super::call::{Call, Host};
use super::error::{Error, ErrorKind, Result};
use super::value::Value;
use super::{Lease, Token};
use crate::abi::call as raw;
use crate::abi::status;

/// An operation whose arguments are owned, for
/// [`Backend::start`].
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

impl Request {
    /// Has the backend's methods answer: for a backend that hands requests to threads of its own. An
    /// object must not be looked up there, see [`Value::share`].
    pub fn answer<B: Backend>(self, backend: &B, call: &Call<'_>) -> Result<Reply> {
        fn entry(key: &[u8], value: Value, ttl: i64) -> Entry<'_> {
            Entry { key, value, ttl }
        }
        fn slices(keys: &[Vec<u8>]) -> Vec<&[u8]> {
            keys.iter().map(Vec::as_slice).collect()
        }
        let present = |there: bool| if there { Reply::Done } else { Reply::NotFound };
        let held = |held: bool| if held { Reply::Done } else { Reply::Conflict };
        let written = |token: Option<Token>| token.map_or(Reply::Conflict, Reply::Token);
        Ok(match self {
            Request::Get { key } => backend.get(call, &key)?.map_or(Reply::NotFound, Reply::Item),
            Request::Set { key, value, ttl } => {
                backend.set(call, entry(&key, value, ttl))?;
                Reply::Done
            }
            Request::Delete { key } => present(backend.delete(call, &key)?),
            Request::Clear { prefix } => Reply::Number(backend.clear(call, &prefix)? as i64),
            Request::GetMany { keys } => Reply::Items(backend.get_many(call, &slices(&keys))),
            Request::SetMany { entries } => {
                let (keys, values): (Vec<_>, Vec<_>) =
                    entries.into_iter().map(|(key, value, ttl)| (key, (value, ttl))).unzip();
                let entries =
                    keys.iter().zip(values).map(|(key, (value, ttl))| entry(key, value, ttl)).collect();
                Reply::Each(
                    backend.set_many(call, entries).into_iter().map(|done| done.map(|()| true)).collect(),
                )
            }
            Request::DeleteMany { keys } => Reply::Each(backend.delete_many(call, &slices(&keys))),
            Request::Add { key, value, ttl } => written(backend.add(call, entry(&key, value, ttl))?),
            Request::CompareAndSet { key, value, ttl, token } => {
                written(backend.compare_and_set(call, entry(&key, value, ttl), token)?)
            }
            Request::Increment { key, delta, ttl } => {
                Reply::Number(backend.increment(call, &key, delta, ttl)?)
            }
            Request::Touch { key, ttl } => present(backend.touch(call, &key, ttl)?),
            Request::Ttl { key } => backend.ttl(call, &key)?.map_or(Reply::NotFound, Reply::Number),
            Request::Scan { prefix, pattern, cursor, limit } => {
                Reply::Page(backend.scan(call, &prefix, &pattern, cursor, limit)?)
            }
            Request::Count { prefix } => Reply::Number(backend.count(call, &prefix)? as i64),
            Request::LeaseAcquire { name, ttl } => {
                backend.lease_acquire(call, &name, ttl)?.map_or(Reply::Conflict, Reply::Lease)
            }
            Request::LeaseRenew { name, ttl, lease } => held(backend.lease_renew(call, &name, ttl, &lease)?),
            Request::LeaseRelease { name, lease } => held(backend.lease_release(call, &name, &lease)?),
            Request::Subscribe { prefix } => {
                backend.subscribe(call, &prefix)?;
                Reply::Done
            }
            Request::Ping => {
                backend.ping(call)?;
                Reply::Done
            }
            Request::Statistics => Reply::Text(backend.statistics(call)?.to_string()),
            Request::Flush => {
                backend.flush(call)?;
                Reply::Done
            }
        })
    }
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
            Ok(Reply::Token(token)) => {
                items.push(raw::Item { token, status: status::OK, ..raw::Item::EMPTY })
            }
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
            let why = if std::thread::panicking() {
                "the plugin panicked while it worked on the operation"
            } else {
                "the plugin dropped the operation without an answer"
            };
            self.send(Err(Error::new(ErrorKind::Panic, why)));
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
