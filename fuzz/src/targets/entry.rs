//! Sealed entries: any bytes, and entries that were tampered with.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use retainit_core::entry::{Keyring, Meta, Opened, Seal, Secret, Tag, NEVER};

/// Storage key, secret and schema version of the frozen samples.
const KEY: &[u8] = b"shop:prices.price_of(article):1:\x11\x07";
const SECRET: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SCHEMA: &str = "prices/2";

fn seals() -> &'static [Seal; 4] {
    static SEALS: OnceLock<[Seal; 4]> = OnceLock::new();
    SEALS.get_or_init(|| {
        let secrets =
            vec![Secret::parse(SECRET).expect("digits"), Secret::from_bytes(&[2; 32]).expect("32 bytes")];
        let ring = Arc::new(Keyring::new(secrets).expect("keys"));
        [Seal::Open, Seal::Checksum, Seal::Signed(Arc::clone(&ring)), Seal::Encrypted(ring)]
    })
}

/// Everything that can be asked of an opened entry lies within it.
fn look(opened: &Opened<'_>, entry: &[u8]) {
    assert!(opened.payload.bytes(entry).len() <= entry.len());
    assert!(opened.stale_until >= opened.expires);
    let promised = opened.tags.len();
    assert_eq!(opened.tags.clone().count(), promised);
}

/// Any bytes. The checksum is taken for granted, so that what lies behind it is reached.
pub fn any(data: &[u8]) -> Option<()> {
    for seal in seals() {
        for verified in [true, false] {
            if let Ok(opened) = seal.open(KEY, "", data, 0, verified) {
                look(&opened, data);
            }
            if let Ok(opened) = seal.open_stale(KEY, SCHEMA, data, 0, verified) {
                look(&opened, data);
            }
        }
    }
    Some(())
}

/// An entry made after the input's recipe opens to what was put in, and to nothing after it was
/// tampered with, moved or asked for in another version.
pub fn sealed(data: &[u8]) -> Option<()> {
    tamper(&mut Unstructured::new(data)).ok()
}

fn tamper(recipe: &mut Unstructured<'_>) -> Result<()> {
    let choice: usize = recipe.int_in_range(1..=3)?;
    let seal = &seals()[choice];
    let (schema, codec, compressor): (&str, &str, &str) =
        (recipe.arbitrary()?, recipe.arbitrary()?, recipe.arbitrary()?);
    let mut tags = Vec::new();
    for _ in 0..recipe.int_in_range(0..=3)? {
        tags.push(Tag { name: recipe.arbitrary()?, token: recipe.arbitrary()? });
    }
    let meta = Meta {
        codec,
        codec_version: recipe.arbitrary()?,
        compressor,
        created: recipe.arbitrary()?,
        expires: if recipe.arbitrary()? { NEVER } else { recipe.arbitrary()? },
        stale_until: recipe.arbitrary()?,
        schema,
        tags: &tags,
        plain_len: recipe.arbitrary()?,
    };
    let key: &[u8] = recipe.arbitrary()?;
    let other_key: &[u8] = recipe.arbitrary()?;
    let (kind, at, byte): (u8, usize, u8) = (recipe.arbitrary()?, recipe.arbitrary()?, recipe.arbitrary()?);
    let payload = recipe.bytes(recipe.len())?;

    let Ok(entry) = seal.seal(key, &meta, payload) else { return Ok(()) };
    match seal.open_stale(key, schema, &entry, i64::MIN, false) {
        Ok(opened) => {
            look(&opened, &entry);
            assert_eq!(opened.payload.bytes(&entry), payload);
            assert_eq!(
                (opened.codec, opened.codec_version, opened.compressor),
                (codec, meta.codec_version, compressor)
            );
            assert_eq!((opened.created, opened.expires), (meta.created, meta.expires));
            assert!(opened.tags.eq(tags.iter().copied()));
        }
        // The earliest time there is is past every expiry at that time.
        Err(why) => assert!(meta.expires.max(meta.stale_until) == i64::MIN, "{why}"),
    }
    if other_key != key {
        assert!(
            seal.open_stale(other_key, schema, &entry, i64::MIN, false).is_err(),
            "opened under another key"
        );
    }
    for weaker in &seals()[choice + 1..] {
        assert!(
            weaker.open_stale(key, schema, &entry, i64::MIN, false).is_err(),
            "opened with less than required"
        );
    }
    let mut tampered = entry.clone();
    let at = at % entry.len();
    match kind % 4 {
        0 => tampered[at] ^= byte.max(1),
        1 => tampered.truncate(at),
        2 => tampered.insert(at, byte),
        _ => drop(tampered.remove(at)),
    }
    if tampered != entry {
        assert!(
            seal.open_stale(key, schema, &tampered, i64::MIN, false).is_err(),
            "opened after it was changed"
        );
    }
    Ok(())
}

/// One entry of each kind, and the frozen samples of each version.
pub fn seeds() -> Vec<Vec<u8>> {
    let tags = [Tag { name: "customer:7", token: [9; 16] }, Tag { name: "", token: [0; 16] }];
    let full = Meta {
        codec: "msgpack",
        codec_version: 1,
        compressor: "zstd",
        created: 1,
        expires: 100,
        stale_until: 200,
        schema: SCHEMA,
        tags: &tags,
        plain_len: 5000,
    };
    let plain = Meta { codec: "bytes", codec_version: 1, ..Meta::default() };
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for seal in seals() {
        for (meta, payload) in [(&full, &b"payload"[..]), (&plain, b"")] {
            seeds.push(seal.seal(KEY, meta, payload).expect("sealed"));
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/entry_samples");
    for file in std::fs::read_dir(folder).expect("samples of the tests") {
        let text = std::fs::read_to_string(file.expect("a sample").path()).expect("text");
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        seeds.push(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect());
    }
    seeds
}

/// Recipes are read field by field, so any bytes are one.
pub fn recipes() -> Vec<Vec<u8>> {
    (0..16_u8)
        .map(|number| (0..200).map(|i: u8| i.wrapping_mul(number.wrapping_mul(37) | 1)).collect())
        .collect()
}
