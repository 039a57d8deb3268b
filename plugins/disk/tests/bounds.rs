//! Eviction, expiry, and what the sweeper tidies up.

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{argument, eventually, spawn, value_files, Cache, Scratch};
use retainit_plugin_api::abi::host::evict;
use retainit_plugin_api::sdk::Backend;
use serde_json::json;

fn bytes(cache: &Cache) -> i64 {
    cache.call(|backend, call| backend.statistics(call)).unwrap()["bytes"].as_i64().unwrap()
}

#[test]
fn max_bytes_holds_and_the_unused_leave_first() {
    let scratch = Scratch::new("bytes");
    let cache = Cache::with(&scratch.cache(), json!({"max_bytes": 100_000}));
    for number in 0..90 {
        cache.set(&format!("key:{number:03}"), &[1; 993]).unwrap();
        cache.pass(Duration::from_secs(1));
    }
    // The first ten are used again, so the next ones are the oldest.
    cache.pass(Duration::from_secs(10));
    for number in 0..10 {
        assert!(cache.value(&format!("key:{number:03}")).is_some());
    }
    for number in 90..110 {
        cache.set(&format!("key:{number:03}"), &[1; 993]).unwrap();
        cache.pass(Duration::from_secs(1));
        assert!(bytes(&cache) <= 100_000);
    }
    for number in (0..10).chain(90..110) {
        assert!(cache.value(&format!("key:{number:03}")).is_some(), "{number}");
    }
    assert_eq!(cache.value("key:010"), None);
    let evicted = cache.evicted(evict::CAPACITY);
    assert_eq!(evicted.len() as u64 + cache.count(), 110);
    assert!(evicted.iter().all(|key| (&b"key:010"[..]..&b"key:090"[..]).contains(&&key[..])));
}

#[test]
fn max_size_holds() {
    let scratch = Scratch::new("size");
    let cache = Cache::with(&scratch.cache(), json!({"max_size": 10}));
    for number in 0..10 {
        cache.set(&format!("key:{number}"), b"value").unwrap();
    }
    assert_eq!(cache.count(), 10, "a bound that is reached is not exceeded");
    for number in 10..200 {
        cache.set(&format!("key:{number}"), b"value").unwrap();
        assert!(cache.count() <= 10);
    }
    assert!(cache.value("key:199").is_some());
    assert!(cache.count() >= 9);
}

#[test]
fn overwriting_is_not_growing() {
    let scratch = Scratch::new("overwrite");
    let cache = Cache::with(&scratch.cache(), json!({"max_bytes": 300_000}));
    for number in 0..50 {
        cache.set("small", &[number; 1000]).unwrap();
        cache.set("large", &[number; 100_000]).unwrap();
    }
    assert_eq!(bytes(&cache), 101_000 + 10);
    assert!(cache.evicted(evict::CAPACITY).is_empty());
    assert_eq!(value_files(&scratch.cache()).len(), 1, "replaced files are gone");
}

#[test]
fn files_of_evicted_and_cleared_entries_are_gone() {
    let scratch = Scratch::new("files");
    let cache = Cache::with(&scratch.cache(), json!({"max_bytes": 1_000_000}));
    for number in 0..20 {
        cache.set(&format!("key:{number:02}"), &[1; 100_000]).unwrap();
    }
    assert_eq!(value_files(&scratch.cache()).len() as u64, cache.count());
    let held = cache.call(|backend, call| backend.get(call, b"key:19")).unwrap().unwrap().value;
    cache.call(|backend, call| backend.clear(call, b"")).unwrap();
    assert!(value_files(&scratch.cache()).is_empty());
    assert_eq!(held.as_bytes().unwrap(), [1; 100_000], "who reads a removed value keeps it");
}

#[test]
fn a_value_beyond_the_bound_does_not_stay() {
    let scratch = Scratch::new("beyond");
    let cache = Cache::with(&scratch.cache(), json!({"max_bytes": 10_000}));
    cache.set("small", b"value").unwrap();
    cache.set("huge", &[1; 20_000]).unwrap();
    assert_eq!(cache.value("huge"), None);
    assert_eq!(bytes(&cache), 0);
}

