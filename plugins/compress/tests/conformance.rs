//! The behaviour every compressor must show, through the plugin's own tables, without a library in
//! between.

mod common;

use base64::prelude::{Engine, BASE64_STANDARD};
use retainit_compress::{Lz4, Zstd};
use retainit_plugin_api::conformance;
use retainit_plugin_api::sdk::export::CompressorExport;

#[test]
fn zstd_with_defaults() {
    conformance::compressor(&CompressorExport::<Zstd>::TABLE, "{}").assert();
}

#[test]
fn zstd_with_every_option() {
    let samples: Vec<Vec<u8>> = (0..200).map(common::answer).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    let dictionary = BASE64_STANDARD.encode(common::zstd(3).train(&samples, 4096).unwrap());
    let options = format!(r#"{{"level": 19, "checksum": true, "dictionary": "{dictionary}"}}"#);
    conformance::compressor(&CompressorExport::<Zstd>::TABLE, &options).assert();
}

#[test]
fn lz4() {
    conformance::compressor(&CompressorExport::<Lz4>::TABLE, "{}").assert();
}
