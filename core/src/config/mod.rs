//! Configuration files: read into a located tree, expanded, and checked.
//!
//! - `find`: which file is the project's
//! - `read`: a file as a [`Config`]
//! - `node`: the tree every format is read into, each value with its line
//! - `yaml`, `json`, `toml`: the formats
//! - `expand`: `${VAR}` and `${VAR:-default}`
//! - `section`: the keys that exist, and what they hold
//! - `options`: a backend's options against the schema its plugin declares
//!
//! A mistake is one error that names file, line, key, what was expected, what was found and the
//! nearest valid name. A value that came from the environment is shown as it stands in the file, so
//! that no secret reaches a message.

mod expand;
mod find;
mod json;
mod node;
mod options;
mod read;
#[cfg(test)]
mod scratch;
mod section;
mod toml;
mod yaml;

pub use find::find;
pub use options::{prepare, Source};
pub use read::read;
#[cfg(feature = "fuzzing")]
pub(crate) use read::text;
pub use section::{BackendEntry, Config, Origin, PluginEntry, Ttl};
