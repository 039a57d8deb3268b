//! Which type stands for which, there and back.
//!
//! Parquet has fewer types than Arrow, and gives some back as others: seconds as milliseconds, a dictionary with its
//! values in another order. So the types that could change are stored as plain ones of the same layout, under
//! names of our own, and the true types lie beside them. Going back changes labels, not bytes.

use std::sync::Arc;

use arrow_array::{make_array, Array, RecordBatch, RecordBatchOptions};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, IntervalUnit, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::schema::types::SchemaDescriptor;
use retainit_plugin_api::sdk::Result;

use crate::contain::{corrupt, unsupported};

/// The schema that stands for `schema`; `Unsupported` where there is none.
pub fn schema(schema: &Schema) -> Result<SchemaRef> {
    fields(schema.fields()).map(|fields| Arc::new(Schema::new(fields)))
}

/// The Parquet columns of such a schema.
pub fn descriptor(schema: &Schema) -> Result<SchemaDescriptor> {
    ArrowSchemaConverter::new().convert(schema).map_err(unsupported)
}

/// The columns under the types of `schema`, which [`schema()`] made.
pub fn to_storage(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    // Not looked at again: a slice without rows, say, may have offsets that lead beyond the text it no longer has.
    let columns = columns.map(|(column, field)| relabel(column.to_data(), field.data_type(), None, false));
    rebuild(columns, schema, batch.num_rows()).map_err(unsupported)
}

/// The columns under the types of `model`, a batch without rows that has the dictionaries.
pub fn from_storage(batch: &RecordBatch, model: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(model.columns());
    let columns = columns
        .map(|(column, model)| relabel(column.to_data(), model.data_type(), Some(&model.to_data()), true));
    rebuild(columns, &model.schema(), batch.num_rows()).map_err(corrupt)
}

fn rebuild(
    columns: impl Iterator<Item = Result<ArrayData, ArrowError>>,
    schema: &SchemaRef,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let columns = columns.map(|column| column.map(make_array)).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Named by their place: names may be empty, alike, or hold what Parquet does not allow.
fn fields(fields: &Fields) -> Result<Fields> {
    fields.iter().enumerate().map(|(place, own)| field(own, &place.to_string())).collect()
}

fn field(field: &FieldRef, name: &str) -> Result<FieldRef> {
    let stored = data_type(field.data_type()).map_err(|what| {
        unsupported(format_args!(
            "serializer `parquet` has no place for {what} of column `{}`: expected a type that parquet gives back as \
             it was; hint: serializer `arrow` takes every type",
            field.name()
        ))
    })?;
    Ok(Arc::new(Field::new(name, stored, field.is_nullable())))
}

/// The type of the same layout that Parquet gives back exactly, or what it is that has none.
fn data_type(own: &DataType) -> Result<DataType, String> {
    use DataType::*;
    let inner = |own: &FieldRef| -> Result<FieldRef, String> {
        Ok(Arc::new(Field::new("item", data_type(own.data_type())?, own.is_nullable())))
    };
    Ok(match own {
        Null | Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => own.clone(),
        Float16 | Float32 | Float64 => own.clone(),
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView => own.clone(),
        FixedSizeBinary(1..) => own.clone(),
        Date32 | Time32(_) | Decimal32(..) | Interval(IntervalUnit::YearMonth) => Int32,
        Date64 | Time64(_) | Timestamp(..) | Duration(_) | Decimal64(..) => Int64,
        Interval(IntervalUnit::DayTime) => FixedSizeBinary(8),
        Interval(IntervalUnit::MonthDayNano) | Decimal128(..) => FixedSizeBinary(16),
        Decimal256(..) => FixedSizeBinary(32),
        // The values are in the schema's own table.
        Dictionary(keys, _) => keys.as_ref().clone(),
        List(own) | Map(own, _) => List(inner(own)?),
        LargeList(own) => LargeList(inner(own)?),
        FixedSizeList(own, size @ 1..) => FixedSizeList(inner(own)?, *size),
        Struct(own) if !own.is_empty() => {
            let stored = own.iter().enumerate().map(|(place, own)| {
                let stored = data_type(own.data_type())?;
                Ok::<_, String>(Field::new(place.to_string(), stored, own.is_nullable()))
            });
            Struct(stored.collect::<Result<_, _>>()?)
        }
        other => return Err(format!("type `{other}`")),
    })
}

/// The same bytes under another type of the same layout. `model` has the values of dictionaries; `check` is for data
/// that comes from outside.
fn relabel(
    data: ArrayData,
    to: &DataType,
    model: Option<&ArrayData>,
    check: bool,
) -> Result<ArrayData, ArrowError> {
    if data.data_type() == to {
        return Ok(data);
    }
    let children: Vec<ArrayData> = match (data.data_type(), to) {
        (DataType::Dictionary(..), _) => Vec::new(),
        (_, DataType::Dictionary(..)) => model.map_or_else(Vec::new, |model| model.child_data().to_vec()),
        _ => {
            let children =
                data.child_data().iter().zip(child_types(to)).enumerate().map(|(place, (child, to))| {
                    relabel(child.clone(), to, model.and_then(|model| model.child_data().get(place)), check)
                });
            children.collect::<Result<_, _>>()?
        }
    };
    let builder = data.into_builder().data_type(to.clone()).child_data(children).align_buffers(true);
    if check {
        return builder.build();
    }
    // SAFETY: the data was valid under its own type, and the other one, which `data_type` chose, asks less of it.
    Ok(unsafe { builder.build_unchecked() })
}

fn child_types(parent: &DataType) -> Vec<&DataType> {
    match parent {
        DataType::List(child) | DataType::LargeList(child) | DataType::Map(child, _) => {
            vec![child.data_type()]
        }
        DataType::FixedSizeList(child, _) => vec![child.data_type()],
        DataType::Struct(children) => children.iter().map(|child| child.data_type()).collect(),
        _ => Vec::new(),
    }
}
