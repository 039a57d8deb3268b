//! A directory of a test's own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A fresh directory that only this user can write, removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("retainit-tests-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch directory");
        let path = path.canonicalize().expect("the scratch directory's real path");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("its mode");
        }
        Scratch(path)
    }

    /// Its path, with all links resolved.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file in the scratch directory");
        path
    }

    /// Copies a file into it, under the same name.
    pub fn copy(&self, file: &Path) -> PathBuf {
        let name = file.file_name().expect("a file has a name").to_str().expect("in UTF-8");
        self.file(name, &std::fs::read(file).expect("a file to copy"))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that stays behind is untidy, not wrong.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
