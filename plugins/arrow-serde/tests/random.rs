//! Tables of any shape, in any number of batches, whole and sliced, come back as they were.

mod common;

use std::sync::Arc;

use arrow_array::types::{Int16Type, IntervalMonthDayNanoType, TimestampSecondType, UInt8Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, FixedSizeListArray, Float64Array, Int64Array, LargeListArray, LargeStringArray,
    ListArray, NullArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray,
    StructArray,
};
use arrow_buffer::{IntervalMonthDayNano, NullBuffer, OffsetBuffer};
use arrow_schema::{Field, Fields, Schema};
use proptest::prelude::*;
use retainit_arrow_serde::{ArrowSerializer, CsvSerializer, ParquetSerializer};
use retainit_plugin_api::sdk::Serializer;

/// The type of a column.
#[derive(Debug, Clone)]
enum Shape {
    Null,
    Bool,
    Int,
    Float,
    Decimal,
    Moment,
    Interval,
    Text,
    LargeText,
    TextView,
    Binary,
    BinaryView,
    FixedBinary,
    Dictionary(Box<Shape>),
    List(Box<Shape>),
    LargeList(Box<Shape>),
    FixedList(Box<Shape>, i32),
    Struct(Vec<Shape>),
}

impl Shape {
    fn is_flat(&self) -> bool {
        !matches!(self, Shape::List(_) | Shape::LargeList(_) | Shape::FixedList(..) | Shape::Struct(_))
    }
}

fn plain() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Bool),
        Just(Shape::Int),
        Just(Shape::Float),
        Just(Shape::Decimal),
        Just(Shape::Moment),
        Just(Shape::Interval),
        Just(Shape::Text),
        Just(Shape::LargeText),
        Just(Shape::TextView),
        Just(Shape::Binary),
        Just(Shape::BinaryView),
        Just(Shape::FixedBinary),
    ]
}

fn flat() -> impl Strategy<Value = Shape> {
    prop_oneof![plain(), Just(Shape::Null), plain().prop_map(|values| Shape::Dictionary(Box::new(values)))]
}

fn any_shape() -> impl Strategy<Value = Shape> {
    flat().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|item| Shape::List(Box::new(item))),
            inner.clone().prop_map(|item| Shape::LargeList(Box::new(item))),
            (inner.clone(), 1..4).prop_map(|(item, size)| Shape::FixedList(Box::new(item), size)),
            prop::collection::vec(inner, 1..4).prop_map(Shape::Struct),
        ]
    })
}

