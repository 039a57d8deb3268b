//! What opens, what does not, and with which reason.

use std::sync::Arc;

use proptest::prelude::*;

use super::random::Random;
use super::*;

const KEY: &[u8] = b"app:module.function(x):1:\x11\x07";
const NOW: i64 = 1_000;

fn secret(number: u8) -> Secret {
    Secret::from_bytes(&[number; 32]).unwrap()
}

fn ring(numbers: &[u8]) -> Arc<Keyring> {
    Arc::new(Keyring::new(numbers.iter().map(|number| secret(*number)).collect()).unwrap())
}

/// Every way to seal, with key 1.
fn seals() -> [Seal; 4] {
    [Seal::Open, Seal::Checksum, Seal::Signed(ring(&[1])), Seal::Encrypted(ring(&[1]))]
}

const TAGS: [Tag<'static>; 2] = [Tag { name: "user:7", token: [7; 16] }, Tag { name: "", token: [0xf0; 16] }];

fn meta() -> Meta<'static> {
    Meta {
        codec: "msgpack",
        codec_version: 3,
        compressor: "zstd",
        created: 5,
        expires: NOW + 1,
        stale_until: NOW + 10,
        schema: "v7",
        tags: &TAGS,
        plain_len: 12_345,
    }
}

/// The payload that `seal` finds, or why it finds none.
fn read(seal: &Seal, key: &[u8], entry: &[u8]) -> Result<Vec<u8>, Unreadable> {
    seal.open(key, "v7", entry, NOW, false).map(|opened| opened.payload.bytes(entry).to_vec())
}

