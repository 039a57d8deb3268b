//! What many calls of a failing backend come to: its breaker, its timeouts, one more try, writes that
//! wait, invalidations that it missed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use retainit_core::instance::{BreakerSettings, State};
use retainit_core::loader::{Kind, Registry};
use retainit_core::sdk::{Token, Value, NEVER};
use retainit_core::{clock, Error, ErrorKind, Instance};
use retainit_tests::{fixture, Scratch};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The process's clock stands still while this is held: by one test at a time.
struct Clock(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Clock {
    fn stop() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        clock::freeze();
        Clock(one)
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        clock::thaw();
    }
}

/// A backend that follows a script.
struct Scripted {
    instance: Arc<Instance>,
    scratch: Scratch,
    /// Bytes of the log that have been looked at.
    seen: AtomicUsize,
    _clock: Clock,
}

impl Scripted {
    fn open(kind: &str) -> Self {
        let clock = Clock::stop();
        let scratch = Scratch::new();
        let script = scratch.file("script", b"");
        let registry = Registry::new();
        static BUILT: LazyLock<PathBuf> = LazyLock::new(|| fixture("faulty-rust", "retainit_faulty_rust"));
        registry.add_file(&*BUILT, None).unwrap();
        let component = registry.component(Kind::Backend, kind).unwrap();
        let instance = component.open_backend("it", &serde_json::json!({"script": script})).unwrap();
        Scripted { instance, scratch, seen: AtomicUsize::new(0), _clock: clock }
    }

    /// What it is to do from now on.
    fn follow(&self, script: &str) {
        // In one step, so that nobody reads half of it.
        let next: PathBuf = self.scratch.file("next", script.as_bytes());
        std::fs::rename(next, self.scratch.path().join("script")).unwrap();
    }

    /// What it was asked since this was last asked.
    fn asked(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.scratch.path().join("script.log")).unwrap_or_default();
        // The last line may be half written.
        let whole = log.rfind('\n').map_or(0, |end| end + 1);
        let before = self.seen.swap(whole, Ordering::SeqCst);
        log[before..whole].lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn set(&self, key: &str, text: &str) -> Result<(), Error> {
        self.instance.set(key.as_bytes(), Value::from_vec(text.into()), NEVER)
    }

    fn read(&self, key: &str) -> Result<Option<String>, Error> {
        let item = self.instance.read(key.as_bytes())?;
        Ok(item.map(|item| String::from_utf8_lossy(item.value.as_bytes().unwrap()).into_owned()))
    }

    /// Fails until the breaker opens.
    fn break_down(&self) {
        self.follow("* fail");
        for _ in 0..5 {
            assert!(!self.read("k").unwrap_err().is_refusal());
        }
        assert_eq!(self.instance.health().state, State::Open);
        self.asked();
    }

    /// Runs `call` while the clock goes on to the end of its timeout.
    fn outwait<R: Send>(&self, timeout: Duration, call: impl FnOnce(&Self) -> R + Send) -> R {
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| call(self));
            eventually("it is asked", || self.instance.counters().in_flight > 0);
            clock::advance(timeout);
            caller.join().unwrap()
        })
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // Whatever hangs goes on.
        self.follow("end");
    }
}

/// Waits for other threads, which go on in their own time.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// --- the breaker ---------------------------------------------------------------------------------

