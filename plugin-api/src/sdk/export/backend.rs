//! The table of a backend.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};

use super::{array, guard, guard_silent, instance, options, panic_message, Instance};
use crate::abi::backend::BackendTable;
use crate::abi::call as raw;
use crate::abi::host::HostRef;
use crate::abi::value::Slice;
use crate::abi::{capability, status, Prelude};
use crate::sdk::backend::{Backend, Entry};
use crate::sdk::call::{Call, Level};
use crate::sdk::error::{Error, ErrorKind, Result};
use crate::sdk::request::{page_bytes, raw_item, Completer, Request};
use crate::sdk::value::Value;
use crate::sdk::{Lease, Token};

/// The table of backend `T`, as [`export_plugin!`](crate::export_plugin) exports it and as tests call
/// it without a library in between.
#[derive(Debug)]
pub struct BackendExport<T>(PhantomData<T>);

/// `$function` where the backend declares `$bit`, else nothing.
macro_rules! when {
    ($bit:ident, $function:expr) => {
        if T::CAPABILITIES & capability::$bit != 0 {
            Some($function)
        } else {
            None
        }
    };
}

impl<T: Backend> BackendExport<T> {
    /// The functions; those of capabilities that `T` does not declare are `None`.
    pub const TABLE: BackendTable = BackendTable {
        prelude: Prelude::of::<BackendTable>(T::CAPABILITIES),
        open: Some(open::<T>),
        get: Some(get::<T>),
        set: Some(set::<T>),
        delete: Some(delete::<T>),
        clear: Some(clear::<T>),
        quiesce: Some(quiesce::<T>),
        close: Some(super::close::<T>),
        get_many: Some(get_many::<T>),
        set_many: Some(set_many::<T>),
        delete_many: Some(delete_many::<T>),
        cancel: when!(ASYNC, cancel::<T>),
        add: when!(CAS, add::<T>),
        compare_and_set: when!(CAS, compare_and_set::<T>),
        increment: when!(COUNTER, increment::<T>),
        touch: when!(TTL, touch::<T>),
        ttl: when!(TTL, ttl::<T>),
        scan: when!(SCAN, scan::<T>),
        count: when!(SCAN, count::<T>),
        lease_acquire: when!(LEASE, lease_acquire::<T>),
        lease_renew: when!(LEASE, lease_renew::<T>),
        lease_release: when!(LEASE, lease_release::<T>),
        subscribe: when!(SUBSCRIBE, subscribe::<T>),
        ping: Some(ping::<T>),
        statistics: Some(statistics::<T>),
        flush: Some(flush::<T>),
        fork_prepare: when!(FORK, fork_prepare::<T>),
        fork_parent: when!(FORK, fork_parent::<T>),
        fork_child: when!(FORK, fork_child::<T>),
    };
}

/// One call: `request` owns its arguments and is started where the backend is asynchronous and the
/// call carries an operation id; otherwise `body` answers at once.
///
/// # Safety
/// `pointer` and `call` must be the host's; see [`guard`] and [`instance`].
#[inline(always)]
unsafe fn run<T: Backend>(
    pointer: *mut c_void,
    call: *const raw::Call,
    request: impl FnOnce() -> Request,
    body: impl FnOnce(&T, &Call<'_>) -> Result<i32>,
) -> i32 {
    let whole = || {
        // SAFETY: promised by the caller.
        let (instance, call) = unsafe { (instance::<T>(pointer), &*call) };
        if T::CAPABILITIES & capability::ASYNC != 0 && call.op != 0 {
            return Ok(start(instance, call, request()));
        }
        body(&instance.component, &Call::new(call))
    };
    // SAFETY: promised by the caller.
    unsafe { guard(call, whole) }
}

/// Hands a request over. Its completer alone answers from here on: a panic of `start` drops it, and
/// the drop completes, unless the request was completed before or lives on in another thread.
fn start<T: Backend>(instance: &Instance<T>, call: &raw::Call, request: Request) -> i32 {
    let completer = Completer::new(instance.host, call.op);
    let begun = catch_unwind(AssertUnwindSafe(|| {
        instance.component.start(&Call::new(call), request, completer);
    }));
    if let Err(payload) = begun {
        let message = format!("the plugin panicked in `start`: {}", panic_message(payload));
        instance.host.log(Level::Error, &message);
    }
    status::PENDING
}

/// `OK` or `other`.
#[inline(always)]
fn ok_or(done: bool, other: i32) -> i32 {
    if done {
        status::OK
    } else {
        other
    }
}

/// Copies a borrowed key.
///
/// # Safety
/// The slice must be valid.
unsafe fn owned(slice: Slice) -> Vec<u8> {
    // SAFETY: promised by the caller.
    unsafe { slice.as_bytes() }.to_vec()
}

/// Takes over an entry's value and borrows its key.
///
/// # Safety
/// The entry must be the host's, and must be taken once.
#[inline(always)]
unsafe fn take<'a>(entry: &'a raw::Entry) -> Entry<'a> {
    // SAFETY: promised by the caller.
    unsafe { Entry { key: entry.key.as_bytes(), value: Value::from_raw(entry.value), ttl: entry.ttl } }
}

