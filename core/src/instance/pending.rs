//! Asynchronous calls of an instance: started here, answered by a function that is called later.

use std::num::NonZeroU64;
use std::sync::Arc;

use retainit_plugin_api::abi::call::{self as raw, Call};
use retainit_plugin_api::abi::value::{self, Slice};
use retainit_plugin_api::abi::{capability, status};
use retainit_plugin_api::sdk::{Item, Lease, Reply, Request, ScanPage, Token, Value};

use super::answer::text_of;
use super::entries::page_keys;
use super::Instance;
use crate::error::{Error, ErrorKind, Result};

use crate::operations::Completion;

/// A started operation, for giving it up. Dropping it changes nothing.
#[derive(Debug)]
pub struct Pending {
    instance: Arc<Instance>,
    op: u64,
}

impl Pending {
    /// Asks the plugin to cancel the operation. Where this returns `true`, the function given to
    /// [`Instance::start`] is never called; otherwise it has been, or is being, called.
    pub fn give_up(&self) -> bool {
        self.instance.withdraw(self.op, None)
    }
}

/// What an operation's answer looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Done,
    Item,
    Items(usize),
    Each(usize),
    Token,
    Number,
    Lease,
    Page,
    Text,
}

/// Where a plugin that answers at once writes to.
pub(super) struct Outputs {
    items: Vec<raw::Item>,
    statuses: Vec<i32>,
    signed: i64,
    unsigned: u64,
    token: Token,
    lease: Lease,
    page: raw::Page,
    text: value::Value,
}

impl Instance {
    /// Starts `request`, until `deadline` on the process's clock. `done` is called exactly once, from
    /// any thread, possibly before this returns, unless the operation is given up first. It must not
    /// block: it runs on a thread of the plugin.
    ///
    /// This is the plugin's own answer: neither breaker nor queue nor missed invalidations are looked at,
    /// and nothing is tried twice.
    ///
    /// # Errors
    /// For backends without [`capability::ASYNC`], and where too many operations are in flight; `done`
    /// is not called then.
    pub fn start(
        self: &Arc<Self>,
        request: Request,
        deadline: i64,
        done: impl FnOnce(Result<Reply>) + Send + 'static,
    ) -> Result<Pending> {
        if !self.has(capability::ASYNC) {
            return Err(self.error("start", status::UNSUPPORTED, "the backend does not work asynchronously"));
        }
        let (operation, shape) = shape_of(&request);
        let name: Arc<str> = Arc::from(self.name());
        let waiter = move |completion| done(reply(operation, shape, completion, &name));
        let op = self.operations().begin(Box::new(waiter)).ok_or_else(|| self.busy(operation))?;
        let mut outputs = Outputs::new(shape);
        let mut message = value::Value::NONE;
        let call = self.timing_until(deadline).call(op, &mut message);
        let code = self.issue(&call, request, &mut outputs);
        // SAFETY: the plugin gave the reference to us.
        let message = unsafe { Value::from_raw(message) };
        if code != status::PENDING {
            // Answered at once: the waiter hears of it as of any completion.
            let completion = outputs.into_completion(shape, code, message);
            self.operations().deliver(op, completion);
        }
        Ok(Pending { instance: Arc::clone(self), op })
    }

