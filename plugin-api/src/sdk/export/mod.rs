//! From traits to tables: what stands between the host's raw calls and an author's safe methods.
//!
//! Every entry of a table runs its method inside `guard`, so that a panic becomes a status and never
//! leaves the plugin; drops of arguments and instances happen inside it as well.
//!
//! | file | what it holds |
//! |---|---|
//! | `backend`, `codec`, `sink` | the tables of each kind; that of a backend in one file a subject |
//! | `options` | from the host's JSON to an author's options |
//! | `manifest` | the manifest, built in a constant |
//! | `door` | the Rust door and [`export_plugin!`](crate::export_plugin) |

mod backend;
mod codec;
mod door;
mod manifest;
mod options;
mod sink;

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use super::call::Host;
use super::error::{Error, ErrorKind, Result};
use super::value::Value;
use crate::abi::call as raw;
use crate::abi::host::HostRef;
use crate::abi::status;
use crate::abi::value::Slice;

pub use backend::BackendExport;
pub use codec::{CompressorExport, SerializerExport};
#[doc(hidden)]
pub use door::root;
pub use manifest::{manifest_bytes, manifest_len, Component};
pub use sink::SinkExport;

/// Runs `body`, turning errors and panics into statuses and the call's error message.
///
/// # Safety
/// `call` must point to a call of the host, whose `error` is null or valid for writing.
#[inline(always)]
unsafe fn guard(call: *const raw::Call, body: impl FnOnce() -> Result<i32>) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status,
        // SAFETY: promised by the caller.
        Ok(Err(error)) => unsafe { fail(call, error) },
        // SAFETY: as above.
        Err(payload) => unsafe { panicked(call, payload) },
    }
}

/// Runs a function that has no way to report: a panic is swallowed after Rust's own message.
pub(super) fn guard_silent(body: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        panic_message(payload);
    }
}

/// Runs a function that can report a status alone.
fn guard_status(body: impl FnOnce() -> Result<()>) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => status::OK,
        Ok(Err(error)) => error.kind().status(),
        Err(payload) => {
            panic_message(payload);
            status::PANIC
        }
    }
}

/// Leaves the error's message with the host.
///
/// # Safety
/// As for [`guard`].
#[cold]
#[inline(never)]
unsafe fn fail(call: *const raw::Call, error: Error) -> i32 {
    // SAFETY: promised by the caller.
    let slot = unsafe { (*call).error };
    if !slot.is_null() {
        let message = Value::from_vec(error.message().as_bytes().to_vec());
        // SAFETY: the host's slot holds nothing that needs releasing.
        unsafe { slot.write(message.into_raw()) };
    }
    error.kind().status()
}

/// # Safety
/// As for [`guard`].
#[cold]
#[inline(never)]
unsafe fn panicked(call: *const raw::Call, payload: Box<dyn Any + Send>) -> i32 {
    let message = format!("the plugin panicked: {}", panic_message(payload));
    // SAFETY: promised by the caller.
    unsafe { fail(call, Error::new(ErrorKind::Panic, message)) }
}

/// The text of a panic. The payload's own drop may panic too, and what that leaves is leaked rather
/// than dropped, for there is no end to it otherwise.
fn panic_message(payload: Box<dyn Any + Send>) -> String {
    let message = match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "no message".to_owned()),
    };
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
    message
}

/// An instance of a component behind the pointer the host keeps.
struct Instance<T> {
    component: T,
    host: Host,
}

/// The `open` of every kind.
///
/// # Safety
/// The arguments must be those of a host's call of `open`.
unsafe fn open<T>(
    host: HostRef,
    call: *const raw::Call,
    options: Slice,
    out: *mut *mut std::ffi::c_void,
    make: impl FnOnce(&[u8], Host) -> Result<T>,
) -> i32 {
    let body = || {
        // SAFETY: the host outlives the instance; the options are borrowed for the call.
        let (host, options) = unsafe { (Host::new(host), options.as_bytes()) };
        let instance = Box::new(Instance { component: make(options, host)?, host });
        // SAFETY: `out` is the host's place for the instance.
        unsafe { out.write(Box::into_raw(instance).cast()) };
        Ok(status::OK)
    };
    // SAFETY: `call` is the host's.
    unsafe { guard(call, body) }
}

/// The `close` of every kind.
///
/// # Safety
/// `instance` must come from [`open`] with the same `T`, and no other call may be running or follow.
unsafe extern "C" fn close<T>(instance: *mut std::ffi::c_void, call: *const raw::Call) -> i32 {
    let body = || {
        // SAFETY: promised by the caller.
        drop(unsafe { Box::from_raw(instance.cast::<Instance<T>>()) });
        Ok(status::OK)
    };
    // SAFETY: `call` is the host's.
    unsafe { guard(call, body) }
}

/// The instance behind a pointer.
///
/// # Safety
/// `instance` must come from [`open`] with the same `T` and not have been closed.
#[inline(always)]
unsafe fn instance<'a, T>(instance: *mut std::ffi::c_void) -> &'a Instance<T> {
    // SAFETY: promised by the caller.
    unsafe { &*instance.cast::<Instance<T>>() }
}

/// An array of the host.
///
/// # Safety
/// `first` must be valid for `count` elements, or `count` zero.
unsafe fn array<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(first, count) }
}
