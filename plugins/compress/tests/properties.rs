//! What goes in comes out; what is damaged is refused, and never larger than allowed.

mod common;

use common::{answer, lz4, zstd};
use proptest::prelude::*;
use retainit_compress::{Lz4, Zstd, ZstdConfig};
use retainit_plugin_api::sdk::{ErrorKind, Result};

type Packed = Box<dyn Fn(&[u8]) -> Result<Vec<u8>>>;
type Unpacked = Box<dyn Fn(&[u8], u64) -> Result<Vec<u8>>>;

/// Every compressor, with a name for messages.
fn all() -> Vec<(&'static str, Packed, Unpacked)> {
    fn of_zstd(name: &'static str, zstd: Zstd) -> (&'static str, Packed, Unpacked) {
        let zstd = std::sync::Arc::new(zstd);
        let other = std::sync::Arc::clone(&zstd);
        (
            name,
            Box::new(move |input| zstd.pack(input)),
            Box::new(move |input, limit| other.unpack(input, limit)),
        )
    }
    let (packer, unpacker): (Lz4, Lz4) = (lz4(), lz4());
    let checked = ZstdConfig { checksum: true, ..ZstdConfig::default() };
    vec![
        of_zstd("zstd 1", zstd(1)),
        of_zstd("zstd 3", zstd(3)),
        of_zstd("zstd 19", zstd(19)),
        of_zstd("zstd with a checksum", Zstd::new(&checked).unwrap()),
        (
            "lz4",
            Box::new(move |input| packer.pack(input)),
            Box::new(move |input, limit| unpacker.unpack(input, limit)),
        ),
    ]
}

/// Bytes with and without anything to gain.
fn inputs() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000),
        prop::collection::vec(0..4_u8, 0..2000),
        (prop::collection::vec(any::<u8>(), 1..40), 0..5000_usize)
            .prop_map(|(part, times)| part.repeat(times)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out_and_not_a_byte_more_than_allowed(input in inputs()) {
        for (name, pack, unpack) in all() {
            let packed = pack(&input).unwrap();
            let size = input.len() as u64;
            prop_assert!(unpack(&packed, size).unwrap() == input, "{}", name);
            prop_assert!(unpack(&packed, u64::MAX).unwrap() == input, "{}", name);
            if size > 0 {
                prop_assert_eq!(unpack(&packed, size - 1).unwrap_err().kind(), ErrorKind::Corrupt, "{}", name);
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_within_the_limit(input in prop::collection::vec(any::<u8>(), 0..300), limit in 0..100_000_u64) {
        for (name, _, unpack) in all() {
            for start in [&[][..], &[0x28, 0xb5, 0x2f, 0xfd][..]] {
                match unpack(&[start, &input].concat(), limit) {
                    Ok(output) => prop_assert!(output.len() as u64 <= limit, "{}", name),
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt, "{}", name),
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_refused_and_every_flipped_bit_stays_within_the_limit() {
    let values = [answer(1).repeat(5), (0..=255).collect(), vec![7; 100_000], Vec::new()];
    for (name, pack, unpack) in all() {
        for value in &values {
            let packed = pack(value).unwrap();
            let limit = value.len() as u64 + 10;
            for len in 0..packed.len() {
                assert_eq!(
                    unpack(&packed[..len], limit).unwrap_err().kind(),
                    ErrorKind::Corrupt,
                    "{name} {len}"
                );
            }
            for bit in 0..packed.len() * 8 {
                let mut flipped = packed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                match unpack(&flipped, limit) {
                    Ok(output) => assert!(output.len() as u64 <= limit, "{name} {bit}"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} {bit}"),
                }
            }
        }
    }
}

#[test]
fn a_checksum_finds_every_flipped_bit() {
    let zstd = Zstd::new(&ZstdConfig { checksum: true, ..ZstdConfig::default() }).unwrap();
    let value = answer(1);
    let packed = zstd.pack(&value).unwrap();
    let plain = common::zstd(3).pack(&value).unwrap();
    assert_eq!(packed.len(), plain.len() + 4);
    for bit in 0..packed.len() * 8 {
        let mut flipped = packed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The one thing that may come out otherwise is the value itself: not all bits have a meaning.
        if let Ok(output) = zstd.unpack(&flipped, 1 << 20) {
            assert_eq!(output, value, "{bit}");
        }
    }
}

#[test]
fn what_follows_the_data_is_refused() {
    for (name, pack, unpack) in all().into_iter().filter(|(name, ..)| name.starts_with("zstd")) {
        let packed = pack(b"value").unwrap();
        for more in [&b"\0"[..], &packed, &[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]] {
            let error = unpack(&[&packed, more].concat(), 1 << 20).unwrap_err();
            assert_eq!(error.message(), "expected one whole zstd frame, found less or more", "{name}");
        }
    }
    // A frame to be skipped is whole and has no content; it is nothing of ours.
    assert_eq!(
        zstd(3).unpack(&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], 10).unwrap_err().message(),
        "not a zstd frame"
    );
}

#[test]
fn a_value_of_several_blocks_comes_back() {
    let value: Vec<u8> = (0..40_000).flat_map(answer).collect();
    assert!(value.len() > 9 << 20);
    for (name, pack, unpack) in all().into_iter().filter(|(name, ..)| *name != "zstd 19") {
        let packed = pack(&value).unwrap();
        assert!(packed.len() < value.len() / 2, "{name}: {}", packed.len());
        assert!(unpack(&packed, value.len() as u64).unwrap() == value, "{name}");
        for len in [11, 13, packed.len() / 2, packed.len() - 1] {
            assert_eq!(
                unpack(&packed[..len], u64::MAX).unwrap_err().kind(),
                ErrorKind::Corrupt,
                "{name} {len}"
            );
        }
    }
    let exactly = &value[..8 << 20];
    assert!(lz4().unpack(&lz4().pack(exactly).unwrap(), u64::MAX).unwrap() == exactly, "no empty last block");
}

#[test]
fn higher_levels_are_smaller() {
    let value: Vec<u8> = (0..1000).flat_map(answer).collect();
    // Not by a step of one, and not from 1: what is best for a value differs with what repeats in it.
    let sizes = [3, 9, 19].map(|level| zstd(level).pack(&value).unwrap().len());
    assert!(sizes.is_sorted_by(|left, right| left > right), "{sizes:?}");
    // Levels differ in writing only.
    assert!(zstd(1).unpack(&zstd(22).pack(&value).unwrap(), u64::MAX).unwrap() == value);
}
