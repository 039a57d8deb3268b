//! YAML 1.2 (core schema) as a tree.
//!
//! Built from the parser's events rather than through serde, because every value needs its line and
//! because aliases must be counted before they are copied.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::node::{check_depth, insert, Key, Mistake, Node, Value, MAX_NODES};

const SUBJECT: &str = "yaml";

/// Reads one document; an empty one is null.
pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    let mut reader = Reader { text, parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut root = Node::new(1, Value::Null);
    let mut documents = 0;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(Mistake::new(line(span), SUBJECT, "expected one document, found a second"));
                }
                let (event, span) = reader.next()?;
                root = reader.node(event, span, 0)?;
            }
            _ => return Err(Mistake::new(line(span), SUBJECT, "expected a document")),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Anchored nodes by id, with their size. An id is entered when its node is complete, so that a
    /// node cannot contain itself.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Mistake> {
        match self.parser.next_event() {
            Some(event) => event.map_err(|error| syntax(self.text, &error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Mistake> {
        let line = line(span);
        check_depth(depth, line)?;
        let before = self.nodes;
        self.count(1, line)?;
        let (value, anchor) = match event {
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err(Mistake::new(
                        line,
                        SUBJECT,
                        "expected an alias of a complete value, found one within itself",
                    ));
                };
                self.count(size, line)?;
                return Ok(Node { line, ..node });
            }
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                return Err(Mistake::new(
                    line,
                    SUBJECT,
                    format!("expected values without tags, found the tag `{tag}`"),
                ));
            }
            Event::Scalar(text, ScalarStyle::Plain, anchor, None) => (plain(&text, line)?, anchor),
            Event::Scalar(text, _, anchor, None) => (Node::text(line, text).value, anchor),
            Event::SequenceStart(anchor, None) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                (Value::List(items), anchor)
            }
            Event::MappingStart(anchor, None) => (self.mapping(depth)?, anchor),
            _ => return Err(Mistake::new(line, SUBJECT, "expected a value")),
        };
        let node = Node::new(line, value);
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Mistake> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let name = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                // A number or a boolean is a name here like any other text.
                Event::Scalar(name, _, 0, None) => name.into_owned(),
                _ => return Err(Mistake::new(line(span), SUBJECT, "expected plain text as a key")),
            };
            let key = Key { name, line: line(span) };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            insert(&mut entries, key, node)?;
        }
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Mistake> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(Mistake::new(
            line,
            SUBJECT,
            format!("expected at most {MAX_NODES} values, aliases counted in full, found more"),
        ))
    }
}

fn line(span: Span) -> usize {
    span.start.line()
}

fn syntax(text: &str, error: &ScanError) -> Mistake {
    let line = error.marker().line();
    let mut message = format!("expected valid YAML, found: {}", error.info());
    // `{` ends an unquoted text there, which surprises everybody who expands a variable.
    if text.lines().nth(line.saturating_sub(1)).is_some_and(|line| line.contains("${")) {
        message.push_str("; hint: within `{...}` and `[...]`, quote texts that contain `${`");
    }
    Mistake::new(line, SUBJECT, message)
}

/// Resolves an unquoted scalar as YAML 1.2's core schema does: `yes` and `on` are text.
fn plain(text: &str, line: usize) -> Result<Value, Mistake> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Value::Float(f64::NAN),
        _ => match integer(text) {
            Some(Ok(value)) => Value::Integer(value),
            Some(Err(_)) => {
                let message =
                    format!("expected an integer of 64 bits, found `{text}`; hint: quote it if it is text");
                return Err(Mistake::new(line, SUBJECT, message));
            }
            None => match float(text) {
                Some(value) => Value::Float(value),
                None => Node::text(line, text).value,
            },
        },
    })
}

fn integer(text: &str) -> Option<Result<i64, std::num::ParseIntError>> {
    if let Some(digits) = text.strip_prefix("0x") {
        let hexadecimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        return hexadecimal.then(|| i64::from_str_radix(digits, 16));
    }
    if let Some(digits) = text.strip_prefix("0o") {
        let octal = !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
        return octal.then(|| i64::from_str_radix(digits, 8));
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    decimal.then(|| text.parse())
}

fn float(text: &str) -> Option<f64> {
    let looks_like_one = text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    looks_like_one.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        parse(text).unwrap().to_json().to_string()
    }

    fn message(text: &str) -> (usize, String) {
        let mistake = parse(text).unwrap_err();
        (mistake.line, format!("{}: {}", mistake.subject, mistake.message))
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let text = "[1, -2, 0x10, 0o17, 1.5, 1e3, true, yes, null, ~, '1', \"a\\tb\", 1h, 9f2c, 1-2, 1.2.3]";
        let expected = r#"[1,-2,16,15,1.5,1000.0,true,"yes",null,null,"1","a\tb","1h","9f2c","1-2","1.2.3"]"#;
        assert_eq!(json(text), expected);
    }

    #[test]
    fn every_value_has_its_line() {
        let root = parse("a:\n  b: 1\n  c:\n    - x\n    - y\n").unwrap();
        let Value::Map(entries) = &root.value else { panic!("{root:?}") };
        let Value::Map(inner) = &entries[0].1.value else { panic!("{root:?}") };
        let Value::List(items) = &inner[1].1.value else { panic!("{root:?}") };
        assert_eq!((inner[0].0.line, inner[1].0.line, items[0].line, items[1].line), (2, 3, 4, 5));
    }

    #[test]
    fn an_empty_file_is_null() {
        assert_eq!(json(""), "null");
        assert_eq!(json("# only a comment\n"), "null");
    }

    #[test]
    fn aliases_copy_what_they_name() {
        assert_eq!(json("a: &x {t: 1}\nb: *x\n"), r#"{"a":{"t":1},"b":{"t":1}}"#);
    }

    #[test]
    fn a_key_given_twice_is_refused_with_both_lines() {
        let (line, text) = message("a: 1\nb: 2\na: 3\n");
        assert_eq!(
            (line, text.as_str()),
            (3, "key `a`: expected each key once, found it here and on line 1")
        );
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..30 {
            let below = format!("*a{}", level - 1);
            text.push_str(&format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", ")));
        }
        assert!(message(&text).1.contains("at most 100000 values"));
    }

    #[test]
    fn an_alias_within_itself_is_refused() {
        assert!(message("a: &x [*x]\n").1.contains("within itself"));
    }

    #[test]
    fn deep_nesting_is_refused_before_the_stack_ends() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
            let (_, text) = message(&text);
            assert!(text.contains("at most 64 levels") || text.contains("expected valid YAML"), "{text}");
        }
    }

    #[test]
    fn what_no_configuration_needs_is_refused_by_name() {
        assert!(message("a: !!python/object:os.system x\n").1.contains("tag"));
        assert!(message("a: 1\n---\nb: 2\n").1.contains("expected one document"));
        assert!(message("? [a, b]\n: 1\n").1.contains("expected plain text as a key"));
        assert!(message("a: 99999999999999999999\n").1.contains("64 bits"));
        let (line, text) = message("a: 1\nb: [1, 2\n");
        assert!(line >= 2 && text.contains("expected valid YAML"), "{line} {text}");
    }
}
