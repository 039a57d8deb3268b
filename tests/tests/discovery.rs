//! Which of several libraries a name means, and what is said when it means none or too many.

use std::path::Path;

use retainit_core::loader::{Kind, Origin, Registry};
use retainit_tests::{c_plugin, Scratch};

fn named(directory: &Path, file: &str, name: &str) -> std::path::PathBuf {
    c_plugin("marked.c", directory, file, &[&format!("NAME=\"{name}\"")])
}

fn path_of(registry: &Registry, name: &str) -> std::path::PathBuf {
    registry.component(Kind::Backend, name).unwrap().path().to_owned()
}

#[test]
fn the_nearer_level_wins() {
    let (file, listed, distribution, bundled) =
        (Scratch::new(), Scratch::new(), Scratch::new(), Scratch::new());
    let one = named(bundled.path(), "x", "acme");
    let registry = Registry::new();
    // Added the other way round: precedence is not the order of adding.
    registry.add_directory(bundled.path(), Origin::Bundled).unwrap();
    assert_eq!(path_of(&registry, "acme"), one);
    let two = named(distribution.path(), "x", "acme");
    registry.add_distribution("retainit-acme", [distribution.path().to_owned()]).unwrap();
    assert_eq!(path_of(&registry, "acme"), two);
    let three = named(listed.path(), "x", "acme");
    registry.add_directory(listed.path(), Origin::Configured).unwrap();
    assert_eq!(path_of(&registry, "acme"), three);
    let four = named(file.path(), "x", "acme");
    registry.add_file(&four, None).unwrap();
    assert_eq!(path_of(&registry, "acme"), four);
    let origins: Vec<Origin> = registry.list().into_iter().map(|candidate| candidate.origin).collect();
    assert_eq!(
        origins,
        [Origin::File, Origin::Configured, Origin::Distribution("retainit-acme".into()), Origin::Bundled]
    );
}

#[test]
fn two_of_one_name_at_one_level_are_an_error_that_names_both() {
    let (one, two) = (Scratch::new(), Scratch::new());
    let first = named(one.path(), "a", "acme");
    let second = named(two.path(), "b", "acme");
    let registry = Registry::new();
    registry.add_directory(one.path(), Origin::Configured).unwrap();
    registry.add_directory(two.path(), Origin::Configured).unwrap();
    let error = registry.component(Kind::Backend, "acme").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "backend `acme` is supplied by 2 libraries, expected one\n  `{}` (in a listed directory): supplies backend `acme`\n  `{}` (in a listed directory): supplies backend `acme`",
            first.display(),
            second.display()
        )
    );
    for library in [first, second] {
        assert!(!Path::new(&format!("{}.ran", library.display())).exists());
    }
}

#[test]
fn one_file_reached_by_two_ways_is_one_library() {
    let scratch = Scratch::new();
    let path = named(scratch.path(), "a", "acme");
    let link = scratch.path().join("libretainit_link.so");
    std::os::unix::fs::symlink(&path, link).unwrap();
    let registry = Registry::new();
    registry.add_directory(scratch.path(), Origin::Configured).unwrap();
    registry.add_directory(scratch.path(), Origin::Configured).unwrap();
    assert_eq!(path_of(&registry, "acme"), path);
}

#[test]
fn a_refused_library_is_not_passed_over_for_one_further_down() {
    let (near, far) = (Scratch::new(), Scratch::new());
    named(far.path(), "acme", "acme");
    let damaged = near.file("libretainit_acme.so", &[b'x'; 1000]);
    let registry = Registry::new();
    registry.add_directory(far.path(), Origin::Bundled).unwrap();
    registry.add_file(&damaged, None).unwrap();
    let error = registry.component(Kind::Backend, "acme").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "backend `acme` cannot be used: a library of that name was refused\n  `{}` (named by path): expected a shared library, found text",
            damaged.display()
        )
    );
}

#[test]
fn a_refused_library_of_another_name_harms_nobody() {
    let scratch = Scratch::new();
    let path = named(scratch.path(), "acme", "acme");
    scratch.file("libretainit_other.so", b"");
    let registry = Registry::new();
    registry.add_directory(scratch.path(), Origin::Configured).unwrap();
    assert_eq!(path_of(&registry, "acme"), path);
}

#[test]
fn an_unknown_name_lists_what_there_is_and_what_was_refused() {
    let scratch = Scratch::new();
    named(scratch.path(), "acme", "acme");
    let empty = scratch.file("libretainit_other.so", b"");
    let absent = scratch.path().join("absent");
    let registry = Registry::new();
    registry.add_directory(scratch.path(), Origin::Configured).unwrap();
    registry.add_directory(&absent, Origin::Configured).unwrap();
    assert_eq!(
        registry.component(Kind::Backend, "amce").unwrap_err().to_string(),
        format!(
            "unknown backend `amce`: expected one of `acme`; hint: did you mean `acme`?\n  `{}` (in a listed directory): the file is empty\n  `{}` (in a listed directory): cannot be looked into: no such file or directory",
            empty.display(),
            absent.display()
        )
    );
    assert_eq!(
        Registry::new().component(Kind::Sink, "acme").unwrap_err().to_string(),
        "unknown sink `acme`: no plugin supplies any"
    );
}

#[test]
fn a_directory_full_of_other_libraries_gives_a_short_error() {
    let scratch = Scratch::new();
    for number in 0..200 {
        scratch.file(&format!("lib{number}.so"), b"");
    }
    let registry = Registry::new();
    registry.add_directory(scratch.path(), Origin::Configured).unwrap();
    let text = registry.component(Kind::Backend, "acme").unwrap_err().to_string();
    assert!(text.ends_with("\n  and 180 more"), "{text}");
}

#[test]
fn relative_paths_are_refused_wherever_the_process_is() {
    let registry = Registry::new();
    for added in [registry.add_file("x.so", None), registry.add_directory("plugins", Origin::Configured)] {
        assert!(added.unwrap_err().to_string().contains("expected an absolute path, found a relative one"));
    }
}

#[test]
fn nothing_is_found_in_the_library_search_path() {
    // `libc.so.6` and its like are where the dynamic loader would look; names never get there.
    let registry = Registry::new();
    assert!(registry
        .component(Kind::Backend, "c")
        .unwrap_err()
        .to_string()
        .contains("no plugin supplies any"));
    assert!(registry.list().is_empty());
}

#[test]
fn a_plugin_is_found_by_its_own_name_too() {
    let scratch = Scratch::new();
    c_plugin("marked.c", scratch.path(), "x", &["NAME=\"acme\"", "PLUGIN=\"acme-cache\""]);
    let registry = Registry::new();
    registry.add_directory(scratch.path(), Origin::Configured).unwrap();
    let candidate = registry.plugin("acme-cache").unwrap();
    let manifest = candidate.manifest().unwrap();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("acme-cache", "1.2.3"));
    assert!(registry.plugin("acme-cach").unwrap_err().to_string().contains("did you mean `acme-cache`?"));
}

#[test]
fn a_candidate_that_changes_is_looked_at_again() {
    let scratch = Scratch::new();
    named(scratch.path(), "acme", "acme");
    let registry = Registry::new();
    registry.add_directory(scratch.path(), Origin::Configured).unwrap();
    path_of(&registry, "acme");
    std::fs::remove_file(scratch.path().join("libretainit_acme.so")).unwrap();
    named(scratch.path(), "acme", "other");
    assert!(registry.component(Kind::Backend, "other").is_ok());
    assert!(registry.component(Kind::Backend, "acme").is_err());
}
