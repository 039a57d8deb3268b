//! Leases across processes: holders that are killed, fences over everything that may happen to a database.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use common::{argument, spawn, Cache, Scratch};
use retainit_plugin_api::abi::host::evict;
use retainit_plugin_api::sdk::{Backend, Lease};

const TTL: i64 = 30_000_000_000;

fn acquire(cache: &Cache) -> Option<Lease> {
    cache.call(|backend, call| backend.lease_acquire(call, b"name", TTL)).unwrap()
}

fn renew(cache: &Cache, lease: &Lease) -> bool {
    cache.call(|backend, call| backend.lease_renew(call, b"name", TTL, lease)).unwrap()
}

fn release(cache: &Cache, lease: &Lease) -> bool {
    cache.call(|backend, call| backend.lease_release(call, b"name", lease)).unwrap()
}

/// Does something to a database that no process has open.
fn alter(cache: &Path, statement: &str) {
    let sql = rusqlite::Connection::open(cache.join("db/entries.sqlite")).unwrap();
    sql.execute_batch(statement).unwrap();
}

/// Takes the lease and never gives it back.
#[test]
#[ignore = "started by the test below"]
fn holder() {
    let cache = Cache::open(Path::new(&argument("CACHE")));
    let lease = acquire(&cache).unwrap();
    println!("fence {}", lease.fence);
    loop {
        std::thread::park();
    }
}

#[test]
fn a_holder_that_was_killed_is_followed_when_its_time_is_over() {
    let scratch = Scratch::new("killed");
    let mut child = spawn("holder", &[("CACHE", scratch.cache().to_str().unwrap())]);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let fence = lines.map_while(Result::ok).find_map(|line| line.split_once("fence ")?.1.parse::<u64>().ok());
    child.kill().unwrap();
    child.wait().unwrap();
    let cache = Cache::open(&scratch.cache());
    cache.pass(Duration::from_secs(28));
    assert!(acquire(&cache).is_none(), "its time is not over");
    cache.pass(Duration::from_secs(3));
    assert!(acquire(&cache).unwrap().fence > fence.unwrap());
}

#[test]
fn an_attempt_at_a_lease_that_is_held_writes_nothing() {
    let scratch = Scratch::new("refused");
    let (one, two) = (Cache::open(&scratch.cache()), Cache::open(&scratch.cache()));
    let lease = acquire(&one).unwrap();
    assert!(acquire(&two).is_none());
    let log = || fs::metadata(scratch.cache().join("db/entries.sqlite-wal")).unwrap().len();
    let before = log();
    for _ in 0..1000 {
        assert!(acquire(&two).is_none());
    }
    assert_eq!(log(), before);
    assert!(release(&one, &lease));
    assert!(acquire(&two).is_some(), "what was given back is seen at once");
    assert_ne!(log(), before);
}

#[test]
fn fences_grow_over_a_database_that_lost_its_last_commits() {
    let scratch = Scratch::new("power");
    let cache = Cache::open(&scratch.cache());
    let first = acquire(&cache).unwrap();
    drop(cache);
    // As after a loss of power: the lease is not there, and the number is the one before.
    alter(&scratch.cache(), "DELETE FROM lease; UPDATE fence SET last = last - 1;");
    let cache = Cache::open(&scratch.cache());
    let second = acquire(&cache).unwrap();
    assert!(second.fence > first.fence, "{} after {}", second.fence, first.fence);
    assert!(!renew(&cache, &first) && !release(&cache, &first));
    assert!(renew(&cache, &second));
}

#[test]
fn fences_grow_over_a_database_that_is_made_anew() {
    let scratch = Scratch::new("rebuilt");
    let cache = Cache::open(&scratch.cache());
    let first = acquire(&cache).unwrap();
    drop(cache);
    fs::write(scratch.cache().join("db/entries.sqlite"), [7; 8192]).unwrap();
    let _ = fs::remove_file(scratch.cache().join("db/entries.sqlite-wal"));
    let cache = Cache::open(&scratch.cache());
    let second = acquire(&cache).unwrap();
    assert_eq!(Cache::damaged(&scratch.cache()).len(), 1);
    assert!(second.fence > first.fence, "{} after {}", second.fence, first.fence);
    assert!(!renew(&cache, &first), "a lease of the lost database");
}

#[test]
fn fences_grow_while_the_clock_stands_or_goes_back() {
    let scratch = Scratch::new("back");
    let cache = Cache::open(&scratch.cache());
    cache.pass(Duration::from_secs(3600));
    let first = acquire(&cache).unwrap();
    assert!(release(&cache, &first));
    cache.host.ahead.store(0, std::sync::atomic::Ordering::SeqCst);
    let second = acquire(&cache).unwrap();
    assert_eq!(second.fence, first.fence + 1);
}

/// What the format's page says of a clock that jumps.
#[test]
fn a_clock_that_goes_back_prolongs_a_lease_until_it_is_renewed() {
    let scratch = Scratch::new("jump");
    let cache = Cache::open(&scratch.cache());
    cache.pass(Duration::from_secs(3600));
    let lease = acquire(&cache).unwrap();
    cache.host.ahead.store(0, std::sync::atomic::Ordering::SeqCst);
    cache.pass(Duration::from_secs(60));
    assert!(acquire(&cache).is_none(), "by the clock its end is an hour away");
    assert!(renew(&cache, &lease));
    cache.pass(Duration::from_secs(31));
    assert!(acquire(&cache).is_some(), "a renewal counts from the new time");
}

#[test]
fn leases_that_are_over_leave_nothing_behind() {
    let scratch = Scratch::new("tidy");
    let cache = Cache::with(&scratch.cache(), serde_json::json!({"sweep_interval": 0.005}));
    for number in 0..200_u32 {
        let taken = cache.call(|backend, call| backend.lease_acquire(call, &number.to_le_bytes(), TTL));
        assert!(taken.unwrap().is_some());
    }
    let fence = acquire(&cache).unwrap().fence;
    // Nothing tells of a round of the sweeper but what it removes; once an hour one is thorough.
    cache.set_for("gone", b"value", 1_000_000_000_000).unwrap();
    cache.pass(Duration::from_secs(2 * 3600));
    common::eventually("the sweeper has been round", || !cache.evicted(evict::EXPIRED).is_empty());
    cache.call(|backend, call| backend.quiesce(call)).unwrap();
    let next = acquire(&cache).unwrap();
    assert!(next.fence > fence);
    drop(cache);
    let sql = rusqlite::Connection::open(scratch.cache().join("db/entries.sqlite")).unwrap();
    let rows: i64 = sql.query_row("SELECT count(*) FROM lease", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}
