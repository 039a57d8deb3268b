//! Prints size and speed for values of several sizes:
//! `cargo run --release -p retainit-compress --example throughput`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use retainit_plugin_api::sdk::Result;

/// The best of several rounds of a few milliseconds each.
fn nanoseconds(mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let (start, mut times) = (Instant::now(), 0_u32);
        while start.elapsed() < Duration::from_millis(30) {
            work();
            times += 1;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(times));
    }
    best
}

fn line(
    name: &str,
    value: &[u8],
    pack: impl Fn(&[u8]) -> Result<Vec<u8>>,
    unpack: impl Fn(&[u8], u64) -> Result<Vec<u8>>,
) {
    let packed = pack(value).unwrap();
    let limit = value.len() as u64;
    let there = nanoseconds(|| drop(black_box(pack(black_box(value)).unwrap())));
    let back = nanoseconds(|| drop(black_box(unpack(black_box(&packed), limit).unwrap())));
    let speed = |time: f64| value.len() as f64 / time * 1000.0;
    println!(
        "| {name} | {} | {} | {:.1} us, {:.0} MB/s | {:.1} us, {:.0} MB/s |",
        value.len(),
        packed.len(),
        there / 1000.0,
        speed(there),
        back / 1000.0,
        speed(back),
    );
}

fn main() {
    let samples: Vec<Vec<u8>> = (0..1000).map(common::answer).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    let dictionary = common::zstd(3).train(&samples, 16 * 1024).unwrap();
    println!("| compressor | bytes | compressed | compress | decompress |\n|---|---|---|---|---|");
    for size in [300, 1024, 64 * 1024, 10 << 20] {
        let value: Vec<u8> = (10_000..).flat_map(common::answer).take(size).collect();
        for level in [1, 3, 9, 19] {
            if size <= 64 * 1024 || level < 19 {
                let zstd = common::zstd(level);
                line(
                    &format!("zstd {level}"),
                    &value,
                    |input| zstd.pack(input),
                    |input, most| zstd.unpack(input, most),
                );
            }
        }
        let zstd = common::zstd_with(&dictionary);
        line(
            "zstd 3 with a dictionary",
            &value,
            |input| zstd.pack(input),
            |input, most| zstd.unpack(input, most),
        );
        let lz4 = common::lz4();
        line("lz4", &value, |input| lz4.pack(input), |input, most| lz4.unpack(input, most));
    }
}
