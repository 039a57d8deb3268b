//! Processes that are killed while they write: what was acknowledged is there, and nothing wrong is.

mod common;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{argument, monotonic, spawn, Cache, Scratch};
use xxhash_rust::xxh3::xxh3_64;

const THREADS: u64 = 8;
const KEYS: u64 = 24;
/// Within a row, on overflow pages of the database, in a file.
const SIZES: [usize; 3] = [100, 9_000, 70_000];

/// One write: which, of whom, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Write1 {
    key: u64,
    writer: u64,
    sequence: u64,
    start: i64,
}

impl Write1 {
    fn name(key: u64) -> String {
        format!("app:function:{key}")
    }

    /// The value: the write itself, filling, and a checksum of all before it.
    fn value(&self) -> Vec<u8> {
        let size = SIZES[(self.sequence % 3) as usize];
        let mut value = self.header().to_vec();
        value.resize(size - 8, (self.sequence ^ self.writer) as u8);
        value.extend(xxh3_64(&value).to_le_bytes());
        value
    }

    fn header(&self) -> [u8; 32] {
        let mut header = [0; 32];
        for (at, field) in [self.key, self.writer, self.sequence, self.start as u64].into_iter().enumerate() {
            header[at * 8..][..8].copy_from_slice(&field.to_le_bytes());
        }
        header
    }

    fn parse(header: &[u8]) -> Self {
        let field = |at: usize| u64::from_le_bytes(header[at * 8..][..8].try_into().unwrap());
        Write1 { key: field(0), writer: field(1), sequence: field(2), start: field(3) as i64 }
    }

    /// What a value says, which must be whole and under its own key.
    fn read(key: u64, value: &[u8]) -> Self {
        let (content, checksum) = value.split_at(value.len() - 8);
        assert_eq!(xxh3_64(content).to_le_bytes(), checksum, "a damaged value under key {key}");
        let write = Write1::parse(content);
        assert_eq!(write.key, key, "a value of another key");
        assert_eq!(write.value(), value);
        write
    }
}

/// Writes until it is killed, and appends each acknowledged write, with the time after it, to a file:
/// one `write` of 40 bytes, so that each is there whole or not at all.
#[test]
#[ignore = "started by the test below"]
fn writer() {
    let cache = Cache::open(Path::new(&argument("CACHE")));
    let acknowledged = OpenOptions::new().append(true).open(argument("ACKNOWLEDGED")).unwrap();
    let process: u64 = argument("PROCESS").parse().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, mut acknowledged) = (&cache, &acknowledged);
            scope.spawn(move || {
                for sequence in 0.. {
                    // All threads of all processes write all keys.
                    let write = Write1 {
                        key: (sequence * 7 + thread) % KEYS,
                        writer: process * THREADS + thread,
                        sequence,
                        start: monotonic(),
                    };
                    cache.set(&Write1::name(write.key), &write.value()).unwrap();
                    let mut record = write.header().to_vec();
                    record.extend(monotonic().to_le_bytes());
                    acknowledged.write_all(&record).unwrap();
                }
            });
        }
    });
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn acknowledged_writes_survive_kill_9_and_nothing_wrong_is_read() {
    let rounds: u64 = std::env::var("ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let scratch = Scratch::new("crash");
    let cache_path = scratch.cache();
    let log_path = scratch.path().join("acknowledged");
    File::create(&log_path).unwrap();
    let arguments = |process: &str| {
        let arguments = [
            ("CACHE", cache_path.to_str().unwrap()),
            ("ACKNOWLEDGED", log_path.to_str().unwrap()),
            ("PROCESS", process),
        ];
        spawn("writer", &arguments)
    };
    let mut reads = 0;
    for round in 0..rounds {
        let writers = [arguments(&(round * 2).to_string()), arguments(&(round * 2 + 1).to_string())];
        let stop = AtomicBool::new(false);
        reads += std::thread::scope(|scope| {
            // Somebody reads all the while.
            let reader = scope.spawn(|| {
                let cache = Cache::open(&cache_path);
                let mut reads = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    for key in 0..KEYS {
                        if let Some(value) = cache.value(&Write1::name(key)) {
                            Write1::read(key, &value);
                            reads += 1;
                        }
                    }
                }
                assert!(cache.host.lines.lock().unwrap().is_empty(), "{:?}", cache.host.lines);
                reads
            });
            let [first, second] = writers;
            // Between before the first write and far into it; the second one goes on alone for a while.
            std::thread::sleep(Duration::from_millis(20 + 37 * round % 150));
            kill(first);
            std::thread::sleep(Duration::from_millis(11 * round % 60));
            kill(second);
            stop.store(true, Ordering::Relaxed);
            reader.join().unwrap()
        });
        verify(&cache_path, &log_path);
    }
    assert!(reads > 1000, "{reads} reads show little");
}

/// The value under each key is one that no acknowledged write came after.
fn verify(cache_path: &Path, log_path: &Path) {
    let mut log = Vec::new();
    File::open(log_path).unwrap().read_to_end(&mut log).unwrap();
    let mut ends = HashMap::new();
    for record in log.chunks_exact(40) {
        ends.insert(Write1::parse(record), i64::from_le_bytes(record[32..].try_into().unwrap()));
    }
    let cache = Cache::open(cache_path);
    for key in 0..KEYS {
        let latest_start = ends.keys().filter(|write| write.key == key).map(|write| write.start).max();
        match (cache.value(&Write1::name(key)), latest_start) {
            (None, None) => {}
            (None, Some(_)) => panic!("key {key} was written and is gone"),
            (Some(value), latest) => {
                let found = Write1::read(key, &value);
                // A write that was not acknowledged may have come last.
                let end = ends.get(&found).copied().unwrap_or(i64::MAX);
                assert!(
                    latest.is_none_or(|start| start <= end),
                    "key {key} holds {found:?}, which an acknowledged write came after"
                );
            }
        }
    }
    drop(cache);
    let sql = rusqlite::Connection::open(cache_path.join("db/entries.sqlite")).unwrap();
    let whole: String = sql.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    assert!(Cache::damaged(cache_path).is_empty());
}
