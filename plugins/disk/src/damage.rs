//! What cannot be understood is set aside: renamed to a `damaged-...` sibling, for whoever wants to
//! look at it, and a bounded number of those kept.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::directory::Directory;
use crate::files;
use crate::token;

/// Damaged databases and files kept.
pub const KEPT: usize = 3;

const PREFIX: &str = "damaged-";

/// Moves the database, its log and its index out of the way: one rename of their directory, so that
/// no log of one database ever meets another. Called with the lock held alone. Returns where they are.
pub fn set_aside_database(directory: &Directory, unix_time: i64) -> io::Result<PathBuf> {
    let place = place(directory, unix_time);
    fs::rename(directory.database_dir(), &place)?;
    prune(directory);
    Ok(place)
}

/// Moves a value file out of the way; one that is not there needs nothing.
pub fn set_aside_file(directory: &Directory, name: &str, unix_time: i64) {
    // Whatever a damaged row names, only a value file is moved.
    if files::is_name(name) && fs::rename(files::path(directory, name), place(directory, unix_time)).is_ok() {
        prune(directory);
    }
}

fn place(directory: &Directory, unix_time: i64) -> PathBuf {
    // A token's second half counts within the process, its first half tells processes apart.
    let token = token::fresh().bytes;
    let unique: String =
        [token[0], token[1], token[2], token[8], token[9]].iter().map(|byte| format!("{byte:02x}")).collect();
    directory.base().join(format!("{PREFIX}{:010}-{unique}", unix_time / 1_000_000_000))
}

/// Removes all but the youngest.
fn prune(directory: &Directory) {
    let entries = fs::read_dir(directory.base()).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    for old in &found[..found.len().saturating_sub(KEPT)] {
        let _ = if old.is_dir() { fs::remove_dir_all(old) } else { fs::remove_file(old) };
    }
}
