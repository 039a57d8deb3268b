//! The operations on entries.

use retainit_plugin_api::abi::call::{self as raw, NEVER};
use retainit_plugin_api::abi::status;
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::sdk::{Entry, Item, Request, ScanPage, Token, Value};

use super::answer::Answer;
use super::ledger::{Known, WRITING};
use super::Instance;
use crate::error::Result;
use crate::flight::Scope;
use crate::operations::Completion;

impl Instance {
    /// Reads an entry.
    pub fn read(&self, key: &[u8]) -> Result<Option<Item>> {
        match self.known(key) {
            Known::Nothing => {}
            Known::Absent => return Ok(None),
            Known::Waiting(item) => return Ok(Some(item)),
        }
        let mut item = raw::Item::EMPTY;
        let request = || Request::Get { key: key.to_vec() };
        let answer = self.call("get", request, |call| {
            // SAFETY: as for every call below: the instance is open, the table was checked, and all
            // that is borrowed is valid for the call.
            unsafe { (self.get)(self.handle, call, Slice::new(key), &mut item) }
        })?;
        match (self.present("get", &answer)?, answer) {
            (false, _) => Ok(None),
            // SAFETY: the plugin gave the reference to us.
            (true, Answer::Ready(_)) => Ok(Some(unsafe { owned(item) })),
            (true, Answer::Completed(completion)) => {
                first_item(completion).map(Some).ok_or_else(|| self.incomplete("get"))
            }
        }
    }

    /// Stores an entry for `ttl` nanoseconds ([`NEVER`]: for ever), replacing what was there.
    pub fn set(&self, key: &[u8], value: Value, ttl: i64) -> Result<()> {
        match self.enqueue(key, value, ttl) {
            Ok(queued) => queued,
            Err(value) => self.store(key, value, ttl, self.mark()),
        }
    }

    /// As [`Instance::set`], past the queue. The write was decided on at `mark`, see [`Instance::mark`].
    pub(super) fn store(&self, key: &[u8], value: Value, ttl: i64, mark: u64) -> Result<()> {
        let set = self.need(self.table.set, "set")?;
        let request = |entries: Vec<(Vec<u8>, Value, i64)>| match entries.into_iter().next() {
            Some((key, value, ttl)) => Request::Set { key, value, ttl },
            None => Request::Ping,
        };
        let answer = self.call_with("set", vec![Entry { key, value, ttl }], request, |call, entries| {
            // SAFETY: see `read`; the plugin takes over the entry's reference.
            unsafe { set(self.handle, call, &entries[0]) }
        });
        let outcome = answer.and_then(|answer| self.done("set", &answer));
        self.wrote(key, mark, &outcome);
        outcome
    }

    /// Removes an entry; says whether it was there.
    ///
    /// # Errors
    /// The backend's. It is told again when it can be, and until then the key is read from it no more.
    pub fn delete(&self, key: &[u8]) -> Result<bool> {
        let scope = Scope::Key(key.to_vec());
        let (waited, clean, before) = self.before_invalidating(&scope);
        let outcome = self.remove(key);
        self.invalidated(scope, clean, before, &outcome);
        outcome.map(|there| there || waited > 0)
    }

    /// As [`Instance::delete`], past the ledger.
    pub(super) fn remove(&self, key: &[u8]) -> Result<bool> {
        let delete = self.need(self.table.delete, "delete")?;
        let request = || Request::Delete { key: key.to_vec() };
        // SAFETY: see `read`.
        let answer =
            self.call("delete", request, |call| unsafe { delete(self.handle, call, Slice::new(key)) })?;
        self.present("delete", &answer)
    }

    /// Removes all entries whose key starts with `prefix`; says how many there were.
    ///
    /// # Errors
    /// The backend's. It is told again when it can be, and until then none of these is read from it.
    pub fn clear(&self, prefix: &[u8]) -> Result<u64> {
        let scope = Scope::Prefix(prefix.to_vec());
        let (waited, clean, before) = self.before_invalidating(&scope);
        let outcome = self.remove_all(prefix);
        self.invalidated(scope, clean, before, &outcome);
        outcome.map(|removed| removed + waited as u64)
    }

