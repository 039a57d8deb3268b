//! What the tests across retainit's parts share.
//!
//! | file | what it holds |
//! |---|---|
//! | `build` | plugins built by cargo, and variants of plugins built by the C compiler |
//! | `scratch` | a directory of a test's own |
//! | `scripted` | a backend that follows a script, under a clock that stands still |
//! | `variant` | copies of the plugin API with one thing changed, as other versions have it |

mod build;
mod scratch;
mod scripted;
mod variant;

pub use build::{c_fixture, c_plugin, cargo_plugin, fixture, workspace};
pub use scratch::Scratch;
pub use scripted::{eventually, Scripted};
pub use variant::{host_against, plugin_against, Change};
