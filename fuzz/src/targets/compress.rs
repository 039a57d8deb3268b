//! Both compressors: never more than the limit, and what goes in comes out.

use std::sync::OnceLock;

use retainit_compress::{Lz4, Lz4Config, Zstd, ZstdConfig};
use retainit_plugin_api::sdk::ErrorKind;

/// What a value may have at most.
const LIMIT: u64 = 1 << 20;

/// The first byte says which of the compressors below reads the rest.
pub fn zstd(data: &[u8]) -> Option<()> {
    static COMPRESSORS: OnceLock<[Zstd; 3]> = OnceLock::new();
    let (choice, input) = data.split_first()?;
    let compressors = COMPRESSORS.get_or_init(|| [plain(), checked(), trained()]);
    let zstd = &compressors[usize::from(*choice) % 3];
    match zstd.unpack(input, LIMIT) {
        Ok(output) => assert!(output.len() as u64 <= LIMIT),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
    let packed = zstd.pack(input).expect("any bytes can be compressed");
    assert_eq!(zstd.unpack(&packed, input.len() as u64).expect("what was compressed"), input);
    Some(())
}

pub fn lz4(input: &[u8]) -> Option<()> {
    static COMPRESSOR: OnceLock<Lz4> = OnceLock::new();
    let lz4 = COMPRESSOR.get_or_init(|| Lz4::new(&Lz4Config {}));
    match lz4.unpack(input, LIMIT) {
        Ok(output) => assert!(output.len() as u64 <= LIMIT),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
    let packed = lz4.pack(input).expect("any bytes can be compressed");
    assert_eq!(lz4.unpack(&packed, input.len() as u64).expect("what was compressed"), input);
    Some(())
}

pub fn zstd_seeds() -> Vec<Vec<u8>> {
    let compressors = [plain(), checked(), trained()];
    let packed = compressors.iter().enumerate().flat_map(|(choice, zstd)| {
        values().map(move |value| [&[choice as u8], &zstd.pack(&value).expect("packed")[..]].concat())
    });
    packed.collect()
}

pub fn lz4_seeds() -> Vec<Vec<u8>> {
    let lz4 = Lz4::new(&Lz4Config {});
    values().map(|value| lz4.pack(&value).expect("packed")).collect()
}

fn plain() -> Zstd {
    Zstd::new(&ZstdConfig::default()).expect("defaults")
}

fn checked() -> Zstd {
    Zstd::new(&ZstdConfig { level: 19, checksum: true, ..ZstdConfig::default() }).expect("options")
}

fn trained() -> Zstd {
    let samples: Vec<Vec<u8>> = (0..200).map(record).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    let dictionary = plain().train(&samples, 2048).expect("trained");
    Zstd::with_dictionary(&ZstdConfig::default(), dictionary).expect("options")
}

fn record(number: u32) -> Vec<u8> {
    format!(r#"{{"id": {number}, "name": "user {}", "roles": ["reader"], "active": true}}"#, number * 7919)
        .into_bytes()
}

/// Without content, without anything to gain, small, in steps, of several blocks.
fn values() -> impl Iterator<Item = Vec<u8>> {
    let noise: Vec<u8> = (0..300_u32).map(|i| (i.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
    [Vec::new(), noise, record(3), (0..40).flat_map(record).collect(), vec![0; 300_000], vec![7; 5 << 20]]
        .into_iter()
}
