//! retainit's engine. It knows no Python and no concrete backend.
//!
//! | module | what it holds |
//! |---|---|
//! | [`pipeline`], [`load`], `store` | the way of a call, the steps of a load, what tiers get |
//! | [`change`] | what users put, delete and clear |
//! | [`function`], [`tier`] | a cached function and the backends it uses |
//! | [`freshness`] | the moments of an entry, and the states it passes through |
//! | [`turn`] | one process at a time runs a function for a key |
//! | [`flight`] | single-flight, and the fence between loads and invalidations |
//! | [`tags`], [`invalidate`] | what entries have in common, and what ends them by it |
//! | [`key`], [`entry`], [`format`] | canonical keys, the entry format, how a tier makes entries |
//! | [`language`], [`access`] | what the engine needs of the language it serves, and who may write to what it gives it |
//! | [`lease`] | leases that are renewed, and given back whatever happens |
//! | [`loader`] | finding, checking and loading plugins |
//! | [`instance`], [`codec`], [`codecs`], [`sink`] | open components |
//! | [`config`], [`units`], [`nearest`] | configuration files, durations and sizes, "did you mean" |
//! | [`clock`], [`fork`], `sync` | the process's clock, the process's rarely taken locks, what threads meet on |

pub mod access;
mod buffer;
pub mod change;
pub mod clock;
pub mod codec;
pub mod codecs;
mod component;
pub mod config;
mod dictionary;
pub mod entry;
mod error;
pub mod flight;
pub mod fork;
pub mod format;
pub mod freshness;
pub mod function;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod host;
pub mod instance;
pub mod invalidate;
pub mod key;
pub mod language;
pub mod lease;
pub mod load;
pub mod loader;
mod lock;
pub mod nearest;
mod operations;
mod pause;
pub mod pipeline;
pub mod random;
pub mod sink;
mod store;
mod sync;
pub mod tags;
mod throttle;
pub mod tier;
pub mod turn;
pub mod units;
mod verified;

pub use error::{Error, ErrorKind, Result};
pub use function::Function;
pub use host::{HostCounters, OnEvicted, OnInvalidated};
pub use instance::{Instance, Pending};
pub use retainit_plugin_api::{abi, sdk};
