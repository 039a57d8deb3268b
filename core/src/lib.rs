//! retainit's engine. It knows no Python and no concrete backend.

pub mod entry;
mod error;
pub mod flight;
pub mod key;

pub use error::{Error, ErrorKind, Result};
