//! One file that may be a plugin, and what was found out about it without running it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use retainit_plugin_api::abi::manifest::Manifest;

use super::binary::{self, Door};
use super::file::{self, Identity};
use super::library;
use super::manifest;
use super::tables::Table;

/// Where a candidate comes from, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A path that the configuration names.
    File,
    /// A directory that the configuration lists.
    Configured,
    /// An installed distribution, by its name.
    Distribution(Arc<str>),
    /// What comes with retainit.
    Bundled,
}

impl Origin {
    /// Candidates of one level must not supply the same name.
    pub(super) fn level(&self) -> u8 {
        match self {
            Origin::File => 0,
            Origin::Configured => 1,
            Origin::Distribution(_) => 2,
            Origin::Bundled => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File => f.write_str("named by path"),
            Origin::Configured => f.write_str("in a listed directory"),
            Origin::Distribution(name) => write!(f, "of distribution {name}"),
            Origin::Bundled => f.write_str("bundled"),
        }
    }
}

/// Why a candidate is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A plugin's file that passed every check that needs no running code.
#[derive(Debug)]
pub struct Plugin {
    /// The file, with all links resolved.
    pub path: PathBuf,
    /// Where it comes from.
    pub origin: Origin,
    /// What it says of itself.
    pub manifest: Manifest,
    identity: Identity,
    door: Door,
}

impl Plugin {
    /// Loads the library, or finds it loaded; its tables in the order of the manifest.
    pub fn load(&self) -> Result<Arc<[Table]>, Refusal> {
        library::load(&self.path, self.identity, self.door, &self.manifest).map_err(Refusal)
    }
}

/// A file (or a directory that cannot be looked into) that was considered.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// As it was named or found.
    pub path: PathBuf,
    /// Where it comes from.
    pub origin: Origin,
    pub(super) verdict: Result<Arc<Plugin>, Refusal>,
}

impl Candidate {
    /// Examines the file at `path`, which must hash to `sha256` where one is given. Runs no code of it.
    pub(super) fn examine(path: &Path, origin: Origin, sha256: Option<&str>) -> Self {
        let verdict = examine(path, &origin, sha256).map(Arc::new).map_err(Refusal);
        Candidate { path: path.to_owned(), origin, verdict }
    }

    pub(super) fn refused(path: &Path, origin: Origin, reason: impl Into<String>) -> Self {
        Candidate { path: path.to_owned(), origin, verdict: Err(Refusal(reason.into())) }
    }

    /// The manifest, unless the file was refused.
    pub fn manifest(&self) -> Result<&Manifest, &Refusal> {
        self.verdict.as_ref().map(|plugin| &plugin.manifest)
    }

    /// Whether this refused file was, by its name, meant to supply `name`.
    pub(super) fn seems_to_be(&self, name: &str) -> bool {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let stem = stem.strip_prefix("lib").unwrap_or(stem);
        let stem = stem.strip_prefix("retainit_").unwrap_or(stem);
        stem.replace('-', "_") == name.replace('-', "_")
    }
}

fn examine(path: &Path, origin: &Origin, sha256: Option<&str>) -> Result<Plugin, String> {
    let mut checked = file::open(path)?;
    if let Some(expected) = sha256 {
        check_hash(&mut checked, expected)?;
    }
    let contents = binary::read(&checked.file)?;
    let manifest = manifest::read(&contents.manifest)?;
    Ok(Plugin {
        path: checked.path,
        origin: origin.clone(),
        manifest,
        identity: checked.identity,
        door: contents.door,
    })
}

fn check_hash(checked: &mut file::Checked, expected: &str) -> Result<(), String> {
    let expected = expected.trim().to_ascii_lowercase();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("its `sha256` is `{expected}`: expected 64 hexadecimal digits"));
    }
    let found = file::sha256(&mut checked.file).map_err(|error| format!("cannot be read: {error}"))?;
    if found != expected {
        return Err(format!("its SHA-256 is `{found}`, expected `{expected}`"));
    }
    Ok(())
}
