//! `${VAR}` and `${VAR:-default}` in the texts of a file.

use super::node::{Mistake, Node, Text, Value};

/// Where variables come from; the environment, but in tests.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands every text below `node`, keys aside. What a variable holds is taken as it is: it is not
/// expanded again, and it cannot change the file's structure.
pub(super) fn expand(node: &mut Node, lookup: Lookup<'_>) -> Result<(), Mistake> {
    match &mut node.value {
        Value::Text(text) => {
            let line = node.line;
            if let Some(value) = expand_text(&text.value, lookup)
                .map_err(|message| Mistake::new(line, format!("the text `{}`", text.value), message))?
            {
                let written = std::mem::take(&mut text.value);
                *text = Text { value, written: Some(written) };
            }
            Ok(())
        }
        Value::List(items) => items.iter_mut().try_for_each(|item| expand(item, lookup)),
        Value::Map(entries) => entries.iter_mut().try_for_each(|(_, value)| expand(value, lookup)),
        _ => Ok(()),
    }
}

/// The expanded text; `None` where there was nothing to expand.
fn expand_text(text: &str, lookup: Lookup<'_>) -> Result<Option<String>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let before = &rest[..start];
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        expanded.push_str(before);
        let inner = &rest[start + 2..];
        let end = inner
            .find('}')
            .ok_or("expected a `}` after `${`, found none; hint: write `$${` for a literal `${`")?;
        expanded.push_str(&variable(&inner[..end], lookup)?);
        rest = &inner[end + 1..];
    }
    expanded.push_str(rest);
    Ok(Some(expanded))
}

fn variable(reference: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        return Err(format!("expected `${{NAME}}` or `${{NAME:-default}}`, found `${{{reference}}}`"));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err("expected a default without `${`, found one within another".to_owned());
    }
    // As in a shell, `:-` also stands in for a variable that is set but empty.
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "expected the environment variable `{name}` to be set, found that it is not; hint: `${{{name}:-default}}` gives a default"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<Option<String>, String> {
        expand_text(text, &|name| match name {
            "HOST" => Some("db.local".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${HOST}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn variables_and_defaults() {
        for (text, expected) in [
            ("redis://${HOST}:6379/${DB:-0}", "redis://db.local:6379/0"),
            ("${HOST:-other}", "db.local"),
            ("${EMPTY}|${EMPTY:-d}", "|d"),
            ("${MISSING:-}", ""),
            ("$${HOST} ${HOST}", "${HOST} db.local"),
            ("${TRICK}", "${HOST}"),
        ] {
            assert_eq!(run(text), Ok(Some(expected.to_owned())), "{text}");
        }
        assert_eq!(run("cost: $5 and $HOST"), Ok(None));
    }

    #[test]
    fn mistakes() {
        assert!(run("${MISSING}").unwrap_err().contains("`MISSING` to be set"));
        assert!(run("${HOST").unwrap_err().contains("expected a `}`"));
        assert!(run("${}").unwrap_err().contains("found `${}`"));
        assert!(run("${1A}").unwrap_err().contains("found `${1A}`"));
        assert!(run("${A:-${HOST}}").unwrap_err().contains("within another"));
    }
}
