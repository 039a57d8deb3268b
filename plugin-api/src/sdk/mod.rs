//! The kit for plugin authors: safe traits, and [`export_plugin!`](crate::export_plugin), which makes
//! tables, manifest and both doors out of them.
//!
//! | file | what it holds |
//! |---|---|
//! | `error` | the error type of plugins |
//! | `value` | an owned reference to bytes or to a host object |
//! | `call` | the call's clock and deadline, the host's services |
//! | `backend`, `codec`, `sink` | the trait of each kind |
//! | `tensor` | the description of an array |
//! | `request` | operations that are answered later |
//! | `glob` | the patterns of `scan` |
//! | [`tree`] | reading, checking and writing data of the tree form |
//! | `export` | tables, panic containment, the macro |

//!
//! A whole plugin:
//!
//! ```
//! use std::{collections::HashMap, sync::Mutex};
//!
//! use retainit_plugin_api::sdk::{capability, Backend, Call, Entry, Host, Item, Result, Value};
//!
//! #[derive(serde::Deserialize)]
//! struct Options {}
//!
//! #[derive(Default)]
//! struct Map(Mutex<HashMap<Vec<u8>, Value>>);
//!
//! impl Backend for Map {
//!     const NAME: &'static str = "map";
//!     const CAPABILITIES: u64 = capability::INLINE | capability::OBJECTS;
//!     const SCHEMA: &'static str = r#"{"type": "object", "properties": {}}"#;
//!     type Options = Options;
//!
//!     fn open(_: Options, _: Host) -> Result<Self> {
//!         Ok(Map::default())
//!     }
//!     fn get(&self, call: &Call<'_>, key: &[u8]) -> Result<Option<Item>> {
//!         Ok(self.0.lock().unwrap().get(key).map(|value| Item::new(value.share(call))))
//!     }
//!     fn set(&self, _: &Call<'_>, entry: Entry<'_>) -> Result<()> {
//!         // What was there is dropped after the lock is given back.
//!         let _old = self.0.lock().unwrap().insert(entry.key.to_vec(), entry.value);
//!         Ok(())
//!     }
//!     fn delete(&self, _: &Call<'_>, key: &[u8]) -> Result<bool> {
//!         let old = self.0.lock().unwrap().remove(key);
//!         Ok(old.is_some())
//!     }
//!     fn clear(&self, _: &Call<'_>, prefix: &[u8]) -> Result<u64> {
//!         let removed: Vec<_> =
//!             self.0.lock().unwrap().extract_if(|key, _| key.starts_with(prefix)).collect();
//!         Ok(removed.len() as u64)
//!     }
//!     fn quiesce(&self, _: &Call<'_>) -> Result<()> {
//!         Ok(())
//!     }
//! }
//!
//! retainit_plugin_api::export_plugin! {
//!     name: "map",
//!     backends: [Map],
//!     serializers: [],
//!     compressors: [],
//!     sinks: [],
//! }
//! # use retainit_plugin_api::{conformance::Suite, sdk::export::BackendExport};
//! # Suite::new(BackendExport::<Map>::TABLE, |_| "{}".to_owned()).run().assert();
//! ```

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
mod tensor;
pub mod tree;
mod value;

pub use crate::abi::call::{Lease, Token, NEVER};
pub use crate::abi::capability;
pub use backend::{Backend, Entry, Item, ScanPage};
pub use call::{Call, Evicted, Host, Level};
pub use codec::{ArrowStream, Compressor, Data, Serializer};
pub use error::{Error, ErrorKind, Result};
pub use glob::glob;
pub use request::{Completer, Reply, Request};
pub use sink::{Event, EventKind, Sink};
pub use tensor::TensorInfo;
pub use value::{OwnerTable, Value};