/// The keys of a batch.
///
/// # Safety
/// The array and its slices must be valid.
unsafe fn keys<'a>(first: *const Slice, count: usize) -> Vec<&'a [u8]> {
    // SAFETY: promised by the caller.
    unsafe { array(first, count) }.iter().map(|key| unsafe { key.as_bytes() }).collect()
}

/// Writes a batch's results. A backend that answers for fewer or more than it was asked has a fault
/// that must not pass for an answer.
///
/// # Safety
/// `out` must be valid for `count` elements.
unsafe fn write_each<A, R>(
    out: *mut R,
    count: usize,
    answers: Vec<A>,
    convert: impl Fn(A) -> R,
) -> Result<i32> {
    if answers.len() != count {
        let message = format!("the plugin gave {} answers to a batch of {count}", answers.len());
        return Err(Error::new(ErrorKind::Fatal, message));
    }
    for (i, answer) in answers.into_iter().enumerate() {
        // SAFETY: `i` is less than `count`.
        unsafe { out.add(i).write(convert(answer)) };
    }
    Ok(status::OK)
}

unsafe extern "C" fn open<T: Backend>(
    host: HostRef,
    call: *const raw::Call,
    json: Slice,
    out: *mut *mut c_void,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        super::open(host, call, json, out, |json, host| {
            T::open(options::parse("backend", T::NAME, T::SCHEMA, json)?, host)
        })
    }
}

/// The hot path: no allocation, and of the item only what means something is written.
unsafe extern "C" fn get<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    key: Slice,
    out: *mut raw::Item,
) -> i32 {
    // SAFETY: the arguments are the host's; on `OK` it reads the fields that are written here.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Get { key: owned(key) },
            |backend, call| match backend.get(call, key.as_bytes())? {
                Some(item) => {
                    (&raw mut (*out).value).write(item.value.into_raw());
                    (&raw mut (*out).expires).write(item.expires);
                    if T::CAPABILITIES & capability::CAS != 0 {
                        (&raw mut (*out).token).write(item.token);
                    }
                    Ok(status::OK)
                }
                None => Ok(status::NOT_FOUND),
            },
        )
    }
}

unsafe extern "C" fn set<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    entry: *const raw::Entry,
) -> i32 {
    // SAFETY: the arguments are the host's; only one of the closures takes the entry.
    unsafe {
        run::<T>(
            i,
            call,
            || {
                let Entry { key, value, ttl } = take(&*entry);
                Request::Set { key: key.to_vec(), value, ttl }
            },
            |backend, call| backend.set(call, take(&*entry)).map(|()| status::OK),
        )
    }
}

unsafe extern "C" fn delete<T: Backend>(i: *mut c_void, call: *const raw::Call, key: Slice) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Delete { key: owned(key) },
            |backend, call| Ok(ok_or(backend.delete(call, key.as_bytes())?, status::NOT_FOUND)),
        )
    }
}

unsafe extern "C" fn clear<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    prefix: Slice,
    removed: *mut u64,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Clear { prefix: owned(prefix) },
            |backend, call| {
                removed.write(backend.clear(call, prefix.as_bytes())?);
                Ok(status::OK)
            },
        )
    }
}