#[test]
fn expired_entries_are_removed_without_being_asked_for() {
    let scratch = Scratch::new("expiry");
    let cache = Cache::with(&scratch.cache(), json!({"sweep_interval": 0.01}));
    for number in 0..1000 {
        cache.set_for(&format!("short:{number}"), &[1; 50], 5_000_000_000).unwrap();
    }
    cache.set_for("large", &[1; 100_000], 5_000_000_000).unwrap();
    cache.set("stays", b"value").unwrap();
    assert!(cache.value("short:0").is_some());
    cache.pass(Duration::from_secs(6));
    assert_eq!(cache.value("short:0"), None);
    eventually("expired rows are removed and reported", || cache.evicted(evict::EXPIRED).len() == 1001);
    eventually("their files are removed", || value_files(&scratch.cache()).is_empty());
    let sql = rusqlite::Connection::open(scratch.cache().join("db/entries.sqlite")).unwrap();
    let rows: i64 = sql.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

/// A name like this one, and surely another: one digit of it is changed.
fn neighbour(name: &str) -> String {
    let digit = if &name[11..12] == "0" { "f" } else { "0" };
    format!("{}{digit}{}", &name[..11], &name[12..])
}

#[test]
fn abandoned_files_are_removed_when_they_are_old() {
    let scratch = Scratch::new("orphans");
    let path = scratch.cache();
    let cache = Cache::with(&path, json!({"sweep_interval": 0.01}));
    cache.set("large", &[1; 100_000]).unwrap();
    let file = value_files(&path).remove(0);
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    // As a process leaves them that is killed between its file and its row, or within its file.
    let orphan = file.with_file_name(neighbour(&name));
    let unfinished = file.with_file_name(format!("{}1{}.tmp", &name[..11], &name[12..]));
    let foreign = file.with_file_name("somebody-else's");
    for path in [&orphan, &unfinished, &foreign] {
        fs::write(path, "abandoned").unwrap();
    }
    cache.pass(Duration::from_secs(3700));
    // The background thread looks once an hour; what it would find young it leaves.
    eventually("abandoned files are removed", || !orphan.exists() && !unfinished.exists());
    assert!(foreign.exists());
    assert_eq!(cache.value("large").unwrap(), [1; 100_000]);
}

#[test]
fn young_files_without_a_row_stay() {
    let scratch = Scratch::new("young");
    let path = scratch.cache();
    {
        let cache = Cache::open(&path);
        cache.set("large", &[1; 100_000]).unwrap();
    }
    let file = value_files(&path).remove(0);
    let name = file.file_name().unwrap().to_str().unwrap();
    let young = file.with_file_name(neighbour(name));
    fs::write(&young, "young").unwrap();
    // With a bound, the first round already looks at everything.
    let cache = Cache::with(&path, json!({"sweep_interval": 0.01, "max_bytes": 1_000_000_000}));
    cache.set_for("short", b"value", 1).unwrap();
    eventually("a round is over", || !cache.evicted(evict::EXPIRED).is_empty());
    cache.call(|backend, call| backend.quiesce(call)).unwrap();
    assert!(young.exists());
}

#[test]
fn without_its_thread_the_log_is_still_copied() {
    let scratch = Scratch::new("log");
    let cache = Cache::open(&scratch.cache());
    cache.call(|backend, call| backend.quiesce(call)).unwrap();
    for number in 0..6000 {
        cache.set(&format!("key:{}", number % 100), &[1; 30_000]).unwrap();
    }
    // 6000 writes of eight pages would be 190 MB.
    let log = fs::metadata(scratch.cache().join("db/entries.sqlite-wal")).unwrap().len();
    assert!(log < 70_000_000, "{log}");
}

#[test]
fn totals_survive_the_instance() {
    let scratch = Scratch::new("totals");
    {
        let cache = Cache::open(&scratch.cache());
        for number in 0..100 {
            cache.set(&format!("{number:03}"), &[1; 97]).unwrap();
        }
    }
    assert_eq!(bytes(&Cache::open(&scratch.cache())), 10_000);
}

/// Counts, takes leases, and writes its own keys, beside another process that does the same.
#[test]
#[ignore = "started by the test below"]
fn worker() {
    let cache = Cache::open(Path::new(&argument("CACHE")));
    let own = argument("OWN");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (cache, own) = (&cache, &own);
            scope.spawn(move || {
                for round in 0..50 {
                    cache.call(|backend, call| backend.increment(call, b"counter", 1, i64::MAX)).unwrap();
                    cache
                        .set("shared", format!("{own}:{thread}:{round}").repeat(round + 1).as_bytes())
                        .unwrap();
                    cache.set(&format!("{own}:{thread}:{round}"), own.as_bytes()).unwrap();
                    let lease = cache
                        .call(|backend, call| backend.lease_acquire(call, b"lease", 60_000_000_000))
                        .unwrap();
                    if let Some(lease) = lease {
                        // Alone: nobody else adds in between.
                        let before = cache
                            .call(|backend, call| backend.increment(call, b"held", 1, i64::MAX))
                            .unwrap();
                        std::thread::yield_now();
                        let after = cache
                            .call(|backend, call| backend.increment(call, b"held", 1, i64::MAX))
                            .unwrap();
                        assert_eq!(after, before + 1, "two holders of one lease");
                        assert!(cache
                            .call(|backend, call| backend.lease_release(call, b"lease", &lease))
                            .unwrap());
                    }
                }
            });
        }
    });
}

#[test]
fn two_processes_and_eight_threads_write_the_same_keys() {
    let scratch = Scratch::new("processes");
    let path = scratch.cache();
    let children: Vec<_> = ["a", "b"]
        .map(|own| spawn("worker", &[("CACHE", path.to_str().unwrap()), ("OWN", own)]))
        .into_iter()
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let cache = Cache::open(&path);
    assert_eq!(cache.value("counter").unwrap(), b"800");
    assert_eq!(cache.count(), 2 * 8 * 50 + 3);
    let shared = String::from_utf8(cache.value("shared").unwrap()).unwrap();
    let unit = &shared[..shared.len() / 50];
    assert_eq!(unit.repeat(50), shared, "a mixture of two writes");
    assert!(unit.ends_with(":49"));
}
