//! The rules of this repository that no linter knows.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell::{no_arguments, root, Outcome};
use crate::tally::Tally;

const README_LINES: usize = 60;
const FILE_LINES: usize = 500;

/// Longer files that have a reason to be.
const LONG_FILES: [(&str, &str); 0] = [];

/// Files that every plugin folder has.
const PLUGIN_FILES: [&str; 5] =
    ["README.md", "Cargo.toml", "src/lib.rs", "src/config.rs", "tests/conformance.rs"];
/// At least one of these holds what the plugin is for.
const PLUGIN_ROLES: [&str; 4] = ["src/store.rs", "src/serializer.rs", "src/compressor.rs", "src/sink.rs"];
/// Shipped inside the base distribution, so without a distribution, and a `pyproject.toml`, of their own.
const BUNDLED_PLUGINS: [&str; 5] = ["memory", "disk", "codecs", "compress", "testing"];

/// Folders with nothing of ours in them.
const NOT_SOURCES: [&str; 3] = ["target", "__pycache__", "results"];

type Rule = fn(&Path) -> Vec<String>;

const RULES: [(&str, Rule); 4] = [
    ("the README fits on a screen", readme_is_short),
    ("no file is longer than it has a reason to be", files_are_short),
    ("plugin folders have one shape", plugins_have_one_shape),
    ("each dependency has its reason beside it", dependencies_have_reasons),
];

/// The verb.
pub fn run(arguments: &[String]) -> Outcome {
    no_arguments("house", arguments)?;
    check(&mut Tally::default())
}

/// Checks every rule and counts each as a test.
pub fn check(tally: &mut Tally) -> Outcome {
    for (name, rule) in RULES {
        let breaches = rule(&root());
        println!("house rule: {name} ... {}", if breaches.is_empty() { "ok" } else { "FAILED" });
        for breach in &breaches {
            println!("  {breach}");
        }
        if breaches.is_empty() {
            tally.passed += 1;
        } else {
            tally.failed += 1;
        }
    }
    match tally.failed {
        0 => Ok(()),
        failed => Err(format!("{failed} house rules are broken")),
    }
}

fn readme_is_short(root: &Path) -> Vec<String> {
    let lines = line_count(&root.join("README.md"));
    match lines {
        0 => vec!["README.md: expected one at the repository's root".into()],
        _ if lines > README_LINES => {
            vec![format!("README.md: {lines} lines, expected at most {README_LINES}")]
        }
        _ => Vec::new(),
    }
}

fn files_are_short(root: &Path) -> Vec<String> {
    let mut breaches = Vec::new();
    let allowed = |path: &str| LONG_FILES.iter().any(|(long, _)| *long == path);
    for file in sources(root, &["rs", "py", "pyi"]) {
        let name = relative(root, &file);
        let lines = line_count(&file);
        if lines > FILE_LINES && !allowed(&name) {
            breaches.push(format!(
                "{name}: {lines} lines, expected at most {FILE_LINES}: which second noun lives there?"
            ));
        }
        if lines <= FILE_LINES && allowed(&name) {
            breaches.push(format!("{name}: no longer needs its place in LONG_FILES"));
        }
    }
    breaches
}

fn plugins_have_one_shape(root: &Path) -> Vec<String> {
    let mut breaches = Vec::new();
    for plugin in folders(&root.join("plugins")) {
        let name = plugin.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut expected = PLUGIN_FILES.to_vec();
        if !BUNDLED_PLUGINS.contains(&name.as_str()) {
            expected.push("pyproject.toml");
        }
        for file in expected {
            if !plugin.join(file).is_file() {
                breaches.push(format!("plugins/{name}: expected a {file}"));
            }
        }
        if !PLUGIN_ROLES.iter().any(|role| plugin.join(role).is_file()) {
            breaches.push(format!("plugins/{name}: expected one of {}", PLUGIN_ROLES.join(", ")));
        }
    }
    breaches
}

