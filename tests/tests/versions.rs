//! Any 1.x host loads any 1.y plugin; another layout is refused in one line.
//!
//! Other versions are copies of the plugin API with a change, compiled for real.

use std::path::Path;
use std::process::Command;

use retainit_core::access::Access;
use retainit_core::loader::{Kind, Registry};
use retainit_core::{Error, Instance};
use retainit_plugin_api::sdk::{Value, NEVER};
use retainit_tests::{c_plugin, host_against, plugin_against, workspace, Change, Scratch};

/// As 1.2 may be: one more function at the end of a table, one more list at the end of the root.
const LATER_MINOR: &[Change] = &[
    Change { file: "plugin-api/Cargo.toml", from: "version = \"1.1.0\"", to: "version = \"1.2.0\"" },
    Change { file: "plugin-api/src/abi/mod.rs", from: "pub const ABI_MINOR: u16 = 1;", to: "pub const ABI_MINOR: u16 = 2;" },
    Change {
        file: "plugin-api/src/abi/backend.rs",
        from: "    pub claim: Option<unsafe extern \"C\" fn(value: *const Value) -> i32>,\n}",
        to: "    pub claim: Option<unsafe extern \"C\" fn(value: *const Value) -> i32>,\n    /// New in 1.2.\n    pub rename: Option<unsafe extern \"C\" fn(instance: *mut c_void, call: *const Call, from: Slice, to: Slice) -> i32>,\n}",
    },
    Change { file: "plugin-api/src/abi/backend.rs", from: "16 + 29 * 8", to: "16 + 30 * 8" },
    Change {
        file: "plugin-api/src/sdk/export/backend/mod.rs",
        from: "        claim: when!(CLAIM, entry::claim::<T>),\n",
        to: "        claim: when!(CLAIM, entry::claim::<T>),\n        rename: Some(lifecycle::rename),\n",
    },
    Change {
        file: "plugin-api/src/sdk/export/backend/lifecycle.rs",
        from: "pub(super) unsafe extern \"C\" fn fork_child<T: Backend>",
        to: "pub(super) unsafe extern \"C\" fn rename(_: *mut c_void, _: *const raw::Call, _: Slice, _: Slice) -> i32 {\n    status::OK\n}\n\npub(super) unsafe extern \"C\" fn fork_child<T: Backend>",
    },
];

/// As 1.0 was: without `claim`. What the kit gives for it stays, and is in no table.
const EARLIER_MINOR: &[Change] = &[
    Change { file: "plugin-api/Cargo.toml", from: "version = \"1.1.0\"", to: "version = \"1.0.0\"" },
    Change {
        file: "plugin-api/src/abi/mod.rs",
        from: "pub const ABI_MINOR: u16 = 1;",
        to: "pub const ABI_MINOR: u16 = 0;",
    },
    Change {
        file: "plugin-api/src/abi/backend.rs",
        from: "    /// may write to them from then on. The value stays the caller's; its instance may be closed by now.\n    pub claim: Option<unsafe extern \"C\" fn(value: *const Value) -> i32>,\n",
        to: "    #[cfg(any())]\n    pub claim: (),\n",
    },
    Change { file: "plugin-api/src/abi/backend.rs", from: "16 + 29 * 8", to: "16 + 28 * 8" },
    Change {
        file: "plugin-api/src/sdk/export/backend/mod.rs",
        from: "        claim: when!(CLAIM, entry::claim::<T>),\n",
        to: "",
    },
];

/// Two fields of an argument changed places: what a careless release would do, and no size betrays.
const OTHER_LAYOUT: &[Change] = &[Change {
    file: "plugin-api/src/abi/call.rs",
    from: "    pub now: i64,\n    /// When the call must be over, on the same clock; [`NEVER`] for no bound.\n    pub deadline: i64,",
    to: "    pub deadline: i64,\n    /// The host's clock.\n    pub now: i64,",
}];

fn open(path: &Path, name: &str) -> Result<std::sync::Arc<Instance>, Error> {
    let registry = Registry::new();
    registry.add_file(path, None)?;
    registry.component(Kind::Backend, name)?.open_backend("used", &serde_json::json!({}))
}

fn small() -> std::path::PathBuf {
    workspace().join("tests/fixtures/variants/plugin.rs")
}

fn works(instance: &Instance) {
    instance.set(b"key", Value::from_vec(b"value".to_vec()), NEVER).unwrap();
    assert_eq!(instance.read(b"key").unwrap().unwrap().value.as_bytes(), Some(&b"value"[..]));
    assert!(instance.delete(b"key").unwrap());
    assert!(!instance.delete(b"key").unwrap());
    assert_eq!(instance.clear(b"").unwrap(), 0);
}

#[test]
fn a_rust_plugin_of_this_version_works() {
    works(&open(&plugin_against("current", &[], &small()), "small").unwrap());
}