    fn before_invalidating(&self, scope: &Scope) -> (usize, bool, u64) {
        let Some(guard) = self.marked() else { return (0, true, 0) };
        let (waited, clean) = self.unqueue(guard, scope);
        (waited, clean, self.mark())
    }

    /// As [`Instance::clear`], past the ledger.
    pub(super) fn remove_all(&self, prefix: &[u8]) -> Result<u64> {
        let clear = self.need(self.table.clear, "clear")?;
        let mut removed = 0;
        let request = || Request::Clear { prefix: prefix.to_vec() };
        // SAFETY: see `read`.
        let answer = self.call("clear", request, |call| unsafe {
            clear(self.handle, call, Slice::new(prefix), &mut removed)
        })?;
        self.done("clear", &answer)?;
        Ok(number(&answer).map_or(removed, |number| number as u64))
    }

    /// Reads many, each with a result of its own.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Result<Option<Item>>>> {
        // The ledger is asked key by key.
        let Some(get_many) = self.table.get_many.filter(|_| self.marked().is_none()) else {
            return Ok(keys.iter().map(|key| self.read(key)).collect());
        };
        let slices = slices(keys);
        let mut items = vec![raw::Item::EMPTY; keys.len()];
        let answer = self.call(
            "get_many",
            || Request::GetMany { keys: owned_keys(keys) },
            |call| {
                // SAFETY: see `read`; both arrays have as many items as is said.
                unsafe { get_many(self.handle, call, slices.as_ptr(), slices.len(), items.as_mut_ptr()) }
            },
        )?;
        self.done("get_many", &answer)?;
        let found: Vec<(i32, Item)> = match answer {
            // SAFETY: the plugin gave the references to us.
            Answer::Ready(_) => items.into_iter().map(|item| (item.status, unsafe { owned(item) })).collect(),
            Answer::Completed(completion) => all_items(completion),
        };
        if found.len() != keys.len() {
            return Err(self.incomplete("get_many"));
        }
        let each = |(code, item)| match code {
            status::OK => Ok(Some(item)),
            status::NOT_FOUND => Ok(None),
            code => Err(self.error("get_many", code, "")),
        };
        Ok(found.into_iter().map(each).collect())
    }

    /// Stores many, each with a result of its own.
    pub fn set_many(&self, entries: Vec<Entry<'_>>) -> Result<Vec<Result<()>>> {
        let Some(set_many) = self.table.set_many.filter(|_| self.marked().is_none()) else {
            return Ok(entries
                .into_iter()
                .map(|entry| self.set(entry.key, entry.value, entry.ttl))
                .collect());
        };
        let count = entries.len();
        let mut statuses = vec![status::OK; count];
        let request = |entries| Request::SetMany { entries };
        let answer = self.call_with("set_many", entries, request, |call, entries| {
            // SAFETY: see `read`; the plugin takes over the entries' references.
            unsafe { set_many(self.handle, call, entries.as_ptr(), count, statuses.as_mut_ptr()) }
        })?;
        let each = self.each("set_many", &answer, statuses)?;
        Ok(each.into_iter().map(|code| self.plain("set_many", code)).collect())
    }

    /// Removes many; says of each whether it was there.
    pub fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<Result<bool>>> {
        let Some(delete_many) = self.table.delete_many.filter(|_| self.marked().is_none()) else {
            return Ok(keys.iter().map(|key| self.delete(key)).collect());
        };
        let slices = slices(keys);
        let mut statuses = vec![status::OK; keys.len()];
        let answer = self.call(
            "delete_many",
            || Request::DeleteMany { keys: owned_keys(keys) },
            |call| {
                // SAFETY: see `read`; both arrays have as many items as is said.
                unsafe {
                    delete_many(self.handle, call, slices.as_ptr(), slices.len(), statuses.as_mut_ptr())
                }
            },
        );
        let each = answer.and_then(|answer| self.each("delete_many", &answer, statuses));
        let removed = |code| match code {
            status::NOT_FOUND => Ok(false),
            code => self.plain("delete_many", code).map(|()| true),
        };
        let outcome: Result<Vec<Result<bool>>> = each.map(|each| each.into_iter().map(removed).collect());
        match &outcome {
            Ok(each) => {
                for (key, outcome) in keys.iter().zip(each) {
                    self.invalidated(Scope::Key(key.to_vec()), true, 0, outcome);
                }
            }
            Err(_) => {
                keys.iter().for_each(|key| self.invalidated(Scope::Key(key.to_vec()), true, 0, &outcome));
            }
        }
        outcome
    }

    /// `CAS`: stores only where no entry is; the new token, or `None` where one was.
    pub fn add(&self, key: &[u8], value: Value, ttl: i64) -> Result<Option<Token>> {
        let add = self.need(self.table.add, "add")?;
        let mut token = Token::default();
        self.settle(key)?;
        let request = |entries: Vec<(Vec<u8>, Value, i64)>| match entries.into_iter().next() {
            Some((key, value, ttl)) => Request::Add { key, value, ttl },
            None => Request::Ping,
        };
        let answer = self.call_with("add", vec![Entry { key, value, ttl }], request, |call, entries| {
            // SAFETY: see `set`.
            unsafe { add(self.handle, call, &entries[0], &mut token) }
        })?;
        Ok(self.held("add", &answer)?.then(|| token_of(&answer).unwrap_or(token)))
    }

    /// `CAS`: stores only where the entry's token is `expected` (all zero: where none is); the new
    /// token, or `None` where it was another.
    pub fn compare_and_set(
        &self,
        key: &[u8],
        value: Value,
        ttl: i64,
        expected: Token,
    ) -> Result<Option<Token>> {
        let compare_and_set = self.need(self.table.compare_and_set, "compare_and_set")?;
        let mut token = expected;
        self.settle(key)?;
        let request = |entries: Vec<(Vec<u8>, Value, i64)>| match entries.into_iter().next() {
            Some((key, value, ttl)) => Request::CompareAndSet { key, value, ttl, token: expected },
            None => Request::Ping,
        };
        let answer =
            self.call_with("compare_and_set", vec![Entry { key, value, ttl }], request, |call, entries| {
                // SAFETY: see `set`.
                unsafe { compare_and_set(self.handle, call, &entries[0], &mut token) }
            })?;
        Ok(self.held("compare_and_set", &answer)?.then(|| token_of(&answer).unwrap_or(token)))
    }

    /// `COUNTER`: adds `delta` to a number that starts at zero, with `ttl` when it is created.
    pub fn increment(&self, key: &[u8], delta: i64, ttl: i64) -> Result<i64> {
        let increment = self.need(self.table.increment, "increment")?;
        self.settle(key)?;
        let mut value = 0;
        let request = || Request::Increment { key: key.to_vec(), delta, ttl };
        let answer = self.call("increment", request, |call| {
            // SAFETY: see `read`.
            unsafe { increment(self.handle, call, Slice::new(key), delta, ttl, &mut value) }
        })?;
        self.done("increment", &answer)?;
        Ok(number(&answer).unwrap_or(value))
    }

    /// `TTL`: gives a present entry a new time to live; says whether it was there.
    pub fn touch(&self, key: &[u8], ttl: i64) -> Result<bool> {
        let touch = self.need(self.table.touch, "touch")?;
        self.settle(key)?;
        let request = || Request::Touch { key: key.to_vec(), ttl };
        // SAFETY: see `read`.
        let answer =
            self.call("touch", request, |call| unsafe { touch(self.handle, call, Slice::new(key), ttl) })?;
        self.present("touch", &answer)
    }

    /// `TTL`: remaining nanoseconds ([`NEVER`] for no expiry), or `None` where there is no entry.
    pub fn ttl(&self, key: &[u8]) -> Result<Option<i64>> {
        let ttl = self.need(self.table.ttl, "ttl")?;
        self.settle(key)?;
        let mut remaining = NEVER;
        let request = || Request::Ttl { key: key.to_vec() };
        // SAFETY: see `read`.
        let answer = self.call("ttl", request, |call| unsafe {
            ttl(self.handle, call, Slice::new(key), &mut remaining)
        })?;
        Ok(self.present("ttl", &answer)?.then(|| number(&answer).unwrap_or(remaining)))
    }

    /// `SCAN`: a page of at most `limit` keys that start with `prefix` and match the glob `pattern`
    /// (empty: all). Starts with cursor 0, ends where the page names no next one.
    pub fn scan(&self, prefix: &[u8], pattern: &[u8], cursor: u64, limit: u64) -> Result<ScanPage> {
        let scan = self.need(self.table.scan, "scan")?;
        self.drain_within(WRITING);
        let mut page = raw::Page { keys: value::Value::NONE, cursor: 0, count: 0 };
        let request = || Request::Scan { prefix: prefix.to_vec(), pattern: pattern.to_vec(), cursor, limit };
        let answer = self.call("scan", request, |call| {
            let (prefix, pattern) = (Slice::new(prefix), Slice::new(pattern));
            // SAFETY: see `read`.
            unsafe { scan(self.handle, call, prefix, pattern, cursor, limit, &mut page) }
        });
        // SAFETY: the plugin gave the reference to us.
        let keys = unsafe { Value::from_raw(page.keys) };
        let answer = answer?;
        self.done("scan", &answer)?;
        let (keys, next) = match answer {
            Answer::Ready(_) => (keys, page.cursor),
            Answer::Completed(completion) => (completion.text, completion.number as u64),
        };
        let damaged = || self.error("scan", status::INVALID, "the page of keys is damaged");
        let keys = page_keys(keys.as_bytes().unwrap_or_default()).ok_or_else(damaged)?;
        Ok(ScanPage { keys, next: std::num::NonZeroU64::new(next) })
    }

    /// `SCAN`: number of entries whose key starts with `prefix`. One that waits to replace another counts
    /// beside it.
    pub fn count(&self, prefix: &[u8]) -> Result<u64> {
        let count = self.need(self.table.count, "count")?;
        let mut entries = 0;
        let request = || Request::Count { prefix: prefix.to_vec() };
        // SAFETY: see `read`.
        let answer = self.call("count", request, |call| unsafe {
            count(self.handle, call, Slice::new(prefix), &mut entries)
        })?;
        self.done("count", &answer)?;
        let waiting = self.marked().map_or(0, |guard| guard.ledger.lock().behind.count(prefix));
        Ok(number(&answer).map_or(entries, |number| number as u64) + waiting as u64)
    }
}

