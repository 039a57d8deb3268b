//! Threads, the sweeper and forks.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use common::{bytes, object, Payload, Store, START};
use retainit_plugin_api::abi::call as raw;
use retainit_plugin_api::abi::host::evict;
use retainit_plugin_api::sdk::{Backend, Call, Entry, ErrorKind, Value, NEVER};
use serde_json::json;

/// More than any sweep interval of a test, and less than its clock moves.
const SOON: i64 = 1_000;

#[test]
fn values_are_let_go_of_once_while_threads_evict_expire_and_read() {
    for policy in ["s3fifo", "lru"] {
        let store = Store::open(json!({"policy": policy, "max_size": 2_000, "sweep_interval": 0.001}));
        let payloads: Vec<Payload> = (0..64).map(|n| Arc::new(vec![n; 32])).collect();
        let (most, hits, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let (store, payloads, hits) = (&store, &payloads, &hits);
                scope.spawn(move || {
                    for n in 0..30_000_u32 {
                        let number = n.wrapping_mul(2_654_435_761).wrapping_add(thread) % 6_000;
                        let (key, payload) =
                            (number.to_le_bytes(), &payloads[number as usize % payloads.len()]);
                        match store.get(&key) {
                            Some(found) => {
                                let raw = found.value.as_raw();
                                assert_eq!(
                                    raw.owner.cast_const(),
                                    Arc::as_ptr(payload).cast(),
                                    "another key's value"
                                );
                                hits.fetch_add(1, Ordering::Relaxed);
                            }
                            None if n % 7 == 0 => {
                                store.call(|backend, call| backend.delete(call, &key));
                            }
                            None => {
                                store.set(&key, object(payload, 32), if n % 3 == 0 { SOON } else { NEVER })
                            }
                        }
                        if n % 1_000 == 0 {
                            store.host.advance(SOON / 4);
                        }
                        if n % 10_000 == 9_999 {
                            store.call(|backend, call| {
                                backend.clear(call, if thread == 0 { &[] } else { &[7] })
                            });
                        }
                    }
                });
            }
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    most.fetch_max(store.call(|backend, call| backend.count(call, b"")), Ordering::Relaxed);
                }
            });
            scope.spawn(|| {
                store.wait_until("hits and evictions", |store| {
                    hits.load(Ordering::Relaxed) > 1_000 && store.statistic("evictions") > 1_000
                });
                stop.store(true, Ordering::Relaxed);
            });
        });
        assert!(most.into_inner() <= 2_000);
        assert!(store.statistic("expirations") > 0);
        drop(store);
        payloads.iter().for_each(|payload| assert_eq!(Arc::strong_count(payload), 1));
    }
}

#[test]
fn counters_lose_no_increment() {
    let store = Store::open(json!({}));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    store.call(|backend, call| backend.increment(call, b"count", 1, NEVER));
                }
            });
        }
    });
    assert_eq!(store.call(|backend, call| backend.increment(call, b"count", 0, NEVER)), 20_000);
}

#[test]
fn expired_entries_are_reclaimed_and_reported_without_being_asked_for() {
    let store = Store::open(json!({"sweep_interval": 0.001}));
    let payload = Arc::new(vec![1]);
    for n in 0..1_000_u32 {
        store.set(&n.to_le_bytes(), bytes(&payload), if n % 2 == 0 { SOON } else { NEVER });
    }
    store.host.advance(2 * SOON);
    store.wait_until("a sweep", |_| Arc::strong_count(&payload) == 501);
    store.wait_until("its report", |store| store.statistic("expirations") == 500);
    let evicted = store.host.take_evicted();
    assert_eq!(evicted.len(), 500);
    assert!(evicted.iter().all(|(_, reason)| *reason == evict::EXPIRED));
}

