//! Forks: children use connections of their own, and parents go on.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{argument, run, Cache, Scratch};
use retainit_plugin_api::sdk::{Backend, ErrorKind};

/// Runs `body` in a forked child; its result is the child's exit status.
fn forked(body: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: the child runs `body` and leaves without unwinding or running exit handlers.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(false);
            libc::_exit(if good { 0 } else { 1 });
        }
        child
    }
}

fn succeeded(child: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: the pointer is valid for the call.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status == 0
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Forks while eight threads read and write.
#[test]
#[ignore = "started by the test below"]
fn forking() {
    let path = std::path::PathBuf::from(argument("CACHE"));
    let cache = Cache::with(&path, serde_json::json!({"sweep_interval": 0.001}));
    cache.set("large", &[9; 100_000]).unwrap();
    cache.set("key:0", b"value").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also where an assertion ends this thread: the scope waits for the others.
        let _stop = StopAtEnd(&stop);
        for thread in 0..8 {
            let (cache, stop) = (&cache, &stop);
            scope.spawn(move || {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("key:{thread}");
                    let value = format!("{round}").repeat(100);
                    cache.set(&key, value.as_bytes()).unwrap();
                    assert_eq!(cache.value(&key).unwrap(), value.as_bytes());
                }
            });
        }
        for round in 0..30 {
            cache.backend.fork_prepare();
            let child = forked(|| {
                cache.backend.fork_child();
                let own = format!("child:{round}");
                for _ in 0..20 {
                    cache.set(&own, own.as_bytes()).unwrap();
                    assert_eq!(cache.value(&own).unwrap(), own.as_bytes());
                    assert_eq!(cache.value("large").unwrap(), [9; 100_000]);
                    assert!(cache.value("key:0").is_some());
                }
                cache.call(|backend, call| backend.quiesce(call)).unwrap();
                true
            });
            cache.backend.fork_parent();
            assert!(succeeded(child), "round {round}");
            assert_eq!(cache.value(&format!("child:{round}")).unwrap(), format!("child:{round}").as_bytes());
        }
    });
    assert!(cache.host.lines.lock().unwrap().is_empty(), "{:?}", cache.host.lines);
    assert!(Cache::damaged(&path).is_empty());
}

/// Forks as code does that knows nothing of the hooks.
#[test]
#[ignore = "started by the test below"]
fn forking_without_hooks() {
    let cache = Cache::open(Path::new(&argument("CACHE")));
    cache.set("key", b"value").unwrap();
    let child = forked(|| {
        let late = Cache::open(Path::new(&argument("CACHE")));
        [cache.get("key"), late.get("key")].into_iter().all(|result| {
            let error = result.unwrap_err();
            error.kind() == ErrorKind::Fatal
                && error.message().contains("was forked while its parent used the cache")
        })
    });
    assert!(succeeded(child));
    cache.set("key", b"again").unwrap();
    assert_eq!(cache.value("key").unwrap(), b"again");
}

#[test]
fn children_and_parents_use_the_cache_at_once() {
    let scratch = Scratch::new("fork");
    run("forking", &[("CACHE", scratch.cache().to_str().unwrap())]);
    let sql = rusqlite::Connection::open(scratch.cache().join("db/entries.sqlite")).unwrap();
    let whole: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
}

#[test]
fn a_child_without_hooks_keeps_its_hands_off() {
    let scratch = Scratch::new("fork-raw");
    run("forking_without_hooks", &[("CACHE", scratch.cache().to_str().unwrap())]);
}
