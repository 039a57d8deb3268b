//! One column of every type that Arrow has, with the values that break things.

use std::sync::Arc;

use arrow_array::builder::*;
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::{i256, IntervalDayTime, IntervalMonthDayNano, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, IntervalUnit, TimeUnit, UnionFields};

/// Rows of every column.
pub const ROWS: usize = 6;

type Column = (&'static str, ArrayRef);

/// Flat types, which all three formats take.
pub fn flat() -> Vec<Column> {
    let mut columns = numbers();
    columns.extend(times());
    columns.extend(texts());
    columns.extend(dictionaries());
    columns
}

fn numbers() -> Vec<Column> {
    vec![
        ("null", Arc::new(NullArray::new(ROWS))),
        (
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None, Some(false)])),
        ),
        ("i8", integers::<Int8Type>(i8::MIN, i8::MAX, -1)),
        ("i16", integers::<Int16Type>(i16::MIN, i16::MAX, -1)),
        ("i32", integers::<Int32Type>(i32::MIN, i32::MAX, -1)),
        ("i64", integers::<Int64Type>(i64::MIN, i64::MAX, -1)),
        ("u8", integers::<UInt8Type>(0, u8::MAX, 7)),
        ("u16", integers::<UInt16Type>(0, u16::MAX, 7)),
        ("u32", integers::<UInt32Type>(0, u32::MAX, 7)),
        ("u64", integers::<UInt64Type>(0, u64::MAX, 1 << 53)),
        ("f16", Arc::new(half())),
        (
            "f32",
            Arc::new(Float32Array::from(vec![
                Some(f32::MIN_POSITIVE),
                None,
                Some(f32::from_bits(0x7FC0_1234)),
                Some(-0.0),
                Some(f32::NEG_INFINITY),
                Some(0.1),
            ])),
        ),
        (
            "f64",
            Arc::new(Float64Array::from(vec![
                Some(5e-324),
                Some(f64::NAN),
                Some(f64::from_bits(0xFFF8_0000_0000_0001)),
                Some(-0.0),
                None,
                Some(0.1 + 0.2),
            ])),
        ),
        ("f64_zeros", Arc::new(Float64Array::from(vec![0.0, -0.0, 0.0, -0.0, f64::INFINITY, 1e300]))),
        ("decimal32", decimals::<Decimal32Type>(999_999_999, -1).with(|a| a.with_precision_and_scale(9, 4))),
        (
            "decimal64",
            decimals::<Decimal64Type>(10_i64.pow(18) - 1, -1).with(|a| a.with_precision_and_scale(18, 18)),
        ),
        (
            "decimal128",
            decimals::<Decimal128Type>(10_i128.pow(38) - 1, -5).with(|a| a.with_precision_and_scale(38, 10)),
        ),
        (
            "decimal128_negative",
            decimals::<Decimal128Type>(12, -5).with(|a| a.with_precision_and_scale(5, -3)),
        ),
        (
            "decimal256",
            decimals::<Decimal256Type>(i256::from_string(&"9".repeat(76)).unwrap(), i256::from_i128(-5))
                .with(|a| a.with_precision_and_scale(76, 1)),
        ),
    ]
}

fn integers<T: ArrowPrimitiveType>(least: T::Native, most: T::Native, other: T::Native) -> ArrayRef {
    let zero = T::Native::default();
    Arc::new(PrimitiveArray::<T>::from_iter([Some(least), None, Some(most), Some(zero), Some(other), None]))
}

fn half() -> Float16Array {
    let bits = [0x0001, 0x7E00, 0x7C00, 0x8000, 0x3C01, 0xFE01_u16];
    Float16Array::from_iter(
        bits.map(|bits| Some(<Float16Type as ArrowPrimitiveType>::Native::from_bits(bits))),
    )
}

struct Decimals<T: DecimalType>(PrimitiveArray<T>);

impl<T: DecimalType> Decimals<T> {
    fn with(
        self,
        place: impl FnOnce(PrimitiveArray<T>) -> Result<PrimitiveArray<T>, arrow_schema::ArrowError>,
    ) -> ArrayRef {
        Arc::new(place(self.0).unwrap())
    }
}

fn decimals<T: DecimalType>(most: T::Native, other: T::Native) -> Decimals<T> {
    let zero = T::Native::default();
    Decimals(PrimitiveArray::from_iter([Some(most), None, Some(zero), Some(other), Some(most), None]))
}

