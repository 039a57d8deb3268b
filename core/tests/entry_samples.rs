//! Entries that earlier versions wrote. They open for ever: a sample is never changed, and each change of
//! what is written adds some.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use retainit_core::entry::{Keyring, Opened, Seal, Secret, Tag, Unreadable, NEVER};

const KEY: &[u8] = b"shop:prices.price_of(article):1:\x11\x07";
const CREATED: i64 = 1_700_000_000_000_000_000;
const VALUE: &[u8] = b"\xcb\x40\x33\xfa\xe1\x47\xae\x14\x7b";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/entry_samples")
}

fn sample(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(folder().join(name).with_extension("hex")).unwrap();
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn keyring() -> Arc<Keyring> {
    let own = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let newer = Secret::from_bytes(&[9; 32]).unwrap();
    Arc::new(Keyring::new(vec![newer, Secret::parse(own).unwrap()]).unwrap())
}

/// What all samples of version 2 but two say of themselves.
fn check(opened: &Opened<'_>) {
    assert_eq!((opened.codec, opened.codec_version, opened.compressor), ("msgpack", 1, ""));
    assert_eq!(opened.created, CREATED);
    assert_eq!((opened.expires, opened.stale_until), (CREATED + 60_000_000_000, CREATED + 90_000_000_000));
    let tag = Tag { name: "article:7", token: *b"0123456789abcdef" };
    assert_eq!(opened.tags.clone().collect::<Vec<_>>(), [tag]);
}

#[test]
fn version_2_of_each_seal() {
    for (name, seal) in [
        ("v2-open", Seal::Open),
        ("v2-checksum", Seal::Checksum),
        ("v2-signed", Seal::Signed(keyring())),
        ("v2-encrypted", Seal::Encrypted(keyring())),
    ] {
        let entry = sample(name);
        let opened = seal.open(KEY, "prices/2", &entry, CREATED, false).unwrap();
        check(&opened);
        assert_eq!(opened.plain_len, VALUE.len() as u64);
        assert_eq!(opened.payload.bytes(&entry), VALUE, "{name}");
        let late = CREATED + 60_000_000_000;
        assert_eq!(seal.open(KEY, "prices/2", &entry, late, false).unwrap_err(), Unreadable::Expired);
        check(&seal.open_stale(KEY, "prices/2", &entry, late, false).unwrap());
        assert_eq!(seal.open(KEY, "prices/3", &entry, CREATED, false).unwrap_err(), Unreadable::Schema);
    }
}

#[test]
fn version_2_without_texts_and_with_a_large_compressed_payload() {
    let entry = sample("v2-checksum-bare");
    let opened = Seal::Checksum.open(KEY, "", &entry, i64::MAX - 1, false).unwrap();
    assert_eq!((opened.codec, opened.codec_version, opened.expires), ("pickle", 5, NEVER));
    assert_eq!((opened.tags.len(), opened.payload.bytes(&entry)), (0, &b"\x80\x05K\x07."[..]));

    let entry = sample("v2-checksum-large");
    let opened = Seal::Checksum.open(KEY, "prices/2", &entry, CREATED, false).unwrap();
    assert_eq!((opened.compressor, opened.plain_len), ("zstd", 1 << 20));
    let payload = opened.payload.bytes(&entry);
    assert!(payload.iter().zip(0..).all(|(byte, at)| i32::from(*byte) == at * 31 % 251));
    assert_eq!((payload.len(), (entry.len() - payload.len()) % 64), (4096, 0));
}

#[test]
fn version_1() {
    let entry = sample("v1-pickle");
    let opened = Seal::Checksum.open(KEY, "", &entry, i64::MAX - 1, false).unwrap();
    assert_eq!((opened.codec, opened.codec_version, opened.created), ("pickle", 1, CREATED));
    assert_eq!((opened.expires, opened.payload.bytes(&entry)), (NEVER, &b"\x80\x05K\x07."[..]));
}

#[test]
fn each_sample_is_opened_above() {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let known = [
        "v1-pickle",
        "v2-checksum",
        "v2-checksum-bare",
        "v2-checksum-large",
        "v2-encrypted",
        "v2-open",
        "v2-signed",
    ];
    assert_eq!(names, known);
}

#[test]
fn the_specification_shows_the_sample_it_says() {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/entry-format.md");
    let text = fs::read_to_string(page).unwrap();
    let (_, example) = text.split_once("### Example").unwrap();
    let (table, _) = example.split_once("\n\nThe subkey").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
    let shown: String = rows.flat_map(|(bytes, _)| bytes.chars()).filter(char::is_ascii_hexdigit).collect();
    let entry: String = sample("v2-encrypted").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(shown, entry);
}
