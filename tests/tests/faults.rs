//! Plugins that break the contract while they run: an error for the call, nothing for anybody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use retainit_core::loader::{Kind, Registry};
use retainit_core::{ErrorKind, Instance};
use retainit_plugin_api::sdk::{Value, NEVER};
use retainit_tests::{c_plugin, Scratch};

/// The asynchronous backend that misbehaves as its keys say, bounded by `timeout`.
fn later(timeout: Duration) -> (Scratch, Arc<Instance>) {
    let scratch = Scratch::new();
    let path = c_plugin("later.c", scratch.path(), "later", &[]);
    let registry = Registry::new();
    registry.add_file(&path, None).unwrap();
    let component = registry.component(Kind::Backend, "later").unwrap();
    let instance = component.open_backend("slow", &serde_json::json!({})).unwrap();
    instance.set_timeout(Some(timeout));
    (scratch, instance)
}

const LONG: Duration = Duration::from_secs(30);

fn read(instance: &Instance, key: &str) -> Vec<u8> {
    let item = instance.read(key.as_bytes()).unwrap().unwrap();
    item.value.as_bytes().unwrap().to_vec()
}

/// Waits for a thread of the plugin, which reports in its own time.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_answer_from_another_thread_reaches_its_caller() {
    let (_scratch, instance) = later(LONG);
    assert_eq!(read(&instance, "plain"), b"answer");
    assert_eq!(read(&instance, "before"), b"before");
    instance.set(b"plain", Value::from_vec(b"v".to_vec()), NEVER).unwrap();
    assert_eq!(instance.counters().in_flight, 0);
}

#[test]
fn completing_twice_is_counted_and_the_second_answer_released() {
    let (_scratch, instance) = later(LONG);
    assert_eq!(read(&instance, "twice"), b"first");
    eventually("the second completion is counted", || instance.counters().duplicate_completions == 1);
    // Both values have been released: the reader's and the ignored one's.
    eventually("the ignored value is released", || instance.clear(b"").unwrap() == 2);
    assert_eq!(read(&instance, "plain"), b"answer");
}

#[test]
fn answering_both_at_once_and_later_counts_the_completion() {
    let (_scratch, instance) = later(LONG);
    assert!(instance.read(b"both").unwrap().is_none());
    // The completion came first and found its waiter, whom nobody asked any more.
    assert_eq!(instance.counters().in_flight, 0);
    assert_eq!(instance.clear(b"").unwrap(), 1);
}

#[test]
fn never_completing_is_a_timeout_and_is_cancelled() {
    let (_scratch, instance) = later(Duration::from_millis(20));
    let error = instance.read(b"never").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "the plugin did not answer in time (backend `slow`)");
    assert!(instance.delete(b"cancelled").unwrap(), "the plugin was told");
    instance.set_timeout(Some(LONG));
    assert_eq!(read(&instance, "plain"), b"answer");
    assert_eq!(instance.counters().in_flight, 0);
}

#[test]
fn completing_late_is_counted_and_reaches_nobody_else() {
    let (_scratch, instance) = later(Duration::from_millis(20));
    assert_eq!(instance.read(b"late").unwrap_err().kind(), ErrorKind::Timeout);
    instance.set_timeout(Some(LONG));
    // The place of the operation is in use again when the late answer comes.
    assert_eq!(read(&instance, "plain"), b"answer");
    let before = instance.clear(b"").unwrap();
    instance.delete(b"late").unwrap();
    assert_eq!(instance.counters().late_completions, 1);
    assert_eq!(instance.clear(b"").unwrap(), before + 1, "its value is released");
}

#[test]
fn an_error_from_another_thread_keeps_its_class_and_is_one_line() {
    let (_scratch, instance) = later(LONG);
    let error = instance.read(b"fails").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retryable);
    assert_eq!(error.to_string(), "the store is away (backend `slow`)");
}

#[test]
fn completing_with_pending_is_an_error() {
    let (_scratch, instance) = later(LONG);
    assert_eq!(instance.read(b"pending").unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn completing_after_closing_finds_valid_memory() {
    let (_scratch, instance) = later(Duration::from_millis(20));
    assert_eq!(instance.read(b"late").unwrap_err().kind(), ErrorKind::Timeout);
    // The fixture keeps one state for all its instances, so that a second one can complete what the
    // first one left, on the context of the first.
    let component = instance.component().clone();
    drop(instance);
    let second = component.open_backend("second", &serde_json::json!({})).unwrap();
    second.delete(b"late").unwrap();
    assert_eq!(second.counters().duplicate_completions, 1, "an id of another instance is nobody's");
}

#[test]
fn many_callers_of_a_misbehaving_backend_get_their_own_answers() {
    let (_scratch, instance) = later(LONG);
    let callers: Vec<_> = (0..8)
        .map(|number| {
            let instance = Arc::clone(&instance);
            std::thread::spawn(move || {
                for round in 0..50 {
                    match (number + round) % 4 {
                        0 => assert_eq!(read(&instance, "twice"), b"first"),
                        1 => assert_eq!(read(&instance, "before"), b"before"),
                        2 => assert_eq!(instance.read(b"fails").unwrap_err().kind(), ErrorKind::Retryable),
                        _ => assert_eq!(read(&instance, "plain"), b"answer"),
                    }
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    eventually("every duplicate is counted", || instance.counters().duplicate_completions == 100);
    assert_eq!(instance.counters().in_flight, 0);
}
