//! The cache's directory: its parts, who may own them, and the lock that opening and rebuilding take.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};

use crate::config::Options;
use crate::failure::{io_error, Failure, Outcome};
use crate::wait::Wait;

/// Device and inode: two files are the same file if these are equal.
pub type Identity = (u64, u64);

/// Paths and modes of one cache directory.
#[derive(Debug, Clone)]
pub struct Directory {
    base: PathBuf,
    dir_mode: u32,
    file_mode: u32,
}

/// Whether a lock is shared with other holders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Many may open the database at once.
    Opening,
    /// One creates it, or sets it aside.
    Alone,
}

/// The held lock; the kernel gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code)] File);

impl Directory {
    /// The directory that the options name.
    pub fn new(options: &Options) -> Self {
        Directory {
            base: options.base_path.clone(),
            dir_mode: options.dir_mode,
            file_mode: options.file_mode,
        }
    }

    /// The cache directory itself.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Whether somebody has removed it with all that was in it.
    pub fn is_gone(&self) -> bool {
        matches!(self.base.try_exists(), Ok(false))
    }

    /// Where the database and its companions live: one directory, so that one rename moves all three.
    pub fn database_dir(&self) -> PathBuf {
        self.base.join("db")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.base.join("db").join("entries.sqlite")
    }

    /// Where value files live.
    pub fn values(&self) -> PathBuf {
        self.base.join("values")
    }

    /// Creates the directory where it is missing, and refuses one that others could plant files in.
    pub fn prepare(&self) -> Outcome<()> {
        if let Some(parent) = self.base.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(self.dir_mode);
            builder
                .create(parent)
                .map_err(|error| Failure::io(&format!("create `{}`", parent.display()), &error))?;
        }
        self.create(&self.base)?;
        let found = fs::metadata(&self.base)
            .map_err(|error| Failure::io(&format!("look at `{}`", self.base.display()), &error))?;
        Ok(self.check_found(&found)?)
    }

    /// Refuses what [`Directory::prepare`] would refuse, if it is there already.
    pub fn check(&self) -> Result<()> {
        match fs::metadata(&self.base) {
            Ok(found) => self.check_found(&found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error(&format!("look at `{}`", self.base.display()), &error)),
        }
    }

    fn check_found(&self, found: &Metadata) -> Result<()> {
        let path = self.base.display();
        let refuse = |message: String| Err(Error::new(ErrorKind::Configuration, message));
        if !found.is_dir() {
            return refuse(format!("`{path}` is not a directory; hint: choose another `base_path`"));
        }
        if found.uid() != effective_user() && found.uid() != 0 {
            return refuse(format!(
                "directory `{path}` belongs to user {}: expected user {} or root; hint: `chown {} {path}`, or choose another `base_path`",
                found.uid(),
                effective_user(),
                effective_user(),
            ));
        }
        let foreign = found.mode() & 0o022 & !self.dir_mode;
        if foreign != 0 {
            return refuse(format!(
                "directory `{path}` can be written by {} (mode {:#o}): expected {:#o}; hint: `chmod {:o} {path}`",
                if foreign & 0o002 != 0 { "everybody" } else { "its group" },
                found.mode() & 0o7777,
                self.dir_mode,
                self.dir_mode,
            ));
        }
        Ok(())
    }

    /// Creates one directory with the mode of the options, whatever the umask; one that is there stays as it is.
    pub fn create(&self, path: &Path) -> Outcome<()> {
        match DirBuilder::new().mode(self.dir_mode).create(path) {
            Ok(()) => {
                // The umask may have taken rights that the options give; it can never have added any.
                let permissions = fs::Permissions::from_mode(self.dir_mode);
                fs::set_permissions(path, permissions)
                    .map_err(|error| Failure::io(&format!("set the mode of `{}`", path.display()), &error))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // A file system that is read-only says so even where the directory is there.
            Err(_) if path.is_dir() => Ok(()),
            Err(error) => Err(Failure::io(&format!("create directory `{}`", path.display()), &error)),
        }
    }

    /// Creates a file that is not there yet, with the mode of the options whatever the umask.
    pub fn create_file(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(self.file_mode)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)?;
        if self.file_mode & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(self.file_mode))?;
        }
        Ok(file)
    }

    /// Whether a file is one that this cache could have written: a regular file of a trusted owner
    /// that nobody else can write.
    pub fn trusts(&self, file: &Metadata) -> bool {
        let shared = self.dir_mode & 0o020 != 0;
        file.is_file()
            && (file.uid() == effective_user() || file.uid() == 0 || shared)
            && file.mode() & 0o022 & !self.file_mode == 0
    }

    /// Which file the database is at the moment; `None` if there is none.
    pub fn identity(&self) -> Option<Identity> {
        let found = fs::symlink_metadata(self.database()).ok()?;
        Some((found.dev(), found.ino()))
    }

    /// Takes the lock that keeps opening and setting aside apart, between threads as between processes.
    pub fn lock(&self, share: Share, wait: &Wait) -> Outcome<Lock> {
        let path = self.base.join("lock");
        let mut attempt = 0;
        loop {
            let file = self.open_lock(&path)?;
            let operation = if share == Share::Alone { libc::LOCK_EX } else { libc::LOCK_SH };
            // SAFETY: the descriptor is open for as long as `file` lives.
            let taken = unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } == 0;
            if taken {
                // Whoever removed the directory removed the lock with it: then this one locks nothing.
                let same = |other: Metadata| {
                    file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (other.dev(), other.ino()))
                };
                if fs::symlink_metadata(&path).is_ok_and(same) {
                    return Ok(Lock(file));
                }
            } else {
                let error = io::Error::last_os_error();
                if !matches!(error.raw_os_error(), Some(libc::EWOULDBLOCK | libc::EINTR)) {
                    return Err(Failure::io(&format!("lock `{}`", path.display()), &error));
                }
            }
            if !wait.pause(attempt) {
                return Err(wait.over("another process that opens or rebuilds the cache").into());
            }
            attempt += 1;
        }
    }

    /// Writes everything of the directory's file system to the disk.
    pub fn synchronise(&self) -> Outcome<()> {
        #[cfg(target_os = "linux")]
        {
            let base = File::open(&self.base)
                .map_err(|error| Failure::io(&format!("open `{}`", self.base.display()), &error))?;
            // SAFETY: the descriptor is open for as long as `base` lives.
            if unsafe { libc::syncfs(base.as_raw_fd()) } != 0 {
                return Err(Failure::io(
                    &format!("synchronise `{}`", self.base.display()),
                    &io::Error::last_os_error(),
                ));
            }
        }
        #[cfg(not(target_os = "linux"))]
        // SAFETY: has no preconditions.
        unsafe {
            libc::sync()
        };
        Ok(())
    }

    fn open_lock(&self, path: &Path) -> Outcome<File> {
        let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
        match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::io(&format!("open `{}`", path.display()), &error)),
        }
        match self.create_file(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Failure::Moved),
            Err(error) => return Err(Failure::io(&format!("create `{}`", path.display()), &error)),
        }
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)
            .map_err(|error| Failure::io(&format!("open `{}`", path.display()), &error))
    }
}

fn effective_user() -> u32 {
    // SAFETY: has no preconditions.
    unsafe { libc::geteuid() }
}
