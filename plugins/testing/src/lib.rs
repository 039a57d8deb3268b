//! Backends that do what a test tells them to: answer properly, fail, take their time, hang, answer garbage,
//! answer too late or twice, or panic; and that say afterwards what they were asked.
//!
//! | file | what it holds |
//! |---|---|
//! | `config` | the options |
//! | `rule` | one line of a script: which calls, and what becomes of them |
//! | `record` | the calls so far |
//! | `channel` | what instances of one name share: entries, script and record |
//! | `map` | entries and leases |
//! | `store` | the three backends: one that blocks, one that answers later, one that answers at once |
//! | `later` | the threads of the one that answers later |
//! | `control` | the C functions that a test reaches the script through |

mod channel;
mod config;
pub mod control;
mod later;
mod map;
mod record;
mod rule;
mod store;

pub use config::Config;
pub use rule::{Failure, Outcome, Rule};
pub use store::{Blocking, Inline, Later, Manner, Scripted};

/// JSON Schema of [`Config`].
pub const SCHEMA: &str = include_str!("options.schema.json");

#[cfg(feature = "export")]
retainit_plugin_api::export_plugin! {
    name: "testing",
    backends: [store::Scripted<store::Blocking>, store::Scripted<store::Later>, store::Scripted<store::Inline>],
    serializers: [],
    compressors: [],
    sinks: []
}
