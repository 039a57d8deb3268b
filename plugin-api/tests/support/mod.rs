//! A host of few words: it keeps completions and log lines.

#![allow(dead_code)] // each test uses its own part

use std::ffi::c_void;
use std::sync::Mutex;

use retainit_plugin_api::abi::call::{Call, Outcome, NEVER};
use retainit_plugin_api::abi::host::{HostRef, HostTable};
use retainit_plugin_api::abi::value::{Slice, Value};
use retainit_plugin_api::abi::Prelude;
use retainit_plugin_api::sdk;

/// What the plugin told the host. Leaked, so that it outlives every instance.
#[derive(Default)]
pub struct Host {
    /// Operation, status and text of each completion.
    pub completions: Mutex<Vec<(u64, i32, String)>>,
    /// Log lines.
    pub lines: Mutex<Vec<String>>,
}

impl Host {
    pub fn new() -> &'static Host {
        Box::leak(Box::default())
    }

    pub fn reference(&'static self) -> HostRef {
        HostRef { table: &TABLE, context: std::ptr::from_ref(self).cast_mut().cast() }
    }
}

/// A call and the place of its error.
pub struct Calling {
    pub error: Box<Value>,
    pub call: Call,
}

impl Calling {
    pub fn new(op: u64) -> Self {
        let mut error = Box::new(Value::NONE);
        let call = Call { op, now: 1, deadline: NEVER, error: &mut *error };
        Calling { error, call }
    }

    /// The message that was left, which must be there.
    pub fn message(self) -> String {
        // SAFETY: what the plugin left is ours.
        text(unsafe { sdk::Value::from_raw(*self.error) })
    }
}

pub fn text(value: sdk::Value) -> String {
    String::from_utf8(value.as_bytes().expect("a text").to_vec()).expect("utf-8")
}

pub static TABLE: HostTable =
    HostTable { prelude: Prelude::of::<HostTable>(0), complete, evicted, invalidated, log, allocate, clock };

unsafe extern "C" fn complete(context: *mut c_void, op: u64, outcome: *const Outcome) {
    // SAFETY: the context is a host, the outcome valid for the call, and what it holds ours.
    unsafe {
        let outcome = &*outcome;
        for i in 0..outcome.item_count {
            drop(sdk::Value::from_raw((*outcome.items.add(i)).value));
        }
        let message = sdk::Value::from_raw(outcome.text);
        let message =
            message.as_bytes().map_or(String::new(), |bytes| String::from_utf8_lossy(bytes).into_owned());
        (*context.cast::<Host>()).completions.lock().unwrap().push((op, outcome.status, message));
    }
}

unsafe extern "C" fn evicted(_: *mut c_void, _: *const Slice, _: *const u32, _: usize) {}
unsafe extern "C" fn invalidated(_: *mut c_void, _: *const Slice, _: usize) {}

unsafe extern "C" fn log(context: *mut c_void, _: u32, message: Slice) {
    // SAFETY: the context is a host, and the message borrowed for the call.
    unsafe {
        let line = String::from_utf8_lossy(message.as_bytes()).into_owned();
        (*context.cast::<Host>()).lines.lock().unwrap().push(line);
    }
}

unsafe extern "C" fn allocate(_: *mut c_void, len: usize) -> Value {
    sdk::Value::from_vec(vec![0; len]).into_raw()
}

unsafe extern "C" fn clock(_: *mut c_void, _: u32) -> i64 {
    1
}
