//! An open backend: a flat table of functions and what the plugin made of its options.

use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::Arc;
use std::time::Duration;

use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::call::{self as raw, Call, NEVER};
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::abi::{capability, status};
use retainit_plugin_api::sdk::{Entry, Item, Lease, ScanPage, Token, Value};

use crate::clock;
use crate::error::{Error, ErrorKind, Result};
use crate::host::{printable, HostContext, HostCounters, OnEvicted, OnInvalidated};
use crate::loader::Component;
use crate::operations::{Blocking, Completion, Operations};

/// A pending operation of a backend without a timeout is given up after this long: a plugin that
/// never completes must not hold a caller for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// The table's function of that name.
pub type Get = unsafe extern "C" fn(*mut c_void, *const Call, Slice, *mut raw::Item) -> i32;

/// An open backend. Safe to use from many threads; closed when the last reference goes.
///
/// Methods answer for every backend alike: one that only works asynchronously is waited for, up to
/// the instance's timeout. Errors name the operation and the backend, with the plugin's own message.
pub struct Instance {
    get: Get,
    handle: *mut c_void,
    table: BackendTable,
    capabilities: u64,
    /// Longest time of one operation in nanoseconds, [`NEVER`] for no bound.
    timeout: AtomicI64,
    context: &'static HostContext,
    name: String,
    component: Component,
    fork: AtomicU8,
}

// SAFETY: the contract lets every function of the table be called from many threads at once.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

/// How a call was answered.
enum Answer {
    /// At once; the outputs are written.
    Ready(i32),
    /// Later.
    Completed(Completion),
}

impl Answer {
    fn status(&self) -> i32 {
        match self {
            Answer::Ready(status) => *status,
            Answer::Completed(completion) => completion.status,
        }
    }
}

impl Instance {
    /// Opens an instance that messages call `name`.
    pub(crate) fn open(name: &str, component: Component, table: BackendTable, options: &serde_json::Value) -> Result<Arc<Self>> {
        let missing = |function| Error::new(ErrorKind::Fatal, "open", format!("function `{function}` is missing"));
        let open = table.open.ok_or_else(|| missing("open"))?;
        let get = table.get.ok_or_else(|| missing("get"))?;
        let context = HostContext::new(name);
        let mut instance = Instance {
            get,
            handle: std::ptr::null_mut(),
            capabilities: component.capabilities(),
            table,
            timeout: AtomicI64::new(NEVER),
            context,
            name: name.to_owned(),
            component,
            fork: AtomicU8::new(0),
        };
        let options = options.to_string();
        let mut handle = std::ptr::null_mut();
        let opened = instance.answer_at_once("open", instance.now(), |call| {
            // SAFETY: the table was checked, the host's context lives for ever, the rest for the call.
            unsafe { open(context.host_ref(), call, Slice::new(options.as_bytes()), &mut handle) }
        });
        // Set even on failure: dropping the instance closes what there is.
        instance.handle = handle;
        match opened? {
            status::OK if !handle.is_null() => Ok(Arc::new(instance)),
            status::OK => Err(instance.error("open", status::FATAL, "the plugin gave no instance")),
            other => Err(instance.unexpected("open", other)),
        }
    }

    /// The table's own `get` and the handle it takes first, for a caller that keeps both beside its
    /// own data. Valid for as long as the instance is held; see [`Instance::get`].
    pub fn raw_get(&self) -> (Get, *mut c_void) {
        (self.get, self.handle)
    }