unsafe extern "C" fn quiesce<T: Backend>(i: *mut c_void, call: *const raw::Call) -> i32 {
    // SAFETY: the arguments are the host's; quiescing is always answered on return.
    unsafe { guard(call, || instance::<T>(i).component.quiesce(&Call::new(&*call)).map(|()| status::OK)) }
}

unsafe extern "C" fn get_many<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    first: *const Slice,
    count: usize,
    items: *mut raw::Item,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::GetMany { keys: keys(first, count).into_iter().map(<[u8]>::to_vec).collect() },
            |backend, call| write_each(items, count, backend.get_many(call, &keys(first, count)), raw_item),
        )
    }
}

unsafe extern "C" fn set_many<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    first: *const raw::Entry,
    count: usize,
    statuses: *mut i32,
) -> i32 {
    // SAFETY: the arguments are the host's; only one of the closures takes the entries.
    unsafe {
        run::<T>(
            i,
            call,
            || {
                let entries = array(first, count).iter().map(|entry| take(entry));
                Request::SetMany {
                    entries: entries.map(|entry| (entry.key.to_vec(), entry.value, entry.ttl)).collect(),
                }
            },
            |backend, call| {
                let entries = array(first, count).iter().map(|entry| take(entry)).collect();
                write_each(statuses, count, backend.set_many(call, entries), |done| match done {
                    Ok(()) => status::OK,
                    Err(error) => error.kind().status(),
                })
            },
        )
    }
}

unsafe extern "C" fn delete_many<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    first: *const Slice,
    count: usize,
    statuses: *mut i32,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::DeleteMany { keys: keys(first, count).into_iter().map(<[u8]>::to_vec).collect() },
            |backend, call| {
                let answers = backend.delete_many(call, &keys(first, count));
                write_each(statuses, count, answers, |done| match done {
                    Ok(there) => ok_or(there, status::NOT_FOUND),
                    Err(error) => error.kind().status(),
                })
            },
        )
    }
}

unsafe extern "C" fn cancel<T: Backend>(i: *mut c_void, op: u64) {
    // SAFETY: the instance is the host's.
    guard_silent(|| unsafe { instance::<T>(i) }.component.cancel(op));
}

unsafe extern "C" fn add<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    entry: *const raw::Entry,
    token: *mut Token,
) -> i32 {
    // SAFETY: the arguments are the host's; only one of the closures takes the entry.
    unsafe {
        run::<T>(
            i,
            call,
            || {
                let Entry { key, value, ttl } = take(&*entry);
                Request::Add { key: key.to_vec(), value, ttl }
            },
            |backend, call| Ok(written(backend.add(call, take(&*entry))?, token)),
        )
    }
}

unsafe extern "C" fn compare_and_set<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    entry: *const raw::Entry,
    token: *mut Token,
) -> i32 {
    // SAFETY: the arguments are the host's; only one of the closures takes the entry.
    unsafe {
        run::<T>(
            i,
            call,
            || {
                let Entry { key, value, ttl } = take(&*entry);
                Request::CompareAndSet { key: key.to_vec(), value, ttl, token: *token }
            },
            |backend, call| Ok(written(backend.compare_and_set(call, take(&*entry), *token)?, token)),
        )
    }
}

/// Writes a new token, or says that the condition did not hold.
///
/// # Safety
/// `out` must be valid for writing.
unsafe fn written(token: Option<Token>, out: *mut Token) -> i32 {
    let Some(token) = token else {
        return status::CONFLICT;
    };
    // SAFETY: promised by the caller.
    unsafe { out.write(token) };
    status::OK
}

unsafe extern "C" fn increment<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    key: Slice,
    delta: i64,
    ttl: i64,
    value: *mut i64,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Increment { key: owned(key), delta, ttl },
            |backend, call| {
                value.write(backend.increment(call, key.as_bytes(), delta, ttl)?);
                Ok(status::OK)
            },
        )
    }
}

unsafe extern "C" fn touch<T: Backend>(i: *mut c_void, call: *const raw::Call, key: Slice, ttl: i64) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Touch { key: owned(key), ttl },
            |backend, call| Ok(ok_or(backend.touch(call, key.as_bytes(), ttl)?, status::NOT_FOUND)),
        )
    }
}

