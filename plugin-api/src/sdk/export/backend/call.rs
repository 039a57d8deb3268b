//! How one raw call reaches the backend: answered on return, or begun and completed later.

use std::ffi::c_void;
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::abi::call as raw;
use crate::abi::value::Slice;
use crate::abi::{capability, status};
use crate::sdk::backend::Backend;
use crate::sdk::call::{Call, Level};
use crate::sdk::error::Result;
use crate::sdk::export::{guard, instance, panic_message, Instance};
use crate::sdk::request::{Completer, Request};

/// One call: `request` owns its arguments and is started where the backend is asynchronous and the
/// call carries an operation id; otherwise `body` answers at once.
///
/// # Safety
/// `pointer` and `call` must be the host's; see [`guard`] and [`instance`].
#[inline(always)]
pub(super) unsafe fn run<T: Backend>(
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
pub(super) fn ok_or(done: bool, other: i32) -> i32 {
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
pub(super) unsafe fn owned(slice: Slice) -> Vec<u8> {
    // SAFETY: promised by the caller.
    unsafe { slice.as_bytes() }.to_vec()
}
