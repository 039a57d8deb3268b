//! Plugins that break the contract while they run: an error for the call, nothing for anybody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use retainit_core::loader::{Kind, Registry};
use retainit_core::sdk::{Entry, Lease, Reply, Request, Token, Value, NEVER};
use retainit_core::{clock, Error, ErrorKind, Instance};
use retainit_tests::{c_plugin, fixture, Scratch};

/// The asynchronous backend that misbehaves as its keys say, bounded by `timeout`.
fn later(timeout: Duration) -> (Scratch, Arc<Instance>) {
    let scratch = Scratch::new();
    let path = c_plugin("later.c", scratch.path(), "later", &[]);
    let registry = Registry::new();
    registry.add_file(&path, None).unwrap();
    let component = registry.component(Kind::Backend, "later").unwrap();
    let instance = component.open_backend("slow", &serde_json::json!({})).unwrap();
    instance.set_timeout(Some(timeout));
    // Calls one by one: what many of them mean for the backend is `failures.rs`.
    instance.set_breaker(None);
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

/// The backend written in Rust that does one thing wrong, as its mode says.
fn faulty(mode: &str) -> Result<Arc<Instance>, Error> {
    let registry = Registry::new();
    registry.add_file(fixture("faulty-rust", "retainit_faulty_rust"), None)?;
    let component = registry.component(Kind::Backend, "faulty")?;
    let instance = component.open_backend("faulty", &serde_json::json!({"mode": mode}))?;
    instance.set_breaker(None);
    Ok(instance)
}

fn value() -> Value {
    Value::from_vec(b"value".to_vec())
}

#[test]
fn a_panic_in_any_entry_point_is_an_error_of_that_call_alone() {
    type Operation = (&'static str, fn(&Instance) -> Result<(), Error>);
    const LEASE: Lease = Lease { holder: Token { bytes: [0; 16] }, fence: 0 };
    let operations: &[Operation] = &[
        ("get", |instance| instance.read(b"k").map(drop)),
        ("set", |instance| instance.set(b"k", value(), NEVER)),
        ("delete", |instance| instance.delete(b"k").map(drop)),
        ("clear", |instance| instance.clear(b"").map(drop)),
        ("get_many", |instance| instance.get_many(&[b"k"]).map(drop)),
        ("set_many", |instance| {
            instance.set_many(vec![Entry { key: b"k", value: value(), ttl: NEVER }]).map(drop)
        }),
        ("delete_many", |instance| instance.delete_many(&[b"k"]).map(drop)),
        ("add", |instance| instance.add(b"k", value(), NEVER).map(drop)),
        ("compare_and_set", |instance| {
            instance.compare_and_set(b"k", value(), NEVER, Token::default()).map(drop)
        }),
        ("increment", |instance| instance.increment(b"k", 1, NEVER).map(drop)),
        ("touch", |instance| instance.touch(b"k", NEVER).map(drop)),
        ("ttl", |instance| instance.ttl(b"k").map(drop)),
        ("scan", |instance| instance.scan(b"", b"", 0, 10).map(drop)),
        ("count", |instance| instance.count(b"").map(drop)),
        ("lease_acquire", |instance| instance.lease_acquire(b"k", 1).map(drop)),
        ("lease_renew", |instance| instance.lease_renew(b"k", 1, &LEASE).map(drop)),
        ("lease_release", |instance| instance.lease_release(b"k", &LEASE).map(drop)),
        ("subscribe", |instance| instance.subscribe(b"")),
        ("ping", |instance| instance.ping()),
        ("flush", |instance| instance.flush()),
        ("quiesce", |instance| instance.quiesce(LONG)),
    ];
    for (name, operation) in operations {
        let instance = faulty(&format!("panic-in-{name}")).unwrap();
        let error = operation(&instance).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panic, "{name}: {error}");
        assert_eq!(
            error.to_string(),
            format!("the plugin panicked: a deliberate panic in {name} (backend `faulty`)")
        );
        for (other, operation) in operations.iter().filter(|(other, _)| other != name) {
            // Nothing else, but where one operation of the plugin is made of the one that panics.
            if let Err(error) = operation(&instance) {
                assert!(
                    error.message().ends_with(&format!("a deliberate panic in {name}")),
                    "{other}: {error}"
                );
            }
        }
    }
}

#[test]
fn a_panic_while_opening_closing_or_forking_is_contained() {
    let error = faulty("panic-in-open").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panic);
    drop(faulty("panic-in-close").unwrap());
    for hook in ["fork_prepare", "fork_parent", "fork_child"] {
        let instance = faulty(&format!("panic-in-{hook}")).unwrap();
        instance.fork_prepare();
        instance.fork_parent();
        instance.fork_prepare();
        instance.fork_child();
        instance.set(b"k", value(), NEVER).unwrap();
        assert!(instance.read(b"k").unwrap().is_some());
    }
}

