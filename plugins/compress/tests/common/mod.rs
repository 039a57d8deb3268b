//! Data and compressors that the tests share.

// Each test binary uses a part of this.
#![allow(dead_code)]

use base64::prelude::{Engine, BASE64_STANDARD};
use retainit_compress::{Lz4, Lz4Config, Zstd, ZstdConfig};

/// A zstd compressor of this level, without more.
pub fn zstd(level: i32) -> Zstd {
    Zstd::new(&ZstdConfig { level, ..ZstdConfig::default() }).unwrap()
}

/// A zstd compressor with this dictionary.
pub fn zstd_with(dictionary: &[u8]) -> Zstd {
    let dictionary = Some(BASE64_STANDARD.encode(dictionary));
    Zstd::new(&ZstdConfig { dictionary, ..ZstdConfig::default() }).unwrap()
}

/// An lz4 compressor.
pub fn lz4() -> Lz4 {
    Lz4::new(&Lz4Config {})
}

/// A value as an API gives it, of some 300 bytes; no two are the same.
pub fn answer(number: u64) -> Vec<u8> {
    // A fixed mixture, so that every run sees the same.
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    format!(
        r#"{{"id": {number}, "name": "customer {mixed:x}", "email": "c{mixed}@example.org", "address": {{"street": "High Street {}", "city": "Springfield", "zip": "{:05}"}}, "roles": ["reader", "writer"], "active": {}, "created": "2024-0{}-1{}T12:00:00Z", "score": {}.{:03}}}"#,
        mixed % 200,
        mixed % 99_999,
        mixed.is_multiple_of(2),
        1 + mixed % 9,
        mixed % 10,
        mixed % 1000,
        mixed % 997,
    )
    .into_bytes()
}
