//! Value files: opened with care, kept open for the next reader, and their bytes given to one reader each.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::content::{Content, Map};
use crate::directory::Directory;
use crate::files;

/// Files kept open for the next reader at most.
const KEPT: usize = 64;
/// Maps kept of each, and bytes of all maps that are kept.
const MAPS: usize = 4;
const MAPPED: usize = 1 << 30;
/// Files whose identity is remembered at most, in each of two generations.
const REMEMBERED: usize = 4096;

/// Why a file could not be read.
#[derive(Debug)]
pub enum Unmappable {
    /// There is no such file.
    Missing,
    /// It is not what the row says; the text says how.
    Wrong(String),
    /// The system refused.
    Failed(io::Error),
}

/// Which file, and in which state: a file that was written to is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(found: &Metadata) -> Self {
        Identity {
            device: found.dev(),
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    }
}

/// Value files that were read lately: the second reader of a file does not open it again.
///
/// A name means the same bytes for ever. A file that was replaced or written to since it was read first
/// is not what its name means: the host may have checked what it read then, and does so once only.
#[derive(Debug, Default)]
pub struct Mappings {
    shelf: Arc<Shelf>,
    known: Mutex<Known>,
}

/// Files and maps for the next reader. Maps come back to it, wherever and however late they are released.
#[derive(Debug, Default)]
pub struct Shelf(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    files: Vec<Open>,
    /// Names of files that were cut short while somebody read them.
    lost: Vec<String>,
}

#[derive(Debug)]
struct Open {
    name: String,
    file: Arc<File>,
    identity: Identity,
    used: bool,
    maps: Vec<Map>,
}

