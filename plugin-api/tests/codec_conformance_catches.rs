//! The suites of serializers and compressors fail for those that misbehave, each in the check that is about it.
//!
//! The mutants are the dummies' tables with one function replaced.

#[path = "../../tests/fixtures/dummy-rust/src/compressor.rs"]
mod run_length;
#[path = "../../tests/fixtures/dummy-rust/src/serializer.rs"]
mod serializer;

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use retainit_plugin_api::abi::call::Call;
use retainit_plugin_api::abi::codec::{form, CompressorTable, Data, SerializerTable};
use retainit_plugin_api::abi::host::HostRef;
use retainit_plugin_api::abi::value::{Slice, Value};
use retainit_plugin_api::abi::{capability, status};
use retainit_plugin_api::conformance::{self, Report};
use retainit_plugin_api::sdk;
use retainit_plugin_api::sdk::export::{CompressorExport, SerializerExport};
use run_length::RunLength;
use serializer::DummySerializer;

const GOOD: SerializerTable = SerializerExport::<DummySerializer>::TABLE;
const PACKS: CompressorTable = CompressorExport::<RunLength>::TABLE;

#[track_caller]
fn failure_of(report: Report, check: &str) -> String {
    let result = report.results.into_iter().find(|result| result.name == check);
    let result = result.unwrap_or_else(|| panic!("there is no check `{check}`"));
    result.failure.unwrap_or_else(|| panic!("`{check}` passes"))
}

/// Asserts that `check` fails for the mutant with a message that contains `why`. That it passes for the good
/// table, `tests/conformance.rs` shows.
#[track_caller]
fn caught(table: SerializerTable, check: &str, why: &str) {
    let found = failure_of(conformance::serializer(&table, "{}"), check);
    assert!(found.contains(why), "`{check}` fails with another message: {found}");
}

#[track_caller]
fn caught_compressor(table: CompressorTable, check: &str, why: &str) {
    let found = failure_of(conformance::compressor(&table, "{}"), check);
    assert!(found.contains(why), "`{check}` fails with another message: {found}");
}

/// The good table's function.
macro_rules! good {
    ($table:ident.$name:ident($($argument:expr),*)) => {
        // SAFETY: the arguments are the host's, for the same function.
        unsafe { $table.$name.unwrap()($($argument),*) }
    };
}

unsafe extern "C" fn serialize_that_swaps(
    i: *mut c_void,
    call: *const Call,
    data: *const Data,
    out: *mut Value,
) -> i32 {
    let answer = good!(GOOD.serialize(i, call, data, out));
    if answer == status::OK {
        // SAFETY: the value was just given.
        let bytes = unsafe { sdk::Value::from_raw(*out) };
        let mut bytes = bytes.as_bytes().unwrap().to_vec();
        if let Some(last) = bytes[1..].last_mut() {
            *last ^= 1;
        }
        // SAFETY: the place is the host's.
        unsafe { out.write(sdk::Value::from_vec(bytes).into_raw()) };
    }
    answer
}

#[test]
fn data_that_comes_back_otherwise() {
    let table = SerializerTable { serialize: Some(serialize_that_swaps), ..GOOD };
    caught(table, "what-went-in-comes-out", "came back");
    caught(table, "threads", "came back");
}

unsafe extern "C" fn serialize_of_trees_alone(
    i: *mut c_void,
    call: *const Call,
    data: *const Data,
    out: *mut Value,
) -> i32 {
    // SAFETY: the data is the host's, and its reference ours.
    unsafe {
        if (*data).form == form::BYTES {
            let mut value = (*data).value;
            value.release();
            return status::UNSUPPORTED;
        }
    }
    good!(GOOD.serialize(i, call, data, out))
}

#[test]
fn a_declared_form_that_is_refused() {
    let table = SerializerTable { serialize: Some(serialize_of_trees_alone), ..GOOD };
    caught(table, "what-went-in-comes-out", "`text` was not taken");
}

#[test]
fn a_form_that_is_taken_but_not_declared() {
    let mut table = GOOD;
    table.prelude.capabilities = capability::FORM_BYTES;
    caught(table, "undeclared-forms", "data of form 2, which is not declared, was taken");
    caught(table, "hostile-bytes", "gave data in a form that it does not declare");
    table.prelude.capabilities = 0;
    caught(table, "forms", "no form is declared");
    caught(SerializerTable { serialize: None, ..GOOD }, "declared", "`serialize` is missing");
}

unsafe extern "C" fn serialize_that_leaks(
    i: *mut c_void,
    call: *const Call,
    data: *const Data,
    out: *mut Value,
) -> i32 {
    // SAFETY: the data is the host's.
    unsafe { (*data).value.retain() };
    good!(GOOD.serialize(i, call, data, out))
}

unsafe extern "C" fn deserialize_that_leaks(
    i: *mut c_void,
    call: *const Call,
    bytes: *const Value,
    out: *mut Data,
) -> i32 {
    // SAFETY: the bytes are the host's.
    let mut spare = unsafe { *bytes };
    // SAFETY: as above.
    unsafe { spare.retain() };
    let answer = good!(GOOD.deserialize(i, call, bytes, out));
    if answer == status::OK {
        // SAFETY: the reference was added above.
        unsafe { spare.release() };
    }
    answer
}

#[test]
fn references_that_leak() {
    let table = SerializerTable { serialize: Some(serialize_that_leaks), ..GOOD };
    caught(table, "references", "were never released");
    caught(table, "malformed-data", "was not released");
    let table = SerializerTable { deserialize: Some(deserialize_that_leaks), ..GOOD };
    caught(table, "hostile-bytes", "a value's reference was not released");
}

