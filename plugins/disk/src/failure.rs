//! Why an operation on the database did not work, and what to do about it.

use std::io;

use retainit_plugin_api::sdk::{Error, ErrorKind};
use rusqlite::ffi;
use rusqlite::ErrorCode;

/// The result of work on a connection.
pub type Outcome<T> = Result<T, Failure>;

/// Why work on a connection failed.
#[derive(Debug)]
pub enum Failure {
    /// The database cannot be understood: it is set aside and the work done again on a new one.
    Damaged(String),
    /// The database has been moved or removed from under the connection: the work is done again.
    Moved,
    /// Another process held a lock for longer than the call may wait.
    Locked,
    /// What the caller gets to see.
    Refused(Error),
}

impl Failure {
    /// A failure that the caller sees.
    pub fn refused(kind: ErrorKind, message: impl Into<String>) -> Self {
        Failure::Refused(Error::new(kind, message))
    }

    /// A failure of the file system; `what` says what was tried, as in "create `/a/b`".
    pub fn io(what: &str, error: &io::Error) -> Self {
        Failure::Refused(io_error(what, error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Refused(error)
    }
}

/// The error of a failed system call, in the class that tells whether trying again can help.
pub fn io_error(what: &str, error: &io::Error) -> Error {
    let (kind, hint) = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => (ErrorKind::Retryable, "; hint: the disk is full"),
        Some(libc::EROFS) => (ErrorKind::Configuration, "; hint: the file system is mounted read-only"),
        Some(libc::EACCES | libc::EPERM) => (
            ErrorKind::Configuration,
            "; hint: give this user the right to write there, or choose another `base_path`",
        ),
        Some(libc::ENOTDIR | libc::EEXIST | libc::ELOOP | libc::ENAMETOOLONG) => {
            (ErrorKind::Configuration, "; hint: choose another `base_path`")
        }
        _ => (ErrorKind::Retryable, ""),
    };
    Error::new(kind, format!("cannot {what}: {error}{hint}"))
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(code, _) = &error else {
            // A column of another type, a missing row of a table that always has one.
            return Failure::Damaged(error.to_string());
        };
        match code.code {
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Failure::Damaged(error.to_string()),
            ErrorCode::SystemIoFailure if code.extended_code == ffi::SQLITE_IOERR_SHORT_READ => {
                Failure::Damaged(error.to_string())
            }
            // Our own statements are right: what they name is missing from the schema.
            ErrorCode::Unknown if code.extended_code == ffi::SQLITE_ERROR => Failure::Damaged(error.to_string()),
            ErrorCode::ReadOnly if code.extended_code == ffi::SQLITE_READONLY_DBMOVED => Failure::Moved,
            ErrorCode::ReadOnly => Failure::refused(
                ErrorKind::Configuration,
                format!("the cache cannot be written: {error}; hint: give this user the right to write, or choose another `base_path`"),
            ),
            ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                Failure::refused(ErrorKind::Configuration, format!("the cache cannot be opened: {error}"))
            }
            ErrorCode::DiskFull => Failure::refused(ErrorKind::Retryable, format!("the disk is full: {error}")),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Failure::Locked,
            _ => Failure::refused(ErrorKind::Retryable, format!("the database failed: {error}")),
        }
    }
}