#[test]
fn what_is_sealed_opens_with_all_that_was_said() {
    for (seal, payload) in seals().iter().flat_map(|seal| [(seal, vec![]), (seal, vec![9; 5000])]) {
        let entry = seal.seal(KEY, &meta(), &payload).unwrap();
        let opened = seal.open(KEY, "v7", &entry, NOW, false).unwrap();
        assert_eq!((opened.codec, opened.codec_version, opened.compressor), ("msgpack", 3, "zstd"));
        assert_eq!((opened.created, opened.expires, opened.stale_until), (5, NOW + 1, NOW + 10));
        assert_eq!((opened.plain_len, opened.tags.len()), (12_345, 2));
        assert_eq!(opened.tags.clone().collect::<Vec<_>>(), TAGS);
        assert_eq!(opened.payload.bytes(&entry), payload);
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_is_a_miss() {
    for seal in &seals()[1..] {
        for payload in [b"value".to_vec(), vec![1; 4096]] {
            let entry = seal.seal(KEY, &meta(), &payload).unwrap();
            for len in 0..entry.len() {
                assert!(read(seal, KEY, &entry[..len]).is_err(), "{seal:?} {len}");
            }
            let mut flipped = entry.clone();
            for bit in 0..entry.len() * 8 {
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(read(seal, KEY, &flipped).is_err(), "{seal:?} {bit}");
                // Nor is it one for who asks for less.
                assert!(read(&Seal::Open, KEY, &flipped).is_err(), "{seal:?} {bit}");
                flipped[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(read(seal, KEY, &[&entry[..], &[0]].concat()), Err(Unreadable::Format));
            assert_eq!(read(seal, KEY, &entry), Ok(payload));
        }
    }
    let entry = Seal::Open.seal(KEY, &meta(), b"value").unwrap();
    for len in 0..entry.len() {
        assert_eq!(read(&Seal::Open, KEY, &entry[..len]), Err(Unreadable::Format), "{len}");
    }
}

#[test]
fn an_entry_moved_to_another_key_is_a_miss() {
    let reasons = [Unreadable::Checksum, Unreadable::Authentication, Unreadable::Authentication];
    for (seal, reason) in seals()[1..].iter().zip(reasons) {
        let entry = seal.seal(KEY, &meta(), b"value").unwrap();
        for other in [&KEY[..KEY.len() - 1], &[KEY, b"R"].concat(), b""] {
            assert_eq!(read(seal, other, &entry), Err(reason));
        }
    }
}

#[test]
fn no_byte_passes_from_the_key_to_the_header() {
    let joined = |key: &[u8], header: &[u8]| keyring::with_associated(key, header, <[u8]>::to_vec);
    assert_ne!(joined(b"ab", b"cd"), joined(b"abc", b"d"));
    assert_eq!(joined(b"ab", b"cd"), b"\x02\0\0\0\0\0\0\0abcd");
    // The same of every length, whether it fits on the stack or not.
    for len in 0..600 {
        let (key, header) = (vec![1; len], vec![2; len / 2]);
        let expected = [&(len as u64).to_le_bytes()[..], &key, &header].concat();
        assert_eq!(joined(&key, &header), expected, "{len} bytes");
    }
    assert_ne!(super::seal::checksum(b"ab", b"cd", b""), super::seal::checksum(b"abc", b"d", b""));
}

#[test]
fn each_reader_opens_what_is_sealed_well_enough_and_says_why_not() {
    use Unreadable::{UnknownKey, Unsealed};
    let (ok, unknown, unsealed) = (Ok(b"value".to_vec()), Err(UnknownKey), Err(Unsealed));
    let table = [
        [&ok, &ok, &unknown, &unknown],
        [&unsealed, &ok, &unknown, &unknown],
        [&unsealed, &unsealed, &ok, &ok],
        [&unsealed, &unsealed, &unsealed, &ok],
    ];
    for (reader, row) in seals().iter().zip(table) {
        for (writer, expected) in seals().iter().zip(row) {
            let entry = writer.seal(KEY, &meta(), b"value").unwrap();
            assert_eq!(read(reader, KEY, &entry), *expected, "{reader:?} of {writer:?}");
        }
    }
}

#[test]
fn keys_rotate_and_are_revoked() {
    for make in [Seal::Signed, Seal::Encrypted] {
        let entry = make(ring(&[1])).seal(KEY, &meta(), b"value").unwrap();
        for numbers in [&[1][..], &[2, 1], &[3, 2, 1]] {
            assert_eq!(read(&make(ring(numbers)), KEY, &entry), Ok(b"value".to_vec()));
        }
        assert_eq!(read(&make(ring(&[2])), KEY, &entry), Err(Unreadable::UnknownKey));
        // The first key seals.
        let renewed = make(ring(&[2, 1])).seal(KEY, &meta(), b"value").unwrap();
        assert_eq!(read(&make(ring(&[2])), KEY, &renewed), Ok(b"value".to_vec()));
        assert_eq!(read(&make(ring(&[1])), KEY, &renewed), Err(Unreadable::UnknownKey));
        // Another key under the name of the first.
        let (from, to) = (ring(&[1]).sealing_id(), ring(&[2]).sealing_id());
        let mut renamed = entry.clone();
        assert_eq!(renamed[48..56], from);
        renamed[48..56].copy_from_slice(&to);
        assert_eq!(read(&make(ring(&[2])), KEY, &renamed), Err(Unreadable::Authentication));
    }
}

#[test]
fn nobody_strips_or_weakens_a_seal() {
    // What somebody without the key can make of an encrypted entry: anything with a right checksum.
    let forged = Seal::Checksum.seal(KEY, &meta(), b"forged").unwrap();
    let plain = Seal::Open.seal(KEY, &meta(), b"forged").unwrap();
    for strict in [Seal::Signed(ring(&[1])), Seal::Encrypted(ring(&[1]))] {
        assert_eq!(read(&strict, KEY, &forged), Err(Unreadable::Unsealed));
        assert_eq!(read(&strict, KEY, &plain), Err(Unreadable::Unsealed));
        assert_eq!(read(&strict, KEY, &v1::seal(KEY, 1, 0, NEVER, b"forged")), Err(Unreadable::Unsealed));
        // `verified` spares the checksum, never the signature.
        let mut entry = strict.seal(KEY, &meta(), b"value").unwrap();
        *entry.last_mut().unwrap() ^= 1;
        let found = strict.open(KEY, "v7", &entry, NOW, true).unwrap_err();
        assert_eq!(found, Unreadable::Authentication);
    }
    let mut damaged = forged.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(read(&Seal::Open, KEY, &damaged), Err(Unreadable::Checksum));
    assert_eq!(Seal::Checksum.open(KEY, "v7", &damaged, NOW, true).unwrap_err(), Unreadable::Checksum);
    let mut damaged = Seal::Checksum.seal(KEY, &Meta { compressor: "", ..meta() }, b"value").unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(Seal::Checksum.open(KEY, "v7", &damaged, NOW, true).is_ok(), "verified before");
}

#[test]
fn schema_and_expiry_are_checked_after_the_seal() {
    for seal in &seals() {
        let entry = seal.seal(KEY, &meta(), b"value").unwrap();
        for schema in ["", "v", "v8", "v77"] {
            assert_eq!(seal.open(KEY, schema, &entry, NOW, false).unwrap_err(), Unreadable::Schema);
        }
        assert_eq!(seal.open(KEY, "v7", &entry, NOW + 1, false).unwrap_err(), Unreadable::Expired);
        assert!(seal.open_stale(KEY, "v7", &entry, NOW + 9, false).is_ok());
        assert_eq!(seal.open_stale(KEY, "v7", &entry, NOW + 10, false).unwrap_err(), Unreadable::Expired);
        let plain = seal.seal(KEY, &Meta { expires: NOW, ..Meta::default() }, b"").unwrap();
        assert_eq!(seal.open_stale(KEY, "", &plain, NOW, false).unwrap_err(), Unreadable::Expired);
        assert!(seal.open_stale(KEY, "", &plain, NOW - 1, false).is_ok());
    }
}

#[test]
fn later_versions_are_told_apart_from_rubbish() {
    let entry = Seal::Open.seal(KEY, &meta(), b"value").unwrap();
    let with = |at: usize, byte: u8| {
        let mut entry = entry.clone();
        entry[at] = byte;
        read(&Seal::Open, KEY, &entry).unwrap_err()
    };
    assert_eq!(with(3, b'3'), Unreadable::Version);
    assert_eq!(with(4, 4), Unreadable::Version); // a seal
    assert_eq!(with(5, 1), Unreadable::Version); // a flag
    assert_eq!(with(3, b'x'), Unreadable::Format);
    assert_eq!(with(0, b'x'), Unreadable::Format);
    assert_eq!(with(48, 1), Unreadable::Format); // the id of a key, where there is no key
    assert_eq!(with(64, 0xff), Unreadable::Format); // not UTF-8
    assert_eq!(with(62, 3), Unreadable::Format); // one tag more than there are
}

#[test]
fn version_1_opens() {
    let entry = v1::seal(KEY, codec::PICKLE, 5, NOW + 1, b"value");
    for seal in [Seal::Open, Seal::Checksum] {
        let opened = seal.open(KEY, "v7", &entry, NOW, false).unwrap();
        assert_eq!((opened.codec, opened.codec_version, opened.compressor), ("pickle", 1, ""));
        assert_eq!((opened.created, opened.expires, opened.stale_until), (5, NOW + 1, NOW + 1));
        assert_eq!((opened.plain_len, opened.tags.len()), (5, 0));
        assert_eq!(opened.payload, Payload::Range(32..37));
        for (key, schema, now, reason) in
            [(KEY, "v7", NOW + 1, Unreadable::Expired), (&KEY[1..], "", NOW, Unreadable::Checksum)]
        {
            assert_eq!(seal.open(key, schema, &entry, now, false).unwrap_err(), reason);
            assert_eq!(seal.open_stale(key, schema, &entry, now, false).unwrap_err(), reason);
        }
        let other = v1::seal(KEY, 2, 5, NEVER, b"value");
        assert_eq!(seal.open(KEY, "", &other, NOW, false).unwrap_err(), Unreadable::Codec);
    }
}

#[test]
fn large_payloads_are_aligned_and_small_entries_are_small() {
    for seal in &seals() {
        let large = seal.seal(KEY, &meta(), &[7; 4096]).unwrap();
        assert_eq!((large.len() - 4096) % 64, 0);
        let meta = Meta { codec: "msgpack", codec_version: 1, ..Meta::default() };
        let (header, bound) = (seal.headroom(&meta, 100).unwrap(), [71, 79, 103, 115]);
        assert!(bound.contains(&header), "{header}");
        assert_eq!(seal.seal(KEY, &meta, &[7; 100]).unwrap().len(), header + 100);
    }
}

#[test]
fn an_entry_is_made_where_its_payload_lies() {
    let fixed = || Arc::new(Keyring::with(vec![secret(1)], Random::counting()).unwrap());
    for seal in [Seal::Open, Seal::Checksum, Seal::Signed(fixed()), Seal::Encrypted(fixed())] {
        for payload in [vec![], b"value".to_vec(), vec![8; 4097]] {
            let need = seal.headroom(&meta(), payload.len()).unwrap();
            let mut buffer = [vec![0xaa; need + 3], payload.clone()].concat();
            assert_eq!(seal.seal_in(KEY, &meta(), &mut buffer, need + 3).unwrap(), 3);
            assert_eq!(buffer[3..], seal.seal(KEY, &meta(), &payload).unwrap());
        }
        let need = seal.headroom(&meta(), 1).unwrap();
        let error = seal.seal_in(KEY, &meta(), &mut vec![0; need], need - 1).unwrap_err();
        assert!(error.to_string().contains(&format!("expected at least {need}")), "{error}");
        assert!(seal.seal_in(KEY, &meta(), &mut [0; 8], 9).is_err());
    }
}

#[test]
fn what_the_header_cannot_hold_is_refused() {
    let long = "x".repeat(70_000);
    let tags = [Tag { name: "a tag of a sort", token: [0; 16] }; 2000];
    for (meta, message) in [
        (Meta { codec: &long[..256], ..meta() }, "the codec's name has 256 bytes: expected at most 255"),
        (
            Meta { compressor: &long[..256], ..meta() },
            "the compressor's name has 256 bytes: expected at most 255",
        ),
        (Meta { schema: &long, ..meta() }, "the schema version has 70000 bytes: expected at most 65535"),
        (
            Meta { tags: &tags, ..meta() },
            "the header of the entry takes 66085 bytes, 2000 tags included: expected at most 65535; \
             hint: fewer or shorter tags",
        ),
    ] {
        assert_eq!(Seal::Checksum.seal(KEY, &meta, b"").unwrap_err().to_string(), message);
    }
    let most = Meta { schema: &long[..65_000], ..Meta::default() };
    let entry = Seal::Checksum.seal(KEY, &most, b"").unwrap();
    assert!(Seal::Checksum.open(KEY, &long[..65_000], &entry, 0, false).is_ok());
}

/// Any texts, numbers and tags of a header.
type AnyMeta = ([String; 3], u16, [i64; 3], Vec<(String, [u8; 16])>, u64);

fn any_meta() -> impl Strategy<Value = AnyMeta> {
    let tags = prop::collection::vec((".{0,30}", any::<[u8; 16]>()), 0..5);
    let texts = (".{0,20}", "[a-z]{0,6}", ".{0,20}").prop_map(<[String; 3]>::from);
    (texts, any::<u16>(), any::<[i64; 3]>(), tags, any::<u64>())
}

proptest! {
    #[test]
    fn any_value_under_any_header_comes_back(
        header in any_meta(),
        key in prop::collection::vec(any::<u8>(), 0..500),
        payload in prop::collection::vec(any::<u8>(), 0..6000),
    ) {
        let ([codec, compressor, schema], codec_version, [created, expires, stale_until], tags, plain_len) = &header;
        let tags: Vec<Tag<'_>> = tags.iter().map(|(name, token)| Tag { name, token: *token }).collect();
        let meta = Meta {
            codec, codec_version: *codec_version, compressor, created: *created, expires: *expires,
            stale_until: *stale_until, schema, tags: &tags, plain_len: *plain_len,
        };
        for seal in &seals() {
            let entry = seal.seal(&key, &meta, &payload).unwrap();
            let opened = seal.open_stale(&key, schema, &entry, i64::MIN, false);
            if meta.stale_until.max(meta.expires) == i64::MIN {
                prop_assert_eq!(opened.unwrap_err(), Unreadable::Expired);
                continue;
            }
            let opened = opened.unwrap();
            prop_assert_eq!((opened.codec, opened.codec_version), (&codec[..], *codec_version));
            prop_assert_eq!((opened.created, opened.expires), (*created, *expires));
            prop_assert_eq!(opened.stale_until, meta.stale_until.max(meta.expires));
            let plain_len = if compressor.is_empty() { payload.len() as u64 } else { *plain_len };
            prop_assert_eq!((opened.compressor, opened.plain_len), (&compressor[..], plain_len));
            prop_assert_eq!(opened.tags.collect::<Vec<_>>(), &tags[..]);
            prop_assert_eq!(opened.payload.bytes(&entry), &payload[..]);
        }
    }

    /// Lengths and offsets that lead anywhere, behind a right magic.
    #[test]
    fn arbitrary_bytes_open_nothing_and_end_nothing(
        version in 0..3_u8,
        kind in 0..5_u8,
        offset in 0..400_u16,
        mut bytes in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..400),
    ) {
        let start = [b'R', b'T', b'N', b'0' + version, kind, 0, offset as u8, (offset >> 8) as u8];
        for (place, byte) in bytes.iter_mut().zip(start) {
            *place = byte;
        }
        if let Some(stored) = bytes.len().checked_sub(offset.into()).filter(|_| bytes.len() >= 64) {
            bytes[32..48].fill(0);
            bytes[32..40].copy_from_slice(&(stored as u64).to_le_bytes());
        }
        for seal in &seals()[1..] {
            prop_assert!(seal.open_stale(KEY, "", &bytes, i64::MIN, false).is_err());
        }
        // Without a checksum it may be an entry, as far as anybody can tell.
        if let Ok(opened) = Seal::Open.open_stale(KEY, "", &bytes, i64::MIN, true) {
            prop_assert!(opened.payload.bytes(&bytes).len() <= bytes.len());
            prop_assert!(opened.tags.count() <= bytes.len());
        }
    }
}
