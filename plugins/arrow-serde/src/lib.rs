//! Serializers for Arrow data: IPC that is read in place, Parquet, and CSV that keeps its types.
//!
//! | file | what it holds |
//! |---|---|
//! | `config` | the options |
//! | `serializer` | the three serializers: what they share, and what the host calls |
//! | `stream` | batches out of an Arrow C stream, and back into one |
//! | `contain` | from the errors and panics of the Arrow crates to ours |
//! | `header` | the schema and the dictionaries as text, for formats that lack them |
//! | `ipc` | the IPC stream format: one copy to write, none to read |
//! | `parquet` | Parquet, with the types it lacks stored as others, and its claims checked before it is read |
//! | `csv` | text with the schema in its first line |
//! | `fuzz` | the decoders as plain functions |

mod config;
mod contain;
mod csv;
pub mod fuzz;
mod header;
mod ipc;
mod parquet;
mod serializer;
mod stream;

pub use config::{ArrowOptions, Compression, CsvOptions, ParquetOptions};
pub use serializer::{ArrowSerializer, CsvSerializer, ParquetSerializer};

#[cfg(feature = "export")]
retainit_plugin_api::export_plugin! {
    name: "arrow-serde",
    backends: [],
    serializers: [serializer::ArrowSerializer, serializer::ParquetSerializer, serializer::CsvSerializer],
    compressors: [],
    sinks: []
}
