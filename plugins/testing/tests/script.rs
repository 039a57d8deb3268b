//! What rules come to, through the backends' own methods, on a host whose clock moves when told.

use std::ffi::{c_void, CStr, CString};
use std::sync::atomic::{AtomicI64, Ordering};

use retainit_plugin_api::abi::call as raw;
use retainit_plugin_api::abi::host::{HostRef, HostTable};
use retainit_plugin_api::abi::value::{Slice, Value as RawValue};
use retainit_plugin_api::abi::Prelude;
use retainit_plugin_api::sdk::{Backend, Call, Entry, ErrorKind, Host, Item, Result, Value, NEVER};
use retainit_testing::control::{control, retainit_testing_control, retainit_testing_free};
use retainit_testing::{Blocking, Config, Inline, Manner, Scripted};

const SECOND: i64 = 1_000_000_000;

/// A backend on a channel of its own, and its host's clock.
struct Subject<M: Manner> {
    backend: Scripted<M>,
    channel: &'static str,
    clock: &'static AtomicI64,
}

impl<M: Manner> Subject<M> {
    fn open(channel: &'static str) -> Self {
        let clock: &'static AtomicI64 = Box::leak(Box::new(AtomicI64::new(SECOND)));
        let host = HostRef { table: &HOST, context: std::ptr::from_ref(clock).cast_mut().cast() };
        let options = Config { channel: Some(channel.to_owned()), ..Config::default() };
        // SAFETY: the clock, which is all there is of this host, is never freed.
        let backend = Scripted::open(options, unsafe { Host::new(host) }).unwrap();
        Subject { backend, channel, clock }
    }

    fn tell(&self, command: &str) -> serde_json::Value {
        control(M::NAME, self.channel, command).unwrap()
    }

