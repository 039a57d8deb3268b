//! Arrays that lie in the given bytes keep them alive, and only those bytes: nothing is copied.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int8Type};
use arrow_array::{Array, ArrayRef, DictionaryArray, Float64Array, RecordBatch, StringViewArray};
use retainit_arrow_serde::ArrowSerializer;
use retainit_plugin_api::sdk::Value;

/// Bytes that say when they are gone.
struct Owner {
    bytes: Value,
    gone: Arc<AtomicBool>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_bytes().unwrap()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
    }
}

fn batch() -> RecordBatch {
    let texts = ["a text that is too long to lie in a view", "another one of that kind"];
    let categories: DictionaryArray<Int8Type> = texts.into_iter().collect();
    let columns: [(&str, ArrayRef); 3] = [
        ("number", Arc::new(Float64Array::from(vec![1.5, 2.5]))),
        ("text", Arc::new(StringViewArray::from(texts.to_vec()))),
        ("category", Arc::new(categories)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn read(options: &str, offset: usize) -> (RecordBatch, std::ops::Range<usize>, Arc<AtomicBool>) {
    let serializer = common::open::<ArrowSerializer>(options);
    let written = common::write(&serializer, &batch()).unwrap();
    let bytes = common::at_offset(written.as_bytes().unwrap(), offset);
    let range = bytes.as_bytes().unwrap().as_ptr_range();
    let gone = Arc::new(AtomicBool::new(false));
    let owner = Value::from_owner(Arc::new(Owner { bytes, gone: Arc::clone(&gone) }));
    let (_, mut batches) = common::read(&serializer, owner).unwrap();
    (batches.remove(0), range.start as usize..range.end as usize, gone)
}

/// Where the bytes of all buffers are.
fn places(data: &arrow_data::ArrayData) -> Vec<usize> {
    let own =
        data.buffers().iter().filter(|buffer| !buffer.is_empty()).map(|buffer| buffer.as_ptr() as usize);
    own.chain(data.child_data().iter().flat_map(places)).collect()
}

#[test]
fn arrays_lie_in_aligned_bytes_and_keep_them_alive() {
    for options in ["{}", r#"{"validate": false}"#] {
        let (found, range, gone) = read(options, 0);
        assert_eq!(found, batch());
        for column in found.columns() {
            let places = places(&column.to_data());
            assert!(places.iter().all(|place| range.contains(place)), "{}", column.data_type());
            assert!(places.iter().all(|place| place % 64 == 0), "{}", column.data_type());
        }
        let numbers = found.column(0).as_primitive::<Float64Type>().clone();
        drop(found);
        assert!(!gone.load(Ordering::SeqCst));
        assert_eq!(numbers.values().as_ref(), [1.5, 2.5]);
        drop(numbers);
        assert!(gone.load(Ordering::SeqCst), "{options}: the last array gives the bytes back");
    }
}

#[test]
fn badly_aligned_bytes_are_copied_and_let_go() {
    for offset in [1, 8, 32] {
        let (found, range, gone) = read("{}", offset);
        assert!(gone.load(Ordering::SeqCst));
        assert_eq!(found, batch());
        assert!(found
            .columns()
            .iter()
            .flat_map(|column| places(&column.to_data()))
            .all(|place| !range.contains(&place)));
    }
}

#[test]
fn a_stream_that_nobody_reads_gives_the_bytes_back() {
    let serializer = common::open::<ArrowSerializer>("{}");
    let bytes = common::write(&serializer, &batch()).unwrap();
    let gone = Arc::new(AtomicBool::new(false));
    let owner = Value::from_owner(Arc::new(Owner { bytes, gone: Arc::clone(&gone) }));
    let stream = common::calling(|call| {
        retainit_plugin_api::sdk::Serializer::deserialize(&serializer, call, owner).unwrap()
    });
    assert!(!gone.load(Ordering::SeqCst));
    drop(stream);
    assert!(gone.load(Ordering::SeqCst));
}
