//! retainit's engine. It knows no Python and no concrete backend.

pub mod clock;
pub mod codec;
mod component;
mod host;
pub mod instance;
pub mod loader;
mod operations;
pub mod sink;
pub mod config;
pub mod entry;
mod error;
pub mod flight;
pub mod key;
pub mod nearest;
pub mod units;

pub use error::{Error, ErrorKind, Result};
pub use host::{HostCounters, OnEvicted, OnInvalidated};
pub use instance::Instance;
