//! retainit's engine. It knows no Python and no concrete backend.

pub mod config;
pub mod entry;
mod error;
pub mod flight;
pub mod key;
pub mod nearest;
pub mod units;

pub use error::{Error, ErrorKind, Result};