#[test]
fn a_rust_plugin_of_an_earlier_minor_version_works() {
    let instance = open(&plugin_against("earlier_minor", EARLIER_MINOR, &small()), "small").unwrap();
    works(&instance);
    assert!(matches!(Access::of(&instance), Access::Nobody));
}

#[test]
fn a_rust_plugin_of_a_later_minor_version_works() {
    works(&open(&plugin_against("later_minor", LATER_MINOR, &small()), "small").unwrap());
}

#[test]
fn a_rust_plugin_of_another_layout_is_refused_in_one_line() {
    let path = plugin_against("other_layout", OTHER_LAYOUT, &small());
    let error = open(&path, "small").unwrap_err().to_string();
    assert!(
        error.ends_with("(named by path): its layout differs from this host's: in `Call`: expected field `now`, found `deadline`"),
        "{error}"
    );
    // Refused for good: the second attempt says the same, and loads nothing twice.
    assert_eq!(open(&path, "small").unwrap_err().to_string(), error);
}

#[test]
fn a_later_host_uses_plugins_of_this_version() {
    let knows_rename = Change {
        file: "core/src/loader/rust_door.rs",
        from: "fork_prepare, fork_parent, fork_child,\n} later { claim }",
        to: "fork_prepare, fork_parent, fork_child,\n} later { claim, rename }",
    };
    let changes = [LATER_MINOR, &[knows_rename]].concat();
    let host = host_against("later_host", &changes, &workspace().join("tests/fixtures/variants/host.rs"));
    let scratch = Scratch::new();
    let earlier = plugin_against("current", &[], &small());
    let same = plugin_against("later_minor", LATER_MINOR, &small());
    let c = c_plugin("marked.c", scratch.path(), "marked", &[]);
    let other = plugin_against("other_layout", OTHER_LAYOUT, &small());
    let output = Command::new(host)
        .arg("small")
        .arg(earlier)
        .arg("small")
        .arg(same)
        .arg("marked")
        .arg(c)
        .arg("small")
        .arg(other)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with(
            "small: used, found 0\nsmall: used, found 0\nmarked: used, found 5\nsmall: refused: "
        ),
        "{text}"
    );
}

#[test]
fn a_c_plugin_of_an_earlier_minor_version_works() {
    // Its table ends after `cancel`, as if that had been all there was when it was compiled.
    let scratch = Scratch::new();
    let path = c_plugin("marked.c", scratch.path(), "marked", &["TABLE_SIZE=(16+11*8)"]);
    let instance = open(&path, "marked").unwrap();
    assert_eq!(instance.read(b"k").unwrap().unwrap().value.as_bytes(), Some(&b"value"[..]));
    // What it does not have is absent, not garbage behind its end.
    instance.ping().unwrap();
    assert_eq!(instance.statistics().unwrap(), serde_json::json!({}));
    assert!(instance
        .touch(b"k", 1)
        .unwrap_err()
        .to_string()
        .starts_with("the plugin does not have this operation"));
}

#[test]
fn a_c_plugin_of_this_version_is_asked_before_its_bytes_are_written_to() {
    let scratch = Scratch::new();
    let open_as = |name, size: &str, capabilities: &str| {
        let macros = [
            "ABI=\"[1, 1]\"",
            "MINOR=1",
            &format!("TABLE_SIZE={size}"),
            &format!("CAPABILITIES={capabilities}"),
        ];
        open(&c_plugin("marked.c", scratch.path(), name, &macros), "marked")
    };
    let instance = open_as("claims", "(16+29*8)", "0x0000000100000001").unwrap();
    let value = instance.read(b"k").unwrap().unwrap().value;
    assert_eq!(value.as_bytes(), Some(&b"value"[..]));
    let access = Access::of(&instance);
    assert!(!access.claim(&Value::from_vec(b"value".to_vec())), "not one of its own");
    assert!(access.claim(&value));
    assert_eq!(value.as_bytes(), Some(&b"Value"[..]), "its mark");
    // Who does not say that it can is not asked, whatever lies at that place of its table.
    let instance = open_as("claims_not", "(16+29*8)", "0x0000000000000001").unwrap();
    assert!(matches!(Access::of(&instance), Access::Nobody));
    // Who says so without having it is refused.
    let error = open_as("claims_without", "(16+28*8)", "0x0000000100000001").unwrap_err().to_string();
    assert!(error.ends_with("component `marked`: function `claim` is missing"), "{error}");
}

#[test]
fn a_c_plugin_of_a_later_minor_version_works() {
    let scratch = Scratch::new();
    let macros = ["ABI=\"[1, 7]\"", "MINOR=7", "CAPABILITIES=0x0080000000000001"];
    let instance = open(&c_plugin("marked.c", scratch.path(), "marked", &macros), "marked").unwrap();
    assert_eq!(instance.read(b"k").unwrap().unwrap().value.as_bytes(), Some(&b"value"[..]));
    assert!(instance.has(0x0080_0000_0000_0000));
}
