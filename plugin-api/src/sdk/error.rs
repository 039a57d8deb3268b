//! The error type of plugins.

use std::fmt;

use crate::abi::status;

/// What a plugin's operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of an error, as the host acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Too much work is in flight.
    Busy,
    /// A passing failure; trying again may succeed.
    Retryable,
    /// The deadline passed.
    Timeout,
    /// Options are wrong.
    Configuration,
    /// The component does not have this operation.
    Unsupported,
    /// Stored data could not be understood.
    Corrupt,
    /// The plugin panicked.
    Panic,
    /// The instance is beyond use.
    Fatal,
    /// The operation was cancelled.
    Cancelled,
    /// An argument breaks the contract.
    Invalid,
}

impl ErrorKind {
    /// The ABI's number.
    pub const fn status(self) -> i32 {
        match self {
            ErrorKind::Busy => status::BUSY,
            ErrorKind::Retryable => status::RETRYABLE,
            ErrorKind::Timeout => status::TIMEOUT,
            ErrorKind::Configuration => status::CONFIGURATION,
            ErrorKind::Unsupported => status::UNSUPPORTED,
            ErrorKind::Corrupt => status::CORRUPT,
            ErrorKind::Panic => status::PANIC,
            ErrorKind::Fatal => status::FATAL,
            ErrorKind::Cancelled => status::CANCELLED,
            ErrorKind::Invalid => status::INVALID,
        }
    }

    /// The class of an ABI number below zero; unknown ones are [`ErrorKind::Fatal`].
    pub const fn from_status(number: i32) -> Self {
        match number {
            status::BUSY => ErrorKind::Busy,
            status::RETRYABLE => ErrorKind::Retryable,
            status::TIMEOUT => ErrorKind::Timeout,
            status::CONFIGURATION => ErrorKind::Configuration,
            status::UNSUPPORTED => ErrorKind::Unsupported,
            status::CORRUPT => ErrorKind::Corrupt,
            status::PANIC => ErrorKind::Panic,
            status::CANCELLED => ErrorKind::Cancelled,
            status::INVALID => ErrorKind::Invalid,
            _ => ErrorKind::Fatal,
        }
    }
}

/// An error with its class and a message. One pointer wide, so that results stay small.
#[derive(Clone)]
pub struct Error(Box<(ErrorKind, String)>);

impl Error {
    /// An error of `kind`; the message is lower case, without a final full stop, and holds no secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new((kind, message.into())))
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.0 .0
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.0 .1
    }

    /// The operation is not there.
    pub fn unsupported(operation: &str) -> Self {
        Error::new(ErrorKind::Unsupported, format!("operation `{operation}` is not supported"))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind(), self.message())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}
