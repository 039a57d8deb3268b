//! x
use crate::stream::Table;
use retainit_plugin_api::sdk::{Result, Value};
pub fn encode(_: &Table) -> Result<Vec<u8>> {
    todo!()
}
pub fn decode(_: &Value) -> Result<Table> {
    todo!()
}
