//! What JSON keeps comes back to the bit; what it could not keep is refused; what nobody wrote is corrupt.

use proptest::prelude::*;
use retainit_plugin_api::sdk::tree::{self, Reader, Token};
use retainit_plugin_api::sdk::ErrorKind;

use super::{read, write};

/// The tokens of a tree, floats by their bits.
fn tokens(bytes: &[u8]) -> Vec<String> {
    let mut reader = Reader::new(bytes);
    let mut tokens = Vec::new();
    while reader.finish().is_err() {
        tokens.push(match reader.next().expect("a tree") {
            Token::Float(value) => format!("Float({:#x})", value.to_bits()),
            other => format!("{other:?}"),
        });
    }
    tokens
}

fn text_of(tree: &[u8]) -> String {
    String::from_utf8(write(tree).unwrap()).unwrap()
}

fn float(value: f64) -> Vec<u8> {
    let mut out = Vec::new();
    tree::write::float(&mut out, value);
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    tree::write::text(&mut out, text.len()).unwrap();
    out.extend(text.as_bytes());
    out
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    tree::write::list(&mut out, items.len()).unwrap();
    [out, items.concat()].concat()
}

fn dict(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    tree::write::dict(&mut out, entries.len()).unwrap();
    entries.iter().for_each(|(key, value)| out.extend([&key[..], value].concat()));
    out
}

#[test]
fn text_is_plain_json_without_spaces() {
    let tree = dict(&[
        (text("n"), list(&[vec![0xc0], vec![0xc3], vec![0xc2], vec![7], vec![0xe0]])),
        (text("x"), list(&[float(1.0), float(-0.0), float(0.1), float(1e300), float(5e-324)])),
        (text("ü\"\\\n\u{1}"), text("größe 文字 🦀 \u{2028}/")),
        (text(""), dict(&[])),
    ]);
    let expected = "{\"n\":[null,true,false,7,-32],\"x\":[1.0,-0.0,0.1,1e+300,5e-324],\
                    \"ü\\\"\\\\\\n\\u0001\":\"größe 文字 🦀 \u{2028}/\",\"\":{}}";
    assert_eq!(text_of(&tree), expected);
    assert_eq!(tokens(&read(expected.as_bytes()).unwrap()), tokens(&tree));
}

#[test]
fn integers_and_floats_stay_what_they_are() {
    for (tree, text) in [
        (vec![1], "1"),
        (float(1.0), "1.0"),
        (float(-0.0), "-0.0"),
        (vec![0], "0"),
        (float(1e16), "1e+16"),
        (float(9_007_199_254_740_993.0), "9007199254740992.0"),
        (float(1.8446744073709552e19), "1.8446744073709552e+19"),
        ([&[0xcf][..], &u64::MAX.to_be_bytes()].concat(), "18446744073709551615"),
        ([&[0xd3][..], &i64::MIN.to_be_bytes()].concat(), "-9223372036854775808"),
    ] {
        assert_eq!(text_of(&tree), text);
        assert_eq!(tokens(&read(text.as_bytes()).unwrap()), tokens(&tree), "{text}");
    }
}

#[test]
fn what_json_could_not_give_back_is_refused_with_a_remedy() {
    let extension = |code: i8, body: &[u8]| [&[0xc7, body.len() as u8, code as u8][..], body].concat();
    for (tree, what) in [
        (extension(tree::TUPLE, &[0x91, 1]), "a tuple"),
        (extension(tree::SET, &[0x90]), "a set"),
        (extension(tree::BIG_INT, &[1; 9]), "an integer beyond 64 bits"),
        (extension(tree::DATETIME, &[0; 10]), "a datetime"),
        (extension(tree::SURROGATES, b"\xed\xa0\x80"), "text with lone surrogates"),
        (extension(-1, &[0; 8]), "an extension type"),
        (vec![0xc4, 1, 0], "bytes"),
        (float(f64::NAN), "a float that is infinite or not a number"),
        (float(f64::NEG_INFINITY), "a float that is infinite or not a number"),
        (dict(&[(vec![1], vec![0xc0])]), "a dict whose keys are not all text"),
        (dict(&[(text("k"), vec![1]), (text("k"), vec![2])]), "a dict with a key twice"),
        ([vec![0x91; 101], vec![0xc0]].concat(), "lists and dicts nested deeper than 100"),
    ] {
        // Within others as well as alone.
        for tree in [tree.clone(), list(&[vec![0xc0], dict(&[(text("a"), tree)])])] {
            let refusal = write(&tree).unwrap_err();
            assert_eq!(refusal.kind(), ErrorKind::Unsupported, "{what}");
            let expected = format!("serializer `json` could not give {what} back exactly: expected");
            let nested =
                "serializer `json` could not give lists and dicts nested deeper than 100 back exactly";
            let message = refusal.message();
            assert!(message.starts_with(&expected) || message.starts_with(nested), "{message}");
            assert!(
                message.ends_with("hint: `serializer=\"msgpack\"` keeps all types of a tree"),
                "{message}"
            );
        }
    }
}

