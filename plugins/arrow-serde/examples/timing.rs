//! What a frame of 95 MB costs to write and to read, beside a copy of the same bytes:
//! `cargo run --release -p retainit-arrow-serde --example timing`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Float64Array, LargeStringArray, RecordBatch, StringViewArray};
use retainit_arrow_serde::{ArrowSerializer, CsvSerializer, ParquetSerializer};
use retainit_plugin_api::sdk::{Serializer, Value};

const ROWS: usize = 1_000_000;
const ROUNDS: usize = 7;

fn main() {
    let text = |row: usize| format!("row-{row:09}");
    let texts: Vec<String> = (0..ROWS).map(text).collect();
    let large: ArrayRef = Arc::new(LargeStringArray::from_iter_values(&texts));
    let views: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
    for (name, column) in [("large_utf8", large), ("utf8_view", views)] {
        let frame = frame(column);
        println!("\n10 columns of f64 and one of {name}, {ROWS} rows");
        measure::<ArrowSerializer>("arrow", &frame, "{}", ROUNDS);
        measure::<ArrowSerializer>("arrow, validate: false", &frame, r#"{"validate": false}"#, ROUNDS);
        measure::<ParquetSerializer>("parquet, zstd", &frame, "{}", 2);
        measure::<ParquetSerializer>("parquet, lz4", &frame, r#"{"compression": "lz4"}"#, 2);
        measure::<CsvSerializer>("csv", &frame, "{}", 1);
    }
}

fn frame(text: ArrayRef) -> RecordBatch {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut columns: Vec<(String, ArrayRef)> = (0..10)
        .map(|i| {
            (format!("c{i}"), Arc::new(Float64Array::from_iter_values((0..ROWS).map(|_| random()))) as _)
        })
        .collect();
    columns.push(("text".to_owned(), text));
    RecordBatch::try_from_iter(columns).unwrap()
}

fn measure<S: Serializer>(name: &str, frame: &RecordBatch, options: &str, rounds: usize) {
    let serializer: S = common::open(options);
    let bytes = common::write(&serializer, frame).unwrap();
    let size = bytes.weight() as f64 / 1e6;
    let copy = best(rounds, || drop(black_box(bytes.as_bytes().unwrap().to_vec())));
    let write = best(rounds, || drop(black_box(common::write(&serializer, frame).unwrap())));
    let read = best(rounds, || {
        let bytes = bytes.share_bytes().unwrap();
        drop(black_box(common::read(&serializer, bytes).unwrap()));
    });
    let checked = Value::from_vec(bytes.as_bytes().unwrap().to_vec());
    assert_eq!(common::read(&serializer, checked).unwrap().1, std::slice::from_ref(frame));
    let line = |what: &str, time: Duration| {
        println!("  {what:<28} {:>9.3} ms {:>8.2} x a copy", ms(time), ms(time) / ms(copy));
    };
    println!(" {name}: {size:.1} MB; a copy takes {:.1} ms", ms(copy));
    line("serialize", write);
    line("deserialize", read);
}

fn best(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut round = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..rounds).map(|_| round()).min().unwrap()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
