//! The behaviour every backend must show, through the plugin's own table, without a library in between.

use retainit_memory::MemoryBackend;
use retainit_plugin_api::conformance::Suite;
use retainit_plugin_api::sdk::export::BackendExport;

fn conforms(options: &'static str, bounded: &'static str) {
    // Whoever waits for the sweeper should not wait a second.
    let suite = Suite::new(BackendExport::<MemoryBackend>::TABLE, |_| options.to_owned());
    suite.bounded(|_| bounded.to_owned()).run().assert();
}

#[test]
fn with_defaults() {
    conforms(r#"{"sweep_interval": 0.01}"#, r#"{"max_bytes": 65536, "sweep_interval": 0.01}"#);
}

#[test]
fn with_least_recently_used() {
    conforms(
        r#"{"policy": "lru", "sweep_interval": 0.01}"#,
        r#"{"policy": "lru", "max_bytes": 65536, "sweep_interval": 0.01}"#,
    );
}

#[test]
fn with_many_shards_for_few_entries() {
    conforms(
        r#"{"shards": 64, "max_size": null, "sweep_interval": 0.01}"#,
        r#"{"shards": 64, "max_size": 16, "max_bytes": 65536, "sweep_interval": 0.01}"#,
    );
}
