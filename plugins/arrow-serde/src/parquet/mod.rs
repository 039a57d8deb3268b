//! x
use crate::{config::ParquetOptions, stream::Table};
use retainit_plugin_api::sdk::{Result, Value};
pub fn encode(_: &Table, _: &ParquetOptions) -> Result<Vec<u8>> {
    todo!()
}
pub fn decode(_: Value, _: u64) -> Result<Table> {
    todo!()
}
