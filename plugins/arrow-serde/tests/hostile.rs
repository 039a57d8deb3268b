//! Bytes that nobody wrote: every truncation, every flipped bit, claims beyond all bounds. The outcome is valid data
//! or an error of class `Corrupt`, without a panic, in memory that is in proportion.

#[path = "common/columns.rs"]
mod columns;
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Once};

use arrow_array::types::Int8Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
};
use retainit_arrow_serde::{fuzz, ArrowSerializer, CsvSerializer, ParquetSerializer};
use retainit_plugin_api::sdk::{ErrorKind, Serializer, Value};

/// Remembers the largest single allocation of a thread, of which a header's claim would be the cause.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn note(size: usize) {
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: all work is the system's.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: promised by the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: promised by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The largest allocation of `work`.
fn largest(work: impl FnOnce()) -> usize {
    quiet();
    LARGEST.set(0);
    work();
    LARGEST.get()
}

/// What the Arrow crates panic over is contained, and its traces would be all that these tests measure.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            if panic.location().is_some_and(|place| place.file().contains("arrow-serde")) {
                loud(panic);
            }
        }));
    });
}

fn small() -> RecordBatch {
    let categories: DictionaryArray<Int8Type> = [Some("x"), None, Some("y")].into_iter().collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("text", Arc::new(StringArray::from(vec![Some("ü"), None, Some("a, b")]))),
        ("category", Arc::new(categories)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

/// Everything that the formats differ in, in one batch.
fn wide(columns: Vec<(&'static str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn bytes<S: Serializer>(options: &str, batch: &RecordBatch) -> Vec<u8> {
    let value = common::write(&common::open::<S>(options), batch).unwrap();
    value.as_bytes().unwrap().to_vec()
}

fn truncated<S: Serializer>(decode: fn(&[u8])) {
    let serializer = common::open::<S>("{}");
    let whole = bytes::<S>("{}", &small());
    for end in 0..whole.len() {
        decode(&whole[..end]);
        let outcome = common::read(&serializer, Value::from_vec(whole[..end].to_vec()));
        // A csv file may end after any line.
        if S::NAME != "csv" || whole[..end].last() != Some(&b'\n') {
            let error = outcome.expect_err(&format!("{} bytes of {}", end, whole.len()));
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
    let more = [&whole[..], b"x"].concat();
    assert_eq!(common::read(&serializer, Value::from_vec(more)).unwrap_err().kind(), ErrorKind::Corrupt);
}

fn flipped(whole: &[u8], decode: fn(&[u8])) {
    let most = largest(|| {
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut other = whole.to_vec();
                other[place] ^= 1 << bit;
                decode(&other);
            }
        }
    });
    assert!(most < 1 << 20, "an entry of {} bytes made one allocation of {most}", whole.len());
}

/// Bytes where lengths, counts and offsets may be, made as large as they can be, at every `step`th place.
fn inflated(whole: &[u8], step: usize, decode: fn(&[u8])) {
    let most = largest(|| {
        for place in (0..whole.len().saturating_sub(8)).step_by(step) {
            for (width, value) in
                [(4, i32::MAX as u64), (8, i64::MAX as u64), (8, u64::MAX), (4, 1 << 24), (1, 0xFF)]
            {
                let mut other = whole.to_vec();
                other[place..place + width].copy_from_slice(&value.to_le_bytes()[..width]);
                decode(&other);
            }
        }
    });
    assert!(most < 80 << 20, "an entry of {} bytes made one allocation of {most}", whole.len());
}

/// Panics are contained, but they cost, and hosts have hooks that print them.
fn no_panic_so_far() {
    assert_eq!(PANICS.take(), Vec::<String>::new());
}

#[test]
fn truncated_entries_are_corrupt() {
    truncated::<ArrowSerializer>(fuzz::arrow);
    truncated::<ParquetSerializer>(fuzz::parquet);
    truncated::<CsvSerializer>(fuzz::csv);
}

#[test]
fn flipped_bits_are_corrupt_or_other_data() {
    flipped(&bytes::<ArrowSerializer>("{}", &small()), fuzz::arrow);
    flipped(&bytes::<CsvSerializer>("{}", &small()), fuzz::csv);
    no_panic_so_far();
    for codec in ["zstd", "snappy", "lz4", "none"] {
        let options = format!(r#"{{"compression": "{codec}"}}"#);
        flipped(&bytes::<ParquetSerializer>(&options, &small()), fuzz::parquet);
    }
}

#[test]
fn claims_of_any_size_take_no_memory() {
    let flat_and_nested = || wide([columns::flat(), columns::nested()].concat());
    let all = wide([columns::flat(), columns::nested(), columns::others()].concat());
    inflated(&bytes::<ArrowSerializer>("{}", &all), 16, fuzz::arrow);
    inflated(&bytes::<ArrowSerializer>("{}", &small()), 4, fuzz::arrow);
    inflated(&bytes::<CsvSerializer>("{}", &small()), 1, fuzz::csv);
    no_panic_so_far();
    inflated(&bytes::<ParquetSerializer>(r#"{"compression": "none"}"#, &flat_and_nested()), 7, fuzz::parquet);
    inflated(&bytes::<ParquetSerializer>("{}", &small()), 1, fuzz::parquet);
}

#[test]
fn a_bomb_is_corrupt_before_it_goes_off() {
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0; 2_000_000]));
    let batch = RecordBatch::try_from_iter([("a", zeros)]).unwrap();
    for codec in ["zstd", "snappy", "lz4", "none"] {
        let file = bytes::<ParquetSerializer>(&format!(r#"{{"compression": "{codec}"}}"#), &batch);
        let strict = common::open::<ParquetSerializer>(r#"{"max_bytes": 1000000}"#);
        let most = largest(|| {
            let error = common::read(&strict, Value::from_vec(file.clone())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.message().contains("`max_bytes`"), "{error}");
        });
        assert!(most < 1_000_000, "{most}");
        let error = common::write(&strict, &batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "what could not be read is not written");
    }
}

#[test]
fn a_long_text_that_a_dictionary_repeats_is_stopped_at_the_limit() {
    let text = "x".repeat(100_000);
    let texts: ArrayRef = Arc::new(LargeStringArray::from_iter_values(std::iter::repeat_n(&text, 2000)));
    let file = bytes::<ParquetSerializer>("{}", &RecordBatch::try_from_iter([("a", texts)]).unwrap());
    assert!(file.len() < 100_000, "{}", file.len());
    let strict = common::open::<ParquetSerializer>(r#"{"max_bytes": 10000000}"#);
    let most = largest(|| {
        let error = common::read(&strict, Value::from_vec(file)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    });
    assert!(most < 40_000_000, "{most}");
}

#[test]
fn nesting_without_end_is_corrupt() {
    for byte in [0x1C, 0x19, 0x2C, 0x15, 0xFF, 0x00] {
        let mut file = b"PAR1".to_vec();
        file.extend(std::iter::repeat_n(byte, 1 << 20));
        file.extend((1_u32 << 20).to_le_bytes());
        file.extend(b"PAR1");
        fuzz::parquet(&file);
        fuzz::arrow(&file[4..]);
        fuzz::csv(&file);
    }
}

#[test]
fn text_that_is_not_utf8_is_corrupt() {
    let batch =
        RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec!["marked"])) as ArrayRef)]).unwrap();
    let serializer = common::open::<ArrowSerializer>("{}");
    let mut stream = bytes::<ArrowSerializer>("{}", &batch);
    let place = stream.windows(6).position(|bytes| bytes == b"marked").unwrap();
    stream[place] = 0xFF;
    let error = common::read(&serializer, Value::from_vec(stream)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let serializer = common::open::<ParquetSerializer>("{}");
    let mut file = bytes::<ParquetSerializer>(r#"{"compression": "none"}"#, &batch);
    let place = file.windows(6).position(|bytes| bytes == b"marked").unwrap();
    file[place] = 0xFF;
    assert_eq!(common::read(&serializer, Value::from_vec(file)).unwrap_err().kind(), ErrorKind::Corrupt);
}