/// Times at the ends of their ranges, of which seconds do not fit into milliseconds.
fn times() -> Vec<Column> {
    let zoned = |zone: &str| {
        let array =
            TimestampMicrosecondArray::from(vec![Some(0), None, Some(-1), Some(1), Some(1 << 52), None]);
        Arc::new(array.with_timezone(zone)) as ArrayRef
    };
    vec![
        ("date32", integers::<Date32Type>(i32::MIN, i32::MAX, -719_529)),
        ("date64", integers::<Date64Type>(i64::MIN, i64::MAX, 86_400_001)),
        ("time32_s", integers::<Time32SecondType>(0, 86_399, 3_661)),
        ("time32_ms", integers::<Time32MillisecondType>(0, 86_399_999, 1)),
        ("time64_us", integers::<Time64MicrosecondType>(0, 86_399_999_999, -5)),
        ("time64_ns", integers::<Time64NanosecondType>(i64::MIN, i64::MAX, 1)),
        ("timestamp_s", integers::<TimestampSecondType>(i64::MIN, i64::MAX, -1)),
        ("timestamp_ms", integers::<TimestampMillisecondType>(i64::MIN, i64::MAX, -1)),
        ("timestamp_us", integers::<TimestampMicrosecondType>(i64::MIN, i64::MAX, -1)),
        ("timestamp_ns", integers::<TimestampNanosecondType>(i64::MIN, i64::MAX, -1)),
        ("timestamp_zone", zoned("Europe/Berlin")),
        ("timestamp_offset", zoned("+05:30")),
        ("duration_s", integers::<DurationSecondType>(i64::MIN, i64::MAX, -1)),
        ("duration_ns", integers::<DurationNanosecondType>(i64::MIN, i64::MAX, -1)),
        ("interval_ym", integers::<IntervalYearMonthType>(i32::MIN, i32::MAX, -1)),
        (
            "interval_dt",
            integers::<IntervalDayTimeType>(
                IntervalDayTime::new(i32::MIN, i32::MAX),
                IntervalDayTime::new(1, -1),
                IntervalDayTime::new(-7, 5),
            ),
        ),
        (
            "interval_mdn",
            integers::<IntervalMonthDayNanoType>(
                IntervalMonthDayNano::new(i32::MIN, i32::MAX, i64::MIN),
                IntervalMonthDayNano::new(1, -1, i64::MAX),
                IntervalMonthDayNano::new(-7, 5, 0),
            ),
        ),
    ]
}

fn texts() -> Vec<Column> {
    let texts = vec![
        Some(""),
        None,
        Some("a \"quoted\", text\r\nof two lines"),
        Some("ü🦀\0 \u{feff}"),
        Some("null"),
        Some("\\N, longer than what a view holds inline"),
    ];
    let bytes: Vec<Option<&[u8]>> = vec![
        Some(b""),
        None,
        Some(b"\xFF\x00\n\","),
        Some(b"a"),
        Some(b"longer than what a view holds"),
        None,
    ];
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        [Some(b"abc"), None, Some(b"\0\xFF\n"), Some(b"\",\r"), None, Some(b"   ")].into_iter(),
        3,
    );
    vec![
        ("utf8", Arc::new(StringArray::from(texts.clone()))),
        ("large_utf8", Arc::new(LargeStringArray::from(texts.clone()))),
        ("utf8_view", Arc::new(StringViewArray::from(texts))),
        ("binary", Arc::new(BinaryArray::from(bytes.clone()))),
        ("large_binary", Arc::new(LargeBinaryArray::from(bytes.clone()))),
        ("binary_view", Arc::new(BinaryViewArray::from(bytes))),
        ("fixed_binary", Arc::new(fixed.unwrap())),
    ]
}

fn dictionaries() -> Vec<Column> {
    fn of<K: ArrowDictionaryKeyType>(keys: [Option<u8>; ROWS], values: ArrayRef) -> ArrayRef {
        let native = |key: u8| K::Native::usize_as(key.into());
        let keys = PrimitiveArray::<K>::from_iter(keys.map(|key| key.map(native)));
        Arc::new(DictionaryArray::new(keys, values))
    }
    use arrow_buffer::ArrowNativeType;
    let keys = [Some(2), None, Some(0), Some(0), Some(3), Some(2)];
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["z", "unused", "", "a"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![9, 8, 7, 7]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5, f64::NAN, -0.0, 0.0]));
    let moments: ArrayRef = Arc::new(TimestampSecondArray::from(vec![3, 2, 1, 0]).with_timezone("UTC"));
    vec![
        ("category_i8", of::<Int8Type>(keys, texts.clone())),
        ("category_u64", of::<UInt64Type>(keys, texts)),
        ("category_i64", of::<Int32Type>([Some(2), None, Some(0), Some(0), Some(2), Some(1)], numbers)),
        ("category_f64", of::<UInt16Type>(keys, floats)),
        ("category_time", of::<Int16Type>(keys, moments)),
    ]
}

