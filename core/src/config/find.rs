//! Which file is the project's configuration.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::read::{has_section, shown};
use crate::{Error, Result};

const NAMES: [&str; 4] = ["retainit.yaml", "retainit.yml", "retainit.json", "retainit.toml"];

/// The nearest configuration file from `start` upwards: `retainit.yaml`, `.yml`, `.json`, `.toml`, or
/// a `pyproject.toml` with a table `tool.retainit`. Two in one directory are an error.
///
/// A file that somebody else put into a directory where everybody may write, such as `/tmp`, is
/// passed over: what runs below such a directory is not its author's to configure.
pub fn find(start: &Path) -> Result<Option<PathBuf>> {
    for directory in start.ancestors() {
        let mut found: Vec<PathBuf> =
            NAMES.iter().map(|name| directory.join(name)).filter(|path| path.is_file()).collect();
        let pyproject = directory.join("pyproject.toml");
        if pyproject.is_file() && has_section(&pyproject)? {
            found.push(pyproject);
        }
        found.retain(|path| !is_planted(directory, path));
        if let [first, second, ..] = &found[..] {
            let message = format!(
                "configuration: expected one file in a directory, found `{}` and `{}`; hint: name one in `RETAINIT_CONFIG`",
                shown(first),
                shown(second)
            );
            return Err(Error::configuration("find configuration", message));
        }
        if let Some(path) = found.pop() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(unix)]
fn is_planted(directory: &Path, path: &Path) -> bool {
    let (Ok(directory), Ok(file)) = (directory.metadata(), path.metadata()) else { return true };
    // SAFETY: `geteuid` has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    let planted = is_planted_for(user, &directory, &file);
    if planted {
        tracing::warn!(
            path = %path.display(),
            "configuration of another user in a directory that everybody may write: passed over"
        );
    }
    planted
}

#[cfg(unix)]
fn is_planted_for(user: u32, directory: &Metadata, file: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    is_world_writable(directory) && file.uid() != user
}

#[cfg(not(unix))]
fn is_planted(_directory: &Path, _path: &Path) -> bool {
    false
}

/// Whether everybody may write what `metadata` describes.
#[cfg(unix)]
pub(super) fn is_world_writable(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    metadata.mode() & 0o002 != 0
}

/// Elsewhere access is not a matter of mode bits.
#[cfg(not(unix))]
pub(super) fn is_world_writable(_metadata: &Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::super::{find, read};

    #[test]
    fn the_nearest_file_upwards() {
        let scratch = Scratch::new("upwards");
        let inner = scratch.0.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let outer = scratch.0.join("retainit.toml");
        std::fs::write(&outer, "").unwrap();
        assert_eq!(find(&inner).unwrap(), Some(outer));

        let project = scratch.0.join("a/pyproject.toml");
        std::fs::write(&project, "[project]\ndependencies = [\"retainit\"]\n").unwrap();
        assert_ne!(find(&inner).unwrap(), Some(project.clone()), "a project that merely depends on us");
        std::fs::write(&project, "[tool.retainit]\ndefault_backend = \"memory\"\n").unwrap();
        assert_eq!(find(&inner).unwrap(), Some(project));
    }

    #[test]
    fn somebody_elses_broken_pyproject_is_passed_over() {
        let scratch = Scratch::new("broken");
        std::fs::write(scratch.0.join("pyproject.toml"), "[project\n").unwrap();
        assert_eq!(find(&scratch.0).unwrap(), None);
    }

    #[test]
    fn two_files_in_one_directory_are_an_error() {
        let scratch = Scratch::new("two");
        std::fs::write(scratch.0.join("retainit.yaml"), "").unwrap();
        std::fs::write(scratch.0.join("retainit.json"), "{}").unwrap();
        let error = find(&scratch.0).unwrap_err().to_string();
        assert!(error.contains("retainit.yaml") && error.contains("retainit.json"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_another_user_put_where_everybody_may_write_is_planted() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};

        let scratch = Scratch::new("planted");
        let path = scratch.0.join("retainit.yaml");
        std::fs::write(&path, "").unwrap();
        let open_to = |mode| {
            std::fs::set_permissions(&scratch.0, std::fs::Permissions::from_mode(mode)).unwrap();
            scratch.0.metadata().unwrap()
        };
        let file = path.metadata().unwrap();
        let (owner, another) = (file.uid(), file.uid() + 1);
        assert!(super::is_planted_for(another, &open_to(0o1777), &file));
        assert!(!super::is_planted_for(owner, &open_to(0o1777), &file));
        assert!(!super::is_planted_for(another, &open_to(0o755), &file));
    }

    #[cfg(unix)]
    #[test]
    fn a_found_file_that_everybody_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let scratch = Scratch::new("writable");
        let path = scratch.0.join("retainit.yaml");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(read(&path, true).is_ok());
        let error = read(&path, false).unwrap_err().to_string();
        assert!(error.contains("chmod o-w"), "{error}");
    }
}