    /// Calls the table's function for `request`; a function that is missing is unsupported.
    pub(super) fn issue(&self, call: &Call, request: Request, out: &mut Outputs) -> i32 {
        let (table, handle) = (self.table(), self.handle());
        macro_rules! call {
            ($function:ident($($argument:expr),*)) => {
                match table.$function {
                    // SAFETY: the instance is open; the request and the outputs outlive the call.
                    Some(function) => unsafe { function(handle, call $(, $argument)*) },
                    None => status::UNSUPPORTED,
                }
            };
        }
        let slice = |bytes: &[u8]| Slice::new(bytes);
        let entry =
            |key: &[u8], value: Value, ttl| raw::Entry { key: Slice::new(key), value: value.into_raw(), ttl };
        // Functions that take references over are looked up first: a missing one must not leak them.
        match request {
            Request::Get { key } => call!(get(slice(&key), &mut out.items[0])),
            Request::Set { key, value, ttl } if table.set.is_some() => call!(set(&entry(&key, value, ttl))),
            Request::Delete { key } => call!(delete(slice(&key))),
            Request::Clear { prefix } => call!(clear(slice(&prefix), &mut out.unsigned)),
            Request::GetMany { keys } => {
                let keys: Vec<Slice> = keys.iter().map(|key| slice(key)).collect();
                call!(get_many(keys.as_ptr(), keys.len(), out.items.as_mut_ptr()))
            }
            Request::SetMany { entries } if table.set_many.is_some() => {
                let entries: Vec<(Vec<u8>, raw::Entry)> = entries
                    .into_iter()
                    .map(|(key, value, ttl)| {
                        // The key's bytes stay where they are when the vector moves.
                        let raw = entry(&key, value, ttl);
                        (key, raw)
                    })
                    .collect();
                let raw: Vec<raw::Entry> = entries.iter().map(|(_, raw)| *raw).collect();
                call!(set_many(raw.as_ptr(), raw.len(), out.statuses.as_mut_ptr()))
            }
            Request::DeleteMany { keys } => {
                let keys: Vec<Slice> = keys.iter().map(|key| slice(key)).collect();
                call!(delete_many(keys.as_ptr(), keys.len(), out.statuses.as_mut_ptr()))
            }
            Request::Add { key, value, ttl } if table.add.is_some() => {
                call!(add(&entry(&key, value, ttl), &mut out.token))
            }
            Request::CompareAndSet { key, value, ttl, token } if table.compare_and_set.is_some() => {
                out.token = token;
                call!(compare_and_set(&entry(&key, value, ttl), &mut out.token))
            }
            Request::Increment { key, delta, ttl } => {
                call!(increment(slice(&key), delta, ttl, &mut out.signed))
            }
            Request::Touch { key, ttl } => call!(touch(slice(&key), ttl)),
            Request::Ttl { key } => call!(ttl(slice(&key), &mut out.signed)),
            Request::Scan { prefix, pattern, cursor, limit } => {
                call!(scan(slice(&prefix), slice(&pattern), cursor, limit, &mut out.page))
            }
            Request::Count { prefix } => call!(count(slice(&prefix), &mut out.unsigned)),
            Request::LeaseAcquire { name, ttl } => call!(lease_acquire(slice(&name), ttl, &mut out.lease)),
            Request::LeaseRenew { name, ttl, lease } => call!(lease_renew(slice(&name), ttl, &lease)),
            Request::LeaseRelease { name, lease } => call!(lease_release(slice(&name), &lease)),
            Request::Subscribe { prefix } => call!(subscribe(slice(&prefix))),
            Request::Ping => call!(ping()),
            Request::Statistics => call!(statistics(&mut out.text)),
            Request::Flush => call!(flush()),
            _ => status::UNSUPPORTED,
        }
    }
}

impl Outputs {
    pub(super) fn new(shape: Shape) -> Self {
        let (items, statuses) = match shape {
            Shape::Item => (1, 0),
            Shape::Items(count) => (count, 0),
            Shape::Each(count) => (0, count),
            _ => (0, 0),
        };
        Outputs {
            items: vec![raw::Item::EMPTY; items],
            statuses: vec![status::OK; statuses],
            signed: 0,
            unsigned: 0,
            token: Token::default(),
            lease: Lease { holder: Token::default(), fence: 0 },
            page: raw::Page { keys: value::Value::NONE, cursor: 0, count: 0 },
            text: value::Value::NONE,
        }
    }

    /// As if the answer had come later.
    pub(super) fn into_completion(self, shape: Shape, code: i32, message: Value) -> Completion {
        let plain = |token| raw::Item { token, status: status::OK, ..raw::Item::EMPTY };
        let (items, number, text) = match shape {
            Shape::Item | Shape::Items(_) => (self.items, 0, value::Value::NONE),
            Shape::Each(_) => {
                let items = self.statuses.into_iter().map(|status| raw::Item { status, ..raw::Item::EMPTY });
                (items.collect(), 0, value::Value::NONE)
            }
            Shape::Token => (vec![plain(self.token)], 0, value::Value::NONE),
            Shape::Lease => (vec![plain(self.lease.holder)], self.lease.fence as i64, value::Value::NONE),
            // One of the two is written; the other is zero.
            Shape::Number => (Vec::new(), self.signed | self.unsigned as i64, value::Value::NONE),
            Shape::Page => (Vec::new(), self.page.cursor as i64, self.page.keys),
            Shape::Text => (Vec::new(), 0, self.text),
            Shape::Done => (Vec::new(), 0, value::Value::NONE),
        };
        // SAFETY: the plugin gave the references to us, and each is owned once.
        let values = items.iter().map(|item| unsafe { Value::from_raw(item.value) }).collect();
        // SAFETY: as above.
        let text = unsafe { Value::from_raw(text) };
        let text = if code < 0 { message } else { text };
        Completion { status: code, items, values, number, text }
    }
}

