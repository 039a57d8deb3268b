//! TOML as a tree.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::node::{check_depth, insert, Key, Mistake, Node, Value};

const SUBJECT: &str = "toml";

/// Reads a document.
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line(text, &span));
        let what = error.message().replace('\n', ", ");
        Mistake::new(line, SUBJECT, format!("expected valid TOML, found: {what}"))
    })?;
    Ok(Node::new(1, map(text, table.get_ref(), 0)?))
}

fn map(text: &str, table: &DeTable<'_>, depth: usize) -> Result<Value, Mistake> {
    let mut entries = Vec::new();
    for (name, value) in table {
        let key = Key { name: name.get_ref().to_string(), line: line(text, &name.span()) };
        insert(&mut entries, key, node(text, value, depth + 1)?)?;
    }
    // The parser's table is sorted by name; the file's order is kinder to readers of messages.
    entries.sort_by_key(|(key, _)| key.line);
    Ok(Value::Map(entries))
}

fn node(text: &str, spanned: &Spanned<DeValue<'_>>, depth: usize) -> Result<Node, Mistake> {
    let line = line(text, &spanned.span());
    check_depth(depth, line)?;
    let value = match spanned.get_ref() {
        DeValue::String(value) => Node::text(line, value.to_string()).value,
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Integer(number) => {
            let value = i64::from_str_radix(number.as_str(), number.radix());
            Value::Integer(value.map_err(|_| {
                Mistake::new(
                    line,
                    SUBJECT,
                    format!("expected an integer of 64 bits, found `{}`", number.as_str()),
                )
            })?)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().map_err(|_| {
            Mistake::new(line, SUBJECT, format!("expected a number, found `{}`", number.as_str()))
        })?),
        DeValue::Datetime(value) => {
            return Err(Mistake::new(
                line,
                SUBJECT,
                format!("expected no dates, found `{value}`; hint: quote it if it is text"),
            ));
        }
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node(text, item, depth + 1)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => map(text, table, depth)?,
    };
    Ok(Node::new(line, value))
}

fn line(text: &str, span: &Range<usize>) -> usize {
    1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_their_lines() {
        let text = "[a.b]\nn = 0x10\nf = 1_0.5\nt = \"x\"\n[[a.c]]\nok = true\n[[a.c]]\nok = false\n";
        let root = parse(text).unwrap();
        let expected = r#"{"a":{"b":{"n":16,"f":10.5,"t":"x"},"c":[{"ok":true},{"ok":false}]}}"#;
        assert_eq!(root.to_json(), serde_json::from_str::<serde_json::Value>(expected).unwrap());
        let Value::Map(top) = &root.value else { panic!("{root:?}") };
        let Value::Map(a) = &top[0].1.value else { panic!("{root:?}") };
        let Value::Map(b) = &a[0].1.value else { panic!("{root:?}") };
        assert_eq!(b.iter().map(|(key, _)| key.line).collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn broken_texts_are_refused_with_their_line() {
        let mistake = parse("a = 1\nb = = 2\n").unwrap_err();
        assert_eq!(mistake.line, 2);
        assert!(mistake.message.contains("expected valid TOML"), "{}", mistake.message);
        assert_eq!(parse("a = 1\na = 2\n").unwrap_err().line, 2);
        assert!(parse("a = 1979-05-27\n").unwrap_err().message.contains("expected no dates"));
        assert!(parse("a = 99999999999999999999\n").unwrap_err().message.contains("64 bits"));
        assert!(parse(&format!("a = {}", "[".repeat(100_000))).is_err());
    }
}
