//! Transactions that stay open between calls: nobody sees an old state, and nobody is held up by them.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use common::{argument, eventually, spawn, Cache, Scratch};
use retainit_plugin_api::sdk::Backend;

const ROUNDS: usize = 400;

/// Answers each line with the same one, having read it from the cache and written it there.
#[test]
#[ignore = "started by the test below"]
fn answerer() {
    let cache = Cache::open(Path::new(&argument("CACHE")));
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        assert_eq!(cache.value("question").unwrap(), line.as_bytes());
        cache.set("answer", line.as_bytes()).unwrap();
        println!("answer {line}");
    }
}

#[test]
fn what_another_process_has_written_is_read_at_once() {
    let scratch = Scratch::new("views");
    let cache = Cache::open(&scratch.cache());
    let mut child = spawn("answerer", &[("CACHE", scratch.cache().to_str().unwrap())]);
    let mut questions = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for round in 0..ROUNDS {
        cache.set("question", round.to_string().as_bytes()).unwrap();
        writeln!(questions, "{round}").unwrap();
        let answer = format!("answer {round}");
        lines.by_ref().map(Result::unwrap).find(|line| line.ends_with(&answer)).unwrap();
        assert_eq!(cache.value("answer").unwrap(), round.to_string().as_bytes());
        let many = cache.call(|backend, call| backend.get_many(call, &[b"question", b"answer"]));
        for item in many {
            assert_eq!(item.unwrap().unwrap().value.as_bytes().unwrap(), round.to_string().as_bytes());
        }
    }
    drop(questions);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_another_instance_has_written_is_read_at_once() {
    let scratch = Scratch::new("views-instances");
    let caches = [Cache::open(&scratch.cache()), Cache::open(&scratch.cache())];
    for round in 0..ROUNDS {
        let value = round.to_string();
        caches[round % 2].set("key", value.as_bytes()).unwrap();
        for cache in &caches {
            assert_eq!(cache.value("key").unwrap(), value.as_bytes());
        }
        if round % 7 == 0 {
            let removed = caches[1].call(|backend, call| backend.delete(call, b"key")).unwrap();
            assert!(removed && caches[0].value("key").is_none());
        }
    }
}

/// Whether a connection keeps the log from being emptied.
fn is_held(sql: &rusqlite::Connection) -> bool {
    sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_view_ends_when_nobody_uses_it() {
    let scratch = Scratch::new("views-idle");
    let cache = Cache::open(&scratch.cache());
    cache.set("key", b"value").unwrap();
    let sql = rusqlite::Connection::open(scratch.cache().join("db/entries.sqlite")).unwrap();
    sql.busy_timeout(std::time::Duration::ZERO).unwrap();
    let stays = (0..1000).any(|round: i32| {
        cache.set("key", round.to_string().as_bytes()).unwrap();
        is_held(&sql)
    });
    assert!(stays, "no view outlives its call");
    for _ in 0..3 {
        cache.set("key", b"value").unwrap();
        assert_eq!(cache.value("key").unwrap(), b"value");
        eventually("the log can be emptied", || !is_held(&sql));
    }
}

#[test]
fn without_the_background_thread_no_view_outlives_its_call() {
    let scratch = Scratch::new("views-quiet");
    let cache = Cache::open(&scratch.cache());
    cache.set("key", b"value").unwrap();
    cache.call(|backend, call| backend.quiesce(call)).unwrap();
    let sql = rusqlite::Connection::open(scratch.cache().join("db/entries.sqlite")).unwrap();
    sql.busy_timeout(std::time::Duration::ZERO).unwrap();
    for round in 0..100 {
        cache.set("key", round.to_string().as_bytes()).unwrap();
        assert_eq!(cache.value("key").unwrap(), round.to_string().as_bytes());
        assert!(!is_held(&sql), "round {round}");
    }
}

#[test]
fn after_a_call_that_comes_alone_no_view_stays() {
    let scratch = Scratch::new("views-alone");
    let cache = Cache::open(&scratch.cache());
    cache.set("key", b"value").unwrap();
    let sql = rusqlite::Connection::open(scratch.cache().join("db/entries.sqlite")).unwrap();
    sql.busy_timeout(std::time::Duration::ZERO).unwrap();
    for round in 0..100 {
        cache.pass(std::time::Duration::from_secs(1));
        cache.set("key", round.to_string().as_bytes()).unwrap();
        assert!(!is_held(&sql), "round {round}");
    }
}

/// Writers that wait for each other, with a view from the read before, beside one that waits for all views
/// while it keeps the writers waiting.
#[test]
fn writers_in_a_queue_and_a_flush_of_another_process_do_not_wait_for_each_other() {
    let scratch = Scratch::new("views-flush");
    let cache = Cache::with(&scratch.cache(), serde_json::json!({"busy_timeout": 60}));
    cache.set("key", b"value").unwrap();
    let mut child = spawn("flusher", &[("CACHE", scratch.cache().to_str().unwrap())]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let started = std::time::Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (cache, stop) = (&cache, &stop);
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    cache.value("key").unwrap();
                    cache.set("key", format!("{thread}").as_bytes()).unwrap();
                }
            });
        }
        let ended = child.wait().unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(ended.success());
    });
    assert!(started.elapsed().as_secs() < 30, "somebody waited for the other until it gave up");
}

#[test]
#[ignore = "started by the test above"]
fn flusher() {
    let cache = Cache::with(Path::new(&argument("CACHE")), serde_json::json!({"busy_timeout": 60}));
    for round in 0..100 {
        cache.set("other", format!("{round}").as_bytes()).unwrap();
        cache.call(|backend, call| backend.flush(call)).unwrap();
    }
}
