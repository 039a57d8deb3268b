//! Value files: opened with care, kept open for the next reader, and their bytes given to one reader each.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::{Arc, Mutex, PoisonError};

use crate::content::Content;
use crate::directory::Directory;
use crate::files;

/// Files kept open for the next reader at most.
const KEPT: usize = 64;
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
struct Identity {
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
    kept: Mutex<Vec<Kept>>,
    known: Mutex<Known>,
    lost: Arc<Lost>,
}

#[derive(Debug)]
struct Kept {
    name: String,
    file: Arc<File>,
    identity: Identity,
    used: bool,
}

/// Names of files that were cut short while somebody read them.
pub type Lost = Mutex<Vec<String>>;

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
    pub fn open(&self, directory: &Directory, name: &str, size: u64) -> Result<Arc<Content>, Unmappable> {
        if self.lost().iter().any(|lost| lost == name) {
            self.forget(name);
            return Err(Unmappable::Wrong("it was cut short while it was read".into()));
        }
        let file = match self.find(name) {
            Some(file) => file,
            None => self.open_anew(directory, name, size)?,
        };
        match Content::read(&file, name, size, &self.lost) {
            Ok(content) => Ok(Arc::new(content)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.forget(name);
                Err(Unmappable::Wrong("it was cut short while it was opened".into()))
            }
            Err(error) => Err(Unmappable::Failed(error)),
        }
    }

    /// The file if it is open and as it was when it was opened.
    fn find(&self, name: &str) -> Option<Arc<File>> {
        let mut kept = self.kept();
        let at = kept.iter().position(|kept| kept.name == name)?;
        let found = &mut kept[at];
        // Also where it was unlinked: then the name may lead elsewhere by now.
        let same =
            found.file.metadata().is_ok_and(|now| now.nlink() > 0 && Identity::of(&now) == found.identity);
        if same {
            found.used = true;
            return Some(Arc::clone(&found.file));
        }
        let changed = kept.remove(at);
        drop(kept);
        drop(changed);
        None
    }

    fn open_anew(&self, directory: &Directory, name: &str, size: u64) -> Result<Arc<File>, Unmappable> {
        let (file, identity) = open(directory, name, size)?;
        if !self.known.lock().unwrap_or_else(PoisonError::into_inner).agrees(name, identity) {
            return Err(Unmappable::Wrong("it is not the file that was read before under its name".into()));
        }
        let file = Arc::new(file);
        self.keep(Kept { name: name.to_owned(), file: Arc::clone(&file), identity, used: true });
        Ok(file)
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.kept();
        // Another reader may have been first.
        if kept.iter().any(|kept| kept.name == new.name) {
            return;
        }
        kept.push(new);
        if kept.len() > KEPT {
            // Second chance: the first one that was not used since it was last looked at goes.
            let last = kept.len() - 1;
            let victim = kept[..last].iter().position(|kept| !kept.used);
            for earlier in &mut kept[..victim.unwrap_or(last)] {
                earlier.used = false;
            }
            kept.remove(victim.unwrap_or(0));
        }
    }

    /// Drops what is known of a file that was replaced or removed.
    pub fn forget(&self, name: &str) {
        self.kept().retain(|kept| kept.name != name);
        self.lost().retain(|lost| lost != name);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.recent.remove(name);
        known.older.remove(name);
    }

    /// Closes what was not used since the last call, and what has been unlinked.
    pub fn age(&self) {
        self.kept().retain_mut(|kept| {
            std::mem::take(&mut kept.used) && kept.file.metadata().is_ok_and(|found| found.nlink() > 0)
        });
    }

    /// Closes all.
    pub fn clear(&self) {
        self.kept().clear();
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
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
