//! Finds plugins, checks them before any of their code runs, and loads them when they are needed.
//!
//! | file | what it holds |
//! |---|---|
//! | `registry` | where to look, in which order; one name gives one library or one error |
//! | `candidate` | one file that may be a plugin, and what was found out about it |
//! | `file` | regular, owned, not writable by others, of sane size, of the pinned hash |
//! | `binary` | the object file: architecture, bounds, doors, the manifest's section |
//! | `manifest` | the record in that section |
//! | `options` | validation of a component's options before it is loaded |
//! | `library` | `dlopen`, once for each file, for ever |
//! | `rust_door`, `c_door` | the two ways to the same tables |
//! | `tables` | the flat tables, checked against the manifest |
//! | `component` | a component of a plugin: opens instances |
//!
//! Invariant: nothing here looks into the working directory or the library search path, and no
//! constructor of a refused file has run, save where only the loaded layout could tell.

pub(crate) mod binary;
mod c_door;
mod candidate;
mod component;
mod file;
mod library;
pub(crate) mod manifest;
pub(crate) mod options;
mod registry;
mod rust_door;
mod tables;

pub use candidate::{Candidate, Origin, Refusal};
pub use component::{Component, Kind};
pub use registry::Registry;

/// The operation named in this module's errors.
pub const LOAD: &str = "load plugin";
