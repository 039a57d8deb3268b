//! Value files in memory: opened with care, mapped, and kept for the next reader.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Mmap, MmapOptions};

use crate::directory::Directory;
use crate::files;

/// Maps kept for the next reader at most, by number and by bytes.
const KEPT: usize = 64;
const KEPT_BYTES: u64 = 1 << 30;

/// A mapped value file. Its bytes stay as they are: files are never written to after their row names
/// them, and an unlinked one lives until the last map is gone.
#[derive(Debug)]
pub struct Mapping {
    map: Mmap,
    file: File,
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Why a file could not be mapped.
#[derive(Debug)]
pub enum Unmappable {
    /// There is no such file.
    Missing,
    /// It is not what the row says; the text says how.
    Wrong(String),
    /// The system refused.
    Failed(io::Error),
}

impl Mapping {
    /// Maps the file `name`, which must have exactly `size` bytes.
    ///
    /// The length is checked on the open descriptor before mapping, as reading beyond the end of a
    /// file ends the process with SIGBUS.
    fn open(directory: &Directory, name: &str, size: u64) -> Result<Self, Unmappable> {
        if !files::is_name(name) {
            return Err(Unmappable::Wrong("its name is not one of a value file".into()));
        }
        let opened = OpenOptions::new()
            .read(true)
            // A FIFO in its place must not block the open.
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(files::path(directory, name));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unmappable::Missing),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(Unmappable::Wrong("it is a symbolic link".into()))
            }
            Err(error) => return Err(Unmappable::Failed(error)),
        };
        let found = file.metadata().map_err(Unmappable::Failed)?;
        if !directory.trusts(&found) {
            return Err(Unmappable::Wrong(format!(
                "it is not a file that only its owner can write (user {}, mode {:#o})",
                found.uid(),
                found.mode()
            )));
        }
        if found.len() != size {
            return Err(Unmappable::Wrong(format!("it has {} bytes, expected {size}", found.len())));
        }
        // Not populated: that costs more than the faults of a reader who goes through it once.
        let mut options = MmapOptions::new();
        options.len(size as usize);
        // SAFETY: the file is a regular one in a directory that only trusted users write to, with the
        // length that is mapped, and this program never changes or shortens such a file.
        let map = unsafe { options.map(&file) }.map_err(Unmappable::Failed)?;
        Ok(Mapping { map, file })
    }

    /// Whether the file still has its length.
    fn is_whole(&self) -> bool {
        self.file.metadata().is_ok_and(|found| found.len() == self.map.len() as u64)
    }
}

/// Maps that were read lately: the second reader of a file pays neither the opening nor the faults.
///
/// A name means the same bytes for ever, so nothing here can be stale; what was replaced is dropped
/// when this process learns of it, and what nobody used between two sweeps in any case.
#[derive(Debug, Default)]
pub struct Mappings {
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    name: String,
    mapping: Arc<Mapping>,
    used: bool,
}

impl Mappings {
    /// The file `name` of `size` bytes, mapped.
    pub fn open(&self, directory: &Directory, name: &str, size: u64) -> Result<Arc<Mapping>, Unmappable> {
        if let Some(mapping) = self.find(name) {
            if mapping.as_ref().as_ref().len() as u64 == size && mapping.is_whole() {
                return Ok(mapping);
            }
            self.forget(name);
        }
        let mapping = Arc::new(Mapping::open(directory, name, size)?);
        self.keep(name, Arc::clone(&mapping));
        Ok(mapping)
    }

    fn find(&self, name: &str) -> Option<Arc<Mapping>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter_mut().find(|kept| kept.name == name)?;
        found.used = true;
        Some(Arc::clone(&found.mapping))
    }

    fn keep(&self, name: &str, mapping: Arc<Mapping>) {
        let size = |kept: &Kept| kept.mapping.map.len() as u64;
        let mut dropped = Vec::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(Kept { name: name.to_owned(), mapping, used: true });
        // Second chance: the first one that was not used since it was last looked at goes.
        while kept.len() > 1 && (kept.len() > KEPT || kept.iter().map(size).sum::<u64>() > KEPT_BYTES) {
            let last = kept.len() - 1;
            let victim = kept[..last].iter().position(|kept| !kept.used);
            for earlier in &mut kept[..victim.unwrap_or(last)] {
                earlier.used = false;
            }
            dropped.push(kept.remove(victim.unwrap_or(0)));
        }
        drop(kept);
        // Unmapping a large file takes time: outside the lock.
        drop(dropped);
    }

    /// Drops the map of a file that was replaced or removed.
    pub fn forget(&self, name: &str) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = kept.iter().position(|kept| kept.name == name).map(|at| kept.remove(at));
        drop(kept);
        drop(dropped);
    }

    /// Drops what was not used since the last call, and what has been unlinked.
    pub fn age(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (stay, dropped): (Vec<_>, Vec<_>) = kept
            .drain(..)
            .partition(|kept| kept.used && kept.mapping.file.metadata().is_ok_and(|found| found.nlink() > 0));
        *kept = stay;
        kept.iter_mut().for_each(|kept| kept.used = false);
        drop(kept);
        drop(dropped);
    }

    /// Drops all.
    pub fn clear(&self) {
        let dropped = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        drop(dropped);
    }
}
