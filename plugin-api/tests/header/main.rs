//! The C header is what the Rust ABI says, and C and C++ compilers agree with Rust about it.
//!
//! After a change of the ABI, `RETAINIT_BLESS=1 cargo test -p retainit-plugin-api --test header` writes
//! the header anew.

mod generator;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/retainit_plugin.h")
}

#[test]
fn the_header_is_current() {
    let generated = generator::generate(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi"));
    if std::env::var_os("RETAINIT_BLESS").is_some() {
        std::fs::write(header(), &generated).expect("the header can be written");
    }
    let found = std::fs::read_to_string(header()).expect("the header is there");
    let difference = found.lines().zip(generated.lines()).position(|(left, right)| left != right);
    assert!(
        found == generated,
        "include/retainit_plugin.h is not what src/abi says, from line {}: run with RETAINIT_BLESS=1",
        difference.map_or(found.lines().count().min(generated.lines().count()), |line| line) + 1
    );
}

/// Compiles a file that includes the header, whose assertions then run.
fn compile(compiler: &str, arguments: &[&str], extension: &str, text: &str) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let unique = format!("retainit-header-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = std::env::temp_dir().join(unique);
    std::fs::create_dir_all(&directory).expect("a directory for the source");
    let source = directory.join(format!("header.{extension}"));
    std::fs::write(&source, text).expect("the source can be written");
    let output = Command::new(compiler)
        .args(arguments)
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"])
        .arg(header().parent().expect("the header has a directory"))
        .arg(&source)
        .output()
        .unwrap_or_else(|error| panic!("`{compiler}` cannot be run: {error}"));
    std::fs::remove_dir_all(&directory).expect("the directory can be removed");
    assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
}

const USE: &str = r#"
#include <retainit_plugin.h>
RETAINIT_MANIFEST("{\"abi\": [1, 0], \"name\": \"x\", \"version\": \"1\", \"components\": []}");
static const retainit_root root = {RETAINIT_PRELUDE(retainit_root, 0), 0, 0};
RETAINIT_EXPORT const retainit_root *retainit_plugin_root(void) { return &root; }
"#;

#[test]
fn c_agrees() {
    compile("cc", &["-std=c11"], "c", USE);
    compile("cc", &["-std=c17", "-m64"], "c", USE);
}

#[test]
fn cpp_agrees() {
    compile("c++", &["-std=c++11"], "cpp", USE);
}

/// The assertions of the header can fail: one changed type is found.
#[test]
#[should_panic(expected = "retainit_prelude")]
fn a_changed_layout_is_found() {
    let changed = format!("#include <stdint.h>\n#define uint32_t uint64_t\n{USE}");
    compile("cc", &["-std=c11"], "c", &changed);
}
