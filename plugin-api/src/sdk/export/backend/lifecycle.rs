//! What concerns an instance as a whole: opening, quiescing, cancelling, health, forks.

use std::ffi::c_void;

use super::call::run;
use crate::abi::call as raw;
use crate::abi::host::HostRef;
use crate::abi::status;
use crate::abi::value::Slice;
use crate::sdk::backend::Backend;
use crate::sdk::call::Call;
use crate::sdk::export::{guard, guard_silent, instance, options};
use crate::sdk::request::Request;
use crate::sdk::value::Value;

pub(super) unsafe extern "C" fn open<T: Backend>(
    host: HostRef,
    call: *const raw::Call,
    json: Slice,
    out: *mut *mut c_void,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        crate::sdk::export::open(host, call, json, out, |json, host| {
            T::open(options::parse("backend", T::NAME, T::SCHEMA, json)?, host)
        })
    }
}

pub(super) unsafe extern "C" fn quiesce<T: Backend>(i: *mut c_void, call: *const raw::Call) -> i32 {
    // SAFETY: the arguments are the host's; quiescing is always answered on return.
    unsafe { guard(call, || instance::<T>(i).component.quiesce(&Call::new(&*call)).map(|()| status::OK)) }
}

pub(super) unsafe extern "C" fn cancel<T: Backend>(i: *mut c_void, op: u64) {
    // SAFETY: the instance is the host's.
    guard_silent(|| unsafe { instance::<T>(i) }.component.cancel(op));
}

pub(super) unsafe extern "C" fn ping<T: Backend>(i: *mut c_void, call: *const raw::Call) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe { run::<T>(i, call, || Request::Ping, |backend, call| backend.ping(call).map(|()| status::OK)) }
}

pub(super) unsafe extern "C" fn statistics<T: Backend>(
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

pub(super) unsafe extern "C" fn flush<T: Backend>(i: *mut c_void, call: *const raw::Call) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe { run::<T>(i, call, || Request::Flush, |backend, call| backend.flush(call).map(|()| status::OK)) }
}

pub(super) unsafe extern "C" fn fork_prepare<T: Backend>(i: *mut c_void) {
    // SAFETY: the instance is the host's.
    guard_silent(|| unsafe { instance::<T>(i) }.component.fork_prepare());
}

pub(super) unsafe extern "C" fn fork_parent<T: Backend>(i: *mut c_void) {
    // SAFETY: the instance is the host's.
    guard_silent(|| unsafe { instance::<T>(i) }.component.fork_parent());
}

pub(super) unsafe extern "C" fn fork_child<T: Backend>(i: *mut c_void) {
    // SAFETY: the instance is the host's.
    guard_silent(|| unsafe { instance::<T>(i) }.component.fork_child());
}