#[test]
fn sweeps_come_at_the_interval_that_was_asked_for() {
    let store = Store::open(json!({"sweep_interval": 3_600}));
    store.set(b"key", Value::from_vec(vec![1]), SOON);
    store.host.advance(2 * SOON);
    std::thread::yield_now();
    assert_eq!(store.statistic("entries"), 1, "not reclaimed before the interval is over");
    assert!(store.get(b"key").is_none(), "and yet never handed out");
    assert_eq!(store.call(|backend, call| backend.count(call, b"")), 0, "nor counted");
}

#[test]
fn the_sweeper_stops_when_told_and_starts_again_when_needed() {
    let store = Store::open(json!({"sweep_interval": 0.001}));
    store.set(b"a", Value::from_vec(vec![1]), SOON);
    store.call(|backend, call| backend.quiesce(call));
    store.host.advance(2 * SOON);
    let other = Store::open(json!({"sweep_interval": 0.001}));
    for round in 0..5 {
        other.set(b"key", Value::from_vec(vec![1]), SOON);
        other.host.advance(2 * SOON);
        other.wait_until("the sweep of another store", |other| other.statistic("expirations") > round);
    }
    assert_eq!(store.statistic("entries"), 1, "nobody sweeps here in the same time");
    store.set(b"b", Value::from_vec(vec![1]), SOON);
    store.wait_until("a sweep", |store| store.statistic("entries") == 1);
    store.host.advance(2 * SOON);
    store.wait_until("another sweep", |store| store.statistic("entries") == 0);
    // Nothing will expire now, so the thread ends; the next entry that expires starts one.
    for round in 0..200_u32 {
        store.set(&round.to_le_bytes(), Value::from_vec(vec![1]), SOON);
        store.host.advance(2 * SOON);
        store.wait_until("a sweep after a rest", |store| store.statistic("entries") == 0);
    }
}

#[test]
fn a_time_to_live_of_nothing_is_refused() {
    let store = Store::open(json!({}));
    let call = raw::Call { op: 0, now: START, deadline: raw::NEVER, error: std::ptr::null_mut() };
    let entry = Entry { key: b"key", value: Value::from_vec(vec![1]), ttl: 0 };
    let error = store.backend.set(&Call::new(&call), entry).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.message(), "invalid time to live: expected at least one nanosecond, found `0`");
}

#[test]
#[cfg(unix)]
fn a_child_of_fork_keeps_the_entries_and_sweeps_by_itself() {
    let store = Store::open(json!({"sweep_interval": 0.001, "max_size": null}));
    let payload = Arc::new(vec![7]);
    store.set(b"warm", bytes(&payload), NEVER);
    store.set(b"brief", bytes(&payload), SOON);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Somebody is always at work under the locks when the process forks.
        scope.spawn(|| {
            let mut n = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                store.set(&(n % 5_000).to_le_bytes(), Value::from_vec(vec![2]), NEVER);
            }
        });
        for _ in 0..20 {
            store.backend.fork_prepare();
            // SAFETY: the child calls what a child may: the allocator is fork-safe, and the locks of
            // the backend are held by this thread.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| in_child(&store)));
                // SAFETY: ends the child without running what belongs to the parent.
                unsafe { libc::_exit(if matches!(done, Ok(true)) { 0 } else { 1 }) };
            }
            store.backend.fork_parent();
            let mut status = 0;
            // SAFETY: the child is this process's own.
            unsafe { libc::waitpid(child, &mut status, 0) };
            assert_eq!(status, 0, "the child failed or was killed");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(store.get(b"warm").is_some());
}

#[cfg(unix)]
fn in_child(store: &Store) -> bool {
    // A child that waits for a lock for ever would hang the test.
    // SAFETY: sets a timer that kills this child alone.
    unsafe { libc::alarm(20) };
    store.backend.fork_child();
    let warm = store.get(b"warm").is_some();
    store.set(b"new", Value::from_vec(vec![1]), SOON);
    store.host.advance(3 * SOON);
    let expired = store.statistic("expirations");
    store.wait_until("a sweep in the child", |store| store.statistic("expirations") > expired);
    store.call(|backend, call| backend.quiesce(call));
    warm && store.get(b"new").is_none()
}
