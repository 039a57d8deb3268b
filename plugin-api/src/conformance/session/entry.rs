//! Calls on the entry of one key.

use super::call::Done;
use super::fault::Result;
use super::Session;
use crate::abi::call::{Entry, Item, Token, NEVER};
use crate::abi::status;
use crate::abi::value::{Slice, Value as RawValue};
use crate::sdk::Value;

/// What `get` found, its bytes copied and its reference given back.
#[derive(Debug)]
pub(crate) struct Copied {
    bytes: Vec<u8>,
    pub(crate) expires: i64,
    pub(crate) token: Token,
}

impl Copied {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What `get` found, with the reference it gave.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) expires: i64,
    pub(crate) token: Token,
}

impl Found {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.value.as_bytes().expect("the value is of bytes")
    }
}

impl Session {
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Copied>> {
        self.get_until(key, NEVER)
    }

    pub(crate) fn get_until(&self, key: &[u8], deadline: i64) -> Result<Option<Copied>> {
        Ok(self.hold_until(key, deadline)?.map(|found| Copied {
            bytes: found.bytes().to_vec(),
            expires: found.expires,
            token: found.token,
        }))
    }

    pub(crate) fn hold(&self, key: &[u8]) -> Result<Option<Found>> {
        self.hold_until(key, NEVER)
    }

    fn hold_until(&self, key: &[u8], deadline: i64) -> Result<Option<Found>> {
        let mut item = Item::EMPTY;
        let get = self.table.get.expect("`get` is required");
        // SAFETY: the instance is open and the arguments are valid for the call.
        let done = self.call_until("get", deadline, |call| unsafe {
            get(self.instance, call, Slice::new(key), &mut item)
        })?;
        self.found("get", done, item)
    }

    fn found(
        &self,
        operation: &'static str,
        Done(status, completion): Done,
        item: Item,
    ) -> Result<Option<Found>> {
        match (status, completion) {
            (status::NOT_FOUND, _) => Ok(None),
            (status::OK, None) => {
                // SAFETY: the plugin's reference is ours.
                let value = unsafe { Value::from_raw(item.value) };
                Ok(Some(Found { value, expires: item.expires, token: item.token }))
            }
            (status::OK, Some(completion)) => match <[_; 1]>::try_from(completion.items) {
                Ok([(_, value, expires, token)]) => Ok(Some(Found { value, expires, token })),
                Err(items) => {
                    Err(self.broken(operation, &format!("was completed with {} items", items.len())))
                }
            },
            (other, _) => Err(self.broken(operation, &format!("answered {}", status::name(other)))),
        }
    }

    /// Begins a `get` that may be pending: its operation id and the answer.
    pub(crate) fn begin_get(&self, key: &[u8], item: &mut Item) -> (u64, i32) {
        let op = self.host.begin();
        let get = self.table.get.expect("`get` is required");
        // SAFETY: as in `get`.
        let (status, _) =
            self.raw(op, NEVER, |call| unsafe { get(self.instance, call, Slice::new(key), item) });
        if status == status::PENDING {
            self.host.pending(op);
        }
        (op, status)
    }

    pub(crate) fn set(&self, key: &[u8], value: &[u8], ttl: i64) -> Result<()> {
        self.set_value(key, self.host.bytes(value), ttl)
    }

    pub(crate) fn set_value(&self, key: &[u8], value: RawValue, ttl: i64) -> Result<()> {
        let entry = Entry { key: Slice::new(key), value, ttl };
        let set = self.table.set.expect("`set` is required");
        // SAFETY: as in `get`; the value's reference passes to the plugin.
        let Done(status, _) = self.call("set", |call| unsafe { set(self.instance, call, &entry) })?;
        self.only_ok("set", status)
    }

    pub(crate) fn delete(&self, key: &[u8]) -> Result<bool> {
        let delete = self.table.delete.expect("`delete` is required");
        // SAFETY: as in `get`.
        let Done(status, _) =
            self.call("delete", |call| unsafe { delete(self.instance, call, Slice::new(key)) })?;
        self.yes("delete", status, status::NOT_FOUND)
    }

    pub(crate) fn add(&self, key: &[u8], value: &[u8], ttl: i64) -> Result<Option<Token>> {
        let entry = Entry { key: Slice::new(key), value: self.host.bytes(value), ttl };
        let mut token = Token::default();
        let add = self.table.add.expect("`add` is there");
        // SAFETY: as in `set`.
        let done = self.call("add", |call| unsafe { add(self.instance, call, &entry, &mut token) })?;
        self.token("add", done, token)
    }

    pub(crate) fn compare_and_set(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: i64,
        mut token: Token,
    ) -> Result<Option<Token>> {
        let entry = Entry { key: Slice::new(key), value: self.host.bytes(value), ttl };
        let compare_and_set = self.table.compare_and_set.expect("`compare_and_set` is there");
        // SAFETY: as in `set`.
        let done = self.call("compare_and_set", |call| unsafe {
            compare_and_set(self.instance, call, &entry, &mut token)
        })?;
        self.token("compare_and_set", done, token)
    }

    fn token(
        &self,
        operation: &'static str,
        Done(status, completion): Done,
        token: Token,
    ) -> Result<Option<Token>> {
        if !self.yes(operation, status, status::CONFLICT)? {
            return Ok(None);
        }
        let token = match completion {
            None => token,
            Some(completion) => match completion.items.first() {
                Some(item) => item.3,
                None => return Err(self.broken(operation, "was completed without a token")),
            },
        };
        if token == Token::default() {
            return Err(self.broken(operation, "gave the token that means `no entry`"));
        }
        Ok(Some(token))
    }

    pub(crate) fn increment(&self, key: &[u8], delta: i64, ttl: i64) -> Result<i64> {
        let mut value = 0;
        let increment = self.table.increment.expect("`increment` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) = self.call("increment", |call| unsafe {
            increment(self.instance, call, Slice::new(key), delta, ttl, &mut value)
        })?;
        self.only_ok("increment", status)?;
        Ok(completion.map_or(value, |completion| completion.number))
    }

    pub(crate) fn touch(&self, key: &[u8], ttl: i64) -> Result<bool> {
        let touch = self.table.touch.expect("`touch` is there");
        // SAFETY: as in `get`.
        let Done(status, _) =
            self.call("touch", |call| unsafe { touch(self.instance, call, Slice::new(key), ttl) })?;
        self.yes("touch", status, status::NOT_FOUND)
    }

    pub(crate) fn ttl(&self, key: &[u8]) -> Result<Option<i64>> {
        let mut remaining = 0;
        let ttl = self.table.ttl.expect("`ttl` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) =
            self.call("ttl", |call| unsafe { ttl(self.instance, call, Slice::new(key), &mut remaining) })?;
        let there = self.yes("ttl", status, status::NOT_FOUND)?;
        Ok(there.then(|| completion.map_or(remaining, |completion| completion.number)))
    }
}
