//! Files that are no plugin, or not one for this host: one clear error each, and no code of them runs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use retainit_core::abi::ABI_MINOR;
use retainit_core::loader::{Kind, Registry};
use retainit_tests::{c_plugin, Scratch};

/// Compiles a plugin into a directory of its own.
fn plugin(macros: &[&str]) -> (Scratch, PathBuf) {
    let scratch = Scratch::new();
    let path = c_plugin("marked.c", scratch.path(), "marked", macros);
    (scratch, path)
}

/// Asks for backend `marked` of the file at `path`, opens it, and gives the error with the directory
/// replaced by `DIR`.
fn refusal(path: &Path, sha256: Option<&str>) -> String {
    let registry = Registry::new();
    registry.add_file(path, sha256).expect("an absolute path");
    let opened = registry
        .component(Kind::Backend, "marked")
        .and_then(|component| component.open_backend("default", &serde_json::json!({})));
    let error = opened.expect_err("a refusal");
    assert!(error.is_configuration(), "{error:?}");
    error.to_string().replace(&*path.parent().expect("a directory").to_string_lossy(), "DIR")
}

/// As [`refusal`], for a file whose constructor must not have run.
fn refused_unseen(path: &Path) -> String {
    let message = refusal(path, None);
    let mark = PathBuf::from(format!("{}.ran", path.display()));
    assert!(!mark.exists(), "the constructor of a refused file ran: {message}");
    message
}

fn because(reason: &str) -> String {
    format!(
        "backend `marked` cannot be used: a library of that name was refused\n  `DIR/libretainit_marked.so` (named by path): {reason}"
    )
}

#[test]
fn the_plugin_itself_is_accepted_and_its_constructor_runs() {
    let (_scratch, path) = plugin(&[]);
    let registry = Registry::new();
    registry.add_file(&path, None).unwrap();
    let component = registry.component(Kind::Backend, "marked").unwrap();
    let mark = PathBuf::from(format!("{}.ran", path.display()));
    assert!(!mark.exists(), "finding a plugin must not load it");
    let instance = component.open_backend("default", &serde_json::json!({"size": 1})).unwrap();
    assert!(mark.exists());
    assert_eq!(instance.read(b"k").unwrap().unwrap().value.as_bytes(), Some(&b"value"[..]));
    assert!(instance.read(b"other").unwrap().is_none());
}

#[test]
fn wrong_options_are_refused_before_the_library_is_loaded() {
    let (_scratch, path) = plugin(&[]);
    let registry = Registry::new();
    registry.add_file(&path, None).unwrap();
    let component = registry.component(Kind::Backend, "marked").unwrap();
    let error = component.open_backend("default", &serde_json::json!({"sise": 1})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown option `sise` for backend `default`: expected one of `size`; hint: did you mean `size`?"
    );
    assert!(!PathBuf::from(format!("{}.ran", path.display())).exists());
}

#[test]
fn a_missing_file() {
    let scratch = Scratch::new();
    let path = scratch.path().join("libretainit_marked.so");
    assert_eq!(refused_unseen(&path), because("no such file"));
}

#[test]
fn an_empty_file() {
    let scratch = Scratch::new();
    assert_eq!(refused_unseen(&scratch.file("libretainit_marked.so", b"")), because("the file is empty"));
}

#[test]
fn a_text_file() {
    let scratch = Scratch::new();
    let text = "print('hello')\n".repeat(100);
    assert_eq!(
        refused_unseen(&scratch.file("libretainit_marked.so", text.as_bytes())),
        because("expected a shared library, found text")
    );
    assert_eq!(
        refused_unseen(&scratch.file("libretainit_marked.so", b"print('hello')\n")),
        because("15 bytes are too few for a shared library")
    );
}

#[test]
fn a_directory_and_a_fifo() {
    let scratch = Scratch::new();
    let path = scratch.path().join("libretainit_marked.so");
    std::fs::create_dir(&path).unwrap();
    assert_eq!(refused_unseen(&path), because("expected a regular file, found a directory"));
    std::fs::remove_dir(&path).unwrap();
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: the name is a valid C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert_eq!(refused_unseen(&path), because("expected a regular file, found a special file"));
}

