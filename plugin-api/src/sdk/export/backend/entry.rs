//! Operations on the entry of one key.

use std::ffi::c_void;

use super::call::{ok_or, owned, run};
use crate::abi::call as raw;
use crate::abi::value::{self, Slice};
use crate::abi::{capability, status};
use crate::sdk::backend::{Backend, Entry};
use crate::sdk::export::guard_status;
use crate::sdk::request::Request;
use crate::sdk::value::Value;
use crate::sdk::Token;

/// Takes over an entry's value and borrows its key.
///
/// # Safety
/// The entry must be the host's, and must be taken once.
#[inline(always)]
pub(super) unsafe fn take<'a>(entry: &'a raw::Entry) -> Entry<'a> {
    // SAFETY: promised by the caller.
    unsafe { Entry { key: entry.key.as_bytes(), value: Value::from_raw(entry.value), ttl: entry.ttl } }
}

/// The hot path: no allocation, and of the item only what means something is written.
pub(super) unsafe extern "C" fn get<T: Backend>(
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

pub(super) unsafe extern "C" fn claim<T: Backend>(value: *const value::Value) -> i32 {
    // SAFETY: the host lends a value that it holds.
    guard_status(|| T::claim(unsafe { Value::borrowed(&*value) }))
}

pub(super) unsafe extern "C" fn set<T: Backend>(
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

pub(super) unsafe extern "C" fn delete<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    key: Slice,
) -> i32 {
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

pub(super) unsafe extern "C" fn add<T: Backend>(
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

pub(super) unsafe extern "C" fn compare_and_set<T: Backend>(
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

pub(super) unsafe extern "C" fn increment<T: Backend>(
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

pub(super) unsafe extern "C" fn touch<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    key: Slice,
    ttl: i64,
) -> i32 {
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

pub(super) unsafe extern "C" fn ttl<T: Backend>(
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
