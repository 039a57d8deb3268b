//! `text`: UTF-8, checked both ways.

use retainit_plugin_api::sdk::{capability, Call, Data, Error, ErrorKind, Host, Result, Serializer, Value};

use super::{contents, corrupt, not_of_form, stored};
use crate::config::Config;

/// Stores text as UTF-8, without a copy.
#[derive(Debug)]
pub struct TextSerializer;

impl Serializer for TextSerializer {
    const NAME: &'static str = "text";
    const CAPABILITIES: u64 = capability::FORM_BYTES;
    const SCHEMA: &'static str = crate::SCHEMA;
    type Options = Config;

    fn open(_: Config, _: Host) -> Result<Self> {
        Ok(TextSerializer)
    }

    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        let Data::Bytes(value) = data else {
            return Err(not_of_form(Self::NAME, "text as bytes", &data));
        };
        match std::str::from_utf8(contents(&value)?) {
            Ok(_) => Ok(value),
            Err(error) => Err(Error::new(ErrorKind::Invalid, not_text(&error))),
        }
    }

    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        match std::str::from_utf8(stored(&bytes)?) {
            Ok(_) => Ok(Data::Bytes(bytes)),
            Err(error) => Err(corrupt(not_text(&error))),
        }
    }
}

fn not_text(error: &std::str::Utf8Error) -> String {
    format!("expected text in utf-8, found other bytes after {} bytes of it", error.valid_up_to())
}
