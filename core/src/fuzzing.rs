//! Doors for fuzz targets to readers that are otherwise behind a file or a library. Only with the
//! feature `fuzzing`.

use std::fs::File;
use std::path::Path;

use retainit_plugin_api::abi::root::{C_DOOR, RUST_DOOR};

use crate::config;
use crate::loader::{binary as object_file, manifest as record};

pub use retainit_plugin_api::abi::manifest::{MAGIC, SECTION};

/// What every environment variable holds here, and no message may repeat.
pub const SECRET: &str = "K3y-0f-th3-v4ult";

/// The names of the two doors, one of which a plugin exports.
pub const DOORS: [&str; 2] = [without_nul(RUST_DOOR), without_nul(C_DOOR)];

const fn without_nul(door: &'static [u8]) -> &'static str {
    match std::str::from_utf8(door.split_at(door.len() - 1).0) {
        Ok(name) => name,
        Err(_) => panic!("names are text"),
    }
}

/// Reads a configuration file called `name`. The error is the message a user would see.
///
/// # Errors
/// Where it is none.
pub fn configuration(name: &str, text: &str, named: bool) -> Result<(), String> {
    config::text(Path::new("/project").join(name).as_path(), text, named, &|_| Some(SECRET.to_owned()))
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Reads a manifest's section.
///
/// # Errors
/// What is wrong.
pub fn manifest(section: &[u8]) -> Result<(), String> {
    record::read(section).map(drop)
}

/// Reads a plugin's object file, and the manifest in it.
///
/// # Errors
/// What is wrong.
pub fn binary(file: &File) -> Result<(), String> {
    manifest(&object_file::read(file)?.manifest)
}
