//! The tree form: whatever the checker accepts, a reader reads to its end.

use retainit_plugin_api::sdk::tree::{self, write, Reader, Token};

pub fn check(data: &[u8]) -> Option<()> {
    let checked = tree::check(data);
    let mut reader = Reader::new(data);
    // A walk of its own, over the tokens without their nesting: never beyond the end, always further.
    let mut at = 0;
    while let Ok(token) = reader.next() {
        assert!(reader.at() <= data.len());
        assert!(reader.at() > at || matches!(token, Token::Group(_)), "no step further at {at}");
        at = reader.at();
    }
    if checked.is_ok() {
        assert!(!data.is_empty());
    }
    Some(())
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut out = Vec::new();
    write::dict(&mut out, 3).expect("a header");
    for (name, value) in [("id", 7), ("price", -3), ("large", i64::MAX)] {
        write::text(&mut out, name.len()).expect("a header");
        out.extend_from_slice(name.as_bytes());
        write::int(&mut out, value);
    }
    all.push(out);
    for code in i8::MIN..=i8::MAX {
        for body in
            [&b""[..], b"\x01", b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c", b"text", &[0; 32]]
        {
            let mut out = Vec::new();
            write::extension(&mut out, code, body.len()).expect("a header");
            out.extend_from_slice(body);
            if tree::check(&out).is_ok() {
                all.push(out);
            }
        }
    }
    let mut list = Vec::new();
    write::list(&mut list, all.len()).expect("a header");
    all.iter().for_each(|one| list.extend_from_slice(one));
    all.push(list);
    all
}