#[test]
fn the_deepest_tree_comes_back() {
    let depth = tree::DEPTH as usize;
    let tree = [vec![0x91; depth], vec![0xc0]].concat();
    let json = text_of(&tree);
    assert_eq!(json, format!("{}null{}", "[".repeat(depth), "]".repeat(depth)));
    assert_eq!(tokens(&read(json.as_bytes()).unwrap()), tokens(&tree));
    let deeper = format!("[{json}]");
    let error = read(deeper.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("nested deeper than 100"), "{}", error.message());
}

#[test]
fn trees_that_are_none_are_invalid() {
    for tree in [
        &[][..],
        &[0xc1],
        &[0x91],
        &[0xa2, b'a'],
        &[0xa1, 0xff],
        &[0x81, 0xa1, 0xff, 1],
        &[1, 1],
        &[0xdd, 255, 255, 255, 255, 1],
    ] {
        assert_eq!(write(tree).unwrap_err().kind(), ErrorKind::Invalid, "{tree:x?}");
    }
}

#[test]
fn stored_text_that_nobody_wrote_is_corrupt() {
    for text in [
        &b""[..],
        b" ",
        b"nul",
        b"NaN",
        b"Infinity",
        b"-",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"1e400",
        b"-0",
        b"18446744073709551616",
        b"-9223372036854775809",
        b"[1, 123456789012345678901234567890]",
        b"'a'",
        b"\"a",
        b"\"\\x\"",
        b"\"\n\"",
        b"\"\\ud800\"",
        b"\"\xff\"",
        b"\"\xed\xa0\x80\"",
        b"[1,]",
        b"[1 2]",
        b"{\"a\" 1}",
        b"{\"a\":1,}",
        b"{1:1}",
        b"{\"a\":1,\"a\":1}",
        b"{\"a\":1,\"\\u0061\":2}",
        b"[{\"b\":{\"a\":1,\"c\":2,\"a\":3}}]",
        b"1 1",
        b"{}[]",
        b"null\0",
        b"\xef\xbb\xbf1",
        b"// a\n1",
    ] {
        let error = read(text).expect_err(&String::from_utf8_lossy(text));
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().starts_with("expected json text, found otherwise: "), "{}", error.message());
    }
}

#[test]
fn json_of_other_writers_is_read() {
    let json = b" { \"a\" : [ 1 , 2.5e0 , 1E2 ] ,\r\n\t\"\\u00e9\\ud83e\\udd80\\/\" : { } } \n";
    let expected =
        dict(&[(text("a"), list(&[vec![1], float(2.5), float(100.0)])), (text("é🦀/"), dict(&[]))]);
    assert_eq!(tokens(&read(json).unwrap()), tokens(&expected));
    // The same key in two maps is no key twice.
    assert!(read(br#"{"a": {"a": [{"a": 1}, {"a": 2}]}, "b": {"a": 1}}"#).is_ok());
}

/// Any tree that JSON can say.
fn trees() -> impl Strategy<Value = Vec<u8>> {
    let int = |value: i64| {
        let mut out = Vec::new();
        tree::write::int(&mut out, value);
        out
    };
    let unsigned = |value: u64| [&[0xcf][..], &value.to_be_bytes()].concat();
    let any_float = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite());
    let leaf = prop_oneof![
        prop::sample::select(vec![vec![0xc0], vec![0xc2], vec![0xc3]]),
        any::<i64>().prop_map(int),
        (-300i64..300).prop_map(int),
        ((1u64 << 63)..).prop_map(unsigned),
        any_float.prop_map(float),
        (-1000i64..1000).prop_map(|value| float(value as f64)),
        any::<String>().prop_map(|value| text(&value)),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(|items| list(&items)),
            prop::collection::btree_map(any::<String>(), inner, 0..20).prop_map(|entries| {
                let entries: Vec<_> = entries.into_iter().map(|(key, value)| (text(&key), value)).collect();
                dict(&entries)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_tree_of_json_comes_back(tree in trees()) {
        let json = write(&tree).unwrap();
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
        prop_assert_eq!(tokens(&read(&json).unwrap()), tokens(&tree));
    }

    #[test]
    fn any_float_comes_back_to_the_bit(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        if value.is_finite() {
            let tree = float(value);
            prop_assert_eq!(read(&write(&tree).unwrap()).unwrap(), tree);
        }
    }

    #[test]
    fn any_text_is_a_tree_or_corrupt(json in "[\\[\\]\\{\\}\",:0-9a-z.+\\\\ -]{0,40}") {
        match read(json.as_bytes()) {
            Ok(tree) => {
                // What was read can be written, and read again as the same.
                prop_assert!(tree::check(&tree).is_ok());
                prop_assert_eq!(tokens(&read(&write(&tree).unwrap()).unwrap()), tokens(&tree));
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
    }
}
