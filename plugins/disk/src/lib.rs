//! Entries on disk, shared by the processes of a machine: small values in SQLite, large ones in files
//! that are read by memory map. `docs/disk-format.md` describes what is where and why it stays whole.
//!
//! | file | what it holds |
//! |---|---|
//! | [`store`] | the backend: from the trait's methods to the database |
//! | [`config`] | its options |
//! | `database` | connections, the writer's gate, rebuilding |
//! | `entries`, `scan`, `lease` | the operations |
//! | `schema` | tables and pragmas |
//! | `connection`, `pool`, `gate`, `wait` | who may use SQLite, and how long they wait |
//! | `vfs`, `view`, `views` | one write for each transaction, and as few locks as can be |
//! | `directory`, `files` | the directory, and files of large values as they are written |
//! | `mapping`, `content`, `fault` | the same as they are read: open files, their bytes, who may write to them, what happens when they shrink |
//! | `totals`, `recency`, `eviction`, `sweeper` | bounds and expiry |
//! | `damage`, `failure`, `fork`, `token` | setting aside, errors, children, versions |

pub mod config;
pub mod store;

mod connection;
mod content;
mod damage;
mod database;
mod directory;
mod entries;
mod eviction;
mod failure;
mod fault;
mod files;
mod fork;
mod gate;
mod lease;
mod mapping;
mod pool;
mod recency;
mod scan;
mod schema;
mod sweeper;
mod token;
mod totals;
mod vfs;
mod view;
mod views;
mod wait;

pub use config::Options;
pub use store::DiskBackend;

#[cfg(feature = "export")]
retainit_plugin_api::export_plugin! {
    name: "disk",
    backends: [store::DiskBackend],
    serializers: [],
    compressors: [],
    sinks: [],
}
