//! A backend that follows a script, under a clock that stands still.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use retainit_core::instance::State;
use retainit_core::loader::{Kind, Registry};
use retainit_core::sdk::{Value, NEVER};
use retainit_core::{clock, Error, Instance};

use crate::{fixture, Scratch};

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

/// A backend that follows a script (`tests/fixtures/faulty-rust`).
pub struct Scripted {
    /// The backend.
    pub instance: Arc<Instance>,
    scratch: Scratch,
    /// Bytes of the log that have been looked at.
    seen: AtomicUsize,
    _clock: Clock,
}

impl Scripted {
    /// Opens the component `kind`: `scripted` or `scripted_later`.
    pub fn open(kind: &str) -> Self {
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
    pub fn follow(&self, script: &str) {
        // In one step, so that nobody reads half of it.
        let next: PathBuf = self.scratch.file("next", script.as_bytes());
        std::fs::rename(next, self.scratch.path().join("script")).unwrap();
    }

    /// What it was asked since this was last asked.
    pub fn asked(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.scratch.path().join("script.log")).unwrap_or_default();
        // The last line may be half written.
        let whole = log.rfind('\n').map_or(0, |end| end + 1);
        let before = self.seen.swap(whole, Ordering::SeqCst);
        log[before..whole].lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Stores a text for ever.
    pub fn set(&self, key: &str, text: &str) -> Result<(), Error> {
        self.instance.set(key.as_bytes(), Value::from_vec(text.into()), NEVER)
    }

    /// The text under `key`.
    pub fn read(&self, key: &str) -> Result<Option<String>, Error> {
        let item = self.instance.read(key.as_bytes())?;
        Ok(item.map(|item| String::from_utf8_lossy(item.value.as_bytes().unwrap()).into_owned()))
    }

    /// Fails until the breaker opens.
    pub fn break_down(&self) {
        self.follow("* fail");
        for _ in 0..5 {
            assert!(!self.read("k").unwrap_err().is_refusal());
        }
        assert_eq!(self.instance.health().state, State::Open);
        self.asked();
    }

    /// Runs `call` while the clock goes on to the end of its timeout.
    pub fn outwait<R: Send>(&self, timeout: Duration, call: impl FnOnce(&Self) -> R + Send) -> R {
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
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
