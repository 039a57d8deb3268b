//! Every type of Arrow through every format: it comes back exactly, or it is refused.

#[path = "common/columns.rs"]
mod columns;
mod common;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema};
use retainit_arrow_serde::{ArrowSerializer, CsvSerializer, ParquetSerializer};
use retainit_plugin_api::sdk::{ErrorKind, Serializer};

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = columns.iter().map(|(name, column)| (*name, Arc::clone(column), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Equality as the arrays' bytes have it: NaN equals itself, and 0.0 does not equal -0.0.
fn assert_same(name: &str, before: &RecordBatch, after: &RecordBatch) {
    assert_eq!(before.schema(), after.schema(), "{name}");
    assert_eq!(before.num_rows(), after.num_rows(), "{name}");
    for (field, (before, after)) in
        before.schema().fields().iter().zip(before.columns().iter().zip(after.columns()))
    {
        let name = format!("{name}, column {}", field.name());
        assert_eq!(&bits(before), &bits(after), "{name}");
    }
}

/// Floats as their bits.
fn bits(column: &ArrayRef) -> ArrayRef {
    let target = match column.data_type() {
        DataType::Float16 => DataType::UInt16,
        DataType::Float32 => DataType::UInt32,
        DataType::Float64 => DataType::UInt64,
        _ => return Arc::clone(column),
    };
    arrow_array::make_array(column.to_data().into_builder().data_type(target).build().unwrap())
}

fn round_trip<S: Serializer>(serializer: &S, name: &str, batch: &RecordBatch) {
    let name = format!("{} {name}", S::NAME);
    let bytes = common::write(serializer, batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    for offset in [0, 1] {
        let copy = common::at_offset(bytes.as_bytes().unwrap(), offset);
        let (schema, batches) =
            common::read(serializer, copy).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(schema, batch.schema(), "{name}");
        let [after] = batches.as_slice() else { panic!("{name}: {} batches", batches.len()) };
        assert_same(&name, batch, after);
    }
}

/// Each column alone, whole, sliced and empty.
fn round_trips<S: Serializer>(columns: &[(&str, ArrayRef)]) {
    let serializer = common::open::<S>("{}");
    for (name, column) in columns {
        assert_eq!(column.len(), columns::ROWS, "{name}");
        let whole = batch(&[(name, Arc::clone(column))]);
        round_trip(&serializer, name, &whole);
        round_trip(&serializer, &format!("{name}, sliced"), &whole.slice(1, 4));
        round_trip(&serializer, &format!("{name}, empty"), &whole.slice(3, 0));
    }
    round_trip(&serializer, "all", &batch(columns));
}

fn refuses<S: Serializer>(columns: &[(&str, ArrayRef)]) {
    let serializer = common::open::<S>("{}");
    for (name, column) in columns {
        let error = common::write(&serializer, &batch(&[(name, Arc::clone(column))])).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{name}: {error}");
        let (start, end) = (format!("serializer `{}` has no place for type `", S::NAME), "takes every type");
        assert!(error.message().starts_with(&start) && error.message().ends_with(end), "{name}: {error}");
    }
}

#[test]
fn arrow_keeps_every_type() {
    let columns = [columns::flat(), columns::nested(), columns::others()].concat();
    columns::covers(&columns);
    round_trips::<ArrowSerializer>(&columns);
}

#[test]
fn parquet_keeps_flat_and_nested_types_and_refuses_the_rest() {
    round_trips::<ParquetSerializer>(&[columns::flat(), columns::nested()].concat());
    refuses::<ParquetSerializer>(&columns::others());
}

#[test]
fn csv_keeps_flat_types_and_refuses_the_rest() {
    round_trips::<CsvSerializer>(&columns::flat());
    refuses::<CsvSerializer>(&[columns::nested(), columns::others()].concat());
}

#[test]
fn parquet_keeps_every_type_with_every_codec() {
    let whole = batch(&[columns::flat(), columns::nested()].concat());
    for codec in ["zstd", "snappy", "lz4", "none"] {
        let serializer = common::open::<ParquetSerializer>(&format!(r#"{{"compression": "{codec}"}}"#));
        round_trip(&serializer, codec, &whole);
    }
}

fn odd_tables<S: Serializer>() {
    let serializer = common::open::<S>("{}");
    let metadata =
        |text: &str| HashMap::from([("key".to_owned(), text.to_owned()), (String::new(), "ü".to_owned())]);
    let field = Field::new("a", DataType::Int64, false)
        .with_metadata(HashMap::from([("ARROW:extension:name".to_owned(), "own.type".to_owned())]));
    let alike = Field::new("a", DataType::Utf8, true).with_metadata(metadata("field"));
    let unnamed = Field::new("", DataType::Boolean, true);
    let ordered = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let ordered = Field::new("line\nbreak, \"quoted\"", ordered, true).with_dict_is_ordered(true);
    let schema =
        Arc::new(Schema::new_with_metadata(vec![field, alike, unnamed, ordered], metadata("schema")));
    let columns = || -> Vec<ArrayRef> {
        vec![
            Arc::new(arrow_array::Int64Array::from(vec![1, 2])),
            Arc::new(arrow_array::StringArray::from(vec![None, Some("")])),
            Arc::new(arrow_array::BooleanArray::from(vec![None, None])),
            Arc::new(arrow_array::DictionaryArray::<arrow_array::types::Int8Type>::from_iter([
                Some("x"),
                None,
            ])),
        ]
    };
    round_trip(&serializer, "metadata", &RecordBatch::try_new(Arc::clone(&schema), columns()).unwrap());
    for rows in [0, 1, 1000] {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::new(Schema::new_with_metadata(Vec::<Field>::new(), metadata("no columns")));
        let none = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
        round_trip(&serializer, "no columns", &none);
    }
    let bytes = common::calling(|call| serializer.serialize(call, common::stream(&schema, vec![]))).unwrap();
    assert_eq!(common::read(&serializer, bytes).unwrap(), (schema, vec![]), "{}: no batches", S::NAME);
}

#[test]
fn schemas_with_odd_names_metadata_or_no_columns_come_back() {
    odd_tables::<ArrowSerializer>();
    odd_tables::<ParquetSerializer>();
    odd_tables::<CsvSerializer>();
}
