//! From the host's JSON object to an author's options, with errors that name the option.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::sdk::error::{Error, ErrorKind, Result};

/// Reads options; `kind` and `name` are for messages. Options that the schema does not have are
/// refused here, whether or not the author's type is as strict.
pub(super) fn parse<O: DeserializeOwned>(kind: &str, name: &str, schema: &str, json: &[u8]) -> Result<O> {
    let wrong = |message: String| Error::new(ErrorKind::Configuration, message);
    let schema: Value = serde_json::from_str(schema)
        .map_err(|error| wrong(format!("the option schema of {kind} `{name}` is not valid json: {error}")))?;
    let options: Value = if json.is_empty() {
        Value::Object(Map::new())
    } else {
        // The position is of use here, the text is not repeated: it may hold secrets.
        serde_json::from_slice(json)
            .map_err(|error| wrong(format!("the options of {kind} `{name}` are not valid json: {error}")))?
    };
    let Value::Object(options) = options else {
        return Err(wrong(format!(
            "the options of {kind} `{name}` are not an object: expected `{{...}}`, found {}",
            type_name(&options)
        )));
    };
    let empty = Map::new();
    let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    if let Some(unknown) = options.keys().find(|option| !known.contains_key(*option)) {
        return Err(wrong(unknown_option(kind, name, unknown, known)));
    }
    let error = match serde_json::from_value(Value::Object(options.clone())) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error.to_string(),
    };
    Err(wrong(match culprit::<O>(&options, &error) {
        Some(option) if is_secret(known.get(option)) => {
            format!("invalid value for option `{option}` of {kind} `{name}`")
        }
        Some(option) => format!("invalid value for option `{option}` of {kind} `{name}`: {error}"),
        None if known.values().any(|property| is_secret(Some(property)))
            && !error.starts_with("missing field") =>
        {
            format!("invalid options for {kind} `{name}`")
        }
        None => format!(
            "invalid options for {kind} `{name}`: {}",
            error.replace("missing field", "missing option")
        ),
    }))
}

/// The option without which the error would be another one, since serde does not say.
fn culprit<'a, O: DeserializeOwned>(options: &'a Map<String, Value>, error: &str) -> Option<&'a str> {
    if error.starts_with("missing field") {
        return None;
    }
    options.keys().map(String::as_str).find(|option| {
        let mut others = options.clone();
        others.remove(*option);
        match serde_json::from_value::<O>(Value::Object(others)) {
            Ok(_) => true,
            Err(other) => other.to_string() != error,
        }
    })
}

/// `writeOnly` is JSON Schema's word for what must not be shown.
fn is_secret(property: Option<&Value>) -> bool {
    property.and_then(|property| property.get("writeOnly")).and_then(Value::as_bool).unwrap_or(false)
}

fn unknown_option(kind: &str, name: &str, unknown: &str, known: &Map<String, Value>) -> String {
    let mut message = format!("unknown option `{unknown}` for {kind} `{name}`: ");
    if known.is_empty() {
        message.push_str("expected none");
        return message;
    }
    let names: Vec<String> = known.keys().map(|option| format!("`{option}`")).collect();
    message.push_str("expected one of ");
    message.push_str(&names.join(", "));
    let nearest = known.keys().map(|option| (distance(unknown, option), option)).min();
    if let Some((edits, nearest)) = nearest.filter(|(edits, nearest)| *edits <= nearest.len().max(3) / 3) {
        debug_assert!(edits > 0);
        message.push_str(&format!("; hint: did you mean `{nearest}`?"));
    }
    message
}

/// Edits (insertions, deletions, replacements) between two names.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Options {
        #[serde(default)]
        max_size: u64,
        #[allow(dead_code)]
        password: Option<String>,
        #[allow(dead_code)]
        path: String,
    }

    const SCHEMA: &str = r#"{"type": "object", "properties": {
        "max_size": {"type": "integer"}, "path": {"type": "string"},
        "password": {"type": "string", "writeOnly": true}}}"#;

    fn message(json: &str) -> String {
        let error = parse::<Options>("backend", "toy", SCHEMA, json.as_bytes()).expect_err("must be refused");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.message().to_owned()
    }

    #[test]
    fn valid_options_are_read() {
        let options: Options = parse("backend", "toy", SCHEMA, br#"{"max_size": 3, "path": "x"}"#).unwrap();
        assert_eq!(options.max_size, 3);
    }

    #[test]
    fn errors_name_the_option_and_keep_secrets() {
        assert_eq!(
            message(r#"{"max_sise": 3, "path": "x"}"#),
            "unknown option `max_sise` for backend `toy`: expected one of `max_size`, `password`, `path`; \
             hint: did you mean `max_size`?"
        );
        assert_eq!(
            message(r#"{"zzzzzzzz": 3, "path": "x"}"#),
            "unknown option `zzzzzzzz` for backend `toy`: expected one of `max_size`, `password`, `path`"
        );
        assert_eq!(
            message(r#"{"max_size": "many", "path": "x"}"#),
            "invalid value for option `max_size` of backend `toy`: invalid type: string \"many\", expected u64"
        );
        assert_eq!(
            message(r#"{"password": 90210, "path": "x"}"#),
            "invalid value for option `password` of backend `toy`"
        );
        assert_eq!(message("{}"), "invalid options for backend `toy`: missing option `path`");
        assert_eq!(
            message("[]"),
            "the options of backend `toy` are not an object: expected `{...}`, found an array"
        );
        assert!(message("{").starts_with("the options of backend `toy` are not valid json: EOF"));
    }
}
