//! Files of large values: unique names, written whole under a temporary name, never changed after.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::config::Durability;
use crate::directory::Directory;
use crate::failure::{Failure, Outcome};
use crate::token;

/// Ending of a file that is being written.
const UNFINISHED: &str = ".tmp";

/// How long a file may exist without a row that names it: far longer than any write takes.
pub const GRACE: Duration = Duration::from_secs(3600);

/// A value file that has been written and that no row names yet: unlinked unless kept.
#[derive(Debug)]
pub struct Written<'a> {
    directory: &'a Directory,
    name: String,
    hash: u64,
    kept: bool,
}

impl Written<'_> {
    /// The name that the row records.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// XXH3 of the bytes, for a later check of the medium.
    pub fn hash(&self) -> i64 {
        self.hash as i64
    }

    /// A row names it now.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if !self.kept {
            remove(self.directory, &self.name);
        }
    }
}

/// Writes `bytes` to a new file. `unix_time` becomes part of the name, so that the age of a file
/// needs neither its times nor another clock than the host's.
pub fn write<'a>(
    directory: &'a Directory,
    bytes: &[u8],
    durability: Durability,
    unix_time: i64,
) -> Outcome<Written<'a>> {
    let unique: String = token::fresh().bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("{:010x}-{unique}", unix_time.max(0) / 1_000_000_000);
    let target = path(directory, &name);
    let unfinished = target.with_file_name(format!("{name}{UNFINISHED}"));
    let failed = |error: &io::Error| {
        let _ = fs::remove_file(&unfinished);
        match error.kind() {
            io::ErrorKind::NotFound => Failure::Moved,
            _ => Failure::io(&format!("write `{}`", target.display()), error),
        }
    };
    let mut file = match directory.create_file(&unfinished) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !directory.base().is_dir() {
                return Err(Failure::Moved);
            }
            directory.create(&directory.values())?;
            directory.create(target.parent().expect("a value file has a directory"))?;
            directory.create_file(&unfinished)
        }
        other => other,
    }
    .map_err(|error| failed(&error))?;
    file.write_all(bytes).map_err(|error| failed(&error))?;
    if durability == Durability::Full {
        file.sync_data().map_err(|error| failed(&error))?;
    }
    drop(file);
    fs::rename(&unfinished, &target).map_err(|error| failed(&error))?;
    let written = Written { directory, name, hash: xxh3_64(bytes), kept: false };
    if durability == Durability::Full {
        let parent = target.parent().expect("a value file has a directory");
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(|error| Failure::io(&format!("synchronise `{}`", parent.display()), &error))?;
    }
    Ok(written)
}

/// Where the file `name` is: spread over 256 directories by its last two digits.
pub fn path(directory: &Directory, name: &str) -> PathBuf {
    let spread = name.get(name.len().saturating_sub(2)..).unwrap_or("00");
    directory.values().join(spread).join(name)
}

/// Whether `name` is one that [`write`] makes: what a damaged row names must not lead elsewhere.
pub fn is_name(name: &str) -> bool {
    name.len() == 10 + 1 + 32
        && name.bytes().enumerate().all(|(at, byte)| match at {
            10 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Unlinks a file; who has it mapped keeps its bytes.
pub fn remove(directory: &Directory, name: &str) {
    if is_name(name) {
        let _ = fs::remove_file(path(directory, name));
    }
}

/// Files older than [`GRACE`], finished and unfinished.
pub fn old(directory: &Directory, unix_time: i64) -> Vec<PathBuf> {
    let limit = unix_time / 1_000_000_000 - GRACE.as_secs() as i64;
    let mut found = Vec::new();
    for spread in fs::read_dir(directory.values()).into_iter().flatten().flatten() {
        for file in fs::read_dir(spread.path()).into_iter().flatten().flatten() {
            let name = file.file_name();
            let Some(name) = name.to_str() else { continue };
            if !is_name(name.strip_suffix(UNFINISHED).unwrap_or(name)) {
                continue;
            }
            if i64::from_str_radix(&name[..10], 16).is_ok_and(|written| written < limit) {
                found.push(file.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_names() {
        let name = format!("{:010x}-{:032x}", 1_700_000_000, 77);
        assert!(is_name(&name));
        assert!(!is_name(&name[1..]));
        for wrong in [
            "",
            "../../../../../../../../../../../etc/passwd",
            &name.replace('-', "/"),
            &format!("{name}.tmp"),
        ] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
