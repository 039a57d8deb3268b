//! Copies of the plugin API with one thing changed, as an earlier, later or foreign version has it,
//! and plugins and hosts built against them.

use std::path::{Path, PathBuf};

use crate::build::{built, cargo, target, workspace};

/// A textual change to one file; the text must be there exactly once.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The file, relative to the workspace's root.
    pub file: &'static str,
    /// What is there.
    pub from: &'static str,
    /// What is to be there.
    pub to: &'static str,
}

/// Builds the plugin in `tests/fixtures/<fixture>` against a plugin API with `changes`; `name` names
/// the variant and the library.
pub fn plugin_against(name: &str, changes: &[Change], source: &Path) -> PathBuf {
    let root = changed(name, changes, false);
    let krate = format!("retainit_variant_{name}");
    manifest(&root.join("plugin"), &krate, "[lib]\ncrate-type = [\"cdylib\"]\n", "retainit-plugin-api = { path = \"../plugin-api\" }\nserde = { version = \"1\", features = [\"derive\"] }\n");
    write(&root.join("plugin/src/lib.rs"), &read(source));
    cargo(&["build"], &root.join("plugin"));
    built(&format!("{}{krate}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX))
}

/// Builds the program `source` with the engine against a plugin API with `changes`, its sources
/// otherwise untouched; the program's path.
pub fn host_against(name: &str, changes: &[Change], source: &Path) -> PathBuf {
    let root = changed(name, changes, true);
    let krate = format!("retainit_variant_{name}");
    manifest(&root.join("host"), &krate, "", "retainit-core = { path = \"../core\" }\nserde_json = \"1\"\n");
    write(&root.join("host/src/main.rs"), &read(source));
    cargo(&["build"], &root.join("host"));
    built(&format!("{krate}{}", std::env::consts::EXE_SUFFIX))
}

/// A copy of the API (and of the engine) under the target directory, changed.
fn changed(name: &str, changes: &[Change], with_core: bool) -> PathBuf {
    let root = target().join("fixtures").join(name);
    for Change { file, from, .. } in changes {
        let found = read(&workspace().join(file)).matches(from).count();
        assert_eq!(found, 1, "`{from}` in {file}");
    }
    // Cargo tells packages of one path within their workspace apart by their version alone. Without one
    // of their own, the variants would overwrite each other's libraries, and the real ones.
    let number =
        name.bytes().fold(7u32, |number, byte| number.wrapping_mul(31).wrapping_add(u32::from(byte)))
            % 100_000;
    let change = |path: &Path, text: String| {
        let here = changes.iter().filter(|change| path == workspace().join(change.file));
        let text = here.fold(text, |text, change| text.replace(change.from, change.to));
        if !path.ends_with("Cargo.toml") {
            return text;
        }
        let numbered = |line: &str| match line.strip_prefix("version = \"1.") {
            Some(rest) => format!("version = \"1.{}.{number}\"", rest.split('.').next().unwrap_or("0")),
            None => line.to_owned(),
        };
        text.lines().map(numbered).collect::<Vec<_>>().join("\n") + "\n"
    };
    copy(&workspace().join("plugin-api"), &root.join("plugin-api"), &change);
    if with_core {
        copy(&workspace().join("core"), &root.join("core"), &change);
    }
    // The workspace's own versions of dependencies, and its package fields, are inherited.
    let text = read(&workspace().join("Cargo.toml"))
        .replace("version = \"0.1.0\"", &format!("version = \"0.1.{number}\""));
    let members = text.lines().find(|line| line.starts_with("members = ")).expect("the workspace's members");
    let own: Vec<&str> = ["plugin-api", "core", "plugin", "host"]
        .into_iter()
        .filter(|part| match *part {
            "plugin" => !with_core,
            "core" | "host" => with_core,
            _ => true,
        })
        .collect();
    let text =
        text.replace(members, &format!("members = {own:?}")).replace("exclude = [\"tests/fixtures\"]", "");
    write(&root.join("Cargo.toml"), &text);
    write(&root.join("Cargo.lock"), &read(&workspace().join("Cargo.lock")));
    root
}

fn manifest(directory: &Path, name: &str, sections: &str, dependencies: &str) {
    let text = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\npublish = false\n\n{sections}\n[dependencies]\n{dependencies}"
    );
    write(&directory.join("Cargo.toml"), &text);
}

/// Makes `to` a copy of a directory with changes; what is there already as it should be keeps its time,
/// so that it is not compiled again.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&Path, String) -> String) {
    for entry in std::fs::read_dir(to).into_iter().flatten() {
        let path = entry.expect("an entry of the copy").path();
        if !from.join(path.file_name().expect("its name")).exists() {
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.expect("what is gone from the original goes from the copy");
        }
    }
    for entry in std::fs::read_dir(from).expect("a directory to copy") {
        let entry = entry.expect("an entry of it");
        let (source, goal) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &goal, change);
        } else {
            write(&goal, &change(&source, read(&source)));
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) {
    if std::fs::read_to_string(path).is_ok_and(|found| found == text) {
        return;
    }
    std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}
