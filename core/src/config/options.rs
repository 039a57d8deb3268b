//! A backend's options against the schema that its plugin declares, with the place of each mistake.
//!
//! The schema stands in the plugin's manifest, so that options are checked before its code is loaded.
//! Beyond JSON Schema, the formats `size` and `duration` let a number be written with its unit.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::read::shown;
use super::section::Origin;
use crate::loader::options::validate;
use crate::nearest::{hint, listed};
use crate::units::{parse_duration_text, parse_size_text};
use crate::{Error, Result};

/// Options of every backend that the engine itself acts on.
pub(super) const ENGINE_OPTIONS: [&str; 14] = [
    "ttl",
    "namespace",
    "serializer",
    "compression",
    "compression_threshold",
    "encryption",
    "encryption_key",
    "integrity",
    "pickle",
    "timeout",
    "circuit_breaker",
    "circuit_breaker_threshold",
    "circuit_breaker_timeout",
    "write_behind",
];

/// Where options come from, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The backend's name.
    pub backend: &'a str,
    /// The configuration file; `None` for options given in code.
    pub file: Option<&'a Path>,
    /// The line where the backend starts.
    pub line: usize,
    /// Where each option stands in the file.
    pub origins: &'a BTreeMap<String, Origin>,
}

/// Checks `options` and returns them as the plugin expects them: sizes as bytes, durations as seconds,
/// and numbers and booleans that were written as text (as variables of the environment are) as such.
pub fn prepare(
    source: Source<'_>,
    options: &Map<String, Value>,
    schema: &Value,
) -> Result<Map<String, Value>> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let is_open = matches!(schema.get("additionalProperties"), Some(Value::Bool(true) | Value::Object(_)));
    // What is required is a question to all options together.
    let mut each_alone = schema.clone();
    each_alone.as_object_mut().map(|schema| schema.remove("required"));

    let mut prepared = Map::new();
    for (name, value) in options {
        let of = source.of(Some(name));
        let value = match properties.get(name) {
            Some(property) => convert(property, value)
                .map_err(|message| source.mistake(name, format!("option `{name}` for {of}: {message}")))?,
            None if is_open => value.clone(),
            None => {
                let known = || properties.keys().map(String::as_str).chain(ENGINE_OPTIONS);
                let expected = format!("expected one of {}{}", listed(known()), hint(name, known()));
                return Err(wrong(format!("unknown option `{name}` for {of}: {expected}")));
            }
        };
        let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        validate(&each_alone, &alone, &of).map_err(|message| source.mistake(name, message))?;
        prepared.insert(name.clone(), value);
    }
    let together = Value::Object(prepared);
    validate(schema, &together, &source.of(None)).map_err(wrong)?;
    match together {
        Value::Object(prepared) => Ok(prepared),
        _ => Ok(Map::new()),
    }
}

impl Source<'_> {
    /// Whose options they are, and where `option` stands.
    fn of(&self, option: Option<&str>) -> String {
        let line = option.and_then(|option| self.origins.get(option)).map_or(self.line, |origin| origin.line);
        let place = self.file.map_or_else(String::new, |file| format!(" ({}:{line})", shown(file)));
        format!("backend `{}`{place}", self.backend)
    }

    /// A mistake in a value; what the environment holds is shown as the file refers to it.
    fn mistake(&self, option: &str, message: String) -> Error {
        let shown = self.origins.get(option).and_then(|origin| origin.shown.as_deref());
        wrong(match (shown, message.split_once(", found ")) {
            (Some(shown), Some((expected, _))) => format!("{expected}, found {shown}"),
            _ => message,
        })
    }
}

fn wrong(message: String) -> Error {
    Error::configuration("check options", message)
}