#[test]
fn a_failing_backend_is_not_asked_until_a_probe_finds_it_well() {
    let it = Scripted::open("scripted");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    it.instance.on_state(Some(Arc::new(move |state| hears.lock().unwrap().push(state))));
    it.break_down();
    let error = it.read("k").unwrap_err();
    assert!(error.is_refusal());
    assert_eq!(
        error.to_string(),
        "the circuit is open, the backend is not asked: as the script says (backend `it`)"
    );
    assert!(it.set("k", "v").unwrap_err().is_refusal() && it.instance.refuses());
    clock::advance(MINUTE - SECOND);
    assert!(it.read("k").unwrap_err().is_refusal());
    assert_eq!(it.asked(), [""; 0]);
    clock::advance(SECOND);
    assert!(!it.read("k").unwrap_err().is_refusal(), "the probe");
    assert!(it.read("k").unwrap_err().is_refusal());
    assert_eq!(it.asked(), ["get k"], "asked once, and not twice");
    it.follow("");
    clock::advance(MINUTE);
    assert_eq!(it.read("k").unwrap(), None);
    assert_eq!(it.instance.health().state, State::Closed);
    assert_eq!(*heard.lock().unwrap(), [State::Open, State::Open, State::Closed]);
    let health = it.instance.health();
    assert_eq!((health.failures, health.refused, health.retried), (6, 4, 5));
}

#[test]
fn while_a_probe_is_under_way_others_are_refused_and_a_lost_one_is_replaced() {
    let it = Scripted::open("scripted");
    it.break_down();
    it.follow("get hang");
    clock::advance(MINUTE);
    std::thread::scope(|scope| {
        let probe = scope.spawn(|| it.read("probe"));
        eventually("the probe hangs", || it.instance.health().state == State::HalfOpen);
        assert!((0..100).all(|_| it.read("k").unwrap_err().is_refusal()));
        // It does not come back: another operation finds out.
        clock::advance(MINUTE);
        it.set("k", "v").unwrap();
        assert_eq!(it.instance.health().state, State::Closed);
        it.follow("");
        assert_eq!(probe.join().unwrap().unwrap(), None);
    });
    assert_eq!(it.read("k").unwrap().as_deref(), Some("v"));
}

