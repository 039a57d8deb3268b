//! Plugins for tests, built when they are first asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Builds are one at a time in a process; cargo locks across processes by itself.
static BUILDING: Mutex<()> = Mutex::new(());

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests have a parent directory")
}

/// The directory that cargo builds into.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Builds the workspace's plugin `name` (`memory`, `disk`) as users get it; the library's path.
pub fn cargo_plugin(name: &str) -> PathBuf {
    cargo(&["build", "-p", &format!("retainit-{name}")], workspace());
    library(&format!("retainit_{name}"))
}

/// Builds the fixture `name` in `tests/fixtures`, a crate whose library is called `library_name`.
pub fn fixture(name: &str, library_name: &str) -> PathBuf {
    let directory = workspace().join("tests/fixtures").join(name);
    cargo(&["build"], &directory);
    library(library_name)
}

/// Compiles `source` of `tests/fixtures/c-variants` into `directory` as `libretainit_<name>.so`, with
/// the given macros (`"NO_DOOR"`, `"MAJOR=2"`).
pub fn c_plugin(source: &str, directory: &Path, name: &str, macros: &[&str]) -> PathBuf {
    let folder = workspace().join("tests/fixtures/c-variants");
    let library = directory.join(format!(
        "{}retainit_{name}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ));
    let mut command = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    command.args(["-std=c11", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]);
    command.arg(&library).arg(folder.join(source));
    command.args(macros.iter().map(|each| format!("-D{each}")));
    if cfg!(target_os = "linux") {
        command.arg("-ldl");
    }
    run(&mut command);
    library
}

/// Compiles the C fixture `tests/fixtures/<name>/<source>` against the plugin API's header into
/// `directory`; the library's path.
pub fn c_fixture(name: &str, source: &str, directory: &Path) -> PathBuf {
    let library = directory.join(format!(
        "{}retainit_fixture{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    ));
    let mut command = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    command.args(["-std=c11", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]);
    command.arg(workspace().join("plugin-api/include")).arg("-o").arg(&library);
    command.arg(workspace().join("tests/fixtures").join(name).join(source));
    run(&mut command);
    library
}

/// Runs cargo in `directory`, building into the workspace's own target directory, so that
/// dependencies are compiled once.
pub(crate) fn cargo(arguments: &[&str], directory: &Path) {
    let _one = BUILDING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).args(["--quiet", "--target-dir"]).arg(target()).current_dir(directory);
    if cfg!(debug_assertions) {
        // The fixtures' profile need not say so again.
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1").env("CARGO_PROFILE_DEV_DEBUG", "1");
    } else {
        command.arg("--release");
    }
    run(&mut command);
}

pub(crate) fn built(name: &str) -> PathBuf {
    target().join(if cfg!(debug_assertions) { "debug" } else { "release" }).join(name)
}

fn library(name: &str) -> PathBuf {
    built(&format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
