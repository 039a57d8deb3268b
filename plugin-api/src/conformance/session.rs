//! One open instance, and its calls: answered on return, or pending and completed later.

use std::ffi::c_void;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::host::{Completion, TestHost};
use super::{ensure, Outcome};
use crate::abi::backend::BackendTable;
use crate::abi::call::{Call, Entry, Item, Lease, Page, Token, NEVER};
use crate::abi::status;
use crate::abi::value::{Slice, Value as RawValue};
use crate::sdk::Value;

/// How calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Without an operation id.
    Ready,
    /// With one, so that the plugin may answer `PENDING`.
    Pending,
}

/// An error status with its message.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) operation: &'static str,
    pub(crate) status: i32,
    pub(crate) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` failed: {} ({}): {}",
            self.operation,
            status::name(self.status),
            self.status,
            self.message
        )
    }
}

impl std::error::Error for Fault {}

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

type Result<T> = std::result::Result<T, Fault>;

/// An open instance.
pub(crate) struct Session {
    table: BackendTable,
    instance: *mut c_void,
    pub(crate) host: &'static TestHost,
    pub(crate) mode: Mode,
    /// Whether calls say nothing of the time.
    timeless: AtomicBool,
}

// SAFETY: every function but `close`, which takes the session, may be called from many threads.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

/// A call's status, and its completion if it was pending.
struct Done(i32, Option<Completion>);

impl Session {
    pub(crate) fn open(
        table: BackendTable,
        host: &'static TestHost,
        options: &str,
        mode: Mode,
    ) -> Result<Session> {
        let mut instance = std::ptr::null_mut();
        let mut session = Session { table, instance, host, mode, timeless: AtomicBool::new(false) };
        let open = table.open.expect("`open` is required");
        // SAFETY: all arguments are valid for the call, and the host for ever.
        let answer = session.immediate("open", NEVER, |call| unsafe {
            open(host.reference(), call, Slice::new(options.as_bytes()), &mut instance)
        });
        session.instance = instance;
        match answer? {
            status::OK if !session.instance.is_null() => Ok(session),
            status::OK => Err(session.broken("open", "gave no instance")),
            other => Err(session.broken("open", &format!("answered {}", status::name(other)))),
        }
    }

    /// Closes the instance and checks what must hold then.
    pub(crate) fn close(self) -> Outcome {
        self.shut()?.settle()
    }

    /// Closes the instance. Another one on the same store may go on holding its values.
    pub(crate) fn shut(mut self) -> std::result::Result<&'static TestHost, Box<dyn std::error::Error>> {
        let close = self.table.close.expect("`close` is required");
        let instance = std::mem::replace(&mut self.instance, std::ptr::null_mut());
        // SAFETY: the instance is open, and nobody else can use it any more.
        let answer = self.immediate("close", NEVER, |call| unsafe { close(instance, call) })?;
        ensure!(answer == status::OK, "`close` answered {}", status::name(answer));
        Ok(self.host)
    }

    fn broken(&self, operation: &'static str, message: &str) -> Fault {
        Fault { operation, status: status::INVALID, message: message.to_owned() }
    }

    pub(crate) fn table(&self) -> &BackendTable {
        &self.table
    }

    pub(crate) fn instance(&self) -> *mut c_void {
        self.instance
    }

    /// A call that must be answered on return, with the error's message.
    fn immediate(
        &self,
        operation: &'static str,
        deadline: i64,
        body: impl FnOnce(*const Call) -> i32,
    ) -> Result<i32> {
        let (status, message) = self.raw(0, deadline, body);
        if status == status::PENDING {
            return Err(self.broken(operation, "answered PENDING to a call without an operation id"));
        }
        self.checked(operation, status, message)
    }

    /// One raw call with its error slot.
    pub(crate) fn raw(
        &self,
        op: u64,
        deadline: i64,
        body: impl FnOnce(*const Call) -> i32,
    ) -> (i32, Option<Value>) {
        let mut error = RawValue::NONE;
        let now = if self.timeless.load(Ordering::Relaxed) { 0 } else { self.host.now() };
        let call = Call { op, now, deadline, error: &mut error };
        let status = body(&call);
        // SAFETY: whatever the plugin left there is ours.
        let message = (error.kind != crate::abi::value::NONE).then(|| unsafe { Value::from_raw(error) });
        (status, message)
    }

    fn checked(&self, operation: &'static str, status: i32, message: Option<Value>) -> Result<i32> {
        if status >= 0 {
            return match message {
                Some(_) => Err(self.broken(operation, "left an error message although it did not fail")),
                None if status > status::CONFLICT => {
                    Err(self.broken(operation, &format!("answered status {status}")))
                }
                None => Ok(status),
            };
        }
        let message = match message.as_ref().map(|value| value.as_bytes().map(std::str::from_utf8)) {
            None => String::new(),
            Some(Some(Ok(text))) => text.to_owned(),
            Some(_) => return Err(self.broken(operation, "left an error message that is not utf-8")),
        };
        Err(Fault { operation, status, message })
    }

    /// A call in this session's mode.
    fn call(&self, operation: &'static str, body: impl FnOnce(*const Call) -> i32) -> Result<Done> {
        self.call_until(operation, NEVER, body)
    }

    fn call_until(
        &self,
        operation: &'static str,
        deadline: i64,
        body: impl FnOnce(*const Call) -> i32,
    ) -> Result<Done> {
        if self.mode == Mode::Ready {
            return Ok(Done(self.immediate(operation, deadline, body)?, None));
        }
        let op = self.host.begin();
        let (status, message) = self.raw(op, deadline, body);
        if status != status::PENDING {
            return Ok(Done(self.checked(operation, status, message)?, None));
        }
        self.host.pending(op);
        if message.is_some() {
            return Err(self.broken(operation, "left an error message although it answered PENDING"));
        }
        self.completion(operation, op)
    }

    fn completion(&self, operation: &'static str, op: u64) -> Result<Done> {
        let Some(mut completion) = self.host.wait(op) else {
            return Err(self.broken(operation, "answered PENDING and did not complete"));
        };
        if completion.status < 0 {
            let none = std::mem::replace(&mut completion.text, nothing());
            let message = (none.as_raw().kind != crate::abi::value::NONE).then_some(none);
            self.checked(operation, completion.status, message)?;
        }
        Ok(Done(completion.status, Some(completion)))
    }

    /// Makes calls whose `now` is zero, or ordinary ones again.
    pub(crate) fn set_timeless(&self, timeless: bool) {
        self.timeless.store(timeless, Ordering::Relaxed);
    }

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

    fn only_ok(&self, operation: &'static str, status: i32) -> Result<()> {
        self.yes(operation, status, status::OK).map(|_| ())
    }

    /// `true` for `OK`, `false` for `no`.
    fn yes(&self, operation: &'static str, status: i32, no: i32) -> Result<bool> {
        match status {
            status::OK => Ok(true),
            other if other == no => Ok(false),
            other => Err(self.broken(operation, &format!("answered {}", status::name(other)))),
        }
    }

    pub(crate) fn delete(&self, key: &[u8]) -> Result<bool> {
        let delete = self.table.delete.expect("`delete` is required");
        // SAFETY: as in `get`.
        let Done(status, _) =
            self.call("delete", |call| unsafe { delete(self.instance, call, Slice::new(key)) })?;
        self.yes("delete", status, status::NOT_FOUND)
    }

    pub(crate) fn clear(&self, prefix: &[u8]) -> Result<u64> {
        let mut removed = 0;
        let clear = self.table.clear.expect("`clear` is required");
        // SAFETY: as in `get`.
        let Done(status, completion) = self
            .call("clear", |call| unsafe { clear(self.instance, call, Slice::new(prefix), &mut removed) })?;
        self.only_ok("clear", status)?;
        Ok(completion.map_or(removed, |completion| completion.number as u64))
    }

    pub(crate) fn quiesce(&self) -> Result<()> {
        let quiesce = self.table.quiesce.expect("`quiesce` is required");
        let deadline = self.host.now() + 10_000_000_000;
        // SAFETY: as in `get`.
        let status = self.immediate("quiesce", deadline, |call| unsafe { quiesce(self.instance, call) })?;
        self.only_ok("quiesce", status)
    }

    pub(crate) fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<std::result::Result<Option<Found>, i32>>> {
        let slices: Vec<Slice> = keys.iter().map(|key| Slice::new(key)).collect();
        let mut items = vec![Item { status: status::PENDING, ..Item::EMPTY }; keys.len()];
        let get_many = self.table.get_many.expect("`get_many` is there");
        // SAFETY: as in `get`; both arrays have the length that is given.
        let Done(status, completion) = self.call("get_many", |call| unsafe {
            get_many(self.instance, call, slices.as_ptr(), slices.len(), items.as_mut_ptr())
        })?;
        self.only_ok("get_many", status)?;
        let items: Vec<_> = match completion {
            Some(completion) => completion.items,
            None => items
                .into_iter()
                // SAFETY: the plugin's references are ours.
                .map(|item| (item.status, unsafe { Value::from_raw(item.value) }, item.expires, item.token))
                .collect(),
        };
        if items.len() != keys.len() {
            return Err(
                self.broken("get_many", &format!("gave {} items for {} keys", items.len(), keys.len()))
            );
        }
        Ok(items
            .into_iter()
            .map(|(status, value, expires, token)| match status {
                status::OK => Ok(Some(Found { value, expires, token })),
                status::NOT_FOUND => Ok(None),
                other => Err(other),
            })
            .collect())
    }

    /// The status of each entry.
    pub(crate) fn set_many(&self, entries: &[(&[u8], &[u8], i64)]) -> Result<Vec<i32>> {
        let entries: Vec<Entry> = entries
            .iter()
            .map(|(key, value, ttl)| Entry { key: Slice::new(key), value: self.host.bytes(value), ttl: *ttl })
            .collect();
        let set_many = self.table.set_many.expect("`set_many` is there");
        self.each("set_many", entries.len(), |call, statuses| {
            // SAFETY: as in `get`; both arrays have the length that is given.
            unsafe { set_many(self.instance, call, entries.as_ptr(), entries.len(), statuses) }
        })
    }

    /// The status of each key.
    pub(crate) fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<i32>> {
        let slices: Vec<Slice> = keys.iter().map(|key| Slice::new(key)).collect();
        let delete_many = self.table.delete_many.expect("`delete_many` is there");
        self.each("delete_many", keys.len(), |call, statuses| {
            // SAFETY: as in `get`; both arrays have the length that is given.
            unsafe { delete_many(self.instance, call, slices.as_ptr(), slices.len(), statuses) }
        })
    }

    fn each(
        &self,
        operation: &'static str,
        count: usize,
        body: impl FnOnce(*const Call, *mut i32) -> i32,
    ) -> Result<Vec<i32>> {
        let mut statuses = vec![status::PENDING; count];
        let Done(status, completion) = self.call(operation, |call| body(call, statuses.as_mut_ptr()))?;
        self.only_ok(operation, status)?;
        if let Some(completion) = completion {
            statuses = completion.items.iter().map(|item| item.0).collect();
        }
        if statuses.len() != count || statuses.contains(&status::PENDING) {
            return Err(self.broken(operation, "did not give a status to each item"));
        }
        Ok(statuses)
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

    /// One page: keys and the next cursor.
    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        pattern: &[u8],
        cursor: u64,
        limit: u64,
    ) -> Result<(Vec<Vec<u8>>, u64)> {
        let mut page = Page { keys: RawValue::NONE, cursor: 0, count: 0 };
        let scan = self.table.scan.expect("`scan` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) = self.call("scan", |call| unsafe {
            scan(self.instance, call, Slice::new(prefix), Slice::new(pattern), cursor, limit, &mut page)
        })?;
        self.only_ok("scan", status)?;
        let (value, next, count) = match completion {
            Some(completion) => (completion.text, completion.number as u64, None),
            // SAFETY: the plugin's reference is ours.
            None => (unsafe { Value::from_raw(page.keys) }, page.cursor, Some(page.count)),
        };
        let keys = page_keys(value.as_bytes().unwrap_or_default())
            .ok_or_else(|| self.broken("scan", "gave a page whose lengths do not add up"))?;
        if count.is_some_and(|count| count != keys.len() as u64) {
            return Err(self.broken("scan", &format!("gave {} keys and said {count:?}", keys.len())));
        }
        Ok((keys, next))
    }

    pub(crate) fn count(&self, prefix: &[u8]) -> Result<u64> {
        let mut number = 0;
        let count = self.table.count.expect("`count` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) = self
            .call("count", |call| unsafe { count(self.instance, call, Slice::new(prefix), &mut number) })?;
        self.only_ok("count", status)?;
        Ok(completion.map_or(number, |completion| completion.number as u64))
    }

    pub(crate) fn lease_acquire(&self, name: &[u8], ttl: i64) -> Result<Option<Lease>> {
        let mut lease = Lease { holder: Token::default(), fence: 0 };
        let acquire = self.table.lease_acquire.expect("`lease_acquire` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) = self.call("lease_acquire", |call| unsafe {
            acquire(self.instance, call, Slice::new(name), ttl, &mut lease)
        })?;
        if !self.yes("lease_acquire", status, status::CONFLICT)? {
            return Ok(None);
        }
        match completion {
            None => Ok(Some(lease)),
            Some(completion) => match completion.items.first() {
                Some(item) => Ok(Some(Lease { holder: item.3, fence: completion.number as u64 })),
                None => Err(self.broken("lease_acquire", "was completed without a holder")),
            },
        }
    }

    pub(crate) fn lease_renew(&self, name: &[u8], ttl: i64, lease: &Lease) -> Result<bool> {
        let renew = self.table.lease_renew.expect("`lease_renew` is there");
        // SAFETY: as in `get`.
        let Done(status, _) = self.call("lease_renew", |call| unsafe {
            renew(self.instance, call, Slice::new(name), ttl, lease)
        })?;
        self.yes("lease_renew", status, status::CONFLICT)
    }

    pub(crate) fn lease_release(&self, name: &[u8], lease: &Lease) -> Result<bool> {
        let release = self.table.lease_release.expect("`lease_release` is there");
        // SAFETY: as in `get`.
        let Done(status, _) = self
            .call("lease_release", |call| unsafe { release(self.instance, call, Slice::new(name), lease) })?;
        self.yes("lease_release", status, status::CONFLICT)
    }

    pub(crate) fn subscribe(&self, prefix: &[u8]) -> Result<()> {
        let subscribe = self.table.subscribe.expect("`subscribe` is there");
        // SAFETY: as in `get`.
        let Done(status, _) =
            self.call("subscribe", |call| unsafe { subscribe(self.instance, call, Slice::new(prefix)) })?;
        self.only_ok("subscribe", status)
    }

    pub(crate) fn ping(&self) -> Result<()> {
        let ping = self.table.ping.expect("`ping` is there");
        // SAFETY: as in `get`.
        let Done(status, _) = self.call("ping", |call| unsafe { ping(self.instance, call) })?;
        self.only_ok("ping", status)
    }

    pub(crate) fn flush(&self) -> Result<()> {
        let flush = self.table.flush.expect("`flush` is there");
        // SAFETY: as in `get`.
        let Done(status, _) = self.call("flush", |call| unsafe { flush(self.instance, call) })?;
        self.only_ok("flush", status)
    }

    pub(crate) fn statistics(&self) -> Result<serde_json::Value> {
        let mut text = RawValue::NONE;
        let statistics = self.table.statistics.expect("`statistics` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) =
            self.call("statistics", |call| unsafe { statistics(self.instance, call, &mut text) })?;
        self.only_ok("statistics", status)?;
        // SAFETY: the plugin's reference is ours.
        let text = completion.map_or_else(|| unsafe { Value::from_raw(text) }, |completion| completion.text);
        serde_json::from_slice(text.as_bytes().unwrap_or_default())
            .map_err(|error| self.broken("statistics", &format!("gave no json: {error}")))
    }

    pub(crate) fn cancel(&self, op: u64) {
        let cancel = self.table.cancel.expect("`cancel` is there");
        // SAFETY: as in `get`.
        unsafe { cancel(self.instance, op) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.instance.is_null() {
            return;
        }
        // The check has failed already; whatever `close` says changes nothing.
        let close = self.table.close.expect("`close` is required");
        // SAFETY: the instance is open, and nobody else can use it any more.
        self.raw(0, NEVER, |call| unsafe { close(self.instance, call) });
    }
}

fn nothing() -> Value {
    // SAFETY: no value needs no reference.
    unsafe { Value::from_raw(RawValue::NONE) }
}

/// The keys of a page: `u32` little-endian lengths, each followed by that many bytes.
fn page_keys(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        keys.push(key.to_vec());
        bytes = rest;
    }
    Some(keys)
}
