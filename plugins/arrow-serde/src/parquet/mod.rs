//! Parquet files: columns of the types that Parquet has, and the true schema beside them.
//!
//! | file | what it holds |
//! |---|---|
//! | `storage` | which type stands for which, there and back |
//! | `write`, `read` | tables to files and back |
//! | `limits` | how much memory a file can come to, found out before it is read |
//! | `thrift` | the encoding of a file's metadata, as far as `limits` looks at it |

mod limits;
mod read;
mod storage;
mod thrift;
mod write;

pub use read::decode;
pub use write::encode;

/// The key under which a file holds what [`header`](crate::header) makes.
const HEADER: &str = "retainit:schema";
