//! One open instance of a serializer or a compressor, and what both kinds have in common.

use std::ffi::c_void;
use std::time::Duration;

use super::{Check, Subject};
use crate::abi::call::{Call, NEVER};
use crate::abi::codec::{CompressorTable, SerializerTable};
use crate::abi::host::HostRef;
use crate::abi::value::{Slice, Value as RawValue, NONE};
use crate::abi::{capability, status, Prelude, ABI_MAJOR};
use crate::conformance::host::TestHost;
use crate::conformance::session::Fault;
use crate::conformance::{ensure, Outcome};
use crate::sdk::Value;

type Open = unsafe extern "C" fn(HostRef, *const Call, Slice, *mut *mut c_void) -> i32;
type Close = unsafe extern "C" fn(*mut c_void, *const Call) -> i32;

/// What both tables have.
pub(super) trait Codec: Copy {
    fn prelude(&self) -> Prelude;
    fn open(&self) -> Option<Open>;
    fn close(&self) -> Option<Close>;
    /// Names of required functions that are not there.
    fn missing(&self) -> Vec<&'static str>;
}

impl Codec for SerializerTable {
    fn prelude(&self) -> Prelude {
        self.prelude
    }
    fn open(&self) -> Option<Open> {
        self.open
    }
    fn close(&self) -> Option<Close> {
        self.close
    }
    fn missing(&self) -> Vec<&'static str> {
        let all = [("serialize", self.serialize.is_some()), ("deserialize", self.deserialize.is_some())];
        all.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
    }
}

impl Codec for CompressorTable {
    fn prelude(&self) -> Prelude {
        self.prelude
    }
    fn open(&self) -> Option<Open> {
        self.open
    }
    fn close(&self) -> Option<Close> {
        self.close
    }
    fn missing(&self) -> Vec<&'static str> {
        let trains = self.train.is_some() || self.prelude.capabilities & capability::DICTIONARY == 0;
        let all = [
            ("compress", self.compress.is_some()),
            ("decompress", self.decompress.is_some()),
            ("train", trains),
        ];
        all.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
    }
}

/// An open instance.
pub(super) struct Instance<T: Codec> {
    pub(super) table: T,
    handle: *mut c_void,
    pub(super) host: &'static TestHost,
}

// SAFETY: every function but `close`, which takes the instance, may be called from many threads.
unsafe impl<T: Codec> Send for Instance<T> {}
// SAFETY: as above.
unsafe impl<T: Codec> Sync for Instance<T> {}

impl<T: Codec> Subject<T> {
    pub(super) fn open(&self) -> Result<Instance<T>, Fault> {
        self.open_with(&self.options)
    }

    fn open_with(&self, options: &str) -> Result<Instance<T>, Fault> {
        let host = TestHost::new(Duration::from_secs(20), 5_000_000_000, 1_700_000_000_000_000_000);
        let mut instance = Instance { table: self.table, handle: std::ptr::null_mut(), host };
        let open = self.table.open().expect("`open` is required");
        let mut handle = std::ptr::null_mut();
        let done = instance.call("open", |_, call| {
            // SAFETY: all arguments are valid for the call, and the host for ever.
            unsafe { open(host.reference(), call, Slice::new(options.as_bytes()), &mut handle) }
        });
        instance.handle = handle;
        match done {
            Ok(()) if instance.handle.is_null() => Err(fault("open", status::INVALID, "gave no instance")),
            done => done.map(|()| instance),
        }
    }
}

impl<T: Codec> Instance<T> {
    /// One call, which ends at once: with `OK`, or with an error and perhaps a message.
    pub(super) fn call(
        &self,
        operation: &'static str,
        body: impl FnOnce(*mut c_void, *const Call) -> i32,
    ) -> Result<(), Fault> {
        let mut error = RawValue::NONE;
        let call = Call { op: 0, now: self.host.now(), deadline: NEVER, error: &mut error };
        let answer = body(self.handle, &call);
        // SAFETY: whatever the plugin left there is ours.
        let message = (error.kind != NONE).then(|| unsafe { Value::from_raw(error) });
        if answer >= 0 {
            return match answer {
                status::OK if message.is_none() => Ok(()),
                status::OK => {
                    Err(fault(operation, status::FATAL, "left an error message although it did not fail"))
                }
                other => Err(fault(operation, status::FATAL, &format!("answered {}", status::name(other)))),
            };
        }
        let text = match message.as_ref().map(|message| message.as_bytes().map(std::str::from_utf8)) {
            None => "",
            Some(Some(Ok(text))) => text,
            Some(_) => {
                return Err(fault(operation, status::FATAL, "left an error message that is not utf-8"))
            }
        };
        Err(fault(operation, answer, text))
    }

    /// Closes the instance and checks what must hold then.
    pub(super) fn close(self) -> Outcome {
        let host = self.shut()?;
        host.settle()
    }

    /// Closes the instance; its values may still be held.
    pub(super) fn shut(mut self) -> Result<&'static TestHost, Fault> {
        let close = self.table.close().expect("`close` is required");
        // SAFETY: the instance is open, and nobody else can use it any more.
        self.call("close", |handle, call| unsafe { close(handle, call) })?;
        self.handle = std::ptr::null_mut();
        Ok(self.host)
    }
}

impl<T: Codec> Drop for Instance<T> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            let close = self.table.close().expect("`close` is required");
            // The check has failed already; whatever `close` says changes nothing.
            // SAFETY: the instance is open, and nobody else can use it any more.
            let _ = self.call("close", |handle, call| unsafe { close(handle, call) });
        }
    }
}

pub(super) fn fault(operation: &'static str, status: i32, message: &str) -> Fault {
    Fault { operation, status, message: message.to_owned() }
}

/// The checks of both kinds.
pub(super) fn checks<T: Codec>() -> [Check<T>; 2] {
    [("declared", declared::<T>), ("options", options::<T>)]
}

fn declared<T: Codec>(subject: &Subject<T>) -> Outcome {
    let prelude = subject.table.prelude();
    ensure!(prelude.abi_major == ABI_MAJOR, "abi major is {}: expected {ABI_MAJOR}", prelude.abi_major);
    let known = capability::NAMES.iter().fold(0, |known, (bit, _)| known | bit);
    let unknown = prelude.capabilities & capability::REQUIRED_MASK & !known;
    ensure!(unknown == 0, "required capability bits {unknown:#x} are unknown");
    let missing = subject.table.missing();
    ensure!(missing.is_empty(), "`{}` is missing, although it is required", missing.join("`, `"));
    Ok(())
}

fn options<T: Codec>(subject: &Subject<T>) -> Outcome {
    let mut unknown: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&subject.options)?;
    unknown.insert("no_such_option_xyz".to_owned(), 1.into());
    let unknown = serde_json::Value::Object(unknown).to_string();
    for (options, about, names) in [
        (unknown.as_str(), "an unknown option", "no_such_option_xyz"),
        ("{", "a truncated json object", ""),
        ("[]", "an array in place of an object", ""),
    ] {
        let Some(refusal) = subject.open_with(options).err() else {
            return Err(format!("{about} was accepted").into());
        };
        let expected = refusal.status == status::CONFIGURATION && !refusal.message.is_empty();
        ensure!(expected, "{about} failed otherwise than with CONFIGURATION and a message: {refusal}");
        ensure!(refusal.message.contains(names), "the message does not name the unknown option: {refusal}");
    }
    Ok(())
}
