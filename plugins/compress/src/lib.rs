//! The compressors of retainit.
//!
//! | file | what it holds |
//! |---|---|
//! | `config` | the options |
//! | `compressor` | what both compressors share: how they refuse, how they allocate |
//! | `compressor::zstd` | `zstd`: one frame per value, levels, dictionaries |
//! | `compressor::lz4` | `lz4`: blocks behind their size |
//! | `dictionary` | reading a dictionary from options, training one from samples |
//! | `pool` | contexts that wait for the next value |
//!
//! Invariant: what a compressed input says of itself is checked before memory is allocated for it.

mod compressor;
mod config;
mod dictionary;
mod pool;

pub use compressor::{Lz4, Zstd};
pub use config::{Lz4Config, ZstdConfig};

/// JSON Schema of [`ZstdConfig`].
pub const ZSTD_SCHEMA: &str = include_str!("zstd.schema.json");
/// JSON Schema of [`Lz4Config`].
pub const LZ4_SCHEMA: &str = include_str!("lz4.schema.json");

#[cfg(feature = "export")]
retainit_plugin_api::export_plugin! {
    name: "compress",
    backends: [],
    serializers: [],
    compressors: [compressor::Zstd, compressor::Lz4],
    sinks: []
}