/// Text where the schema wants something that text can stand for.
fn convert(schema: &Value, value: &Value) -> Result<Value, String> {
    let Value::String(text) = value else { return Ok(value.clone()) };
    match schema.get("format").and_then(Value::as_str) {
        Some("size") => return parse_size_text(text).map(Value::from),
        Some("duration") => return parse_duration_text(text).map(|duration| duration.as_secs_f64().into()),
        _ => {}
    }
    let wants = |name: &str| match schema.get("type") {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(names)) => names.iter().any(|each| each == name),
        _ => false,
    };
    let converted = match text.as_str() {
        _ if wants("string") => None,
        "true" | "false" if wants("boolean") => Some(Value::Bool(text == "true")),
        _ => {
            let integer = || text.parse::<i64>().ok().map(Value::from);
            let number = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from);
            let as_integer = if wants("integer") { integer() } else { None };
            as_integer.or_else(|| if wants("number") { number() } else { None })
        }
    };
    Ok(converted.unwrap_or_else(|| value.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "max_size": {"type": ["integer", "null"], "minimum": 1},
                "max_bytes": {"type": ["integer", "null"], "format": "size"},
                "policy": {"type": "string", "enum": ["s3fifo", "lru"]},
                "patience": {"type": "number", "format": "duration"},
                "share": {"type": "number", "maximum": 1},
                "mmap": {"type": "boolean"},
                "url": {"type": "string", "minLength": 1},
            },
            "required": ["url"],
        })
    }

    fn run(options: Value) -> Result<Value, String> {
        let origins = BTreeMap::from([
            ("mmap".to_owned(), Origin { line: 9, shown: Some("the text `${MMAP}`".to_owned()) }),
            ("patience".to_owned(), Origin { line: 8, shown: Some("the text `${WAIT}`".to_owned()) }),
        ]);
        let source =
            Source { backend: "b", file: Some(Path::new("retainit.yaml")), line: 7, origins: &origins };
        let options = options.as_object().unwrap();
        prepare(source, options, &schema()).map(Value::Object).map_err(|error| error.to_string())
    }

    #[test]
    fn options_arrive_as_the_plugin_wants_them() {
        let given = json!({
            "url": "5", "max_size": "10", "max_bytes": "1MiB", "patience": "1m30s", "mmap": "true", "share": "0.5",
        });
        let expected = json!({
            "url": "5", "max_size": 10, "max_bytes": 1_048_576, "patience": 90.0, "mmap": true, "share": 0.5,
        });
        assert_eq!(run(given), Ok(expected));
        let unchanged = json!({"url": "x", "max_size": null, "share": 1, "policy": "lru"});
        assert_eq!(run(unchanged.clone()), Ok(unchanged));
    }

    #[test]
    fn mistakes_have_their_place() {
        for (given, expected) in [
            (
                json!({"max_sise": 1}),
                "unknown option `max_sise` for backend `b` (retainit.yaml:7): expected one of `max_bytes`, `max_size`, \
                 `mmap`, `patience`, `policy`, `share`, `url`, `ttl`, `namespace`, \
                 `serializer`, `compression`, `compression_threshold`, `encryption`, `encryption_key`, `integrity`, `pickle`, `timeout`, `circuit_breaker`, \
                 `circuit_breaker_threshold`, `circuit_breaker_timeout`, `write_behind`; hint: did you mean `max_size`?",
            ),
            (
                json!({"max_size": "many"}),
                "option `max_size` for backend `b` (retainit.yaml:7): expected an integer or `null`, found `many`",
            ),
            (
                json!({"max_bytes": "lots"}),
                "option `max_bytes` for backend `b` (retainit.yaml:7): expected a size above zero, such as `1048576`, \
                 `512MiB` or `10MB`, found `lots`",
            ),
            (
                json!({"policy": "lur"}),
                "option `policy` for backend `b` (retainit.yaml:7): expected one of `s3fifo`, `lru`, found `lur`; hint: \
                 did you mean `lru`?",
            ),
            (json!({}), "missing option `url` for backend `b` (retainit.yaml:7): expected a text, found nothing"),
        ] {
            assert_eq!(run(given).unwrap_err(), expected);
        }
    }

    #[test]
    fn what_the_environment_holds_is_in_no_message() {
        assert_eq!(
            run(json!({"mmap": "hunter2"})).unwrap_err(),
            "option `mmap` for backend `b` (retainit.yaml:9): expected `true` or `false`, found the text `${MMAP}`"
        );
        assert_eq!(
            run(json!({"patience": "hunter2"})).unwrap_err(),
            "option `patience` for backend `b` (retainit.yaml:8): expected a duration above zero and below 292 years, \
             such as `60`, `90s`, `2h30m` or `7d`, found the text `${WAIT}`"
        );
    }

    #[test]
    fn a_schema_that_allows_more_is_believed() {
        let source = Source { backend: "b", file: None, line: 0, origins: &BTreeMap::new() };
        let options = json!({"a": 1}).as_object().unwrap().clone();
        let open = json!({"type": "object", "additionalProperties": true});
        assert_eq!(prepare(source, &options, &open).unwrap(), options);
        let closed = prepare(source, &options, &json!({"type": "object"})).unwrap_err();
        assert_eq!(
            closed.to_string(),
            "unknown option `a` for backend `b`: expected one of `ttl`, `namespace`, \
             `serializer`, `compression`, `compression_threshold`, `encryption`, `encryption_key`, `integrity`, `pickle`, `timeout`, `circuit_breaker`, \
             `circuit_breaker_threshold`, `circuit_breaker_timeout`, `write_behind`"
        );
    }
}