    fn call<T>(&self, deadline: i64, body: impl FnOnce(&Scripted<M>, &Call<'_>) -> T) -> T {
        let now = self.clock.load(Ordering::SeqCst);
        body(&self.backend, &Call::new(&raw::Call { op: 0, now, deadline, error: std::ptr::null_mut() }))
    }

    fn get(&self) -> Result<Option<Item>> {
        self.call(NEVER, |backend, call| backend.get(call, b"key"))
    }

    fn set(&self, ttl: i64) {
        let entry = Entry { key: b"key", value: Value::from_vec(b"value".to_vec()), ttl };
        self.call(NEVER, |backend, call| backend.set(call, entry)).unwrap();
    }

    /// Reads on another thread, and does `meanwhile` when the read waits.
    fn while_a_read_waits(&self, deadline: i64, meanwhile: impl FnOnce(&Self)) -> Option<Vec<u8>> {
        std::thread::scope(|scope| {
            let read = scope.spawn(|| self.call(deadline, |backend, call| backend.get(call, b"key")));
            let until = r#"{"do": "until", "operation": "get", "calls": 1, "waiting": 1, "seconds": 20}"#;
            assert_eq!(self.tell(until)["met"], true);
            meanwhile(self);
            bytes(read.join().unwrap())
        })
    }
}

fn bytes(read: Result<Option<Item>>) -> Option<Vec<u8>> {
    read.unwrap().map(|item| item.value.as_bytes().unwrap().to_vec())
}

#[test]
fn a_failure_has_the_kind_and_the_message_it_was_told() {
    let subject = Subject::<Blocking>::open("fails");
    subject.set(NEVER);
    subject.tell(
        r#"{"do": "rule", "operation": "get", "times": 1,
            "outcome": {"fail": {"kind": "corrupt", "message": "eaten by mice"}}}"#,
    );
    let error = subject.get().unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, "eaten by mice"));
    assert_eq!(bytes(subject.get()), Some(b"value".to_vec()));
    let calls = &subject.tell(r#"{"do": "recorded"}"#)["calls"];
    let outcomes: Vec<_> = (0..3).map(|at| calls[at]["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["proper", "fail", "proper"]);
    assert_eq!((&calls[1]["keys"][0], &calls[1]["answered"]), (&"6b6579".into(), &true.into()));
}

#[test]
fn a_delay_follows_the_hosts_clock_and_so_does_expiry_meanwhile() {
    let subject = Subject::<Blocking>::open("delays");
    subject.set(5 * SECOND);
    subject.tell(r#"{"do": "rule", "operation": "get", "outcome": {"delay": {"seconds": 3}}, "times": 2}"#);
    let wait = |subject: &Subject<Blocking>| {
        subject.clock.fetch_add(3 * SECOND, Ordering::SeqCst);
    };
    assert_eq!(subject.while_a_read_waits(NEVER, wait), Some(b"value".to_vec()));
    assert_eq!(subject.while_a_read_waits(NEVER, wait), None, "it expired while it waited");
}

#[test]
fn what_is_late_comes_after_the_deadline() {
    let subject = Subject::<Blocking>::open("late");
    subject.set(NEVER);
    subject.tell(r#"{"do": "rule", "operation": "get", "outcome": {"late": {"seconds": 1}}}"#);
    let read = subject.while_a_read_waits(10 * SECOND, |subject| {
        subject.clock.store(10 * SECOND + SECOND / 2, Ordering::SeqCst);
        std::thread::yield_now();
        assert_eq!(subject.tell(r#"{"do": "recorded"}"#)["waiting"], 1, "not at the deadline");
        subject.clock.store(11 * SECOND, Ordering::SeqCst);
    });
    assert_eq!(read, Some(b"value".to_vec()));
}

#[test]
fn what_hangs_goes_on_when_released_and_restoring_forgets_the_rule() {
    let subject = Subject::<Blocking>::open("hangs");
    subject.set(NEVER);
    subject.tell(r#"{"do": "rule", "operation": "get", "outcome": "hang"}"#);
    for command in [r#"{"do": "release"}"#, r#"{"do": "restore"}"#] {
        let read = subject.while_a_read_waits(NEVER, |subject| {
            subject.clock.fetch_add(1_000_000 * SECOND, Ordering::SeqCst);
            drop(subject.tell(command));
        });
        assert_eq!(read, Some(b"value".to_vec()));
    }
    assert_eq!(bytes(subject.get()), Some(b"value".to_vec()));
}

#[test]
fn quiescing_ends_what_hangs() {
    let subject = Subject::<Blocking>::open("quiesced");
    subject.tell(r#"{"do": "rule", "outcome": "hang", "times": 1}"#);
    let read = subject.while_a_read_waits(NEVER, |subject| {
        subject.call(NEVER, |backend, call| backend.quiesce(call)).unwrap();
    });
    assert_eq!(read, None);
}

#[test]
fn a_wait_in_vain_says_so() {
    let subject = Subject::<Blocking>::open("in vain");
    let until = r#"{"do": "until", "operation": "*", "calls": 1, "waiting": 0, "seconds": 0.001}"#;
    assert_eq!(subject.tell(until)["met"], false);
}

#[test]
fn garbage_is_not_what_was_stored() {
    let subject = Subject::<Inline>::open("garbage");
    subject.tell(r#"{"do": "rule", "outcome": "garbage"}"#);
    subject.set(NEVER);
    let read = bytes(subject.get()).unwrap();
    assert_ne!(read, b"value");
    let many = subject.call(NEVER, |backend, call| backend.get_many(call, &[b"key", b"other"]));
    assert!(many.into_iter().all(|item| bytes(item).unwrap() == read));
}

#[test]
fn the_c_functions_take_and_give_texts() {
    let tell = |component: &str, command: &str| {
        let texts = [component, "c", command].map(|text| CString::new(text).unwrap());
        // SAFETY: the texts live until the call returns, and the answer is given back once.
        unsafe {
            let answer = retainit_testing_control(texts[0].as_ptr(), texts[1].as_ptr(), texts[2].as_ptr());
            let text = CStr::from_ptr(answer).to_str().unwrap().to_owned();
            retainit_testing_free(answer);
            text
        }
    };
    assert_eq!(tell("testing", r#"{"do": "recorded"}"#), r#"{"calls":[],"waiting":0}"#);
    assert_eq!(tell("testing", r#"{"do": "close"}"#), "{}");
    assert!(tell("memory", r#"{"do": "release"}"#).contains("unknown backend `memory`: expected one of"));
    assert!(tell("testing", "{}").starts_with(r#"{"error":"invalid command: "#));
    assert!(tell("testing_inline", r#"{"do": "rule", "outcome": "hang"}"#).contains("answers at once"));
    assert!(tell("testing", r#"{"do": "until", "operation": "*", "calls": 0, "waiting": 0, "seconds": -1}"#)
        .contains("invalid `seconds`"));
}

#[test]
fn a_panic_is_one() {
    let subject = Subject::<Blocking>::open("panics");
    subject.tell(r#"{"do": "rule", "outcome": "panic", "times": 1}"#);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| subject.get().is_ok()));
    assert!(caught.is_err());
    assert_eq!(bytes(subject.get()), None, "and nothing is locked");
    let recorded = subject.tell(r#"{"do": "recorded"}"#);
    assert_eq!(recorded["calls"][0]["answered"], true);
}

unsafe extern "C" fn complete(_: *mut c_void, _: u64, _: *const raw::Outcome) {
    unreachable!("nothing is ever pending");
}

unsafe extern "C" fn evicted(_: *mut c_void, _: *const Slice, _: *const u32, _: usize) {}

unsafe extern "C" fn invalidated(_: *mut c_void, _: *const Slice, _: usize) {}

unsafe extern "C" fn log(_: *mut c_void, _: u32, _: Slice) {}

unsafe extern "C" fn allocate(_: *mut c_void, _: usize) -> RawValue {
    RawValue::NONE
}

unsafe extern "C" fn clock(context: *mut c_void, _: u32) -> i64 {
    // SAFETY: `context` is the leaked clock.
    unsafe { &*context.cast::<AtomicI64>() }.load(Ordering::SeqCst)
}

static HOST: HostTable =
    HostTable { prelude: Prelude::of::<HostTable>(0), complete, evicted, invalidated, log, allocate, clock };
