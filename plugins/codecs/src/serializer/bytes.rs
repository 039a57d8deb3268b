//! `bytes`: stored as they are.

use retainit_plugin_api::sdk::{capability, Call, Data, Host, Result, Serializer, Value};

use super::{contents, not_of_form, stored};
use crate::config::Config;

/// Stores bytes as they are, without a copy.
#[derive(Debug)]
pub struct BytesSerializer;

impl Serializer for BytesSerializer {
    const NAME: &'static str = "bytes";
    const CAPABILITIES: u64 = capability::FORM_BYTES;
    const SCHEMA: &'static str = crate::SCHEMA;
    type Options = Config;

    fn open(_: Config, _: Host) -> Result<Self> {
        Ok(BytesSerializer)
    }

    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        let Data::Bytes(value) = data else {
            return Err(not_of_form(Self::NAME, "bytes", &data));
        };
        contents(&value)?;
        Ok(value)
    }

    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        stored(&bytes)?;
        Ok(Data::Bytes(bytes))
    }
}
