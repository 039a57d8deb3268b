//! What many calls of a failing backend come to: its breaker, its timeouts, one more try.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use retainit_core::instance::{BreakerSettings, State};
use retainit_core::sdk::{Token, Value, NEVER};
use retainit_core::{clock, ErrorKind};
use retainit_tests::{eventually, Scripted};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

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
