//! retainit's engine. It knows no Python and no concrete backend.

mod error;

pub use error::{Error, ErrorKind, Result};
