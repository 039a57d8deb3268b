//! Batches out of an Arrow C stream, and back into one.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::ffi::FFI_ArrowArray;
use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::types::ByteViewType;
use arrow_array::{
    make_array, Array, ArrayRef, GenericByteViewArray, RecordBatch, RecordBatchIterator, RecordBatchOptions,
    RecordBatchReader, StructArray,
};
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use arrow_select::concat::concat_batches;
use retainit_plugin_api::sdk::{ArrowStream, Data, Error, ErrorKind, Result};

use crate::contain::{corrupt, invalid, unsupported};

/// The rows of a stream: at most one batch, none where the stream has none.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The schema, with all metadata.
    pub schema: SchemaRef,
    /// The rows.
    pub batch: Option<RecordBatch>,
}

impl Table {
    /// Reads a stream to its end and joins its batches.
    pub fn take(data: Data) -> Result<Self> {
        let Data::Arrow(mut stream) = data else {
            return Err(Error::new(
                ErrorKind::Invalid,
                "expected an arrow stream, found data of another form",
            ));
        };
        // SAFETY: both types have the layout of the interface's `ArrowArrayStream`, and the stream is ours; it is
        // moved out, and `stream` left marked as released.
        let reader = unsafe { RecordBatchStreamReader::from_raw(stream.as_mut_ptr().cast()) };
        let reader = reader.map_err(failed)?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, ArrowError>>().map_err(failed)?;
        let batch = join(&schema, batches)?.map(compact);
        Ok(Table { schema, batch })
    }

    /// Makes a stream that hands the rows out.
    pub fn give(self) -> Result<Data> {
        self.check_handover()?;
        let batches = self.batch.into_iter().map(Ok);
        let mut stream = FFI_ArrowArrayStream::new(Box::new(RecordBatchIterator::new(batches, self.schema)));
        // SAFETY: the layouts are the same, and the stream is ours; `stream` is left marked as released.
        Ok(Data::Arrow(unsafe { ArrowStream::take(std::ptr::from_mut(&mut stream).cast()) }))
    }

    /// Does once what the stream's callbacks will do: a name that C cannot hold would there end the process.
    fn check_handover(&self) -> Result<()> {
        FFI_ArrowSchema::try_from(self.schema.as_ref()).map_err(corrupt)?;
        if let Some(batch) = &self.batch {
            drop(FFI_ArrowArray::new(&StructArray::from(batch.clone()).to_data()));
        }
        Ok(())
    }
}

/// A producer's failure, in its own words.
fn failed(error: ArrowError) -> Error {
    match error {
        ArrowError::NotYetImplemented(what) => unsupported(what),
        error => invalid(format_args!("the arrow stream failed: {error}")),
    }
}

/// One batch out of many. A single one that has rows is taken as it is.
fn join(schema: &SchemaRef, mut batches: Vec<RecordBatch>) -> Result<Option<RecordBatch>> {
    if batches.iter().any(|batch| batch.num_rows() > 0) {
        batches.retain(|batch| batch.num_rows() > 0);
    } else {
        batches.truncate(1);
    }
    if batches.len() < 2 {
        return Ok(batches.pop());
    }
    share_dictionaries(&mut batches);
    concat_batches(schema, &batches).map(Some).map_err(|error| {
        unsupported(format_args!("the batches of the stream cannot be joined into one: {error}"))
    })
}

/// Makes equal dictionaries one, so that joining keeps it as it is: the order and the number of its values are
/// those of a category or an enumeration, and part of the data.
fn share_dictionaries(batches: &mut [RecordBatch]) {
    let Some((first, others)) = batches.split_first_mut() else { return };
    for batch in others {
        let columns: Vec<ArrayRef> = first.columns().iter().zip(batch.columns()).map(shared).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        if let Ok(same) = RecordBatch::try_new_with_options(batch.schema(), columns, &options) {
            *batch = same;
        }
    }
}

fn shared((first, other): (&ArrayRef, &ArrayRef)) -> ArrayRef {
    let (Some(model), Some(dictionary)) = (first.as_any_dictionary_opt(), other.as_any_dictionary_opt())
    else {
        return Arc::clone(other);
    };
    if model.values().to_data() != dictionary.values().to_data() {
        return Arc::clone(other);
    }
    dictionary.with_values(Arc::clone(model.values()))
}

