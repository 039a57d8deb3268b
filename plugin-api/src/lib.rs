//! The retainit plugin ABI, and the kit for writing plugins in Rust.
//!
//! * [`abi`]: what crosses between host and plugin, for hosts and for other languages' bindings.
//! * [`sdk`]: one safe trait for each kind of component, and [`export_plugin!`].
//! * `conformance` (feature): the behaviour every backend must show, as a library function.

pub mod abi;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod sdk;

#[doc(hidden)]
pub use abi_stable;
#[doc(hidden)]
pub use serde_json;
