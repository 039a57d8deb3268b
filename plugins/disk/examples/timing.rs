//! Nanoseconds for each get and set through the raw table:
//! `cargo run --release -p retainit-disk --example timing [directory] [further options] [sizes]`.

use std::ffi::c_void;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use retainit_disk::DiskBackend;
use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::call::{Call, Entry, Item, Outcome, NEVER};
use retainit_plugin_api::abi::host::{HostRef, HostTable};
use retainit_plugin_api::abi::value::{Slice, Value};
use retainit_plugin_api::abi::{status, Prelude};
use retainit_plugin_api::sdk::export::BackendExport;

static HOST: HostTable =
    HostTable { prelude: Prelude::of::<HostTable>(0), complete, evicted, invalidated, log, allocate, clock };

unsafe extern "C" fn complete(_: *mut c_void, _: u64, _: *const Outcome) {}
unsafe extern "C" fn evicted(_: *mut c_void, _: *const Slice, _: *const u32, _: usize) {}
unsafe extern "C" fn invalidated(_: *mut c_void, _: *const Slice, _: usize) {}
unsafe extern "C" fn log(_: *mut c_void, _: u32, message: Slice) {
    // SAFETY: the message is valid for the call.
    eprintln!("{}", String::from_utf8_lossy(unsafe { message.as_bytes() }));
}
unsafe extern "C" fn allocate(_: *mut c_void, _: usize) -> Value {
    Value::NONE
}
unsafe extern "C" fn clock(_: *mut c_void, _: u32) -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64
}

struct Table {
    table: BackendTable,
    instance: *mut c_void,
}

impl Table {
    fn open(options: &str) -> Self {
        let table = BackendExport::<DiskBackend>::TABLE;
        let host = HostRef { table: &HOST, context: std::ptr::null_mut() };
        let mut instance = std::ptr::null_mut();
        // SAFETY: all arguments are valid for the call; the host lives for ever.
        let opened =
            unsafe { (table.open.unwrap())(host, &call(), Slice::new(options.as_bytes()), &mut instance) };
        assert_eq!(opened, status::OK);
        Table { table, instance }
    }

    fn set(&self, key: &[u8], value: &[u8]) {
        let entry = Entry {
            key: Slice::new(key),
            // Borrowed: there is nothing to release.
            value: Value { ptr: value.as_ptr(), len: value.len() as u64, kind: 1, ..Value::NONE },
            ttl: 3_600_000_000_000,
        };
        // SAFETY: instance and entry are valid for the call.
        let done = unsafe { (self.table.set.unwrap())(self.instance, &call(), &entry) };
        assert_eq!(done, status::OK);
    }

    fn get(&self, key: &[u8]) -> u64 {
        let mut item = Item::EMPTY;
        // SAFETY: as above; the value's reference is released here.
        unsafe {
            let found = (self.table.get.unwrap())(self.instance, &call(), Slice::new(key), &mut item);
            assert_eq!(found, status::OK);
            let len = item.value.len;
            item.value.release();
            len
        }
    }

    fn close(self) {
        // SAFETY: the last use of the instance.
        unsafe { (self.table.close.unwrap())(self.instance, &call()) };
    }
}

fn call() -> Call {
    Call { op: 0, now: 1, deadline: NEVER, error: std::ptr::null_mut() }
}

/// Median over rounds of the nanoseconds for one `work(i)`.
fn time(count: usize, mut work: impl FnMut(usize)) -> f64 {
    let mut rounds: Vec<f64> = (0..7)
        .map(|round| {
            let start = Instant::now();
            for at in 0..count {
                work(round * count + at);
            }
            start.elapsed().as_nanos() as f64 / count as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[3]
}

fn main() {
    let path =
        std::env::args().nth(1).map_or_else(|| std::env::temp_dir().join("retainit-timing"), PathBuf::from);
    let extra = std::env::args().nth(2).unwrap_or_default();
    let sizes =
        std::env::args().nth(3).unwrap_or_else(|| "100,1000,4000,16000,32000,64000,256000,1000000".into());
    println!(
        "{:>9} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "bytes", "set new", "set again", "get", "get hot", "raw read"
    );
    for size in
        sizes.split(',').map(|size| size.parse::<usize>().expect("sizes in bytes, separated by commas"))
    {
        let _ = std::fs::remove_dir_all(&path);
        let table = Table::open(&format!(r#"{{"base_path": {:?}{extra}}}"#, path.to_str().unwrap()));
        let value = vec![7u8; size];
        let count = (40_000_000 / size).clamp(20, 5000);
        let key = |at: usize| {
            format!("app:module.function:{:016x}", (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
        };
        let set_new = time(count, |at| table.set(key(at).as_bytes(), &value));
        let set_again = time(count, |at| table.set(key(at % count).as_bytes(), &value));
        let get = time(count, |at| assert_eq!(table.get(key(at * 7919 % count).as_bytes()), size as u64));
        let one = key(1);
        let hot = time(count, |_| assert_eq!(table.get(one.as_bytes()), size as u64));
        let plain = path.join("plain");
        std::fs::write(&plain, &value).unwrap();
        let raw = time(count, |_| assert_eq!(std::fs::read(&plain).unwrap().len(), size));
        println!("{size:>9} {set_new:>12.0} {set_again:>12.0} {get:>12.0} {hot:>12.0} {raw:>12.0}");
        table.close();
    }
    let _ = std::fs::remove_dir_all(&path);
}
