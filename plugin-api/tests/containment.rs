//! A panic leaves no entry point: it becomes a status with a message, or exactly one completion.

#[path = "../../tests/fixtures/faulty-rust/src/faulty.rs"]
mod faulty;
mod support;

use std::ffi::c_void;
use std::time::{Duration, Instant};

use faulty::Faulty;
use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::call::{Call, Entry, Item, Lease, Page, Token, NEVER};
use retainit_plugin_api::abi::status;
use retainit_plugin_api::abi::value::{Slice, Value};
use retainit_plugin_api::sdk;
use retainit_plugin_api::sdk::export::BackendExport;
use support::{Calling, Host};

const TABLE: BackendTable = BackendExport::<Faulty>::TABLE;

/// Opens an instance that misbehaves in `mode`: the status, and the instance.
fn open(host: &'static Host, mode: &str, calling: &Calling) -> (i32, *mut c_void) {
    let options = format!(r#"{{"mode": "{mode}"}}"#);
    let mut instance = std::ptr::null_mut();
    // SAFETY: all arguments are valid for the call, and the host for ever.
    let answer = unsafe {
        TABLE.open.unwrap()(host.reference(), &calling.call, Slice::new(options.as_bytes()), &mut instance)
    };
    (answer, instance)
}

fn close(instance: *mut c_void) -> (i32, Calling) {
    let calling = Calling::new(0);
    // SAFETY: the instance is open, and this is its last call.
    (unsafe { TABLE.close.unwrap()(instance, &calling.call) }, calling)
}

/// Every operation that has a status, called with an operation id of `op`.
fn operations(op: u64, mut each: impl FnMut(&str, &dyn Fn(*mut c_void) -> (i32, Calling))) {
    let key = Slice::new(b"key");
    let lease = Lease { holder: Token { bytes: [3; 16] }, fence: 1 };
    let entry = || Entry { key, value: sdk::Value::from_vec(b"value".to_vec()).into_raw(), ttl: NEVER };
    /// One operation: the table's function, and its arguments after instance and call.
    macro_rules! operation {
        ($name:ident $(, $argument:expr)*) => {
            each(stringify!($name), &|instance| {
                let calling = Calling::new(op);
                // SAFETY: the instance is open and the arguments are valid for the call.
                (unsafe { TABLE.$name.unwrap()(instance, &calling.call $(, $argument)*) }, calling)
            })
        };
    }
    operation!(get, key, &mut { Item::EMPTY });
    operation!(set, &entry());
    operation!(delete, key);
    operation!(clear, key, &mut 0);
    operation!(get_many, &key, 1, &mut { Item::EMPTY });
    operation!(set_many, &entry(), 1, &mut 0);
    operation!(delete_many, &key, 1, &mut 0);
    operation!(add, &entry(), &mut Token::default());
    operation!(compare_and_set, &entry(), &mut Token::default());
    operation!(increment, key, 1, NEVER, &mut 0);
    operation!(touch, key, NEVER);
    operation!(ttl, key, &mut 0);
    operation!(scan, key, key, 0, 1, &mut Page { keys: Value::NONE, cursor: 0, count: 0 });
    operation!(count, key, &mut 0);
    operation!(lease_acquire, key, NEVER, &mut { lease });
    operation!(lease_renew, key, NEVER, &lease);
    operation!(lease_release, key, &lease);
    operation!(subscribe, key);
    operation!(ping);
    operation!(flush);
    if op == 0 {
        // Answered on return whatever the call carries.
        operation!(quiesce);
    }
}

fn eventually(condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

#[test]
fn panics_in_entry_points_become_statuses() {
    operations(0, |name, call| {
        let (answer, instance) = open(Host::new(), &format!("panic-in-{name}"), &Calling::new(0));
        assert_eq!(answer, status::OK);
        let (answer, calling) = call(instance);
        assert_eq!(answer, status::PANIC, "{name}");
        assert_eq!(calling.message(), format!("the plugin panicked: a deliberate panic in {name}"));
        // Once more, and another one: the instance is as usable as its author made it.
        assert_eq!(call(instance).0, status::PANIC, "{name}");
        assert_eq!(close(instance).0, status::OK);
    });
}

#[test]
fn a_panic_in_open_leaves_no_instance() {
    let calling = Calling::new(0);
    let (answer, instance) = open(Host::new(), "panic-in-open", &calling);
    assert_eq!(answer, status::PANIC);
    assert!(instance.is_null());
    assert_eq!(calling.message(), "the plugin panicked: a deliberate panic in open");
}

#[test]
fn a_panic_while_dropping_the_instance_becomes_a_status() {
    let (_, instance) = open(Host::new(), "panic-in-close", &Calling::new(0));
    let (answer, calling) = close(instance);
    assert_eq!(answer, status::PANIC);
    assert_eq!(calling.message(), "the plugin panicked: a deliberate panic in close");
}

#[test]
fn hooks_without_a_status_swallow_panics() {
    for name in ["cancel", "fork_prepare", "fork_parent", "fork_child"] {
        let (_, instance) = open(Host::new(), &format!("panic-in-{name}"), &Calling::new(0));
        // SAFETY: the instance is open.
        unsafe {
            match name {
                "cancel" => TABLE.cancel.unwrap()(instance, 7),
                "fork_prepare" => TABLE.fork_prepare.unwrap()(instance),
                "fork_parent" => TABLE.fork_parent.unwrap()(instance),
                _ => TABLE.fork_child.unwrap()(instance),
            }
        }
        assert_eq!(close(instance).0, status::OK);
    }
}

#[test]
fn a_panic_in_start_or_on_a_thread_completes_once() {
    for mode in ["panic-in-start", "panic-on-thread"] {
        operations(41, |name, call| {
            let host = Host::new();
            let (_, instance) = open(host, mode, &Calling::new(0));
            let (answer, _) = call(instance);
            assert_eq!(answer, status::PENDING, "{name} in {mode}");
            assert!(eventually(|| !host.completions.lock().unwrap().is_empty()), "{name} in {mode}");
            assert_eq!(close(instance).0, status::OK);
            let why = "the plugin panicked while it worked on the operation";
            assert_eq!(
                *host.completions.lock().unwrap(),
                [(41, status::PANIC, why.to_owned())],
                "{name} in {mode}"
            );
        });
    }
}

#[test]
fn a_panic_that_a_started_request_meets_completes_once() {
    operations(42, |name, call| {
        // The panic is in the method that `start` calls, of which the completer knows nothing.
        let host = Host::new();
        let (_, instance) = open(host, &format!("panic-in-{name}"), &Calling::new(0));
        assert_eq!(call(instance).0, status::PENDING, "{name}");
        assert!(eventually(|| !host.completions.lock().unwrap().is_empty()), "{name}");
        assert_eq!(close(instance).0, status::OK);
        let completions = host.completions.lock().unwrap();
        assert_eq!(completions.len(), 1, "{name}: {completions:?}");
        assert_eq!(completions[0].1, status::PANIC, "{name}: {completions:?}");
    });
}

#[test]
fn a_healthy_plugin_completes_once() {
    operations(43, |name, call| {
        let host = Host::new();
        let (_, instance) = open(host, "healthy", &Calling::new(0));
        assert_eq!(call(instance).0, status::PENDING, "{name}");
        assert_eq!(close(instance).0, status::OK);
        let completions = host.completions.lock().unwrap();
        assert_eq!(completions.len(), 1, "{name}: {completions:?}");
        assert!(completions[0].1 >= 0, "{name}: {completions:?}");
    });
}

#[test]
fn errors_without_a_place_for_the_message_are_statuses() {
    let (_, instance) = open(Host::new(), "panic-in-get", &Calling::new(0));
    let call = Call { op: 0, now: 1, deadline: NEVER, error: std::ptr::null_mut() };
    // SAFETY: the instance is open and the arguments are valid for the call.
    let answer = unsafe { TABLE.get.unwrap()(instance, &call, Slice::new(b"key"), &mut { Item::EMPTY }) };
    assert_eq!(answer, status::PANIC);
    close(instance);
}