unsafe extern "C" fn ttl<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    key: Slice,
    remaining: *mut i64,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Ttl { key: owned(key) },
            |backend, call| match backend.ttl(call, key.as_bytes())? {
                Some(left) => {
                    remaining.write(left);
                    Ok(status::OK)
                }
                None => Ok(status::NOT_FOUND),
            },
        )
    }
}

unsafe extern "C" fn scan<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    prefix: Slice,
    pattern: Slice,
    cursor: u64,
    limit: u64,
    page: *mut raw::Page,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Scan { prefix: owned(prefix), pattern: owned(pattern), cursor, limit },
            |backend, call| {
                let found = backend.scan(call, prefix.as_bytes(), pattern.as_bytes(), cursor, limit)?;
                page.write(raw::Page {
                    keys: Value::from_vec(page_bytes(&found.keys)).into_raw(),
                    cursor: found.next.map_or(0, std::num::NonZeroU64::get),
                    count: found.keys.len() as u64,
                });
                Ok(status::OK)
            },
        )
    }
}

unsafe extern "C" fn count<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    prefix: Slice,
    number: *mut u64,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Count { prefix: owned(prefix) },
            |backend, call| {
                number.write(backend.count(call, prefix.as_bytes())?);
                Ok(status::OK)
            },
        )
    }
}

unsafe extern "C" fn lease_acquire<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    name: Slice,
    ttl: i64,
    out: *mut Lease,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::LeaseAcquire { name: owned(name), ttl },
            |backend, call| match backend.lease_acquire(call, name.as_bytes(), ttl)? {
                Some(lease) => {
                    out.write(lease);
                    Ok(status::OK)
                }
                None => Ok(status::CONFLICT),
            },
        )
    }
}

unsafe extern "C" fn lease_renew<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    name: Slice,
    ttl: i64,
    lease: *const Lease,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::LeaseRenew { name: owned(name), ttl, lease: *lease },
            |backend, call| {
                Ok(ok_or(backend.lease_renew(call, name.as_bytes(), ttl, &*lease)?, status::CONFLICT))
            },
        )
    }
}

unsafe extern "C" fn lease_release<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    name: Slice,
    lease: *const Lease,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::LeaseRelease { name: owned(name), lease: *lease },
            |backend, call| {
                Ok(ok_or(backend.lease_release(call, name.as_bytes(), &*lease)?, status::CONFLICT))
            },
        )
    }
}

unsafe extern "C" fn subscribe<T: Backend>(i: *mut c_void, call: *const raw::Call, prefix: Slice) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Subscribe { prefix: owned(prefix) },
            |backend, call| backend.subscribe(call, prefix.as_bytes()).map(|()| status::OK),
        )
    }
}

unsafe extern "C" fn ping<T: Backend>(i: *mut c_void, call: *const raw::Call) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe { run::<T>(i, call, || Request::Ping, |backend, call| backend.ping(call).map(|()| status::OK)) }
}

unsafe extern "C" fn statistics<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    text: *mut crate::abi::value::Value,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        run::<T>(
            i,
            call,
            || Request::Statistics,
            |backend, call| {
                let numbers = backend.statistics(call)?.to_string();
                text.write(Value::from_vec(numbers.into_bytes()).into_raw());
                Ok(status::OK)
            },
        )
    }
}

unsafe extern "C" fn flush<T: Backend>(i: *mut c_void, call: *const raw::Call) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe { run::<T>(i, call, || Request::Flush, |backend, call| backend.flush(call).map(|()| status::OK)) }
}

unsafe extern "C" fn fork_prepare<T: Backend>(i: *mut c_void) {
    // SAFETY: the instance is the host's.
    guard_silent(|| unsafe { instance::<T>(i) }.component.fork_prepare());
}

unsafe extern "C" fn fork_parent<T: Backend>(i: *mut c_void) {
    // SAFETY: the instance is the host's.
    guard_silent(|| unsafe { instance::<T>(i) }.component.fork_parent());
}

unsafe extern "C" fn fork_child<T: Backend>(i: *mut c_void) {
    // SAFETY: the instance is the host's.
    guard_silent(|| unsafe { instance::<T>(i) }.component.fork_child());
}
