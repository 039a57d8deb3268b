//! Writes that wait in front of a backend, and invalidations that it missed: nothing comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use retainit_core::instance::{BreakerSettings, State};
use retainit_core::loader::{Kind, Registry};
use retainit_core::sdk::{Value, NEVER};
use retainit_core::{clock, ErrorKind};
use retainit_tests::{eventually, Scripted};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

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
        eventually("it has been told", || {
            clock::advance(SECOND / 10);
            assert_eq!(it.read("kept").unwrap().as_deref(), Some("old"));
            it.instance.health().missed == 0
        });
        assert_eq!(it.instance.count(b"").unwrap(), 1);
        it.asked();
        assert_eq!(it.read("k").unwrap(), None);
        assert_eq!(it.asked(), ["get k"], "its word counts again");
    }
}

#[test]
fn an_invalidation_waits_for_no_write_while_the_circuit_is_open() {
    let it = Scripted::open("scripted");
    it.instance.set_write_behind(8);
    it.follow("set hang\nget fatal");
    it.set("k", "old").unwrap();
    eventually("it is being written", || !it.asked().is_empty());
    (0..5).for_each(|_| drop(it.read("other").unwrap_err()));
    assert!(it.instance.refuses());
    // The clock stands still: whoever waited here would wait for ever.
    assert!(it.instance.delete(b"k").unwrap_err().is_refusal());
    it.follow("");
    eventually("the write comes through", || it.instance.health().queued == 0);
    clock::advance(MINUTE);
    assert_eq!(it.read("k").unwrap(), None);
    eventually("it is removed", || {
        clock::advance(SECOND / 100);
        it.read("other").is_ok() && it.instance.health().missed == 0
    });
    assert_eq!(it.instance.count(b"").unwrap(), 0);
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
    // Well most of the time, so that there is something to find.
    const SCRIPTS: [&str; 12] = [
        "",
        "",
        "",
        "",
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
                10 | 11 => it.follow(&format!("{}\nnone {step}", SCRIPTS[random.below(12) as usize])),
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
        assert!(found > 30 && opened > 30, "{found} found, {opened} steps with an open circuit");
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