#[test]
fn another_architecture() {
    let (scratch, path) = plugin(&[]);
    let mut bytes = std::fs::read(&path).unwrap();
    // `e_machine`: AArch64 for every host but AArch64's own.
    let other: u16 = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    bytes[18..20].copy_from_slice(&other.to_le_bytes());
    let path = scratch.file("libretainit_marked.so", &bytes);
    let found = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
    assert_eq!(
        refused_unseen(&path),
        because(&format!(
            "built for another machine: expected `{}`, found `{found}` (64 bit)",
            std::env::consts::ARCH
        ))
    );
}

#[test]
fn truncated_at_every_tenth() {
    let (scratch, path) = plugin(&[]);
    let bytes = std::fs::read(&path).unwrap();
    for tenth in 0..10 {
        let path = scratch.file("libretainit_marked.so", &bytes[..bytes.len() * tenth / 10]);
        let message = refused_unseen(&path);
        let reason = if tenth == 0 { "the file is empty" } else { "the file is truncated" };
        assert!(message.contains(reason), "{tenth} tenths: {message}");
    }
    let path = scratch.file("libretainit_marked.so", &bytes[..bytes.len() - 1]);
    assert!(refused_unseen(&path).contains("the file is truncated"));
}

#[test]
fn damaged_anywhere_in_its_headers_never_ends_the_process() {
    let (scratch, path) = plugin(&[]);
    let bytes = std::fs::read(&path).unwrap();
    // Only looked at, not loaded: nothing short of a hash can vouch for the code itself.
    for position in 0..64 {
        for value in [0x00, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[position] = value;
            let path = scratch.file("libretainit_marked.so", &damaged);
            let registry = Registry::new();
            registry.add_file(&path, None).unwrap();
            assert_eq!(registry.list().len(), 1);
        }
    }
}

#[test]
fn a_program_rather_than_a_library() {
    let scratch = Scratch::new();
    let path = scratch.path().join("libretainit_marked.so");
    std::fs::copy("/bin/true", &path).unwrap();
    let message = refused_unseen(&path);
    assert!(
        message.contains("expected a shared library") || message.contains("it has no section `.retainit`"),
        "{message}"
    );
}

#[test]
fn without_the_symbol() {
    let (_scratch, path) = plugin(&["NO_DOOR"]);
    assert_eq!(
        refused_unseen(&path),
        because("it exports neither `retainit_plugin_rust` nor `retainit_plugin_root`")
    );
}

#[test]
fn without_a_manifest() {
    let (_scratch, path) = plugin(&["NO_MANIFEST"]);
    assert_eq!(refused_unseen(&path), because("not a retainit plugin: it has no section `.retainit`"));
}

#[test]
fn of_another_major_version() {
    let (_scratch, path) = plugin(&["ABI=\"[2, 0]\"", "MAJOR=2"]);
    assert_eq!(
        refused_unseen(&path),
        because(&format!(
            "built for ABI `2.0`, expected `1.*` (this host has `1.{ABI_MINOR}`); hint: it needs a newer retainit"
        ))
    );
    let (_scratch, path) = plugin(&["ABI=\"[0, 7]\"", "MAJOR=0"]);
    assert!(refused_unseen(&path).ends_with("hint: it needs a newer build of the plugin"));
}

#[test]
fn whose_tables_are_of_another_major_than_its_manifest() {
    let (_scratch, path) = plugin(&["MAJOR=2"]);
    assert!(refusal(&path, None).ends_with("its root is of ABI `2.0`, expected `1.*`"));
}

