//! A call that failed.

use std::fmt;

use crate::abi::status;

/// What a call returns.
pub(super) type Result<T> = std::result::Result<T, Fault>;

/// An error status with its message.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) operation: &'static str,
    pub(crate) status: i32,
    pub(crate) message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` failed: {} ({}): {}",
            self.operation,
            status::name(self.status),
            self.status,
            self.message
        )
    }
}

impl std::error::Error for Fault {}