impl Shelf {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same without waiting: in a forked child, a thread that is not there may hold the lock.
    fn try_kept(&self) -> Option<MutexGuard<'_, Kept>> {
        match self.0.try_lock() {
            Ok(kept) => Some(kept),
            Err(TryLockError::Poisoned(kept)) => Some(kept.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// A map of the file `name` that nobody has claimed.
    pub fn take(&self, name: &str) -> Option<Map> {
        self.kept().files.iter_mut().find(|open| open.name == name)?.maps.pop()
    }

    /// Keeps a map that nobody has claimed, if the file is still open and there is room.
    pub fn put_back(&self, name: &str, identity: Identity, map: Map) {
        let mut dropped = Vec::new();
        let Some(mut kept) = self.try_kept() else { return };
        let files = &mut kept.files;
        let its = |open: &Open| open.name == name && open.identity == identity;
        let mut total = map.len() + files.iter().flat_map(|open| &open.maps).map(Map::len).sum::<usize>();
        while total > MAPPED {
            let Some(other) = files.iter_mut().find(|open| !its(open) && !open.maps.is_empty()) else {
                break;
            };
            total -= other.maps.iter().map(Map::len).sum::<usize>();
            dropped.append(&mut other.maps);
        }
        match files.iter_mut().find(|open| its(open)) {
            Some(open) if total <= MAPPED && open.maps.len() < MAPS => open.maps.push(map),
            _ => dropped.push(map),
        }
        drop(kept);
        // Unmapping takes time: outside the lock.
        drop(dropped);
    }

    /// Notes that the file `name` was cut short.
    pub fn lose(&self, name: &str) {
        if let Some(mut kept) = self.try_kept() {
            kept.lost.push(name.to_owned());
        }
    }
}

/// Identities of the files read since some thousand others were.
#[derive(Debug, Default)]
struct Known {
    recent: HashMap<String, Identity>,
    older: HashMap<String, Identity>,
}

impl Known {
    /// Whether `name` is the file that it was before, if it is known; it is known from then on.
    fn agrees(&mut self, name: &str, identity: Identity) -> bool {
        if let Some(known) = self.recent.get(name).or_else(|| self.older.get(name)) {
            return *known == identity;
        }
        if self.recent.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(name.to_owned(), identity);
        true
    }
}

impl Mappings {
    /// The bytes of the file `name`, which must have exactly `size` of them, for one reader alone.
    pub fn open(&self, directory: &Directory, name: &str, size: u64) -> Result<Content, Unmappable> {
        if self.shelf.kept().lost.iter().any(|lost| lost == name) {
            self.forget(name);
            return Err(Unmappable::Wrong("it was cut short while it was read".into()));
        }
        let (file, identity) = match self.find(name) {
            Some(found) => found,
            None => self.open_anew(directory, name, size)?,
        };
        match Content::read(&file, name, identity, size, &self.shelf) {
            Ok(content) => Ok(content),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.forget(name);
                Err(Unmappable::Wrong("it was cut short while it was opened".into()))
            }
            Err(error) => Err(Unmappable::Failed(error)),
        }
    }

    /// The file if it is open and as it was when it was opened.
    fn find(&self, name: &str) -> Option<(Arc<File>, Identity)> {
        let mut kept = self.shelf.kept();
        let at = kept.files.iter().position(|open| open.name == name)?;
        let open = &mut kept.files[at];
        // Also where it was unlinked: then the name may lead elsewhere by now.
        let same =
            open.file.metadata().is_ok_and(|now| now.nlink() > 0 && Identity::of(&now) == open.identity);
        if same {
            open.used = true;
            return Some((Arc::clone(&open.file), open.identity));
        }
        let changed = kept.files.remove(at);
        drop(kept);
        drop(changed);
        None
    }

    fn open_anew(
        &self,
        directory: &Directory,
        name: &str,
        size: u64,
    ) -> Result<(Arc<File>, Identity), Unmappable> {
        let (file, identity) = open(directory, name, size)?;
        if !self.known.lock().unwrap_or_else(PoisonError::into_inner).agrees(name, identity) {
            return Err(Unmappable::Wrong("it is not the file that was read before under its name".into()));
        }
        let file = Arc::new(file);
        self.keep(Open {
            name: name.to_owned(),
            file: Arc::clone(&file),
            identity,
            used: true,
            maps: Vec::new(),
        });
        Ok((file, identity))
    }

    fn keep(&self, new: Open) {
        let mut kept = self.shelf.kept();
        let files = &mut kept.files;
        // Another reader may have been first.
        if files.iter().any(|open| open.name == new.name) {
            return;
        }
        files.push(new);
        let mut dropped = None;
        if files.len() > KEPT {
            // Second chance: the first one that was not used since it was last looked at goes.
            let last = files.len() - 1;
            let victim = files[..last].iter().position(|open| !open.used);
            for earlier in &mut files[..victim.unwrap_or(last)] {
                earlier.used = false;
            }
            dropped = Some(files.remove(victim.unwrap_or(0)));
        }
        drop(kept);
        drop(dropped);
    }

    /// Drops what is known of a file that was replaced or removed.
    pub fn forget(&self, name: &str) {
        let mut kept = self.shelf.kept();
        let dropped = kept.files.iter().position(|open| open.name == name).map(|at| kept.files.remove(at));
        kept.lost.retain(|lost| lost != name);
        drop(kept);
        drop(dropped);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.recent.remove(name);
        known.older.remove(name);
    }

    /// Closes what was not used since the last call, and what has been unlinked.
    pub fn age(&self) {
        let mut kept = self.shelf.kept();
        let (mut stay, dropped): (Vec<_>, Vec<_>) = kept
            .files
            .drain(..)
            .partition(|open| open.used && open.file.metadata().is_ok_and(|found| found.nlink() > 0));
        stay.iter_mut().for_each(|open| open.used = false);
        kept.files = stay;
        drop(kept);
        drop(dropped);
    }

    /// Closes all.
    pub fn clear(&self) {
        let dropped = std::mem::take(&mut self.shelf.kept().files);
        drop(dropped);
    }
}

/// Opens the file `name` and checks that it is one that this cache could have written, `size` bytes long.
fn open(directory: &Directory, name: &str, size: u64) -> Result<(File, Identity), Unmappable> {
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
    Ok((file, Identity::of(&found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_remembered_for_thousands_of_files() {
        let identity = |inode| Identity { device: 1, inode, size: 3, modified: (4, 5) };
        let mut known = Known::default();
        for number in 0..2 * REMEMBERED as u64 {
            assert!(known.agrees(&number.to_string(), identity(number)));
        }
        for number in 0..2 * REMEMBERED as u64 {
            assert!(known.agrees(&number.to_string(), identity(number)));
            assert!(!known.agrees(&number.to_string(), identity(number + 1)));
        }
        known.agrees("one more", identity(0));
        assert!(known.recent.len() + known.older.len() <= 2 * REMEMBERED);
    }
}
