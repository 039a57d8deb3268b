//! The suite fails for backends that misbehave, each in the check that is about it.
//!
//! The mutants are the dummy's table with one function replaced, and the faulty plugin.

#[path = "../../tests/fixtures/faulty-rust/src/faulty.rs"]
mod faulty;
#[path = "../../tests/fixtures/dummy-rust/src/store.rs"]
mod store;
#[path = "../../tests/fixtures/dummy-rust/src/worker.rs"]
mod worker;

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use faulty::Faulty;
use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::call::{Call, Entry, Item, Lease, Page, Token, NEVER};
use retainit_plugin_api::abi::host::HostRef;
use retainit_plugin_api::abi::value::{Slice, Value};
use retainit_plugin_api::abi::{capability, status};
use retainit_plugin_api::conformance::{Report, Suite};
use retainit_plugin_api::sdk::export::BackendExport;
use store::Dummy;

const GOOD: BackendTable = BackendExport::<Dummy>::TABLE;

fn run(table: BackendTable, only: &str) -> Report {
    // Tests of one process must not meet in one store.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    Suite::new(table, move |check| format!(r#"{{"store": "{run}-{check}"}}"#))
        .patience(Duration::from_millis(500))
        .bounded(|_| r#"{"max_bytes": 65536}"#.to_owned())
        .only(only)
        .run()
}

/// Asserts that `check` fails for the mutant with a message that contains `why`, and passes without.
#[track_caller]
fn caught(table: BackendTable, check: &str, why: &str) {
    let failure = |report: Report| {
        let result = report.results.into_iter().find(|result| result.name == check);
        result.unwrap_or_else(|| panic!("there is no check `{check}`")).failure
    };
    assert_eq!(failure(run(GOOD, check)), None);
    let found = failure(run(table, check)).unwrap_or_else(|| panic!("`{check}` passes"));
    assert!(found.contains(why), "`{check}` fails with another message: {found}");
}

/// The good table's function.
macro_rules! good {
    ($name:ident($($argument:expr),*)) => {
        // SAFETY: the arguments are the host's, for the same function.
        unsafe { GOOD.$name.unwrap()($($argument),*) }
    };
}

unsafe extern "C" fn get_that_leaks(i: *mut c_void, call: *const Call, key: Slice, out: *mut Item) -> i32 {
    let answer = good!(get(i, call, key, out));
    if answer == status::OK {
        // SAFETY: the value was just given.
        unsafe { (*out).value.retain() };
    }
    answer
}

#[test]
fn a_leaked_reference() {
    let table = BackendTable { get: Some(get_that_leaks), ..GOOD };
    caught(table, "references-are-released-once", "references are held by an empty store");
    caught(table, "set-then-get", "were never released");
}

unsafe extern "C" fn set_that_releases_twice(i: *mut c_void, call: *const Call, entry: *const Entry) -> i32 {
    // SAFETY: the entry is the host's.
    let mut value = unsafe { (*entry).value };
    let answer = good!(set(i, call, entry));
    // SAFETY: none: this is the fault, which the host's handles survive.
    unsafe { value.release() };
    answer
}

#[test]
fn a_reference_released_twice() {
    let table = BackendTable { set: Some(set_that_releases_twice), ..GOOD };
    caught(table, "overwrite", "released more than once");
}

unsafe extern "C" fn set_without_ttl(i: *mut c_void, call: *const Call, entry: *const Entry) -> i32 {
    // SAFETY: the entry is the host's.
    let entry = Entry { ttl: NEVER, ..unsafe { *entry } };
    good!(set(i, call, &entry))
}

#[test]
fn an_ignored_ttl() {
    let table = BackendTable { set: Some(set_without_ttl), ..GOOD };
    caught(table, "entries-expire", "an entry of 10 s is there after 11 s");
    caught(table, "expiry-is-reported", "says that it expires at");
}

unsafe extern "C" fn delete_that_always_finds(i: *mut c_void, call: *const Call, key: Slice) -> i32 {
    good!(delete(i, call, key));
    status::OK
}

#[test]
fn a_delete_that_always_finds() {
    let table = BackendTable { delete: Some(delete_that_always_finds), ..GOOD };
    caught(table, "missing-key", "`delete` removed a key that was never set");
}

unsafe extern "C" fn clear_of_a_shorter_prefix(
    i: *mut c_void,
    call: *const Call,
    prefix: Slice,
    removed: *mut u64,
) -> i32 {
    let prefix = Slice { len: prefix.len.saturating_sub(1), ..prefix };
    good!(clear(i, call, prefix, removed))
}

#[test]
fn a_clear_of_too_much() {
    let table = BackendTable { clear: Some(clear_of_a_shorter_prefix), ..GOOD };
    caught(table, "clear-by-prefix", "`clear` of plain:");
}

#[test]
fn values_that_are_shared_and_said_not_to_be() {
    let mut table = GOOD;
    table.prelude.capabilities |= capability::EXCLUSIVE;
    let check = "exclusive-values-are-shared-with-nobody";
    let report = run(table, check);
    let result = report.results.into_iter().find(|result| result.name == check).unwrap();
    let why = "what was written to one value of 5 bytes is seen in one given before it";
    assert_eq!(result.failure.as_deref(), Some(why));
}

unsafe extern "C" fn claim_of_nothing(_: *const Value) -> i32 {
    status::OK
}

unsafe extern "C" fn claim_refused(_: *const Value) -> i32 {
    status::UNSUPPORTED
}

#[test]
fn values_that_are_claimed_and_stay_shared() {
    let check = "claimed-values-are-shared-with-nobody";
    for (claim, why) in [
        (claim_of_nothing as unsafe extern "C" fn(*const Value) -> i32, "is seen in one given before it"),
        (claim_refused, "`claim` of a value answers unsupported"),
    ] {
        let mut table = BackendTable { claim: Some(claim), ..GOOD };
        table.prelude.capabilities |= capability::CLAIM;
        let result = run(table, check).results.into_iter().find(|result| result.name == check).unwrap();
        let failure = result.failure.unwrap();
        assert!(failure.contains(why), "{failure}");
    }
}

unsafe extern "C" fn get_of_a_c_string(i: *mut c_void, call: *const Call, key: Slice, out: *mut Item) -> i32 {
    // SAFETY: the key is the host's.
    let len = unsafe { key.as_bytes() }.iter().position(|byte| *byte == 0).unwrap_or(key.len);
    good!(get(i, call, Slice { len, ..key }, out))
}

#[test]
fn a_key_that_ends_at_a_zero() {
    let table = BackendTable { get: Some(get_of_a_c_string), ..GOOD };
    caught(table, "keys-are-bytes", "has another key's value");
}

unsafe extern "C" fn add_that_replaces(
    i: *mut c_void,
    call: *const Call,
    entry: *const Entry,
    token: *mut Token,
) -> i32 {
    // SAFETY: the place is the host's.
    unsafe { token.write(Token { bytes: [1; 16] }) };
    good!(set(i, call, entry))
}

#[test]
fn an_add_that_replaces() {
    let table = BackendTable { add: Some(add_that_replaces), ..GOOD };
    caught(table, "add", "`add` replaced an entry");
    caught(table, "add-race", "8 of 8 threads added the same key");
}

unsafe extern "C" fn increment_in_two_steps(
    i: *mut c_void,
    call: *const Call,
    key: Slice,
    delta: i64,
    ttl: i64,
    value: *mut i64,
) -> i32 {
    let answer = good!(increment(i, call, key, 0, ttl, value));
    std::thread::yield_now();
    if answer != status::OK {
        return answer;
    }
    // SAFETY: the place is the host's.
    let text = unsafe {
        *value += delta;
        (*value).to_string()
    };
    let value = retainit_plugin_api::sdk::Value::from_vec(text.into_bytes()).into_raw();
    good!(set(i, call, &Entry { key, value, ttl }))
}

#[test]
fn an_increment_that_is_not_atomic() {
    let table = BackendTable { increment: Some(increment_in_two_steps), ..GOOD };
    caught(table, "increment-race", "800 increments of eight threads gave");
}

unsafe extern "C" fn scan_without_pattern(
    i: *mut c_void,
    call: *const Call,
    prefix: Slice,
    _: Slice,
    cursor: u64,
    limit: u64,
    page: *mut Page,
) -> i32 {
    good!(scan(i, call, prefix, Slice::EMPTY, cursor, limit, page))
}

unsafe extern "C" fn scan_of_one_page(
    i: *mut c_void,
    call: *const Call,
    prefix: Slice,
    pattern: Slice,
    cursor: u64,
    limit: u64,
    page: *mut Page,
) -> i32 {
    let answer = good!(scan(i, call, prefix, pattern, cursor, limit, page));
    // SAFETY: the place is the host's.
    unsafe { (*page).cursor = 0 };
    answer
}

#[test]
fn scans_that_show_too_much_or_too_little() {
    let table = BackendTable { scan: Some(scan_without_pattern), ..GOOD };
    caught(table, "scan-patterns", "expected [user:*, user:1, user:2, user:[, user:x]");
    let table = BackendTable { scan: Some(scan_of_one_page), ..GOOD };
    caught(table, "scan-pages", "a scan by pages of 1 found 1 keys: expected 250");
}

unsafe extern "C" fn release_for_anybody(
    i: *mut c_void,
    call: *const Call,
    name: Slice,
    lease: *const Lease,
) -> i32 {
    good!(lease_release(i, call, name, lease));
    status::OK
}

#[test]
fn a_lease_that_anybody_releases() {
    let table = BackendTable { lease_release: Some(release_for_anybody), ..GOOD };
    caught(table, "lease-excludes", "somebody else released a lease");
}

unsafe extern "C" fn renew_for_anybody(
    i: *mut c_void,
    call: *const Call,
    name: Slice,
    ttl: i64,
    lease: *const Lease,
) -> i32 {
    good!(lease_renew(i, call, name, ttl, lease));
    status::OK
}

unsafe extern "C" fn acquire_with_a_fence_that_falls(
    i: *mut c_void,
    call: *const Call,
    name: Slice,
    ttl: i64,
    lease: *mut Lease,
) -> i32 {
    let answer = good!(lease_acquire(i, call, name, ttl, lease));
    // SAFETY: the place is the host's.
    unsafe { (*lease).fence = u64::MAX - (*lease).fence };
    answer
}

unsafe extern "C" fn release_with_a_fence_that_falls(
    i: *mut c_void,
    call: *const Call,
    name: Slice,
    lease: *const Lease,
) -> i32 {
    // SAFETY: the lease is the host's.
    let mut lease = unsafe { *lease };
    lease.fence = u64::MAX - lease.fence;
    good!(lease_release(i, call, name, &lease))
}

unsafe extern "C" fn acquire_always(
    i: *mut c_void,
    call: *const Call,
    name: Slice,
    ttl: i64,
    lease: *mut Lease,
) -> i32 {
    good!(lease_acquire(i, call, name, ttl, lease));
    status::OK
}

#[test]
fn leases_that_keep_nobody_out() {
    let table = BackendTable { lease_renew: Some(renew_for_anybody), ..GOOD };
    caught(table, "lease-of-another", "another name's holder renewed a lease");
    caught(table, "lease-expires", "a lease was renewed after it had expired");
    let table = BackendTable {
        lease_acquire: Some(acquire_with_a_fence_that_falls),
        lease_release: Some(release_with_a_fence_that_falls),
        ..GOOD
    };
    caught(table, "lease-fences-grow", "round 1: the fence went from");
    let table = BackendTable { lease_acquire: Some(acquire_always), ..GOOD };
    caught(table, "lease-race", "8 of 8 threads hold the same lease");
    caught(table, "lease-handover", "");
    caught(table, "instances-share-leases", "two instances have the same lease");
}

unsafe extern "C" fn close_that_forgets(_: *mut c_void, _: *const Call) -> i32 {
    status::OK
}

#[test]
fn a_close_that_leaks() {
    let table = BackendTable { close: Some(close_that_forgets), ..GOOD };
    caught(table, "overwrite", "were never released, although the instance is closed");
}

unsafe extern "C" fn open_with_anything(
    host: HostRef,
    call: *const Call,
    _: Slice,
    out: *mut *mut c_void,
) -> i32 {
    good!(open(host, call, Slice::EMPTY, out))
}

#[test]
fn options_that_are_ignored() {
    let table = BackendTable { open: Some(open_with_anything), ..GOOD };
    caught(table, "unknown-option", "an unknown option was accepted");
    caught(table, "malformed-options", "a truncated json object was accepted");
    caught(table, "evictions-are-reported", "0 of 1024 entries left");
}

#[test]
fn an_undeclared_operation_that_works() {
    let mut table = GOOD;
    table.prelude.capabilities &= !retainit_plugin_api::abi::capability::COUNTER;
    caught(table, "undeclared-operations", "`increment` is not declared and answers ok");
    let table = BackendTable { touch: None, ..GOOD };
    caught(table, "required-operations", "`touch` is missing");
}

unsafe extern "C" fn statistics_of_nothing(_: *mut c_void, _: *const Call, text: *mut Value) -> i32 {
    let json = br#"{"entries": 0, "bytes": 0}"#.to_vec();
    // SAFETY: the place is the host's.
    unsafe { text.write(retainit_plugin_api::sdk::Value::from_vec(json).into_raw()) };
    status::OK
}

#[test]
fn statistics_that_are_made_up() {
    let table = BackendTable { statistics: Some(statistics_of_nothing), ..GOOD };
    caught(table, "statistics", "`entries` is 0 after ten sets");
}

#[test]
fn completions_that_break_the_contract() {
    for (mode, why) in [
        ("complete-twice", "completed 3 times: expected 1"),
        ("complete-unknown", "was completed, which no call carried"),
        ("panic-on-thread", "panic"),
    ] {
        let report = Suite::new(BackendExport::<Faulty>::TABLE, |_| format!(r#"{{"mode": "{mode}"}}"#))
            .bounded(|_| format!(r#"{{"mode": "{mode}"}}"#))
            .only("set-then-get-async")
            .run();
        let failure = report.results[0].failure.clone().unwrap_or_else(|| panic!("{mode} passes"));
        assert!(failure.contains(why), "{mode} fails with another message: {failure}");
    }
}