fn dependencies_have_reasons(root: &Path) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in sources(root, &["toml"]) {
        let name = relative(root, &file);
        let text = fs::read_to_string(&file).unwrap_or_default();
        for dependency in without_reason(&text) {
            breaches.push(format!("{name}: `{dependency}` has no comment that gives its reason"));
        }
    }
    breaches
}

/// Dependencies in a `Cargo.toml` or `pyproject.toml` with a comment neither above nor behind them. Crates of
/// the workspace, and those it declares for all, need none.
fn without_reason(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_dependencies = false;
    let mut above = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies && (line.contains('=') || line.starts_with('"')) {
            // A list's own line, `dev = [`, is a heading; its items are the dependencies.
            let own = line.contains("workspace = true") || line.contains("path = ") || line.ends_with('[');
            if !own && !line.contains('#') && !above.starts_with('#') {
                let name = line.trim_matches(['"', ',']).split([' ', '=', '>', '<', '.']).next();
                found.push(name.unwrap_or(line).to_owned());
            }
        }
        above = line;
    }
    found
}

fn sources(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !NOT_SOURCES.contains(&name.as_str()) {
                found.extend(sources(&path, extensions));
            }
        } else if path.extension().is_some_and(|own| extensions.iter().any(|wanted| own == *wanted)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn line_count(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files in it, gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn with(name: &str, files: &[(&str, String)]) -> Self {
            let root = std::env::temp_dir().join(format!("retainit-house-{name}-{}", std::process::id()));
            for (file, text) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_long_readme_or_none_is_a_breach() {
        let long = Folder::with("readme", &[("README.md", "line\n".repeat(61))]);
        assert_eq!(readme_is_short(&long.0), ["README.md: 61 lines, expected at most 60"]);
        fs::write(long.0.join("README.md"), "line\n".repeat(60)).unwrap();
        assert!(readme_is_short(&long.0).is_empty());
        fs::remove_file(long.0.join("README.md")).unwrap();
        assert_eq!(readme_is_short(&long.0).len(), 1);
    }

    #[test]
    fn a_long_source_is_a_breach_and_a_build_product_is_not() {
        let long = "x\n".repeat(501);
        let files = [("core/src/a.rs", long.clone()), ("target/b.rs", long.clone()), ("notes.md", long)];
        let breaches = files_are_short(&Folder::with("long", &files).0);
        assert_eq!(breaches.len(), 1);
        assert!(breaches[0].starts_with("core/src/a.rs: 501 lines"));
    }

    #[test]
    fn a_plugin_without_its_files_is_a_breach() {
        let mut files: Vec<_> = PLUGIN_FILES.iter().map(|f| format!("plugins/acme/{f}")).collect();
        files.push("plugins/acme/pyproject.toml".into());
        let files: Vec<_> = files.iter().map(|f| (f.as_str(), String::new())).collect();
        let folder = Folder::with("plugin", &files);
        assert_eq!(plugins_have_one_shape(&folder.0).len(), 1, "no role file yet");
        fs::write(folder.0.join("plugins/acme/src/sink.rs"), "").unwrap();
        assert!(plugins_have_one_shape(&folder.0).is_empty());
        fs::remove_file(folder.0.join("plugins/acme/README.md")).unwrap();
        assert_eq!(plugins_have_one_shape(&folder.0), ["plugins/acme: expected a README.md"]);
    }

    #[test]
    fn a_dependency_without_a_comment_is_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\n# Parses.\nserde = \"1\"\nlibc = \"0.2\"\n\
                        own = { path = \"own\" }\nshared.workspace = true\nrand = \"1\" # dice\n";
        assert_eq!(without_reason(manifest), ["libc"]);
        let project =
            "[project.optional-dependencies]\ndev = [\n    \"pytest>=8\",  # runs\n    \"ruff>=1\",\n]\n";
        assert_eq!(without_reason(project), ["ruff"]);
    }
}
