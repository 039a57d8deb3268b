//! Time of a hit through the table, and bytes per entry: `cargo run --release --example latency`,
//! or with `small` the hits of a small cache only.

mod support;

use std::hint::black_box;
use std::time::Instant;

use support::{call, Instance, Random};

const TTL: i64 = 3_600_000_000_000;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("small") {
        return println!("{{{}}}", hits(1_000));
    }
    let figures: Vec<String> =
        [1_000, 200_000, 1_000_000].into_iter().map(hits).chain([memory(), set()]).collect();
    println!("{{{}}}", figures.join(", "));
}

/// A key such as the host makes of one integer argument.
fn key(n: u64) -> [u8; 9] {
    let mut key = [7, 0, 0, 0, 1, 0, 0, 0, 0];
    key[5..].copy_from_slice(&(n as u32).to_le_bytes());
    key
}

/// Nanoseconds of a hit among `entries`: of one key, and of random ones.
fn hits(entries: u64) -> String {
    let instance = Instance::open(r#"{"max_size": null}"#);
    (0..entries).for_each(|n| instance.set(&call(1), &key(n), 28, TTL));
    let mut random = Random::new(1);
    let order: Vec<[u8; 9]> = (0..1 << 18).map(|_| key(random.below(entries))).collect();
    let one = fastest(|| {
        let key = key(7);
        (0..1 << 18).for_each(|_| assert!(instance.get(black_box(&call(2)), black_box(&key))));
    });
    let absent = fastest(|| {
        let key = key(u64::from(u32::MAX));
        (0..1 << 18).for_each(|_| assert!(!instance.get(black_box(&call(2)), black_box(&key))));
    });
    let any = fastest(|| order.iter().for_each(|key| assert!(instance.get(&call(2), key))));
    format!("\"hit_ns_{entries}\": {one:.2}, \"miss_ns_{entries}\": {absent:.2}, \"random_hit_ns_{entries}\": {any:.2}")
}

/// Nanoseconds of a write to a full cache, eviction and report included.
fn set() -> String {
    let instance = Instance::open(r#"{"max_size": 100000}"#);
    let mut next = 0_u64;
    let time = fastest(|| {
        for _ in 0..1 << 18 {
            next += 1;
            instance.set(&call(2), &key(next), 28, TTL);
        }
    });
    format!("\"evicting_set_ns\": {time:.1}")
}

/// Resident bytes per entry of half a million, beyond the key and the value's own allocation.
fn memory() -> String {
    const ENTRIES: u64 = 500_000;
    // The values' own memory is set aside beforehand, so that it does not count.
    let values: Vec<Box<u64>> = (0..ENTRIES).map(Box::new).collect();
    drop(black_box(values));
    let instance = Instance::open(r#"{"max_size": null}"#);
    let before = resident();
    (0..ENTRIES).for_each(|n| instance.set(&call(1), &key(n), 28, TTL));
    let bytes = (resident() - before) as f64 / ENTRIES as f64;
    format!("\"bytes_per_entry\": {:.1}", bytes - 9.0)
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("linux");
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("pages") * 4096
}

/// Nanoseconds of each of the rounds' repetitions, in the round that was disturbed least.
fn fastest(mut run: impl FnMut()) -> f64 {
    let rounds = (0..15).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_nanos() as f64 / f64::from(1 << 18)
    });
    rounds.fold(f64::INFINITY, f64::min)
}