pub(super) fn shape_of(request: &Request) -> (&'static str, Shape) {
    match request {
        Request::Get { .. } => ("get", Shape::Item),
        Request::Set { .. } => ("set", Shape::Done),
        Request::Delete { .. } => ("delete", Shape::Done),
        Request::Clear { .. } => ("clear", Shape::Number),
        Request::GetMany { keys } => ("get_many", Shape::Items(keys.len())),
        Request::SetMany { entries } => ("set_many", Shape::Each(entries.len())),
        Request::DeleteMany { keys } => ("delete_many", Shape::Each(keys.len())),
        Request::Add { .. } => ("add", Shape::Token),
        Request::CompareAndSet { .. } => ("compare_and_set", Shape::Token),
        Request::Increment { .. } => ("increment", Shape::Number),
        Request::Touch { .. } => ("touch", Shape::Done),
        Request::Ttl { .. } => ("ttl", Shape::Number),
        Request::Scan { .. } => ("scan", Shape::Page),
        Request::Count { .. } => ("count", Shape::Number),
        Request::LeaseAcquire { .. } => ("lease_acquire", Shape::Lease),
        Request::LeaseRenew { .. } => ("lease_renew", Shape::Done),
        Request::LeaseRelease { .. } => ("lease_release", Shape::Done),
        Request::Subscribe { .. } => ("subscribe", Shape::Done),
        Request::Ping => ("ping", Shape::Done),
        Request::Statistics => ("statistics", Shape::Text),
        Request::Flush => ("flush", Shape::Done),
        _ => ("start", Shape::Done),
    }
}

/// What a completion says about an operation of a shape.
fn reply(operation: &'static str, shape: Shape, completion: Completion, backend: &str) -> Result<Reply> {
    let failed = |code: i32, message: &str| {
        let message = if message.is_empty() {
            format!("{operation} failed: {}", status::name(code))
        } else {
            message.to_owned()
        };
        Error::new(ErrorKind::from_status(code), operation, message).with("backend", backend)
    };
    let incomplete = || failed(status::INVALID, "the plugin's answer is incomplete");
    match completion.status {
        status::OK => {}
        status::NOT_FOUND => return Ok(Reply::NotFound),
        status::CONFLICT => return Ok(Reply::Conflict),
        code if code < 0 => return Err(failed(code, &text_of(&completion.text))),
        code => {
            return Err(failed(
                status::INVALID,
                &format!("the plugin answered `{code}`, which is no answer to this"),
            ))
        }
    }
    let Completion { items, values, number, text, .. } = completion;
    let token = items.first().map(|item| item.token);
    let whole = |(item, value): (raw::Item, Value)| {
        (item.status, Item { value, expires: item.expires, token: item.token })
    };
    let mut found = items.into_iter().zip(values).map(whole);
    let plugin_error = |code| {
        retainit_plugin_api::sdk::Error::new(
            ErrorKind::from_status(code),
            format!("{operation} failed: {}", status::name(code)),
        )
    };
    Ok(match shape {
        Shape::Done => Reply::Done,
        Shape::Item => Reply::Item(found.next().ok_or_else(incomplete)?.1),
        Shape::Items(count) => {
            let items: Vec<_> = found
                .map(|(code, item)| match code {
                    status::OK => Ok(Some(item)),
                    status::NOT_FOUND => Ok(None),
                    code => Err(plugin_error(code)),
                })
                .collect();
            if items.len() != count {
                return Err(incomplete());
            }
            Reply::Items(items)
        }
        Shape::Each(count) => {
            let each: Vec<_> = found
                .map(|(code, _)| match code {
                    status::OK => Ok(true),
                    status::NOT_FOUND => Ok(false),
                    code => Err(plugin_error(code)),
                })
                .collect();
            if each.len() != count {
                return Err(incomplete());
            }
            Reply::Each(each)
        }
        Shape::Token => Reply::Token(token.ok_or_else(incomplete)?),
        Shape::Number => Reply::Number(number),
        Shape::Lease => Reply::Lease(Lease { holder: token.ok_or_else(incomplete)?, fence: number as u64 }),
        Shape::Page => {
            let keys = page_keys(text.as_bytes().unwrap_or_default()).ok_or_else(incomplete)?;
            Reply::Page(ScanPage { keys, next: NonZeroU64::new(number as u64) })
        }
        Shape::Text => Reply::Text(String::from_utf8_lossy(text.as_bytes().unwrap_or_default()).into_owned()),
    })
}