/// Starts an operation and waits for what its function is told.
fn started(instance: &Arc<Instance>, request: Request) -> Result<Reply, Error> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let done = move |reply| sender.send(reply).unwrap();
    instance.start(request, clock::deadline(LONG), done)?;
    receiver.recv_timeout(LONG).expect("an answer")
}

fn get(key: &str) -> Request {
    Request::Get { key: key.as_bytes().to_vec() }
}

#[test]
fn started_operations_are_answered_in_their_own_shape() {
    let instance = faulty("healthy").unwrap();
    let set = Request::Set { key: b"k".to_vec(), value: value(), ttl: NEVER };
    assert!(matches!(started(&instance, set), Ok(Reply::Done)));
    match started(&instance, get("k")).unwrap() {
        Reply::Item(item) => assert_eq!(item.value.as_bytes(), Some(&b"value"[..])),
        other => panic!("{other:?}"),
    }
    assert!(matches!(started(&instance, get("absent")), Ok(Reply::NotFound)));
    let many = Request::GetMany { keys: vec![b"k".to_vec(), b"absent".to_vec()] };
    match started(&instance, many).unwrap() {
        Reply::Items(items) => {
            assert!(items[0].as_ref().unwrap().is_some() && items[1].as_ref().unwrap().is_none())
        }
        other => panic!("{other:?}"),
    }
    let increment = Request::Increment { key: b"n".to_vec(), delta: -4, ttl: NEVER };
    assert!(matches!(started(&instance, increment), Ok(Reply::Number(-4))));
    let acquire = Request::LeaseAcquire { name: b"job".to_vec(), ttl: 1 };
    assert!(matches!(started(&instance, acquire), Ok(Reply::Lease(Lease { fence: 1, .. }))));
    match started(
        &instance,
        Request::Scan { prefix: b"".to_vec(), pattern: b"".to_vec(), cursor: 0, limit: 9 },
    )
    .unwrap()
    {
        Reply::Page(page) => assert_eq!((page.keys, page.next), (vec![b"k".to_vec()], None)),
        other => panic!("{other:?}"),
    }
    match started(&instance, Request::Statistics).unwrap() {
        Reply::Text(text) => assert_eq!(text, "{}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(instance.counters().in_flight, 0);
}

#[test]
fn a_panic_where_operations_start_and_one_on_a_thread_of_the_plugin_are_errors() {
    for mode in ["panic-in-start", "panic-on-thread"] {
        let instance = faulty(mode).unwrap();
        for _ in 0..3 {
            let error = started(&instance, get("k")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Panic, "{mode}: {error}");
        }
        // What does not start anything is not touched by it.
        assert!(instance.read(b"k").unwrap().is_none());
        assert_eq!(instance.counters().in_flight, 0);
    }
}

#[test]
fn a_rust_plugin_that_completes_twice_or_what_nobody_started_is_counted() {
    let instance = faulty("complete-twice").unwrap();
    assert!(matches!(started(&instance, get("k")), Ok(Reply::NotFound)));
    eventually("both duplicates are counted", || instance.counters().duplicate_completions == 2);
    let instance = faulty("complete-unknown").unwrap();
    assert!(matches!(started(&instance, get("k")), Ok(Reply::NotFound)));
    assert_eq!(instance.counters().duplicate_completions, 1);
}

#[test]
fn an_operation_that_is_given_up_is_never_answered() {
    let instance = faulty("complete-never").unwrap();
    let answered = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = Arc::clone(&answered);
    let pending = instance
        .start(get("k"), NEVER, move |_| told.store(true, std::sync::atomic::Ordering::SeqCst))
        .unwrap();
    assert_eq!(instance.counters().in_flight, 1);
    assert!(pending.give_up());
    assert!(!pending.give_up(), "only once");
    assert_eq!(instance.counters().in_flight, 0);
    assert!(!answered.load(std::sync::atomic::Ordering::SeqCst));

    let instance = faulty("complete-late").unwrap();
    let soon = clock::deadline(Duration::from_millis(200));
    let pending = instance.start(get("k"), soon, |_| panic!("given up")).unwrap();
    assert!(pending.give_up());
    eventually("the late completion is counted", || instance.counters().late_completions == 1);
}

#[test]
fn operations_in_flight_are_bounded() {
    let instance = faulty("complete-never").unwrap();
    let pending: Vec<_> = (0..4096).map(|_| instance.start(get("k"), NEVER, drop).unwrap()).collect();
    let error = instance.start(get("k"), NEVER, drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(error.to_string(), "too many operations are in flight (backend `faulty`)");
    pending[0].give_up();
    instance.start(get("k"), NEVER, drop).unwrap();
}
