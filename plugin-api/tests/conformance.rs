//! The suite passes for a backend with every capability, and fails for one that misbehaves.

// The fixture is a crate of its own, outside the workspace; here its files are part of the test.
#[path = "../../tests/fixtures/dummy-rust/src/compressor.rs"]
mod run_length;
#[path = "../../tests/fixtures/dummy-rust/src/serializer.rs"]
mod serializer;
#[path = "../../tests/fixtures/dummy-rust/src/store.rs"]
mod store;
#[path = "../../tests/fixtures/dummy-rust/src/worker.rs"]
mod worker;

use retainit_plugin_api::conformance::{self, Suite};
use retainit_plugin_api::sdk::export::{BackendExport, CompressorExport, SerializerExport};
use run_length::RunLength;
use serializer::DummySerializer;
use store::Dummy;

#[test]
fn a_backend_with_every_capability_conforms() {
    let report = Suite::new(BackendExport::<Dummy>::TABLE, |check| format!(r#"{{"store": "{check}"}}"#))
        .bounded(|_| r#"{"max_bytes": 65536}"#.to_owned())
        .run();
    println!("{report}");
    report.assert();
    assert!(report.results.len() > 90, "only {} checks were run", report.results.len());
}

#[test]
fn a_serializer_and_a_compressor_conform() {
    conformance::serializer(&SerializerExport::<DummySerializer>::TABLE, "{}").assert();
    conformance::compressor(&CompressorExport::<RunLength>::TABLE, "{}").assert();
}
