//! JSON as a tree.
//!
//! serde_json reports no positions of values, but hands out each value's own slice of the text; where
//! that slice starts gives the line.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::Deserializer;
use serde_json::value::RawValue;

use super::node::{check_depth, insert, Key, Mistake, Node, Value};

const SUBJECT: &str = "json";

/// Reads one value.
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(&error, 1))?;
    node(text, raw, 0)
}

fn node(text: &str, raw: &RawValue, depth: usize) -> Result<Node, Mistake> {
    let line = line_of(text, raw);
    check_depth(depth, line)?;
    let inner = raw.get();
    let value = match inner.as_bytes()[0] {
        b'{' => {
            let mut entries = Vec::new();
            for (key, value) in members(inner, line)? {
                let name: String = serde_json::from_str(key.get()).map_err(|error| syntax(&error, line))?;
                let key = Key { name, line: line_of(text, key) };
                insert(&mut entries, key, node(text, value, depth + 1)?)?;
            }
            Value::Map(entries)
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(inner).map_err(|error| syntax(&error, line))?;
            Value::List(items.into_iter().map(|item| node(text, item, depth + 1)).collect::<Result<_, _>>()?)
        }
        _ => match serde_json::from_str(inner).map_err(|error| syntax(&error, line))? {
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::String(value) => Node::text(line, value).value,
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(value), _) => Value::Integer(value),
                (None, Some(value)) => Value::Float(value),
                (None, None) => {
                    return Err(Mistake::new(
                        line,
                        SUBJECT,
                        format!("expected a number of 64 bits, found `{number}`"),
                    ))
                }
            },
            _ => Value::Null,
        },
    };
    Ok(Node::new(line, value))
}

/// The members of an object in order; a map type would drop repeated keys.
fn members(object: &str, line: usize) -> Result<Vec<(&RawValue, &RawValue)>, Mistake> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(&'de RawValue, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(entry) = map.next_entry()? {
                found.push(entry);
            }
            Ok(found)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(object);
    reader.deserialize_map(Members).map_err(|error| syntax(&error, line))
}

fn line_of(text: &str, raw: &RawValue) -> usize {
    // `raw` borrows from `text`, so the difference of the addresses is its offset.
    let offset = raw.get().as_ptr() as usize - text.as_ptr() as usize;
    1 + text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
}

fn syntax(error: &serde_json::Error, line: usize) -> Mistake {
    let line = line + error.line().saturating_sub(1);
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    Mistake::new(line, SUBJECT, format!("expected valid JSON, found: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_their_lines() {
        let text = "{\n \"a\": [1, -2.5,\n  \"x\\ud83d\\ude00\"],\n \"b\": {\"c\": null, \"d\": true}}";
        let root = parse(text).unwrap();
        assert_eq!(root.to_json(), serde_json::from_str::<serde_json::Value>(text).unwrap());
        let Value::Map(entries) = &root.value else { panic!("{root:?}") };
        let Value::List(items) = &entries[0].1.value else { panic!("{root:?}") };
        assert_eq!((entries[0].0.line, items[2].line, entries[1].0.line), (2, 3, 4));
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let mistake = parse("{\"a\": 1,\n\"\\u0061\": 2}").unwrap_err();
        assert_eq!((mistake.line, mistake.subject.as_str()), (2, "key `a`"));
    }

    #[test]
    fn broken_and_deep_texts_are_refused() {
        for text in ["", "{", "{\"a\": }", "[1] 2", "{a: 1}", &"[".repeat(100_000)] {
            assert!(parse(text).unwrap_err().message.contains("expected valid JSON"), "{text:.20}");
        }
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(parse(&deep).unwrap_err().message.contains("at most 64 levels"));
        assert_eq!(parse("{\n\"a\": 1,\n\"b\" 2}").unwrap_err().line, 3);
    }
}