unsafe extern "C" fn serialize_that_releases_twice(
    i: *mut c_void,
    call: *const Call,
    data: *const Data,
    out: *mut Value,
) -> i32 {
    // SAFETY: the data is the host's.
    let mut value = unsafe { (*data).value };
    let answer = good!(GOOD.serialize(i, call, data, out));
    // SAFETY: none: this is the fault, which the host's handles survive.
    unsafe { value.release() };
    answer
}

#[test]
fn a_reference_that_is_released_twice() {
    let table = SerializerTable { serialize: Some(serialize_that_releases_twice), ..GOOD };
    caught(table, "what-went-in-comes-out", "released more than once");
    caught(table, "malformed-data", "released more than once");
}

unsafe extern "C" fn deserialize_that_panics(
    i: *mut c_void,
    call: *const Call,
    bytes: *const Value,
    out: *mut Data,
) -> i32 {
    match good!(GOOD.deserialize(i, call, bytes, out)) {
        status::OK => status::OK,
        _ => status::PANIC,
    }
}

#[test]
fn a_panic_on_hostile_bytes() {
    let table = SerializerTable { deserialize: Some(deserialize_that_panics), ..GOOD };
    caught(table, "hostile-bytes", "expected data or CORRUPT, found `deserialize` failed: panic");
}

unsafe extern "C" fn deserialize_beyond(
    i: *mut c_void,
    call: *const Call,
    bytes: *const Value,
    out: *mut Data,
) -> i32 {
    let answer = good!(GOOD.deserialize(i, call, bytes, out));
    // SAFETY: what was given is ours to spoil.
    unsafe {
        if answer == status::OK && (*out).form == form::TENSOR {
            (*out).value.len = (*out).value.len.saturating_sub(1);
        }
    }
    answer
}

#[test]
fn a_tensor_that_reaches_beyond_its_elements() {
    let table = SerializerTable { deserialize: Some(deserialize_beyond), ..GOOD };
    caught(table, "what-went-in-comes-out", "reaches beyond its 95 bytes");
    caught(table, "hostile-bytes", "reaches beyond");
}

unsafe extern "C" fn open_with_anything(
    host: HostRef,
    call: *const Call,
    _: Slice,
    out: *mut *mut c_void,
) -> i32 {
    good!(GOOD.open(host, call, Slice::EMPTY, out))
}

#[test]
fn options_that_are_ignored() {
    let table = SerializerTable { open: Some(open_with_anything), ..GOOD };
    caught(table, "options", "an unknown option was accepted");
}

unsafe extern "C" fn serialize_into_one_place(
    i: *mut c_void,
    call: *const Call,
    data: *const Data,
    out: *mut Value,
) -> i32 {
    // A result is held while another is made: one static buffer cannot be right.
    static BUSY: AtomicBool = AtomicBool::new(false);
    if BUSY.swap(true, Ordering::SeqCst) {
        // SAFETY: the data's reference is ours.
        let mut value = unsafe { (*data).value };
        // SAFETY: as above.
        unsafe { value.release() };
        return status::BUSY;
    }
    let answer = good!(GOOD.serialize(i, call, data, out));
    std::thread::yield_now();
    BUSY.store(false, Ordering::SeqCst);
    answer
}

#[test]
fn a_serializer_that_serves_one_thread_at_a_time() {
    let table = SerializerTable { serialize: Some(serialize_into_one_place), ..GOOD };
    caught(table, "threads", "busy");
}

unsafe extern "C" fn decompress_without_limit(
    i: *mut c_void,
    call: *const Call,
    input: Slice,
    _: u64,
    out: *mut Value,
) -> i32 {
    good!(PACKS.decompress(i, call, input, u64::MAX, out))
}

unsafe extern "C" fn decompress_to_the_limit(
    i: *mut c_void,
    call: *const Call,
    input: Slice,
    limit: u64,
    out: *mut Value,
) -> i32 {
    let answer = good!(PACKS.decompress(i, call, input, u64::MAX, out));
    if answer == status::OK {
        // SAFETY: the value was just given.
        unsafe { (*out).len = (*out).len.min(limit) };
    }
    answer
}

unsafe extern "C" fn decompress_with_another_error(
    i: *mut c_void,
    call: *const Call,
    input: Slice,
    limit: u64,
    out: *mut Value,
) -> i32 {
    match good!(PACKS.decompress(i, call, input, limit, out)) {
        status::CORRUPT => status::FATAL,
        answer => answer,
    }
}

#[test]
fn compressors_that_break_their_word() {
    let table = CompressorTable { decompress: Some(decompress_without_limit), ..PACKS };
    caught_compressor(table, "never-more-than-the-limit", "expected CORRUPT, found");
    let table = CompressorTable { decompress: Some(decompress_to_the_limit), ..PACKS };
    caught_compressor(table, "never-more-than-the-limit", "expected CORRUPT, found");
    let table = CompressorTable { decompress: Some(decompress_with_another_error), ..PACKS };
    caught_compressor(table, "hostile-bytes", "expected bytes or CORRUPT, found `decompress` failed: fatal");
    caught_compressor(CompressorTable { train: None, ..PACKS }, "declared", "`train` is missing");
}

unsafe extern "C" fn train_too_much(
    _: *mut c_void,
    _: *const Call,
    _: *const Slice,
    _: usize,
    size: u64,
    out: *mut Value,
) -> i32 {
    // SAFETY: the place is the host's.
    unsafe { out.write(sdk::Value::from_vec(vec![0; size as usize + 1]).into_raw()) };
    status::OK
}

#[test]
fn a_dictionary_larger_than_asked_for() {
    let table = CompressorTable { train: Some(train_too_much), ..PACKS };
    caught_compressor(table, "dictionary", "a dictionary of at most 1024 bytes has 1025");
}
