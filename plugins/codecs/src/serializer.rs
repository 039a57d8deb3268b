//! What the serializers share, and one file for each.

mod bytes;
mod json;
mod msgpack;
mod numpy;
mod text;

use retainit_plugin_api::sdk::{Data, Error, ErrorKind, Result, Value};

pub use bytes::BytesSerializer;
pub use json::JsonSerializer;
pub use msgpack::MsgpackSerializer;
pub use numpy::NumpySerializer;
pub use text::TextSerializer;

/// The bytes of a value that must be bytes.
fn contents(value: &Value) -> Result<&[u8]> {
    value
        .as_bytes()
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "expected bytes, found an object of the host"))
}

/// As [`contents`], of a value that was stored.
fn stored(value: &Value) -> Result<&[u8]> {
    value.as_bytes().ok_or_else(|| corrupt("expected bytes, found an object of the host"))
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// The refusal of data in a form that is not declared.
#[cold]
fn not_of_form(serializer: &str, expected: &str, data: &Data) -> Error {
    let found = match data {
        Data::Bytes(_) => "bytes",
        Data::Tree(_) => "a tree",
        Data::Tensor(..) => "a tensor",
        Data::Arrow(_) => "an arrow stream",
        _ => "another form",
    };
    let message = format!("serializer `{serializer}` takes {expected}: expected {expected}, found {found}");
    Error::new(ErrorKind::Unsupported, message)
}
