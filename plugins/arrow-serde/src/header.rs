//! What Parquet and CSV cannot say by themselves, as text: the schema, and the values of dictionaries.
//!
//! It is an IPC stream of a table without rows, in base64. Such a table has every field, all metadata, and the
//! dictionaries in their order, with values that no row uses.

use arrow_array::RecordBatch;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use retainit_plugin_api::sdk::{Result, Value};

use crate::contain::corrupt;
use crate::ipc::{self, Trust};
use crate::stream::Table;

/// The text for `table`.
pub fn encode(table: &Table) -> Result<String> {
    let empty = Table { schema: table.schema.clone(), batch: table.batch.as_ref().map(without_rows) };
    Ok(STANDARD.encode(ipc::encode(&empty)?.to_vec()))
}

/// The table without rows. Its batch is `None` where there was none, and the whole batch where it has no columns.
pub fn decode(text: &[u8]) -> Result<Table> {
    let bytes = STANDARD.decode(text).map_err(corrupt)?;
    let table = ipc::decode(Value::from_vec(bytes), &Trust::nothing())?;
    match &table.batch {
        Some(batch) if batch.num_rows() > 0 && batch.num_columns() > 0 => {
            Err(corrupt("the table that holds the schema has rows"))
        }
        _ => Ok(table),
    }
}

fn without_rows(batch: &RecordBatch) -> RecordBatch {
    // Without columns there is nothing that could hold the number of rows.
    if batch.num_columns() == 0 {
        return batch.clone();
    }
    batch.slice(0, 0)
}
