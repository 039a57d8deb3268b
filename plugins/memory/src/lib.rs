//! The in-process backend of retainit: Python objects and bytes, bounded, expiring, sharded.
//!
//! | file | what it holds |
//! |---|---|
//! | `config` | the options |
//! | `store` | the backend: the operations, one line each |
//! | `cache` | the shards together: choosing one, making room, walking over all |
//! | `budget` | the bounds, shared by the shards |
//! | `shard` | entries, index and queues under one lock |
//! | `record`, `slab` | one entry in one cache line, and where entries live |
//! | `index`, `hasher` | from a key to its record |
//! | `policy` | which entry leaves: S3-FIFO, LRU |
//! | `sweeper` | the thread that reclaims expired entries |
//! | `lease` | leases |
//! | `lock`, `key`, `tables`, `gone` | a one-byte lock, owned keys, numbered reference tables, what waits to be dropped |
//!
//! Why a table of its own, rather than `moka` or `quick_cache`: see the README.

mod budget;
mod cache;
mod config;
mod gone;
mod hasher;
mod index;
mod key;
mod lease;
mod lock;
mod policy;
mod record;
mod shard;
mod slab;
mod store;
mod sweeper;
mod tables;

pub use config::Config;
pub use policy::Algorithm;
pub use store::MemoryBackend;

/// JSON Schema of [`Config`].
pub const SCHEMA: &str = include_str!("options.schema.json");

#[cfg(feature = "export")]
retainit_plugin_api::export_plugin! {
    name: "memory",
    backends: [store::MemoryBackend],
    serializers: [],
    compressors: [],
    sinks: []
}
