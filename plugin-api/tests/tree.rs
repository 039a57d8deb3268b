//! Trees without a language: what `docs/tree.md` shows passes, what it refuses does not, and what is
//! written is as short as it gets.

use std::path::Path;

use retainit_plugin_api::sdk::tree::{self, check, write, Dtype, Leaf, Reader, Token};

/// The trees of the table at the end of the page.
fn vectors() -> Vec<Vec<u8>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tree.md");
    let text = std::fs::read_to_string(page).expect("the page is there");
    let row = |line: &str| -> Option<Vec<u8>> {
        let hex = line.strip_suffix("` |")?.rsplit('`').next()?;
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
    };
    let table = text.split("## Vectors").nth(1).expect("there is a table");
    table.lines().filter_map(row).collect()
}

fn extension(code: i8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::extension(&mut out, code, body.len()).expect("it is short");
    out.extend_from_slice(body);
    out
}

#[test]
fn what_is_shown_is_a_tree() {
    assert!(vectors().len() > 60);
    let mut all = Vec::new();
    write::list(&mut all, vectors().len()).expect("it is short");
    for tree in vectors() {
        assert_eq!(check(&tree), Ok(()), "{tree:02x?}");
        all.extend_from_slice(&tree);
    }
    assert_eq!(check(&all), Ok(()));
}

#[test]
fn no_truncation_is_a_tree() {
    for tree in vectors() {
        for len in 0..tree.len() {
            assert!(check(&tree[..len]).is_err(), "{:02x?}", &tree[..len]);
        }
        let error = check(&[&tree[..], &[0xc0]].concat()).expect_err("there is a byte too many");
        assert_eq!((error.at(), error.what()), (tree.len(), "bytes behind the value"));
    }
}

#[test]
fn flipped_bits_never_panic() {
    for mut tree in vectors() {
        for at in 0..tree.len() * 8 {
            tree[at / 8] ^= 1 << (at % 8);
            let _ = check(&tree);
            tree[at / 8] ^= 1 << (at % 8);
        }
    }
}

#[test]
fn what_is_refused() {
    let list = |items: &[&[u8]]| [&[0x90 | items.len() as u8][..], &items.concat()].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("a byte that begins nothing", vec![0xc1]),
        ("a surrogate in plain text", vec![0xa3, 0xed, 0xa0, 0x80]),
        ("a list as a key", vec![0x81, 0x90, 1]),
        ("a bytearray as a member", extension(tree::SET, &list(&[&extension(tree::BYTEARRAY, b"a")]))),
        (
            "a tuple with a dict as a key",
            [&[0x81][..], &extension(tree::TUPLE, &list(&[&[0x80]])), &[1]].concat(),
        ),
        ("an unknown code", extension(24, b"")),
        ("a negative code", extension(-1, &[0; 4])),
        ("a tuple that is longer than its body", extension(tree::TUPLE, &[0x92, 1])),
        ("a tuple that is shorter than its body", extension(tree::TUPLE, &[0x91, 1, 2])),
        ("a range of text", extension(tree::RANGE, &[0x93, 1, 2, 0xa0])),
        ("a fraction of flags", extension(tree::FRACTION, &[0x92, 0xc3, 2])),
        ("a decimal of words", extension(tree::DECIMAL, b"inf")),
        ("a 29th of February 2100", extension(tree::DATE, &[0x08, 0x34, 2, 29])),
        ("an offset of a day", extension(tree::TIMEZONE, &tree::DAY.to_be_bytes())),
        ("an array of objects", extension(tree::TENSOR, b"\x94\xa2|O\x90\xa1C\xc4\x08\0\0\0\0\0\0\0\0")),
        ("an array of too little", extension(tree::TENSOR, b"\x94\xa3<i4\x91\x02\xa1C\xc4\x04\0\0\0\0")),
    ];
    for (what, tree) in cases {
        assert!(check(&tree).is_err(), "{what}");
        assert!(check(&list(&[&tree, &[0]])).is_err(), "{what}, within a list");
    }
}

#[test]
fn nesting_ends_at_its_limit() {
    let nested = |heads: &[u8], times: usize| [heads.repeat(times), vec![0xc0]].concat();
    assert_eq!(check(&nested(&[0x91], 100)), Ok(()));
    let error = check(&nested(&[0x91], 101)).expect_err("it is too deep");
    assert_eq!(error.to_string(), "malformed tree at byte 101: nested too deep");
    assert!(check(&nested(&[0x81, 1], 101)).is_err());
    assert!(check(&[0x91].repeat(1 << 20)).is_err());
}