/// Leaves out text that no row shows: a slice of a column of views still holds the whole column's bytes.
fn compact(batch: RecordBatch) -> RecordBatch {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            DataType::Utf8View => compact_views(column.as_string_view()),
            DataType::BinaryView => compact_views(column.as_binary_view()),
            _ => None,
        })
        .zip(batch.columns())
        .map(|(smaller, column)| smaller.unwrap_or_else(|| Arc::clone(column)))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).unwrap_or(batch)
}

fn compact_views<T: ByteViewType + ?Sized>(views: &GenericByteViewArray<T>) -> Option<ArrayRef> {
    let held: usize = views.data_buffers().iter().map(|buffer| buffer.len()).sum();
    // Copying costs more than a few bytes too many.
    (held / 2 > views.total_buffer_bytes_used()).then(|| make_array(views.gc().into_data()))
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int8Type;
    use arrow_array::{DictionaryArray, Int64Array, StringViewArray};
    use arrow_schema::{Field, Schema};

    use super::*;

    fn stream(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Data {
        let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), Arc::clone(schema));
        let mut stream = FFI_ArrowArrayStream::new(Box::new(reader));
        // SAFETY: the stream is ours, and left marked as released.
        Data::Arrow(unsafe { ArrowStream::take(std::ptr::from_mut(&mut stream).cast()) })
    }

    fn one_column(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("a", column)]).unwrap()
    }

    #[test]
    fn batches_are_joined_and_empty_ones_left_out() {
        let numbers = |numbers: &[i64]| one_column(Arc::new(Int64Array::from(numbers.to_vec())));
        let schema = numbers(&[]).schema();
        let batches = vec![numbers(&[]), numbers(&[1, 2]), numbers(&[]), numbers(&[3])];
        assert_eq!(Table::take(stream(&schema, batches)).unwrap().batch, Some(numbers(&[1, 2, 3])));
        let table = Table::take(stream(&schema, vec![numbers(&[]), numbers(&[])])).unwrap();
        assert_eq!(table.batch, Some(numbers(&[])));
        assert_eq!(Table::take(stream(&schema, vec![])).unwrap(), Table { schema, batch: None });
    }

    #[test]
    fn equal_dictionaries_stay_one_with_their_order_and_unused_values() {
        let categories = |keys: &[i8]| {
            let values = Arc::new(StringViewArray::from(vec!["c", "a", "unused", "b"]));
            one_column(Arc::new(DictionaryArray::<Int8Type>::new(keys.to_vec().into(), values)))
        };
        let schema = categories(&[]).schema();
        let table = Table::take(stream(&schema, vec![categories(&[0, 1]), categories(&[3])])).unwrap();
        assert_eq!(table.batch, Some(categories(&[0, 1, 3])));
    }

    #[test]
    fn a_slice_of_views_leaves_the_rest_of_the_text_behind() {
        let texts: Vec<String> = (0..1000).map(|i| format!("a text that is not held inline: {i}")).collect();
        let whole = one_column(Arc::new(StringViewArray::from_iter_values(&texts)));
        let slice = whole.slice(10, 3);
        let table = Table::take(stream(&whole.schema(), vec![slice.clone()])).unwrap();
        let batch = table.batch.unwrap();
        assert_eq!(batch, slice);
        let held: usize = batch.column(0).as_string_view().data_buffers().iter().map(|b| b.len()).sum();
        assert!(held < 200, "{held}");
    }

    #[test]
    fn a_stream_that_was_handed_over_comes_back() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)])
            .with_metadata(std::collections::HashMap::from([("key".to_owned(), "value".to_owned())]));
        let schema = Arc::new(schema);
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(vec![Some(1), None]))]);
        let table = Table { schema, batch: Some(batch.unwrap()) };
        assert_eq!(Table::take(table.clone().give().unwrap()).unwrap(), table);
    }

    #[test]
    fn a_name_that_c_cannot_hold_is_found_before_the_host_asks_for_it() {
        let schema = Arc::new(Schema::new(vec![Field::new("a\0b", DataType::Int64, true)]));
        let outcome = crate::contain::decoding(|| Table { schema, batch: None }.give());
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn other_forms_are_refused() {
        let error = Table::take(Data::Bytes(retainit_plugin_api::sdk::Value::from_vec(vec![1]))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