#[test]
fn what_says_nothing_about_the_backend_does_not_open_it() {
    let it = Scripted::open("scripted");
    it.follow("* corrupt");
    for _ in 0..20 {
        assert_eq!(it.read("k").unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert_eq!(it.instance.health().state, State::Closed);
    for outcome in ["busy", "timeout", "fatal", "panic", "fail"] {
        it.instance.set_breaker(Some(BreakerSettings::default()));
        it.follow(&format!("* {outcome}"));
        (0..5).for_each(|_| assert!(!it.read("k").unwrap_err().is_refusal()));
        assert!(it.read("k").unwrap_err().is_refusal(), "{outcome}");
    }
}

#[test]
fn threshold_and_time_are_as_they_are_set_and_it_can_be_switched_off() {
    let it = Scripted::open("scripted");
    it.instance.set_breaker(Some(BreakerSettings { threshold: 2, open_for: SECOND }));
    it.follow("* fail");
    (0..2).for_each(|_| assert!(!it.read("k").unwrap_err().is_refusal()));
    assert!(it.read("k").unwrap_err().is_refusal());
    clock::advance(SECOND);
    assert!(!it.read("k").unwrap_err().is_refusal());
    it.instance.set_breaker(None);
    (0..50).for_each(|_| assert!(!it.read("k").unwrap_err().is_refusal()));
}

#[test]
fn who_asks_how_it_is_gets_an_answer_and_closes_it() {
    let it = Scripted::open("scripted");
    it.break_down();
    assert!(!it.instance.ping().unwrap_err().is_refusal());
    it.follow("");
    it.instance.ping().unwrap();
    assert_eq!(it.instance.health().state, State::Closed);
    assert_eq!(it.read("k").unwrap(), None);
}

#[test]
fn refusing_costs_less_than_a_microsecond() {
    let it = Scripted::open("scripted");
    it.break_down();
    let nanoseconds = |calls: u32| {
        let start = Instant::now();
        for _ in 0..calls {
            assert!(std::hint::black_box(it.instance.read(b"k")).is_err());
        }
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    let best = (0..50).map(|_| nanoseconds(2000)).fold(f64::MAX, f64::min);
    println!("a refusal: {best:.1} ns");
    assert!(best < 1000.0, "{best} ns");
}

// --- timeouts ------------------------------------------------------------------------------------

#[test]
fn a_hanging_backend_holds_one_call_a_window_and_no_longer_than_the_timeout() {
    for kind in ["scripted", "scripted_later"] {
        let it = Scripted::open(kind);
        it.instance.set_timeout(Some(3 * SECOND));
        it.follow("* hang");
        for window in 0..3 {
            let error = it.outwait(3 * SECOND, |it| it.read("k").unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Timeout, "{kind}");
            for _ in 0..100 {
                assert!(it.read("k").unwrap_err().is_refusal(), "{kind}: window {window}");
            }
            clock::advance(MINUTE);
        }
        it.follow("");
        eventually("it has come back", || it.read("k").is_ok());
    }
}

#[test]
fn the_timeout_follows_the_answers_up_to_what_is_configured() {
    for kind in ["scripted", "scripted_later"] {
        let it = Scripted::open(kind);
        it.instance.set_timeout(Some(MINUTE));
        let timeouts = || (it.instance.health().read_timeout, it.instance.health().write_timeout);
        assert_eq!(timeouts(), (Some(MINUTE), Some(MINUTE)), "nothing is known yet");
        it.read("k").unwrap();
        let floor = Some(Duration::from_millis(200));
        assert_eq!(timeouts(), (floor, Some(MINUTE)), "writes are another matter");
        it.set("k", "v").unwrap();
        assert_eq!(timeouts(), (floor, floor));
        // One call is given up after that, and the next gets twice as many.
        it.follow("get hang 1");
        assert_eq!(
            it.outwait(Duration::from_millis(200), |it| it.read("k")).unwrap_err().kind(),
            ErrorKind::Timeout
        );
        assert_eq!(
            it.instance.health().state,
            State::Closed,
            "short of what is configured, it is one failure"
        );
        assert_eq!(timeouts().0, Some(Duration::from_millis(400)));
        // It comes late, and is measured all the same.
        clock::advance(Duration::from_millis(800));
        it.follow("");
        eventually("it comes late", || it.instance.counters().late_completions == 1);
        assert!(timeouts().0 >= Some(SECOND));
    }
}

#[test]
fn without_a_timeout_what_blocks_is_called_by_its_caller_and_what_answers_later_has_ten_seconds() {
    let it = Scripted::open("scripted");
    it.read("k").unwrap();
    assert_eq!(it.instance.health().read_timeout, None);
    drop(it);
    let it = Scripted::open("scripted_later");
    assert_eq!(it.instance.health().read_timeout, Some(10 * SECOND));
    it.follow("* hang");
    assert_eq!(it.outwait(10 * SECOND, |it| it.read("k")).unwrap_err().kind(), ErrorKind::Timeout);
}

#[test]
fn answers_that_come_twice_or_are_garbage_concern_their_call_alone() {
    let it = Scripted::open("scripted_later");
    it.set("k", "v").unwrap();
    it.follow("answer garbage 1\nanswer twice 1");
    assert_eq!(it.read("k").unwrap_err().to_string(), "the plugin's answer is incomplete (backend `it`)");
    assert_eq!(it.read("k").unwrap().as_deref(), Some("v"));
    eventually("the second one is counted", || it.instance.counters().duplicate_completions == 1);
    assert_eq!(it.read("k").unwrap().as_deref(), Some("v"));
    assert_eq!(it.instance.health().state, State::Closed);
}

// --- one more try --------------------------------------------------------------------------------

#[test]
fn what_can_be_repeated_is_tried_once_more_and_nothing_else_is() {
    for kind in ["scripted", "scripted_later"] {
        let it = Scripted::open(kind);
        it.instance.set_breaker(None);
        it.follow("* fail 1");
        it.set("k", "v").unwrap();
        it.follow("* fail 1\n");
        assert_eq!(it.read("k").unwrap().as_deref(), Some("v"));
        it.follow("* fail 1");
        assert!(it.instance.delete(b"k").unwrap());
        it.follow("* fail 1\n");
        it.instance.clear(b"").unwrap();
        it.follow("* fail 1");
        it.instance.ping().unwrap();
        assert_eq!(
            it.asked(),
            ["set k", "set k", "get k", "get k", "delete k", "delete k", "clear", "clear", "ping", "ping"]
        );
        it.follow("* fail");
        it.read("k").unwrap_err();
        assert_eq!(it.asked(), ["get k"; 2], "once more, and not again");
        it.instance.add(b"k", Value::from_vec(vec![]), NEVER).unwrap_err();
        it.instance.compare_and_set(b"k", Value::from_vec(vec![]), NEVER, Token::default()).unwrap_err();
        it.instance.increment(b"k", 1, NEVER).unwrap_err();
        assert_eq!(it.asked(), ["add k", "set k", "increment k"]);
        for outcome in ["busy", "timeout", "fatal", "corrupt", "panic"] {
            it.follow(&format!("* {outcome}"));
            it.read("k").unwrap_err();
            assert_eq!(it.asked(), ["get k"], "{outcome}");
        }
    }
}

// --- writes that wait ----------------------------------------------------------------------------

#[test]
fn a_write_behind_returns_at_once_and_can_be_read() {
    let it = Scripted::open("scripted");
    it.instance.set_write_behind(8);
    it.follow("set hang");
    it.set("k", "v").unwrap();
    it.set("l", "w").unwrap();
    assert_eq!((it.read("k").unwrap().as_deref(), it.read("l").unwrap().as_deref()), (Some("v"), Some("w")));
    assert_eq!(it.instance.health().queued, 2);
    it.follow("");
    it.instance.flush().unwrap();
    assert_eq!(it.instance.health().queued, 0);
    it.instance.set_write_behind(0);
    assert_eq!((it.read("k").unwrap().as_deref(), it.read("l").unwrap().as_deref()), (Some("v"), Some("w")));
    assert_eq!(it.instance.health().lost, 0);
}

#[test]
fn an_invalidation_wins_over_every_write_that_waited() {
    let it = Scripted::open("scripted");
    it.instance.set_write_behind(8);
    it.follow("set hang");
    for key in ["a", "b1", "b2", "c"] {
        it.set(key, "old").unwrap();
    }
    eventually("the first is being written", || !it.asked().is_empty());
    assert!(it.instance.delete(b"c").unwrap());
    assert_eq!(it.instance.clear(b"b").unwrap(), 2);
    std::thread::scope(|scope| {
        // This one waits for the write that is under way.
        let deleting = scope.spawn(|| it.instance.delete(b"a"));
        it.follow("");
        assert!(deleting.join().unwrap().unwrap());
    });
    it.instance.flush().unwrap();
    for key in ["a", "b1", "b2", "c"] {
        assert_eq!(it.read(key).unwrap(), None, "{key}");
    }
    assert_eq!(it.instance.count(b"").unwrap(), 0);
}

#[test]
fn writes_that_are_lost_are_counted() {
    let it = Scripted::open("scripted");
    it.instance.set_write_behind(2);
    it.follow("set hang");
    it.set("writing", "v").unwrap();
    eventually("it is being written", || !it.asked().is_empty());
    it.set("a", "v").unwrap();
    it.set("b", "v").unwrap();
    it.set("a", "w").unwrap();
    let error = it.set("c", "v").unwrap_err();
    assert_eq!(error.to_string(), "the queue of writes is full, so that this one is lost (backend `it`)");
    assert_eq!(it.instance.health().lost, 1);
    it.follow("set fatal");
    it.instance.flush().unwrap();
    assert_eq!(it.instance.health().lost, 3, "`a` and `b` could not be written");
    // At the end there is no time left.
    it.instance.set_breaker(None);
    it.follow("set hang");
    it.set("writing", "v").unwrap();
    eventually("it is being written", || it.asked().contains(&"set writing".to_owned()));
    it.set("d", "v").unwrap();
    it.instance.quiesce(Duration::ZERO).unwrap();
    assert_eq!((it.instance.health().lost, it.instance.health().queued), (4, 1));
}

#[test]
fn an_operation_that_looks_at_what_is_stored_finds_what_waited() {
    let it = Scripted::open("scripted");
    it.instance.set_write_behind(8);
    for round in 0..50 {
        let key = format!("k{round}");
        it.set(&key, "v").unwrap();
        assert_eq!(it.instance.add(key.as_bytes(), Value::from_vec(vec![]), NEVER).unwrap(), None);
        it.set("other", "v").unwrap();
        assert_eq!(it.instance.scan(b"k", b"", 0, 100).unwrap().keys.len(), round + 1);
    }
}

#[test]
fn while_the_circuit_is_open_no_write_is_accepted_for_later() {
    let it = Scripted::open("scripted");
    it.instance.set_write_behind(8);
    it.break_down();
    assert!(it.set("k", "v").unwrap_err().is_refusal());
    assert_eq!((it.instance.health().queued, it.instance.health().lost), (0, 0));
}

// --- invalidations that were missed --------------------------------------------------------------

#[test]
fn what_could_not_be_invalidated_is_not_read_and_is_removed_when_the_backend_returns() {
    for kind in ["scripted", "scripted_later"] {
        let it = Scripted::open(kind);
        for key in ["k", "kept", "f:1", "f:2"] {
            it.set(key, "old").unwrap();
        }
        it.break_down();
        assert!(it.instance.delete(b"k").unwrap_err().is_refusal());
        assert!(it.instance.clear(b"f:").unwrap_err().is_refusal());
        assert_eq!(it.instance.health().missed, 2);
        it.follow("delete fail\nclear fail");
        clock::advance(MINUTE);
        assert_eq!(it.read("kept").unwrap().as_deref(), Some("old"), "the probe");
        eventually("it is told", || it.asked().iter().any(|asked| asked.starts_with("clear")));
        for key in ["k", "f:1", "f:2", "f:3"] {
            assert_eq!(it.read(key).unwrap(), None, "{key}");
        }
        it.follow("");
        clock::advance(2 * SECOND);
        assert_eq!(it.read("kept").unwrap().as_deref(), Some("old"));
        eventually("it has been told", || it.instance.health().missed == 0);
        assert_eq!(it.instance.count(b"").unwrap(), 1);
        it.asked();
        assert_eq!(it.read("k").unwrap(), None);
        assert_eq!(it.asked(), ["get k"], "its word counts again");
    }
}

#[test]
fn a_newer_value_can_be_read_at_once() {
    let it = Scripted::open("scripted");
    it.set("k", "old").unwrap();
    it.follow("delete fatal");
    it.instance.delete(b"k").unwrap_err();
    assert_eq!(it.read("k").unwrap(), None);
    it.set("k", "new").unwrap();
    assert_eq!(it.read("k").unwrap().as_deref(), Some("new"));
    assert_eq!(it.instance.health().missed, 0);
    it.follow("");
    clock::advance(MINUTE);
    assert_eq!(it.read("k").unwrap().as_deref(), Some("new"), "the old removal does not come after it");
}

#[test]
fn a_write_that_comes_through_after_its_caller_gave_up_brings_nothing_back() {
    for kind in ["scripted", "scripted_later"] {
        let it = Scripted::open(kind);
        it.instance.set_timeout(Some(SECOND));
        it.instance.set_breaker(None);
        it.follow("set hang 1");
        let error = it.outwait(SECOND, |it| it.set("k", "late").unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Timeout);
        // Removed, as the backend says; but the write is still to come.
        assert!(!it.instance.delete(b"k").unwrap());
        it.follow("");
        eventually("the write comes through", || it.instance.counters().late_completions == 1);
        for _ in 0..20 {
            assert_eq!(it.read("k").unwrap(), None, "{kind}");
        }
        eventually("it is removed", || it.read("other").is_ok() && it.instance.health().missed == 0);
        assert_eq!(it.instance.count(b"").unwrap(), 0, "{kind}");
    }
}

#[test]
fn a_backend_that_never_blocks_has_none_of_this() {
    let registry = Registry::new();
    registry.add_file(retainit_tests::cargo_plugin("memory"), None).unwrap();
    let component = registry.component(Kind::Backend, "memory").unwrap();
    let instance = component.open_backend("memory", &serde_json::json!({})).unwrap();
    instance.set_write_behind(8);
    instance.set(b"k", Value::from_vec(vec![1]), NEVER).unwrap();
    assert!(instance.read(b"k").unwrap().is_some() && !instance.refuses());
    assert_eq!(instance.health(), Default::default());
}

#[test]
fn threads_of_callers_see_one_opening_and_nothing_stale() {
    let it = Scripted::open("scripted");
    let opened = Arc::new(AtomicUsize::new(0));
    let counts = opened.clone();
    it.instance.on_state(Some(Arc::new(move |state| {
        counts.fetch_add(usize::from(state == State::Open), Ordering::SeqCst);
    })));
    it.set("k", "old").unwrap();
    it.follow("* fail");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..200).for_each(|_| drop(it.read("k"))));
        }
    });
    assert_eq!(opened.load(Ordering::SeqCst), 1);
    it.instance.delete(b"k").unwrap_err();
    it.follow("");
    clock::advance(MINUTE);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert!(!matches!(it.read("k"), Ok(Some(_))), "stale");
                }
            });
        }
    });
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Whatever fails, whenever it comes back: what is read was set after the last invalidation.
#[test]
fn nothing_that_was_invalidated_is_read_whatever_fails() {
    const SCRIPTS: [&str; 8] = [
        "",
        "",
        "* fail",
        "* fatal",
        "delete fail\nclear fail",
        "set fatal",
        "get fail",
        "* fail 1\n* fatal 1",
    ];
    for (seed, kind) in [(1, "scripted"), (2, "scripted_later"), (3, "scripted"), (4, "scripted_later")] {
        let it = Scripted::open(kind);
        it.instance.set_timeout(Some(MINUTE));
        it.instance.set_breaker(Some(BreakerSettings { threshold: 5, open_for: 5 * SECOND }));
        it.instance.set_write_behind(if seed > 2 { 4 } else { 0 });
        let mut random = Random(seed * 0x9e37_79b9);
        let mut valid: Vec<Vec<String>> = vec![Vec::new(); 4];
        let (mut found, mut opened) = (0, 0);
        for step in 0..2000 {
            let number = random.below(4) as usize;
            let key = format!("{}:{}", number / 2, number % 2);
            match random.below(20) {
                0..=5 => {
                    valid[number].push(step.to_string());
                    let _ = it.set(&key, &step.to_string());
                }
                6..=8 => {
                    let _ = it.instance.delete(key.as_bytes());
                    valid[number].clear();
                }
                9 => {
                    let _ = it.instance.clear(&key.as_bytes()[..2]);
                    valid[number / 2 * 2..][..2].iter_mut().for_each(Vec::clear);
                }
                10 | 11 => it.follow(&format!("{}\nnone {step}", SCRIPTS[random.below(8) as usize])),
                12 => clock::advance(Duration::from_secs(random.below(9))),
                _ => {
                    if let Ok(Some(text)) = it.read(&key) {
                        assert!(valid[number].contains(&text), "{kind}, step {step}: `{key}` is `{text}`");
                        found += 1;
                    }
                }
            }
            opened += usize::from(it.instance.refuses());
        }
        assert!(found > 50 && opened > 50, "{found} found, {opened} steps with an open circuit");
        // In the end all is well again.
        it.follow("");
        clock::advance(MINUTE);
        eventually("it is told what it missed", || {
            // No faster than its answers come: they have a timeout.
            clock::advance(SECOND / 100);
            it.read("other").is_ok() && it.instance.health().missed == 0
        });
        it.instance.flush().unwrap();
        assert_eq!(it.instance.health().state, State::Closed);
    }
}
