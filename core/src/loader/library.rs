//! Loaded libraries: each file once, for ever.

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use libloading::Library;
use parking_lot::Mutex;
use retainit_plugin_api::abi::manifest::Manifest;

use super::binary::Door;
use super::file::Identity;
use super::tables::{self, Table};
use super::{c_door, rust_door};
use crate::fork;

/// What loading a file came to: tables in the order of its manifest, or why it was refused.
type Outcome = Result<Arc<[Table]>, String>;

/// One file that was loaded, or that was refused after its code had run.
struct Loaded {
    identity: Identity,
    outcome: Arc<OnceLock<Outcome>>,
}

/// Every library of this process by its real path. Unloading Rust code is unsound (threads, thread
/// locals, values still held), so that nothing is ever removed.
static LOADED: Mutex<Option<HashMap<PathBuf, Loaded>>> = Mutex::new(None);

/// Loads the checked file at `path`, or finds that it has been loaded before.
///
/// The file is opened by its path and not through `/proc/self/fd`: `$ORIGIN` of libraries that a wheel
/// carries along, debuggers and backtraces all need the real one. Nobody but this user and root can
/// have replaced it since the check (owner and directory were checked); whether it was is looked at
/// before and after.
pub fn load(path: &Path, identity: Identity, door: Door, manifest: &Manifest) -> Outcome {
    let _gate = fork::enter();
    let outcome = {
        let mut loaded = LOADED.lock();
        let loaded = loaded.get_or_insert_default();
        let entry =
            loaded.entry(path.to_owned()).or_insert_with(|| Loaded { identity, outcome: Arc::default() });
        if entry.identity != identity {
            return Err(
                "another version of this file has been loaded into this process before; hint: restart it"
                    .to_owned(),
            );
        }
        Arc::clone(&entry.outcome)
    };
    // Outside the lock: constructors of the library run here, and may take their time.
    let mut never_entered = false;
    let result = outcome
        .get_or_init(|| {
            let library = checked_dlopen(path, identity).inspect_err(|_| never_entered = true)?;
            tables_of(path, identity, library, door, manifest).map(Arc::from)
        })
        .clone();
    if never_entered {
        // Nothing of it is in the process: a mended file may be tried again.
        LOADED.lock().get_or_insert_default().remove(path);
    }
    result
}

fn checked_dlopen(path: &Path, identity: Identity) -> Result<&'static Library, String> {
    unchanged(path, identity)?;
    // Never unloaded, whatever is found out later: its constructors have run.
    dlopen(path).map(|library| &*Box::leak(Box::new(library)))
}

fn tables_of(
    path: &Path,
    identity: Identity,
    library: &'static Library,
    door: Door,
    manifest: &Manifest,
) -> Result<Vec<Table>, String> {
    unchanged(path, identity)?;
    let tables = match door {
        Door::Rust => rust_door::tables(library, manifest)?,
        Door::C => c_door::tables(library)?,
    };
    tables::check(manifest, &tables)?;
    Ok(tables)
}

fn unchanged(path: &Path, identity: Identity) -> Result<(), String> {
    match Identity::at(path) {
        Ok(now) if now == identity => Ok(()),
        _ => Err("the file changed while it was being loaded".to_owned()),
    }
}

#[cfg(unix)]
fn dlopen(path: &Path) -> Result<Library, String> {
    use libloading::os::unix::{Library as UnixLibrary, RTLD_LOCAL, RTLD_NOW};
    // An absolute path never meets the library search path.
    debug_assert!(path.is_absolute());
    // SAFETY: plugins run with the full rights of the process, as documented; the file is one that
    // nobody else could have written.
    let library = unsafe { UnixLibrary::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    library.map(Library::from).map_err(|error| refused(path, &error))
}

#[cfg(not(unix))]
fn dlopen(path: &Path) -> Result<Library, String> {
    // SAFETY: as for Unix.
    unsafe { Library::new(path) }.map_err(|error| refused(path, &error))
}

/// The dynamic loader's own text, without the path that the message around it gives.
fn refused(path: &Path, error: &libloading::Error) -> String {
    let text = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let text = text.trim().trim_start_matches(&*path.to_string_lossy()).trim_start_matches([':', ' ']);
    let text: String = text.chars().take(300).collect();
    format!("cannot be loaded: {text}")
}
