//! `json`: trees as JSON text, for whoever else reads the store.

use retainit_plugin_api::sdk::{capability, Call, Data, Host, Result, Serializer, Value};

use super::{contents, not_of_form, stored};
use crate::config::Config;
use crate::json;

/// Writes trees as JSON text, and refuses what JSON could not give back exactly.
#[derive(Debug)]
pub struct JsonSerializer;

impl Serializer for JsonSerializer {
    const NAME: &'static str = "json";
    const CAPABILITIES: u64 = capability::FORM_TREE;
    const SCHEMA: &'static str = crate::SCHEMA;
    type Options = Config;

    fn open(_: Config, _: Host) -> Result<Self> {
        Ok(JsonSerializer)
    }

    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        let Data::Tree(value) = data else {
            return Err(not_of_form(Self::NAME, "a tree", &data));
        };
        json::write(contents(&value)?).map(Value::from_vec)
    }

    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        json::read(stored(&bytes)?).map(|tree| Data::Tree(Value::from_vec(tree)))
    }
}
