//! The decoders as plain functions, for tests that feed them anything.
//!
//! Each either gives arrays, which are then walked from end to end, or an error of class `Corrupt`; anything else is
//! a panic. `arrow` never trusts its input here: `validate: false` is for bytes that are known to be good.

use retainit_plugin_api::sdk::{ErrorKind, Result, Value};

use crate::contain::decoding;
use crate::ipc::Trust;
use crate::stream::Table;
use crate::{csv, ipc, parquet};

/// Enough for any honest file of a fuzzer's size.
const MAX_BYTES: u64 = 64 << 20;

/// Decodes `bytes` as `arrow` does.
pub fn arrow(bytes: &[u8]) {
    look(decoding(|| {
        let table = ipc::decode(Value::from_vec(bytes.to_vec()), &Trust::nothing())?;
        table.clone().give()?;
        Ok(table)
    }));
}

/// Decodes `bytes` as `parquet` does, into at most 64 MiB.
pub fn parquet(bytes: &[u8]) {
    look(decoding(|| {
        let table = parquet::decode(&Value::from_vec(bytes.to_vec()), MAX_BYTES)?;
        table.clone().give()?;
        Ok(table)
    }));
}

/// Decodes `bytes` as `csv` does.
pub fn csv(bytes: &[u8]) {
    look(decoding(|| {
        let table = csv::decode(&Value::from_vec(bytes.to_vec()))?;
        table.clone().give()?;
        Ok(table)
    }));
}

/// Walks over all values, which would show offsets that lead nowhere.
fn look(outcome: Result<Table>) {
    match outcome {
        Ok(Table { batch: Some(batch), .. }) => {
            for column in batch.columns() {
                column.to_data().validate_full().expect("decoded arrays are valid");
                assert_eq!(column.len(), batch.num_rows());
            }
        }
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
}
