//! Operations on all keys that begin alike.

use std::ffi::c_void;

use super::call::{owned, run};
use crate::abi::call as raw;
use crate::abi::status;
use crate::abi::value::Slice;
use crate::sdk::backend::Backend;
use crate::sdk::request::{page_bytes, Request};
use crate::sdk::value::Value;

pub(super) unsafe extern "C" fn clear<T: Backend>(
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

pub(super) unsafe extern "C" fn scan<T: Backend>(
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

pub(super) unsafe extern "C" fn count<T: Backend>(
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

pub(super) unsafe extern "C" fn subscribe<T: Backend>(
    i: *mut c_void,
    call: *const raw::Call,
    prefix: Slice,
) -> i32 {
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
