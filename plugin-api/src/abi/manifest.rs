//! The record that is read without running code.
//!
//! A plugin carries, in an object-file section of its own ([`SECTION`]), the bytes
//! `RETAINIT-PLUGIN\n`, one JSON object and a NUL:
//!
//! ```json
//! {"abi": [1, 0], "name": "memory", "version": "0.1.0",
//!  "components": [{"kind": "backend", "name": "memory", "capabilities": "0x0000000000002049",
//!                  "schema": {"type": "object", "properties": {}}}]}
//! ```
//!
//! Rust plugins have it built by [`export_plugin!`](crate::export_plugin) in a constant, C plugins
//! write it as a string literal.

use serde::Deserialize;

/// First bytes of the record.
pub const MAGIC: &str = "RETAINIT-PLUGIN\n";

/// Name of the section in ELF, Mach-O (in segment `__DATA`) and PE files.
#[cfg(target_os = "macos")]
pub const SECTION: &str = "__retainit";
/// Name of the section in ELF, Mach-O (in segment `__DATA`) and PE files.
#[cfg(windows)]
pub const SECTION: &str = ".retain";
/// Name of the section in ELF, Mach-O (in segment `__DATA`) and PE files.
#[cfg(not(any(target_os = "macos", windows)))]
pub const SECTION: &str = ".retainit";

/// A plugin's manifest. Fields of later minor versions are ignored by earlier hosts.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Manifest {
    /// Major and minor version of the ABI it was built for.
    pub abi: (u16, u16),
    /// Name of the plugin, unique among those that are loaded.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// What it supplies.
    pub components: Vec<ComponentManifest>,
}

/// One component of a manifest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ComponentManifest {
    /// `backend`, `serializer`, `compressor` or `sink`.
    pub kind: String,
    /// The name that configurations use.
    pub name: String,
    /// Bits of [`super::capability`].
    #[serde(deserialize_with = "hexadecimal")]
    pub capabilities: u64,
    /// JSON Schema of its options.
    pub schema: serde_json::Value,
}

fn hexadecimal<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| serde::de::Error::custom("expected a hexadecimal number such as \"0x41\""))
}
