//! Arrow data in its three formats. The decoders and what must hold are the plugin's own doors for tests.

// The tables of the plugin's tests are the seeds.
#[allow(dead_code)]
#[path = "../../../plugins/arrow-serde/tests/common/columns.rs"]
mod columns;
#[path = "../../../plugins/arrow-serde/tests/common/mod.rs"]
mod common;

use arrow_array::{ArrayRef, RecordBatch};
use retainit_arrow_serde::{fuzz, ArrowSerializer, CsvSerializer, ParquetSerializer};
use retainit_plugin_api::sdk::Serializer;

pub fn arrow(data: &[u8]) -> Option<()> {
    fuzz::arrow(data);
    Some(())
}

pub fn parquet(data: &[u8]) -> Option<()> {
    fuzz::parquet(data);
    Some(())
}

pub fn csv(data: &[u8]) -> Option<()> {
    fuzz::csv(data);
    Some(())
}

pub fn arrow_seeds() -> Vec<Vec<u8>> {
    seeds::<ArrowSerializer>()
}

pub fn parquet_seeds() -> Vec<Vec<u8>> {
    seeds::<ParquetSerializer>()
}

pub fn csv_seeds() -> Vec<Vec<u8>> {
    seeds::<CsvSerializer>()
}

/// A table of each column alone, which keeps them small, and one of a few.
fn seeds<S: Serializer>() -> Vec<Vec<u8>> {
    let serializer: S = common::open("{}");
    let columns: Vec<(&str, ArrayRef)> =
        [columns::flat(), columns::nested(), columns::others()].into_iter().flatten().collect();
    let few: Vec<(&str, ArrayRef)> = columns.iter().step_by(5).take(4).cloned().collect();
    let tables = columns.into_iter().map(|column| vec![column]).chain([few]);
    let batches =
        tables.map(|table| RecordBatch::try_from_iter_with_nullable(nullable(table)).expect("a batch"));
    // Not every format has every type.
    let written = batches.filter_map(|batch| common::write(&serializer, &batch).ok());
    written.map(|value| value.as_bytes().expect("bytes").to_vec()).collect()
}

fn nullable(table: Vec<(&str, ArrayRef)>) -> impl IntoIterator<Item = (&str, ArrayRef, bool)> {
    table.into_iter().map(|(name, column)| (name, column, true))
}