    /// The name that configurations gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is an instance of.
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        self.component.path()
    }

    /// Bits of [`capability`].
    #[inline]
    pub fn capabilities(&self) -> u64 {
        self.capabilities
    }

    /// Whether it has all of `capabilities`.
    pub fn has(&self, capabilities: u64) -> bool {
        self.capabilities & capabilities == capabilities
    }

    /// Bounds every operation from now on; `None` for no bound.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeout.store(timeout.map_or(NEVER, nanoseconds), Ordering::Relaxed);
    }

    /// What has been counted about it.
    pub fn counters(&self) -> HostCounters {
        self.context.counters()
    }

    /// Who hears of evicted keys from now on, on the plugin's threads and outside its locks.
    pub fn on_evicted(&self, listener: Option<Arc<OnEvicted>>) {
        self.context.set_on_evicted(listener);
    }

    /// Who hears of keys that something else changed, on the plugin's threads.
    pub fn on_invalidated(&self, listener: Option<Arc<OnInvalidated>>) {
        self.context.set_on_invalidated(listener);
    }

    /// The table's own `get`, with nothing around it: allocates nothing and answers a status. The
    /// caller owns the reference in `out` after `OK` and a message in `call.error` after an error.
    ///
    /// Only for backends that answer at once ([`capability::INLINE`] or [`capability::BLOCKING`]).
    #[inline]
    pub fn get(&self, call: &Call, key: &[u8], out: &mut raw::Item) -> i32 {
        // SAFETY: the instance is open, and everything is valid for the call.
        unsafe { (self.get)(self.handle, call, Slice::new(key), out) }
    }

    /// Reads an entry.
    pub fn read(&self, key: &[u8]) -> Result<Option<Item>> {
        let mut item = raw::Item::EMPTY;
        let answer = self.call("get", |call| {
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
        let set = self.need(self.table.set, "set")?;
        let entry = raw_entry(Entry { key, value, ttl });
        // SAFETY: see `read`; the plugin takes over the entry's reference.
        let answer = self.call_with("set", [entry], |call, entries| unsafe { set(self.handle, call, &entries[0]) })?;
        self.done("set", &answer)
    }

    /// Removes an entry; says whether it was there.
    pub fn delete(&self, key: &[u8]) -> Result<bool> {
        let delete = self.need(self.table.delete, "delete")?;
        // SAFETY: see `read`.
        let answer = self.call("delete", |call| unsafe { delete(self.handle, call, Slice::new(key)) })?;
        self.present("delete", &answer)
    }

    /// Removes all entries whose key starts with `prefix`; says how many there were.
    pub fn clear(&self, prefix: &[u8]) -> Result<u64> {
        let clear = self.need(self.table.clear, "clear")?;
        let mut removed = 0;
        // SAFETY: see `read`.
        let answer = self.call("clear", |call| unsafe { clear(self.handle, call, Slice::new(prefix), &mut removed) })?;
        self.done("clear", &answer)?;
        Ok(number(&answer).map_or(removed, |number| number as u64))
    }

    /// Reads many, each with a result of its own.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Result<Option<Item>>>> {
        let Some(get_many) = self.table.get_many else {
            return Ok(keys.iter().map(|key| self.read(key)).collect());
        };
        let slices = slices(keys);
        let mut items = vec![raw::Item::EMPTY; keys.len()];
        let answer = self.call("get_many", |call| {
            // SAFETY: see `read`; both arrays have as many items as is said.
            unsafe { get_many(self.handle, call, slices.as_ptr(), slices.len(), items.as_mut_ptr()) }
        })?;
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
        let Some(set_many) = self.table.set_many else {
            return Ok(entries.into_iter().map(|entry| self.set(entry.key, entry.value, entry.ttl)).collect());
        };
        let count = entries.len();
        let mut statuses = vec![status::OK; count];
        let entries: Vec<raw::Entry> = entries.into_iter().map(raw_entry).collect();
        let answer = self.call_with("set_many", entries, |call, entries| {
            // SAFETY: see `read`; the plugin takes over the entries' references.
            unsafe { set_many(self.handle, call, entries.as_ptr(), count, statuses.as_mut_ptr()) }
        })?;
        let each = self.each("set_many", &answer, statuses)?;
        Ok(each.into_iter().map(|code| self.plain("set_many", code)).collect())
    }

    /// Removes many; says of each whether it was there.
    pub fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<Result<bool>>> {
        let Some(delete_many) = self.table.delete_many else {
            return Ok(keys.iter().map(|key| self.delete(key)).collect());
        };
        let slices = slices(keys);
        let mut statuses = vec![status::OK; keys.len()];
        let answer = self.call("delete_many", |call| {
            // SAFETY: see `read`; both arrays have as many items as is said.
            unsafe { delete_many(self.handle, call, slices.as_ptr(), slices.len(), statuses.as_mut_ptr()) }
        })?;
        let each = self.each("delete_many", &answer, statuses)?;
        let removed = |code| match code {
            status::NOT_FOUND => Ok(false),
            code => self.plain("delete_many", code).map(|()| true),
        };
        Ok(each.into_iter().map(removed).collect())
    }

    /// `CAS`: stores only where no entry is; the new token, or `None` where one was.
    pub fn add(&self, key: &[u8], value: Value, ttl: i64) -> Result<Option<Token>> {
        let add = self.need(self.table.add, "add")?;
        let mut token = Token::default();
        let entry = raw_entry(Entry { key, value, ttl });
        let answer = self.call_with("add", [entry], |call, entries| {
            // SAFETY: see `set`.
            unsafe { add(self.handle, call, &entries[0], &mut token) }
        })?;
        Ok(self.held("add", &answer)?.then(|| token_of(&answer).unwrap_or(token)))
    }

    /// `CAS`: stores only where the entry's token is `expected` (all zero: where none is); the new
    /// token, or `None` where it was another.
    pub fn compare_and_set(&self, key: &[u8], value: Value, ttl: i64, expected: Token) -> Result<Option<Token>> {
        let compare_and_set = self.need(self.table.compare_and_set, "compare_and_set")?;
        let mut token = expected;
        let entry = raw_entry(Entry { key, value, ttl });
        let answer = self.call_with("compare_and_set", [entry], |call, entries| {
            // SAFETY: see `set`.
            unsafe { compare_and_set(self.handle, call, &entries[0], &mut token) }
        })?;
        Ok(self.held("compare_and_set", &answer)?.then(|| token_of(&answer).unwrap_or(token)))
    }

    /// `COUNTER`: adds `delta` to a number that starts at zero, with `ttl` when it is created.
    pub fn increment(&self, key: &[u8], delta: i64, ttl: i64) -> Result<i64> {
        let increment = self.need(self.table.increment, "increment")?;
        let mut value = 0;
        let answer = self.call("increment", |call| {
            // SAFETY: see `read`.
            unsafe { increment(self.handle, call, Slice::new(key), delta, ttl, &mut value) }
        })?;
        self.done("increment", &answer)?;
        Ok(number(&answer).unwrap_or(value))
    }

    /// `TTL`: gives a present entry a new time to live; says whether it was there.
    pub fn touch(&self, key: &[u8], ttl: i64) -> Result<bool> {
        let touch = self.need(self.table.touch, "touch")?;
        // SAFETY: see `read`.
        let answer = self.call("touch", |call| unsafe { touch(self.handle, call, Slice::new(key), ttl) })?;
        self.present("touch", &answer)
    }

    /// `TTL`: remaining nanoseconds ([`NEVER`] for no expiry), or `None` where there is no entry.
    pub fn ttl(&self, key: &[u8]) -> Result<Option<i64>> {
        let ttl = self.need(self.table.ttl, "ttl")?;
        let mut remaining = NEVER;
        // SAFETY: see `read`.
        let answer = self.call("ttl", |call| unsafe { ttl(self.handle, call, Slice::new(key), &mut remaining) })?;
        Ok(self.present("ttl", &answer)?.then(|| number(&answer).unwrap_or(remaining)))
    }

    /// `SCAN`: a page of at most `limit` keys that start with `prefix` and match the glob `pattern`
    /// (empty: all). Starts with cursor 0, ends where the page names no next one.
    pub fn scan(&self, prefix: &[u8], pattern: &[u8], cursor: u64, limit: u64) -> Result<ScanPage> {
        let scan = self.need(self.table.scan, "scan")?;
        let mut page = raw::Page { keys: value::Value::NONE, cursor: 0, count: 0 };
        let answer = self.call("scan", |call| {
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

    /// `SCAN`: number of entries whose key starts with `prefix`.
    pub fn count(&self, prefix: &[u8]) -> Result<u64> {
        let count = self.need(self.table.count, "count")?;
        let mut entries = 0;
        // SAFETY: see `read`.
        let answer = self.call("count", |call| unsafe { count(self.handle, call, Slice::new(prefix), &mut entries) })?;
        self.done("count", &answer)?;
        Ok(number(&answer).map_or(entries, |number| number as u64))
    }

    /// `LEASE`: takes the lease `name` for `ttl` nanoseconds, or `None` if somebody holds it.
    pub fn lease_acquire(&self, name: &[u8], ttl: i64) -> Result<Option<Lease>> {
        let acquire = self.need(self.table.lease_acquire, "lease_acquire")?;
        let mut lease = Lease { holder: Token::default(), fence: 0 };
        let answer = self.call("lease_acquire", |call| {
            // SAFETY: see `read`.
            unsafe { acquire(self.handle, call, Slice::new(name), ttl, &mut lease) }
        })?;
        if !self.held("lease_acquire", &answer)? {
            return Ok(None);
        }
        match (&answer, token_of(&answer)) {
            (Answer::Ready(_), _) => Ok(Some(lease)),
            (Answer::Completed(completion), Some(holder)) => Ok(Some(Lease { holder, fence: completion.number as u64 })),
            (Answer::Completed(_), None) => Err(self.incomplete("lease_acquire")),
        }
    }

    /// `LEASE`: prolongs a lease; `false` if it was lost.
    pub fn lease_renew(&self, name: &[u8], ttl: i64, lease: &Lease) -> Result<bool> {
        let renew = self.need(self.table.lease_renew, "lease_renew")?;
        // SAFETY: see `read`.
        let answer = self.call("lease_renew", |call| unsafe { renew(self.handle, call, Slice::new(name), ttl, lease) })?;
        self.held("lease_renew", &answer)
    }

    /// `LEASE`: gives a lease back; `false` if it was lost.
    pub fn lease_release(&self, name: &[u8], lease: &Lease) -> Result<bool> {
        let release = self.need(self.table.lease_release, "lease_release")?;
        // SAFETY: see `read`.
        let answer = self.call("lease_release", |call| unsafe { release(self.handle, call, Slice::new(name), lease) })?;
        self.held("lease_release", &answer)
    }

    /// `SUBSCRIBE`: from now on reports changes of keys with `prefix` to [`Instance::on_invalidated`].
    pub fn subscribe(&self, prefix: &[u8]) -> Result<()> {
        let subscribe = self.need(self.table.subscribe, "subscribe")?;
        // SAFETY: see `read`.
        let answer = self.call("subscribe", |call| unsafe { subscribe(self.handle, call, Slice::new(prefix)) })?;
        self.done("subscribe", &answer)
    }

    /// Answers as soon as the store can be reached; at once where the plugin has no such function.
    pub fn ping(&self) -> Result<()> {
        self.optional("ping", self.table.ping)
    }

    /// Makes acknowledged writes as durable as they get.
    pub fn flush(&self) -> Result<()> {
        self.optional("flush", self.table.flush)
    }

    /// A JSON object of numbers: `entries`, `bytes`, `evictions`, and whatever else; empty where the
    /// plugin has no such function.
    pub fn statistics(&self) -> Result<serde_json::Value> {
        let Some(statistics) = self.table.statistics else { return Ok(serde_json::json!({})) };
        let mut text = value::Value::NONE;
        // SAFETY: see `read`.
        let answer = self.call("statistics", |call| unsafe { statistics(self.handle, call, &mut text) });
        // SAFETY: the plugin gave the reference to us.
        let text = unsafe { Value::from_raw(text) };
        let answer = answer?;
        self.done("statistics", &answer)?;
        let text = match answer {
            Answer::Ready(_) => text,
            Answer::Completed(completion) => completion.text,
        };
        serde_json::from_slice(text.as_bytes().unwrap_or_default())
            .map_err(|error| self.error("statistics", status::INVALID, &format!("the text is not JSON: {error}")))
    }

    /// Finishes work in flight within `limit` and stops background threads; the instance still
    /// answers afterwards.
    pub fn quiesce(&self, limit: Duration) -> Result<()> {
        let quiesce = self.need(self.table.quiesce, "quiesce")?;
        let timing = self.now().within(limit);
        // SAFETY: see `read`.
        let code = self.answer_at_once("quiesce", timing, |call| unsafe { quiesce(self.handle, call) })?;
        self.plain("quiesce", code)
    }

    /// Before `fork`, in the parent. Exactly one of the other two follows, on the same thread.
    pub fn fork_prepare(&self) {
        self.run_for_fork(self.table.fork_prepare);
        self.context.lock_for_fork();
        self.fork.store(1, Ordering::Relaxed);
    }

    /// After `fork`, in the parent.
    pub fn fork_parent(&self) {
        if self.fork.swap(0, Ordering::Relaxed) == 1 {
            // SAFETY: this thread took it in `fork_prepare`.
            unsafe { self.context.unlock_after_fork() };
            self.run_for_fork(self.table.fork_parent);
        }
    }

    /// After `fork`, in the child, where none of the threads lives that worked for this instance.
    pub fn fork_child(&self) {
        if self.fork.swap(0, Ordering::Relaxed) == 1 {
            // SAFETY: this thread took it in `fork_prepare`.
            unsafe { self.context.unlock_after_fork() };
            self.context.operations().forget_all();
            self.run_for_fork(self.table.fork_child);
        }
    }

    fn run_for_fork(&self, function: Option<unsafe extern "C" fn(*mut c_void)>) {
        if let (true, Some(function)) = (self.has(capability::FORK), function) {
            // SAFETY: the instance is open.
            unsafe { function(self.handle) }
        }
    }

    fn optional(&self, operation: &'static str, function: Option<unsafe extern "C" fn(*mut c_void, *const Call) -> i32>) -> Result<()> {
        let Some(function) = function else { return Ok(()) };
        // SAFETY: see `read`.
        let answer = self.call(operation, |call| unsafe { function(self.handle, call) })?;
        self.done(operation, &answer)
    }

    fn need<F>(&self, function: Option<F>, operation: &'static str) -> Result<F> {
        function.ok_or_else(|| self.error(operation, status::UNSUPPORTED, "the plugin does not have this operation"))
    }

    pub(crate) fn table(&self) -> &BackendTable {
        &self.table
    }

    pub(crate) fn handle(&self) -> *mut c_void {
        self.handle
    }

    pub(crate) fn operations(&self) -> &Operations {
        self.context.operations()
    }

    pub(crate) fn busy(&self, operation: &'static str) -> Error {
        self.error(operation, status::BUSY, "too many operations are in flight")
    }

    /// Gives a pending operation up and tells the plugin; `false` if its completion came first.
    pub(crate) fn withdraw(&self, op: u64) -> bool {
        let first = self.operations().withdraw(op, true);
        if let (true, Some(cancel)) = (first, self.table.cancel) {
            // SAFETY: see `read`.
            unsafe { cancel(self.handle, op) }
        }
        first
    }

    pub(crate) fn timing_until(&self, deadline: i64) -> Timing {
        Timing { now: clock::monotonic(), deadline }
    }

    fn now(&self) -> Timing {
        let now = clock::monotonic();
        Timing { now, deadline: now.saturating_add(self.timeout.load(Ordering::Relaxed)) }
    }

    /// Calls one function of the table and waits for its answer where it comes later.
    fn call(&self, operation: &'static str, function: impl FnOnce(&Call) -> i32) -> Result<Answer> {
        if self.capabilities & (capability::INLINE | capability::BLOCKING) != 0 {
            return self.answer_at_once(operation, self.now(), function).map(Answer::Ready);
        }
        self.answer_later(operation, self.now(), function)
    }

    /// As [`Instance::call`], for functions that take over the references in `entries`.
    fn call_with<E: AsRef<[raw::Entry]>>(&self, operation: &'static str, entries: E, function: impl FnOnce(&Call, &[raw::Entry]) -> i32) -> Result<Answer> {
        let mut given = false;
        let answer = self.call(operation, |call| {
            given = true;
            function(call, entries.as_ref())
        });
        if !given {
            // Refused before the plugin saw them.
            // SAFETY: nobody has taken the references over.
            entries.as_ref().iter().for_each(|entry| drop(unsafe { Value::from_raw(entry.value) }));
        }
        answer
    }

    fn answer_at_once(&self, operation: &'static str, timing: Timing, function: impl FnOnce(&Call) -> i32) -> Result<i32> {
        let mut message = value::Value::NONE;
        let code = function(&timing.call(0, &mut message));
        // SAFETY: the plugin gave the reference to us.
        let message = unsafe { Value::from_raw(message) };
        match code {
            status::PENDING => Err(self.error(operation, status::INVALID, "the plugin answered `pending` to a call that asked for an answer")),
            code if code < 0 => Err(self.error(operation, code, &text_of(&message))),
            code => Ok(code),
        }
    }

    fn answer_later(&self, operation: &'static str, timing: Timing, function: impl FnOnce(&Call) -> i32) -> Result<Answer> {
        let operations = self.context.operations();
        let (blocking, waiter) = Blocking::new();
        let op = operations.begin(waiter).ok_or_else(|| self.busy(operation))?;
        let mut message = value::Value::NONE;
        let code = function(&timing.call(op, &mut message));
        // SAFETY: the plugin gave the reference to us.
        let message = unsafe { Value::from_raw(message) };
        if code != status::PENDING {
            operations.withdraw(op, false);
            return match code {
                code if code < 0 => Err(self.error(operation, code, &text_of(&message))),
                code => Ok(Answer::Ready(code)),
            };
        }
        let longest = timing.now.saturating_add(nanoseconds(LONGEST_WAIT));
        let completion = match blocking.wait(timing.deadline.min(longest)) {
            Some(completion) => completion,
            None if self.withdraw(op) => {
                return Err(self.error(operation, status::TIMEOUT, "the plugin did not answer in time"));
            }
            // It came just now, between giving up and saying so.
            None => blocking.wait(NEVER).ok_or_else(|| self.incomplete(operation))?,
        };
        if completion.status < 0 {
            return Err(self.error(operation, completion.status, &text_of(&completion.text)));
        }
        Ok(Answer::Completed(completion))
    }

    /// `OK` is done, everything else a breach of the contract.
    fn done(&self, operation: &'static str, answer: &Answer) -> Result<()> {
        self.plain(operation, answer.status())
    }

    fn plain(&self, operation: &'static str, code: i32) -> Result<()> {
        match code {
            status::OK => Ok(()),
            code => Err(self.unexpected(operation, code)),
        }
    }

    /// `OK` or `NOT_FOUND`.
    fn present(&self, operation: &'static str, answer: &Answer) -> Result<bool> {
        match answer.status() {
            status::NOT_FOUND => Ok(false),
            code => self.plain(operation, code).map(|()| true),
        }
    }

    /// `OK` or `CONFLICT`.
    fn held(&self, operation: &'static str, answer: &Answer) -> Result<bool> {
        match answer.status() {
            status::CONFLICT => Ok(false),
            code => self.plain(operation, code).map(|()| true),
        }
    }

    fn each(&self, operation: &'static str, answer: &Answer, statuses: Vec<i32>) -> Result<Vec<i32>> {
        self.done(operation, answer)?;
        let expected = statuses.len();
        let statuses = match answer {
            Answer::Ready(_) => statuses,
            Answer::Completed(completion) => completion.items.iter().map(|item| item.status).collect(),
        };
        if statuses.len() == expected { Ok(statuses) } else { Err(self.incomplete(operation)) }
    }

    fn incomplete(&self, operation: &'static str) -> Error {
        self.error(operation, status::INVALID, "the plugin's answer is incomplete")
    }

    fn unexpected(&self, operation: &'static str, code: i32) -> Error {
        if code < 0 {
            return self.error(operation, code, "");
        }
        self.error(operation, status::INVALID, &format!("the plugin answered `{}` ({code}), which is no answer to this", status::name(code)))
    }

    pub(crate) fn error(&self, operation: &'static str, code: i32, message: &str) -> Error {
        let message = match message {
            "" => format!("{operation} failed: {}", status::name(code)),
            message => message.to_owned(),
        };
        Error::new(ErrorKind::from_status(code), operation, message).with("backend", &*self.name)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let (false, Some(close)) = (self.handle.is_null(), self.table.close) {
            let timing = self.now().within(CLOSING);
            // SAFETY: the last call of the instance.
            let closed = self.answer_at_once("close", timing, |call| unsafe { close(self.handle, call) });
            if let Err(error) = closed {
                tracing::warn!(target: "retainit::plugin", backend = &*self.name, "closing failed: {error}");
            }
        }
        self.context.retire();
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Instance({}, {})", self.name, self.component.name())
    }
}

/// The two moments that go with a call, on the process's monotonic clock.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) now: i64,
    pub(crate) deadline: i64,
}

impl Timing {
    pub(crate) fn unbounded() -> Self {
        Timing { now: clock::monotonic(), deadline: NEVER }
    }

    pub(crate) fn within(self, limit: Duration) -> Self {
        Timing { deadline: self.now.saturating_add(nanoseconds(limit)), ..self }
    }

    pub(crate) fn call(self, op: u64, error: *mut value::Value) -> Call {
        Call { op, now: self.now, deadline: self.deadline, error }
    }
}

/// A plugin's message on one line; empty where it gave none.
pub(crate) fn text_of(message: &Value) -> String {
    printable(message.as_bytes().unwrap_or_default())
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}

fn slices(keys: &[&[u8]]) -> Vec<Slice> {
    keys.iter().map(|key| Slice::new(key)).collect()
}

fn raw_entry(entry: Entry<'_>) -> raw::Entry {
    raw::Entry { key: Slice::new(entry.key), value: entry.value.into_raw(), ttl: entry.ttl }
}

/// # Safety
/// The caller must own the item's reference and give it up.
unsafe fn owned(item: raw::Item) -> Item {
    // SAFETY: promised by the caller.
    Item { value: unsafe { Value::from_raw(item.value) }, expires: item.expires, token: item.token }
}

fn all_items(completion: Completion) -> Vec<(i32, Item)> {
    let Completion { items, values, .. } = completion;
    let pair = |(item, value): (raw::Item, Value)| (item.status, Item { value, expires: item.expires, token: item.token });
    items.into_iter().zip(values).map(pair).collect()
}

fn first_item(completion: Completion) -> Option<Item> {
    all_items(completion).into_iter().next().map(|(_, item)| item)
}

fn number(answer: &Answer) -> Option<i64> {
    match answer {
        Answer::Ready(_) => None,
        Answer::Completed(completion) => Some(completion.number),
    }
}

fn token_of(answer: &Answer) -> Option<Token> {
    match answer {
        Answer::Ready(_) => None,
        Answer::Completed(completion) => completion.items.first().map(|item| item.token),
    }
}

/// Keys of a page: `u32` little-endian lengths, each followed by that many bytes.
pub(crate) fn page_keys(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
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
