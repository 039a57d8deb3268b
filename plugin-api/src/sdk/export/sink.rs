//! The table of an event sink.

use std::ffi::c_void;
use std::marker::PhantomData;

use super::{array, guard, instance, options};
use crate::abi::call as raw;
use crate::abi::host::HostRef;
use crate::abi::sink::{Event as RawEvent, SinkTable};
use crate::abi::value::Slice;
use crate::abi::{status, Prelude};
use crate::sdk::call::Call;
use crate::sdk::sink::{Event, Sink};

/// The table of sink `T`.
#[derive(Debug)]
pub struct SinkExport<T>(PhantomData<T>);

impl<T: Sink> SinkExport<T> {
    /// The functions.
    pub const TABLE: SinkTable = SinkTable {
        prelude: Prelude::of::<SinkTable>(T::CAPABILITIES),
        open: Some(open::<T>),
        emit: Some(emit::<T>),
        flush: Some(flush::<T>),
        close: Some(super::close::<T>),
    };
}

unsafe extern "C" fn open<T: Sink>(
    host: HostRef,
    call: *const raw::Call,
    json: Slice,
    out: *mut *mut c_void,
) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe {
        super::open(host, call, json, out, |json, host| {
            T::open(options::parse("sink", T::NAME, T::SCHEMA, json)?, host)
        })
    }
}

unsafe extern "C" fn emit<T: Sink>(
    i: *mut c_void,
    call: *const raw::Call,
    events: *const RawEvent,
    count: usize,
) -> i32 {
    // SAFETY: the arguments are the host's; events and texts are borrowed for the call.
    unsafe {
        guard(call, || {
            let events = Event::wrap(array(events, count));
            instance::<T>(i).component.emit(&Call::new(&*call), events).map(|()| status::OK)
        })
    }
}

unsafe extern "C" fn flush<T: Sink>(i: *mut c_void, call: *const raw::Call) -> i32 {
    // SAFETY: the arguments are the host's.
    unsafe { guard(call, || instance::<T>(i).component.flush(&Call::new(&*call)).map(|()| status::OK)) }
}
