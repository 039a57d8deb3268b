//! Operations on the entries of many keys.

use std::ffi::c_void;

use super::call::{ok_or, run};
use super::entry::take;
use crate::abi::call as raw;
use crate::abi::status;
use crate::abi::value::Slice;
use crate::sdk::backend::Backend;
use crate::sdk::error::{Error, ErrorKind, Result};
use crate::sdk::export::array;
use crate::sdk::request::{raw_item, Request};

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

pub(super) unsafe extern "C" fn get_many<T: Backend>(
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

pub(super) unsafe extern "C" fn set_many<T: Backend>(
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

pub(super) unsafe extern "C" fn delete_many<T: Backend>(
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