#[test]
fn of_another_hash() {
    let (_scratch, path) = plugin(&[]);
    let message = refusal(&path, Some(&"0".repeat(64)));
    let hash = {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(std::fs::read(&path).unwrap());
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(message, because(&format!("its SHA-256 is `{hash}`, expected `{}`", "0".repeat(64))));
    assert!(!PathBuf::from(format!("{}.ran", path.display())).exists());
    assert_eq!(
        refusal(&path, Some("9f2c")),
        because("its `sha256` is `9f2c`: expected 64 hexadecimal digits")
    );
    let registry = Registry::new();
    registry.add_file(&path, Some(&hash.to_uppercase())).unwrap();
    registry.component(Kind::Backend, "marked").unwrap().load().unwrap();
}

#[test]
fn that_requires_an_unknown_capability() {
    let (_scratch, path) = plugin(&["CAPABILITIES=0x0100000000000001"]);
    assert!(refused_unseen(&path)
        .contains("requires capabilities `0x0100000000000000`, which this host does not know"));
}

#[test]
fn whose_manifest_and_tables_disagree() {
    let (_scratch, path) = plugin(&["CAPABILITIES=0x3", "TABLE_CAPABILITIES=0x1"]);
    assert!(refusal(&path, None)
        .ends_with("component `marked`: its manifest says capabilities `0x3`, its library `0x1`"));
    let (_scratch, path) = plugin(&["COUNT=2"]);
    assert!(refusal(&path, None).ends_with("its manifest has `1` components, its library `2`"));
}

#[test]
fn without_a_required_function() {
    let (_scratch, path) = plugin(&["NO_GET"]);
    assert!(refusal(&path, None).ends_with("component `marked`: function `get` is missing"));
    let (_scratch, path) = plugin(&["CAPABILITIES=0x81"]);
    assert!(refusal(&path, None).ends_with("component `marked`: function `add` is missing"));
    // A table that ends before a function has it no more than one with a null pointer there.
    let (_scratch, path) = plugin(&["TABLE_SIZE=24"]);
    assert!(refusal(&path, None).ends_with("component `marked`: function `get` is missing"));
}

#[test]
fn with_a_damaged_root() {
    let (_scratch, path) = plugin(&["ROOT_SIZE=8"]);
    assert!(refusal(&path, None).ends_with("its root has 8 bytes, expected at least 32"));
}

#[test]
fn world_writable() {
    let (scratch, path) = plugin(&[]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(refused_unseen(&path), because("the file is world-writable (mode `0666`); hint: `chmod o-w`"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(
        refused_unseen(&path),
        because("its directory is world-writable (mode `0777`); hint: `chmod o-w`")
    );
}

#[test]
fn foreign_owned() {
    // Only root can give files away; the loader's own tests cover everybody else.
    // SAFETY: has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let (_scratch, path) = plugin(&[]);
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    assert_eq!(
        refused_unseen(&path),
        because("the file is owned by user `65534`, expected user `0` (this process) or `0`")
    );
}

#[test]
fn a_link_is_followed_and_what_it_leads_to_is_checked() {
    let (_scratch, path) = plugin(&[]);
    let elsewhere = Scratch::new();
    let link = elsewhere.path().join("libretainit_marked.so");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let registry = Registry::new();
    registry.add_file(&link, None).unwrap();
    assert_eq!(registry.component(Kind::Backend, "marked").unwrap().path(), path);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(refusal(&link, None).contains("world-writable"));
}

#[test]
fn replaced_by_another_version_in_a_running_process() {
    let (scratch, path) = plugin(&[]);
    let registry = Registry::new();
    registry.add_file(&path, None).unwrap();
    registry.component(Kind::Backend, "marked").unwrap().load().unwrap();
    std::fs::remove_file(&path).unwrap();
    c_plugin("marked.c", scratch.path(), "marked", &["CAPABILITIES=0x2"]);
    let component = registry.component(Kind::Backend, "marked").unwrap();
    assert_eq!(component.capabilities(), 2);
    assert!(component.load().unwrap_err().to_string().ends_with(
        "another version of this file has been loaded into this process before; hint: restart it"
    ));
}

#[test]
fn with_an_undefined_symbol_and_mended_afterwards() {
    let (scratch, path) = plugin(&["UNDEFINED"]);
    let message = refused_unseen(&path);
    assert!(message.contains("cannot be loaded: undefined symbol: absent_function"), "{message}");
    std::fs::remove_file(&path).unwrap();
    c_plugin("marked.c", scratch.path(), "marked", &[]);
    let registry = Registry::new();
    registry.add_file(&path, None).unwrap();
    registry.component(Kind::Backend, "marked").unwrap().load().unwrap();
}
