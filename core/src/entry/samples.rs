//! Where the samples in `core/tests/entry_samples` come from: what is written today, with salts and
//! nonces that count up from zero. Should a later version write otherwise, the samples stay, since
//! entries like them are in storage, and this goes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::random::Random;
use super::*;

const KEY: &[u8] = b"shop:prices.price_of(article):1:\x11\x07";

fn meta() -> Meta<'static> {
    const TAGS: [Tag<'static>; 1] = [Tag { name: "article:7", token: *b"0123456789abcdef" }];
    Meta {
        codec: "msgpack",
        codec_version: 1,
        compressor: "",
        created: 1_700_000_000_000_000_000,
        expires: 1_700_000_060_000_000_000,
        stale_until: 1_700_000_090_000_000_000,
        schema: "prices/2",
        tags: &TAGS,
        plain_len: 0,
    }
}

fn keyring() -> Arc<Keyring> {
    let secret =
        Secret::parse("hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f").unwrap();
    Arc::new(Keyring::with(vec![secret], Random::counting()).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

#[test]
fn the_samples_are_what_is_written() {
    let (v2, value) = (
        |seal: &Seal, meta: &Meta<'_>, payload: &[u8]| seal.seal(KEY, meta, payload),
        b"\xcb\x40\x33\xfa\xe1\x47\xae\x14\x7b",
    );
    let large: Vec<u8> = (0..4096).map(|at| (at * 31 % 251) as u8).collect();
    let compressed = Meta { compressor: "zstd", plain_len: 1 << 20, ..meta() };
    let signed = Seal::Signed(keyring());
    let bare = Meta { codec: "pickle", codec_version: 5, ..Meta::default() };
    for (name, entry) in [
        ("v1-pickle", Ok(seal(KEY, codec::PICKLE, 1_700_000_000_000_000_000, NEVER, b"\x80\x05K\x07."))),
        ("v2-open", v2(&Seal::Open, &meta(), value)),
        ("v2-checksum", v2(&Seal::Checksum, &meta(), value)),
        ("v2-checksum-bare", v2(&Seal::Checksum, &bare, b"\x80\x05K\x07.")),
        ("v2-checksum-large", v2(&Seal::Checksum, &compressed, &large)),
        ("v2-signed", v2(&signed, &meta(), value)),
        ("v2-encrypted", v2(&Seal::Encrypted(keyring()), &meta(), value)),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/entry_samples/{name}.hex"));
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(hex(&entry.unwrap()), found, "{}", path.display());
    }
}