#[test]
fn claims_add_up() {
    // Two lists beside each other may not both claim what is left, nor one within the other.
    let mut tree = vec![0x92];
    for _ in 0..2 {
        write::list(&mut tree, 60).expect("it is short");
    }
    tree.extend([0xc0; 60]);
    let error = check(&tree).expect_err("the second list claims what the first has");
    assert_eq!(error.what(), "containers claim more items than there are bytes");
    for head in [[0xdd, 0xff, 0xff, 0xff, 0xff], [0xdf, 0x7f, 0xff, 0xff, 0xff]] {
        assert_eq!(check(&head).expect_err("it claims too much").what(), error.what());
    }
}

#[test]
fn integers_are_as_short_as_they_get() {
    for power in 0..64 {
        for by in [-1, 0, 1] {
            for sign in [1, -1] {
                let Ok(value) = i64::try_from(sign * ((1_i128 << power) + by)) else { continue };
                let mut out = Vec::new();
                write::int(&mut out, value);
                let mut reader = Reader::new(&out);
                assert_eq!(reader.next(), Ok(Token::Int(value)));
                assert_eq!(reader.finish(), Ok(()));
                let shortest = match value {
                    -32..=127 => 1,
                    -128..=255 => 2,
                    -0x8000..=0xffff => 3,
                    -0x8000_0000..=0xffff_ffff => 5,
                    _ => 9,
                };
                assert_eq!(out.len(), shortest, "{value}");
            }
        }
    }
}

#[test]
fn bodies_written_before_their_heads_are_moved() {
    for len in [0, 1, 2, 3, 4, 8, 15, 16, 17, 255, 256, 65535, 65536, 70000] {
        let body = vec![7; len];
        let mut out = vec![0x91];
        let open = write::open(&mut out, tree::BYTEARRAY);
        out.extend_from_slice(&body);
        write::close(&mut out, open).expect("it is short");
        assert_eq!(out[1..], extension(tree::BYTEARRAY, &body));
        let mut reader = Reader::new(&out[1..]);
        let Ok(Token::Leaf(code, found)) = reader.next() else { panic!("{len} bytes are none") };
        assert_eq!(Leaf::parse(code, found, 0), Ok(Leaf::Bytearray(&body)));
    }
}

#[test]
fn short_floats_keep_their_bits() {
    for (short, long) in [
        (0x3fc0_0000, 0x3ff8_0000_0000_0000),
        (0x8000_0000, 0x8000_0000_0000_0000),
        (0x0000_0001, 0x36a0_0000_0000_0000),
        (0xff80_0000, 0xfff0_0000_0000_0000),
        (0x7fa0_0001, 0x7ff4_0000_2000_0000_u64),
    ] {
        let tree = [&[0xca][..], &u32::to_be_bytes(short)].concat();
        let Ok(Token::Float(found)) = Reader::new(&tree).next() else { panic!("no float") };
        assert_eq!(found.to_bits(), long);
    }
}

#[test]
fn element_types() {
    let known =
        ["|b1", "|i1", "|u1", "<i2", ">u8", "<f2", ">f8", "<c8", ">c16", "|S7", "<U3", "<M8", ">m8[25s]"];
    for text in known {
        assert!(Dtype::parse(text).is_some(), "{text}");
    }
    let size = |text| Dtype::parse(text).map(|dtype| dtype.size);
    assert_eq!((size("<U3"), size("|S7"), size(">c16")), (Some(12), Some(7), Some(16)));
    let unknown = [
        "",
        "<",
        "f8",
        "|O",
        "|O8",
        "|V8",
        "<f16",
        "<c32",
        "<f3",
        "<i0",
        "<i08",
        "|f8",
        "<i1",
        "|U3",
        "<S3",
        "<U0",
        "<f8[s]",
        "<M8[]",
        "<M8[x]",
        "<M8[s",
        "<M8[0s]",
        "<M4[s]",
        "<U99999999999999999999",
        "<é8",
        "=f8",
        "<M8[s]]",
    ];
    for text in unknown {
        assert_eq!(Dtype::parse(text), None, "{text}");
    }
}

#[test]
fn decimal_numbers() {
    let parses = |text: &str| Leaf::parse(tree::DECIMAL, text.as_bytes(), 0).is_ok();
    for text in ["0", "-0", "1.50", "-1E+3", "1.5E-30", "Infinity", "-Infinity", "NaN", "-sNaN12", "0E-6176"]
    {
        assert!(parses(text), "{text}");
    }
    for text in
        ["", "-", "+1", ".5", "5.", "1E3", "1E+", "1e+3", "1E+1.5", " 1", "1_0", "nan", "Inf", "NaN-1", "--1"]
    {
        assert!(!parses(text), "{text}");
    }
}
