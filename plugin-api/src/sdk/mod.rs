//! The kit for plugin authors: safe traits, and [`export_plugin!`](crate::export_plugin), which makes
//! tables, manifest and both doors out of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `error` | the error type of plugins |
//! | `value` | an owned reference to bytes or to a host object |
//! | `call` | the call's clock and deadline, the host's services |
//! | `backend`, `codec`, `sink` | the trait of each kind |
//! | `request` | operations that are answered later |
//! | `glob` | the patterns of `scan` |
//! | `export` | tables, panic containment, the macro |

#[cfg(panic = "abort")]
compile_error!(
    "a retainit plugin must be built with panic = \"unwind\": a panic has to be caught inside the plugin"
);

mod backend;
mod call;
mod codec;
mod error;
pub mod export;
mod glob;
mod request;
mod sink;
mod value;

pub use crate::abi::call::{Lease, Token, NEVER};
pub use crate::abi::capability;
pub use backend::{Backend, Entry, Item, ScanPage};
pub use call::{Call, Evicted, Host, Level};
pub use codec::{ArrowStream, Compressor, Data, Serializer, TensorInfo};
pub use error::{Error, ErrorKind, Result};
pub use glob::glob;
pub use request::{Completer, Reply, Request};
pub use sink::{Event, EventKind, Sink};
pub use value::Value;
