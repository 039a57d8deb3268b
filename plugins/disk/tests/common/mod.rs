//! What the tests share: scratch directories, a recording host, a cache with short calls, child processes.

#![allow(dead_code)] // each test binary uses its own part

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use retainit_disk::{DiskBackend, Options};
use retainit_plugin_api::abi::call as raw;
use retainit_plugin_api::abi::host::{HostRef, HostTable};
use retainit_plugin_api::abi::value::{Slice, Value as RawValue};
use retainit_plugin_api::abi::Prelude;
use retainit_plugin_api::sdk::{Backend, Call, Entry, Error, Host, Result, Value, NEVER};

/// A directory of one test, removed at its end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh directory.
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("retainit-disk-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    /// Where a cache of this test lives.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A host that records.
#[derive(Debug, Default)]
pub struct TestHost {
    /// Nanoseconds added to both clocks.
    pub ahead: AtomicI64,
    /// Keys and reasons.
    pub evicted: Mutex<Vec<(Vec<u8>, u32)>>,
    /// Calls of `invalidated`.
    pub invalidations: AtomicU64,
    /// Log lines.
    pub lines: Mutex<Vec<String>>,
}

static TABLE: HostTable = HostTable {
    prelude: Prelude::of::<HostTable>(0),
    complete: ignore_complete,
    evicted: record_evicted,
    invalidated: record_invalidated,
    log: record_log,
    allocate: no_allocate,
    clock: read_clock,
};

unsafe extern "C" fn ignore_complete(_: *mut c_void, _: u64, _: *const raw::Outcome) {}

unsafe extern "C" fn record_evicted(
    context: *mut c_void,
    keys: *const Slice,
    reasons: *const u32,
    count: usize,
) {
    // SAFETY: the context is a leaked `TestHost`; the arrays have `count` elements.
    unsafe {
        let host = &*context.cast::<TestHost>();
        let mut evicted = host.evicted.lock().unwrap();
        for at in 0..count {
            evicted.push(((*keys.add(at)).as_bytes().to_vec(), *reasons.add(at)));
        }
    }
}

unsafe extern "C" fn record_invalidated(context: *mut c_void, _: *const Slice, _: usize) {
    // SAFETY: as above.
    unsafe { &*context.cast::<TestHost>() }.invalidations.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn record_log(context: *mut c_void, _: u32, message: Slice) {
    // SAFETY: as above; the message is valid for the call.
    let (host, text) = unsafe { (&*context.cast::<TestHost>(), message.as_bytes()) };
    host.lines.lock().unwrap().push(String::from_utf8_lossy(text).into_owned());
}

unsafe extern "C" fn no_allocate(_: *mut c_void, _: usize) -> RawValue {
    RawValue::NONE
}

unsafe extern "C" fn read_clock(context: *mut c_void, which: u32) -> i64 {
    // SAFETY: as above.
    let host = unsafe { &*context.cast::<TestHost>() };
    let time = if which == 0 {
        monotonic()
    } else {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
    };
    time + host.ahead.load(Ordering::SeqCst)
}

/// The machine's monotonic clock, the same for all processes.
pub fn monotonic() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// An open instance and its host.
#[derive(Debug)]
pub struct Cache {
    /// The instance.
    pub backend: DiskBackend,
    /// Its host; leaked, as instances may outlive a test's end.
    pub host: &'static TestHost,
}

impl Cache {
    /// Opens the cache in `path` with default options.
    pub fn open(path: &Path) -> Self {
        Self::with(path, serde_json::json!({}))
    }

    /// Opens it with further options.
    pub fn with(path: &Path, options: serde_json::Value) -> Self {
        Self::try_with(path, options).unwrap()
    }

    /// The same where it may be refused.
    pub fn try_with(path: &Path, mut options: serde_json::Value) -> Result<Self> {
        options["base_path"] = path.to_str().unwrap().into();
        let options: Options = serde_json::from_value(options).unwrap();
        let host: &'static TestHost = Box::leak(Box::default());
        let reference = HostRef { table: &TABLE, context: std::ptr::from_ref(host).cast_mut().cast() };
        // SAFETY: table and context live for ever.
        let backend = DiskBackend::open(options, unsafe { Host::new(reference) })?;
        Ok(Cache { backend, host })
    }

    /// Runs `body` with a call that is made now.
    pub fn call<T>(&self, body: impl FnOnce(&DiskBackend, &Call<'_>) -> T) -> T {
        self.call_for(None, body)
    }

    /// The same with a deadline.
    pub fn call_for<T>(&self, limit: Option<Duration>, body: impl FnOnce(&DiskBackend, &Call<'_>) -> T) -> T {
        let now = monotonic() + self.host.ahead.load(Ordering::SeqCst);
        let deadline = limit.map_or(NEVER, |limit| now + limit.as_nanos() as i64);
        let call = raw::Call { op: 0, now, deadline, error: std::ptr::null_mut() };
        body(&self.backend, &Call::new(&call))
    }

    /// Stores without expiry.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        self.set_for(key, value, NEVER)
    }

    /// Stores for `ttl` nanoseconds.
    pub fn set_for(&self, key: &str, value: &[u8], ttl: i64) -> Result<()> {
        let entry = Entry { key: key.as_bytes(), value: Value::from_vec(value.to_vec()), ttl };
        self.call(|backend, call| backend.set(call, entry))
    }

    /// Reads.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let item = self.call(|backend, call| backend.get(call, key.as_bytes()))?;
        Ok(item.map(|item| item.value.as_bytes().unwrap().to_vec()))
    }

    /// Reads what has to be readable without an error.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.get(key).unwrap()
    }

    /// Number of entries.
    pub fn count(&self) -> u64 {
        self.call(|backend, call| backend.count(call, b"")).unwrap()
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.host.ahead.fetch_add(time.as_nanos() as i64, Ordering::SeqCst);
    }

    /// Keys that were reported to have left for `reason`.
    pub fn evicted(&self, reason: u32) -> Vec<Vec<u8>> {
        let evicted = self.host.evicted.lock().unwrap();
        evicted.iter().filter(|(_, why)| *why == reason).map(|(key, _)| key.clone()).collect()
    }

    /// Names in the cache directory that start with `damaged-`.
    pub fn damaged(path: &Path) -> Vec<PathBuf> {
        let names = std::fs::read_dir(path).unwrap().flatten().map(|entry| entry.path());
        names.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("damaged-")).collect()
    }
}

/// All value files below a cache directory.
pub fn value_files(path: &Path) -> Vec<PathBuf> {
    let spread = std::fs::read_dir(path.join("values")).unwrap().flatten();
    spread
        .flat_map(|entry| std::fs::read_dir(entry.path()).unwrap().flatten().map(|file| file.path()))
        .collect()
}

/// Waits for something that a background thread does.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts this test binary again, as another process that runs its test `role` with `arguments` in
/// the environment.
pub fn spawn(role: &str, arguments: &[(&str, &str)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", role])
        .envs(arguments.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Runs [`spawn`] to its end, which must be a good one.
pub fn run(role: &str, arguments: &[(&str, &str)]) {
    let output = spawn(role, arguments).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{role}: {}\n{text}", output.status);
}

/// An argument given to [`spawn`].
pub fn argument(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("`{name}` is set by the test that starts this process"))
}

/// The message of an error.
pub fn message<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().message().to_owned()
}