/// Random numbers from a seed, so that a failure shrinks by its shape.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        match self.below(3) {
            0 => None,
            1 => Some((0..rows).map(|_| self.below(4) > 0).collect()),
            _ => Some((0..rows).map(|_| self.below(2) > 0).collect()),
        }
    }

    fn options<T>(&mut self, rows: usize, mut value: impl FnMut(&mut Self) -> T) -> Vec<Option<T>> {
        let nulls = self.nulls(rows);
        (0..rows)
            .map(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)).then(|| value(self)))
            .collect()
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 12] =
            ["", "a", "\"", ",", "\n", "ü", "🦀", "null", " ", "longer than a view", "\r", "0"];
        (0..self.below(4)).map(|_| PIECES[self.below(PIECES.len())]).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(20)).map(|_| self.next() as u8).collect()
    }

    fn offsets<O: arrow_array::OffsetSizeTrait>(&mut self, rows: usize) -> OffsetBuffer<O> {
        OffsetBuffer::from_lengths((0..rows).map(|_| self.below(4)))
    }

    /// A column of `rows` rows.
    fn column(&mut self, shape: &Shape, rows: usize) -> ArrayRef {
        match shape {
            Shape::Null => Arc::new(NullArray::new(rows)),
            Shape::Bool => Arc::new(BooleanArray::from(self.options(rows, |random| random.below(2) == 1))),
            Shape::Int => Arc::new(Int64Array::from(self.options(rows, |random| random.next() as i64))),
            Shape::Float => {
                Arc::new(Float64Array::from(self.options(rows, |random| f64::from_bits(random.next()))))
            }
            Shape::Decimal => {
                let digits = self.options(rows, |random| i128::from(random.next() as i64));
                Arc::new(Decimal128Array::from(digits).with_precision_and_scale(38, 7).unwrap())
            }
            Shape::Moment => {
                let moments = self.options(rows, |random| random.next() as i64);
                Arc::new(PrimitiveArray::<TimestampSecondType>::from_iter(moments).with_timezone("UTC"))
            }
            Shape::Interval => Arc::new(PrimitiveArray::<IntervalMonthDayNanoType>::from_iter(self.options(
                rows,
                |random| {
                    IntervalMonthDayNano::new(
                        random.next() as i32,
                        random.next() as i32,
                        random.next() as i64,
                    )
                },
            ))),
            Shape::Text => Arc::new(StringArray::from(self.options(rows, Random::text))),
            Shape::LargeText => Arc::new(LargeStringArray::from(self.options(rows, Random::text))),
            Shape::TextView => Arc::new(StringViewArray::from_iter(self.options(rows, Random::text))),
            Shape::Binary => Arc::new(BinaryArray::from_iter(self.options(rows, Random::bytes))),
            Shape::BinaryView => Arc::new(BinaryViewArray::from_iter(self.options(rows, Random::bytes))),
            Shape::FixedBinary => {
                let values = self.options(rows, |random| random.next().to_ne_bytes());
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.into_iter(), 8).unwrap())
            }
            Shape::Dictionary(values) => {
                let values = loop {
                    let count = 1 + self.below(9);
                    // Values of a dictionary are without nulls: csv gives back a null key for a null value.
                    let values = self.column(values, count);
                    if values.null_count() == 0 {
                        break values;
                    }
                };
                let keys = self.options(rows, |random| random.below(values.len()));
                if self.below(2) == 0 {
                    let keys = keys.into_iter().map(|key| key.map(|key| key as u8));
                    return Arc::new(DictionaryArray::<UInt8Type>::new(keys.collect(), values));
                }
                let keys = keys.into_iter().map(|key| key.map(|key| key as i16));
                Arc::new(DictionaryArray::<Int16Type>::new(keys.collect(), values))
            }
            Shape::List(item) => {
                let offsets = self.offsets::<i32>(rows);
                let items = self.column(item, offsets[rows] as usize);
                Arc::new(ListArray::new(field("item", &items), offsets, items, self.nulls(rows)))
            }
            Shape::LargeList(item) => {
                let offsets = self.offsets::<i64>(rows);
                let items = self.column(item, offsets[rows] as usize);
                Arc::new(LargeListArray::new(field("item", &items), offsets, items, self.nulls(rows)))
            }
            Shape::FixedList(item, size) => {
                let items = self.column(item, rows * *size as usize);
                Arc::new(FixedSizeListArray::new(field("item", &items), *size, items, self.nulls(rows)))
            }
            Shape::Struct(shapes) => {
                let columns: Vec<ArrayRef> = shapes.iter().map(|shape| self.column(shape, rows)).collect();
                let fields: Fields = columns.iter().map(|column| field("alike", column)).collect();
                Arc::new(StructArray::new(fields, columns, self.nulls(rows)))
            }
        }
    }

    fn table(&mut self, shapes: &[Shape], rows: usize) -> RecordBatch {
        let columns: Vec<ArrayRef> = shapes.iter().map(|shape| self.column(shape, rows)).collect();
        let fields: Fields =
            columns.iter().enumerate().map(|(i, column)| field(&format!("c{i}"), column)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).unwrap()
    }
}

fn field(name: &str, column: &ArrayRef) -> Arc<Field> {
    Arc::new(Field::new(name, column.data_type().clone(), true))
}

/// Writes `table` in batches that end at `cuts`, and reads it.
fn round_trip<S: Serializer>(table: &RecordBatch, cuts: &[usize]) -> RecordBatch {
    let serializer = common::open::<S>("{}");
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (table.num_rows() + 1)).collect();
    cuts.extend([0, table.num_rows()]);
    cuts.sort_unstable();
    let batches: Vec<RecordBatch> = cuts.windows(2).map(|cut| table.slice(cut[0], cut[1] - cut[0])).collect();
    let bytes = common::calling(|call| serializer.serialize(call, common::stream(&table.schema(), batches)));
    let (schema, mut batches) = common::read(&serializer, bytes.unwrap()).unwrap();
    assert_eq!(schema, table.schema());
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tables_come_back(
        shapes in prop::collection::vec(any_shape(), 0..5),
        rows in 0_usize..40,
        seed in any::<u64>(),
        (start, len) in (0_usize..40, 0_usize..40),
        cuts in prop::collection::vec(any::<usize>(), 0..3),
    ) {
        let table = Random(seed).table(&shapes, rows);
        let start = start.min(rows);
        let table = table.slice(start, len.min(rows - start));
        prop_assert_eq!(&round_trip::<ArrowSerializer>(&table, &cuts), &table);
        prop_assert_eq!(&round_trip::<ParquetSerializer>(&table, &cuts), &table);
        if shapes.iter().all(Shape::is_flat) {
            prop_assert_eq!(&round_trip::<CsvSerializer>(&table, &cuts), &table);
        }
    }
}