fn slices(keys: &[&[u8]]) -> Vec<Slice> {
    keys.iter().map(|key| Slice::new(key)).collect()
}

fn owned_keys(keys: &[&[u8]]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.to_vec()).collect()
}

/// # Safety
/// The caller must own the item's reference and give it up.
unsafe fn owned(item: raw::Item) -> Item {
    // SAFETY: promised by the caller.
    Item { value: unsafe { Value::from_raw(item.value) }, expires: item.expires, token: item.token }
}

fn all_items(completion: Completion) -> Vec<(i32, Item)> {
    let Completion { items, values, .. } = completion;
    let pair = |(item, value): (raw::Item, Value)| {
        (item.status, Item { value, expires: item.expires, token: item.token })
    };
    items.into_iter().zip(values).map(pair).collect()
}

fn first_item(completion: Completion) -> Option<Item> {
    all_items(completion).into_iter().next().map(|(_, item)| item)
}

pub(super) fn number(answer: &Answer) -> Option<i64> {
    match answer {
        Answer::Ready(_) => None,
        Answer::Completed(completion) => Some(completion.number),
    }
}

pub(super) fn token_of(answer: &Answer) -> Option<Token> {
    match answer {
        Answer::Ready(_) => None,
        Answer::Completed(completion) => completion.items.first().map(|item| item.token),
    }
}

/// Keys of a page: `u32` little-endian lengths, each followed by that many bytes.
pub(super) fn page_keys(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let (key, rest) = rest.split_at_checked(length)?;
        keys.push(key.to_vec());
        bytes = rest;
    }
    Some(keys)
}
