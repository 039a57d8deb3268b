//! A plugin's file before anything of it is understood: who owns it, who may write it, what it hashes to.

use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// No plugin is smaller than an ELF header with a few sections.
const SMALLEST: u64 = 512;
/// A plugin larger than this is a mistake.
const LARGEST: u64 = 1 << 30;

/// Which file it is, and in which state: it changes whenever the content may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    /// Modification and status change, in nanoseconds: a status change cannot be set back.
    times: (i128, i128),
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let time =
            |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            times: (
                time(metadata.mtime(), metadata.mtime_nsec()),
                time(metadata.ctime(), metadata.ctime_nsec()),
            ),
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        let modified =
            metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Identity {
            device: 0,
            inode: 0,
            size: metadata.len(),
            times: (modified.map_or(0, |time| time.as_nanos() as i128), 0),
        }
    }

    /// The state of the file at `path` now.
    pub fn at(path: &Path) -> std::io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Identity::of(&metadata))
    }
}

/// A plugin's file that is safe to read: a regular file that nobody else can write.
#[derive(Debug)]
pub struct Checked {
    /// The path with all links resolved.
    pub path: PathBuf,
    /// The open file.
    pub file: File,
    /// What was checked.
    pub identity: Identity,
}

/// Opens the file at `path` and checks all that the file system says about it. The error says why
/// not, without the path.
pub fn open(path: &Path) -> Result<Checked, String> {
    let real = path.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => format!("cannot be found: {}", reason(&error)),
    })?;
    // Opening a FIFO would wait for a writer: look before opening, and again at what was opened.
    let before = std::fs::metadata(&real).map_err(|error| format!("cannot be read: {}", reason(&error)))?;
    regular(&before)?;
    let file = File::open(&real).map_err(|error| format!("cannot be read: {}", reason(&error)))?;
    let metadata = file.metadata().map_err(|error| format!("cannot be read: {}", reason(&error)))?;
    regular(&metadata)?;
    let user = effective_user();
    guarded(&metadata, "the file", user)?;
    if let Some(directory) = real.parent() {
        let metadata = std::fs::metadata(directory)
            .map_err(|error| format!("its directory cannot be read: {}", reason(&error)))?;
        guarded(&metadata, "its directory", user)?;
    }
    match metadata.len() {
        0 => return Err("the file is empty".to_owned()),
        size if size < SMALLEST => return Err(format!("{size} bytes are too few for a shared library")),
        size if size > LARGEST => {
            return Err(format!("{size} bytes are more than the {LARGEST} a plugin may have"))
        }
        _ => {}
    }
    Ok(Checked { path: real, identity: Identity::of(&metadata), file })
}

/// The SHA-256 of the whole file, in lower-case hexadecimal digits.
pub fn sha256(file: &mut File) -> std::io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn regular(metadata: &Metadata) -> Result<(), String> {
    let found = metadata.file_type();
    if found.is_file() {
        return Ok(());
    }
    let found = if found.is_dir() { "a directory" } else { "a special file" };
    Err(format!("expected a regular file, found {found}"))
}

#[cfg(unix)]
fn effective_user() -> u32 {
    // SAFETY: has no preconditions.
    unsafe { libc::geteuid() }
}

#[cfg(not(unix))]
fn effective_user() -> u32 {
    0
}

/// Whoever may write a plugin's file, or replace it in its directory, may run code here.
#[cfg(unix)]
fn guarded(metadata: &Metadata, what: &str, user: u32) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(format!(
            "{what} is owned by user `{}`, expected user `{user}` (this process) or `0`",
            metadata.uid()
        ));
    }
    if metadata.mode() & 0o002 != 0 {
        return Err(format!(
            "{what} is world-writable (mode `{:04o}`); hint: `chmod o-w`",
            metadata.mode() & 0o7777
        ));
    }
    Ok(())
}

/// Windows guards files by inherited access lists; a directory only its users can write is the default.
#[cfg(not(unix))]
fn guarded(_metadata: &Metadata, _what: &str, _user: u32) -> Result<(), String> {
    Ok(())
}

/// The operating system's text without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string().to_lowercase();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn files_of_root_and_of_this_user_are_trusted_and_no_others() {
        let metadata = std::fs::metadata(std::env::current_exe().unwrap()).unwrap();
        let owner = metadata.uid();
        assert_eq!(guarded(&metadata, "the file", owner), Ok(()));
        let other = guarded(&metadata, "the file", owner + 1);
        if owner == 0 {
            assert_eq!(other, Ok(()));
        } else {
            assert!(other
                .unwrap_err()
                .starts_with(&format!("the file is owned by user `{owner}`, expected user")));
        }
    }
}
