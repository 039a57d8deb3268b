//! The serializers that come with retainit.
//!
//! | file | what it holds |
//! |---|---|
//! | `config` | the options: none so far |
//! | `serializer` | what the serializers share, and one file for each: `msgpack`, `json`, `text`, `bytes`, `numpy` |
//! | `json` | trees to JSON text and back |
//! | `npy` | NumPy's file format: its header, and elements in its order |
//!
//! Invariant: what a serializer takes it gives back exactly; what it cannot give back, it refuses.

mod config;
mod json;
mod npy;
mod serializer;

pub use config::Config;
pub use serializer::{BytesSerializer, JsonSerializer, MsgpackSerializer, NumpySerializer, TextSerializer};

/// JSON Schema of [`Config`].
pub const SCHEMA: &str = include_str!("options.schema.json");

#[cfg(feature = "export")]
retainit_plugin_api::export_plugin! {
    name: "codecs",
    backends: [],
    serializers: [
        serializer::MsgpackSerializer,
        serializer::JsonSerializer,
        serializer::TextSerializer,
        serializer::BytesSerializer,
        serializer::NumpySerializer,
    ],
    compressors: [],
    sinks: []
}
