//! The behaviour every backend must show, through the plugin's own table, without a library in between.

mod common;

use std::sync::Mutex;

use common::Scratch;
use retainit_disk::DiskBackend;
use retainit_plugin_api::conformance::Suite;
use retainit_plugin_api::sdk::export::BackendExport;

/// A check forks; a child of a process with connections that no hook closed would have to refuse.
static ALONE: Mutex<()> = Mutex::new(());

fn conforms(name: &str, extra: &str) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let scratch = Scratch::new(name);
    let options = |check: &str, more: &str| {
        let path = scratch.path().join(check);
        format!(r#"{{"base_path": {:?}, "sweep_interval": 0.01{extra}{more}}}"#, path.to_str().unwrap())
    };
    Suite::new(BackendExport::<DiskBackend>::TABLE, |check| options(check, ""))
        .bounded(|check| options(check, r#", "max_bytes": 65536"#))
        .run()
        .assert();
}

#[test]
fn with_defaults() {
    conforms("conformance", "");
}

#[test]
fn with_every_value_in_a_file() {
    conforms("conformance-files", r#", "inline_limit": 0"#);
}

#[test]
fn with_full_durability() {
    conforms("conformance-full", r#", "durability": "full""#);
}