/// Nested types which Parquet takes too.
pub fn nested() -> Vec<Column> {
    let offsets = || OffsetBuffer::<i32>::new(vec![0, 2, 2, 2, 3, 5, 5].into());
    let nulls = || Some(NullBuffer::from(vec![true, true, false, true, true, true]));
    let items =
        || Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some("b"), Some("c")])) as ArrayRef;
    let item = |of: &ArrayRef| Arc::new(Field::new("own name", of.data_type().clone(), true));
    let moments: ArrayRef =
        Arc::new(TimestampSecondArray::from(vec![i64::MAX, 1, 2, 3, 4]).with_timezone("UTC"));
    let large = OffsetBuffer::<i64>::new(vec![0, 2, 2, 2, 3, 5, 5].into());
    let lists: ArrayRef = Arc::new(ListArray::new(item(&items()), offsets(), items(), nulls()));
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..2 * ROWS as i32));
    let categories: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::new(
        vec![1, 0, 1, 1, 2].into(),
        Arc::new(StringArray::from(vec!["y", "x", "w", "unused"])),
    ));
    let of_lists = StructArray::from(vec![
        (
            Arc::new(Field::new("", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5, 6])) as _,
        ),
        (Arc::new(Field::new("", lists.data_type().clone(), true)), Arc::clone(&lists)),
    ]);
    vec![
        ("list_of_times", Arc::new(ListArray::new(item(&moments), offsets(), Arc::clone(&moments), None))),
        ("large_list", Arc::new(LargeListArray::new(item(&items()), large, items(), nulls()))),
        ("list_of_categories", Arc::new(ListArray::new(item(&categories), offsets(), categories, nulls()))),
        ("fixed_list", Arc::new(FixedSizeListArray::new(item(&numbers), 2, numbers, nulls()))),
        ("list", lists),
        ("struct", Arc::new(of_lists)),
        ("map", map()),
    ]
}

fn map() -> ArrayRef {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for row in 0..ROWS {
        for key in 0..row % 3 {
            map.keys().append_value(format!("{row}-{key}"));
            map.values().append_option((key == 1).then_some(row as i64));
        }
        map.append(row != 4).unwrap();
    }
    Arc::new(map.finish())
}

/// Types which only Arrow's own format takes.
pub fn others() -> Vec<Column> {
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5, 6]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e", "f"]));
    let fields = || {
        UnionFields::try_new(
            [0, 1],
            [Field::new("number", DataType::Int32, true), Field::new("text", DataType::Utf8, true)],
        )
        .unwrap()
    };
    let ids = || ScalarBuffer::<i8>::from(vec![0, 1, 1, 0, 0, 1]);
    let places = ScalarBuffer::<i32>::from(vec![0, 0, 1, 1, 2, 2]);
    let children = || vec![Arc::clone(&numbers), Arc::clone(&texts)];
    let item = || Arc::new(Field::new("item", DataType::Int32, true));
    let starts = ScalarBuffer::<i32>::from(vec![4, 0, 0, 2, 1, 5]);
    let sizes = ScalarBuffer::<i32>::from(vec![2, 0, 3, 1, 1, 1]);
    let runs = RunArray::<Int32Type>::try_new(
        &Int32Array::from(vec![2, 5, 6]),
        &StringArray::from(vec!["x", "y", "z"]),
    );
    let empty: ArrayRef = Arc::new(StructArray::new_empty_fields(ROWS, None));
    vec![
        ("dense_union", Arc::new(UnionArray::try_new(fields(), ids(), Some(places), children()).unwrap())),
        ("sparse_union", Arc::new(UnionArray::try_new(fields(), ids(), None, children()).unwrap())),
        ("list_view", Arc::new(ListViewArray::new(item(), starts, sizes, Arc::clone(&numbers), None))),
        ("run_ends", Arc::new(runs.unwrap())),
        ("empty_struct", empty),
        ("no_bytes", new_null_array(&DataType::FixedSizeBinary(0), ROWS)),
    ]
}

/// That every type has its column, so that a new one is not forgotten.
pub fn covers(columns: &[Column]) {
    let kinds: Vec<std::mem::Discriminant<DataType>> =
        columns.iter().map(|(_, column)| std::mem::discriminant(column.data_type())).collect();
    let item = || Arc::new(Field::new("item", DataType::Int32, true));
    for kind in [
        DataType::Null,
        DataType::Float16,
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Interval(IntervalUnit::DayTime),
        DataType::LargeList(item()),
        DataType::FixedSizeList(item(), 1),
        DataType::Struct(Fields::empty()),
        DataType::BinaryView,
        DataType::Decimal256(1, 1),
    ] {
        assert!(kinds.contains(&std::mem::discriminant(&kind)), "no column of type {kind}");
    }
}
