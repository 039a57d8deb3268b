//! A backend's options against the JSON Schema that its plugin declares.
//!
//! The schema stands in the plugin's manifest, so that options are checked before its code is loaded.
//! Understood are `type`, `enum`, `const`, bounds, `minLength`, `items`, `properties`, `required`,
//! `additionalProperties`, `anyOf`, `oneOf` and local `$ref`; of `format`, `size`, `duration` and
//! `password`. Other keywords are left to the plugin, which reads its options in any case.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::read::shown;
use super::section::Origin;
use crate::nearest::{hint, listed};
use crate::units::{parse_duration_text, parse_size_text, DURATION, SIZE};
use crate::{Error, Result};

/// Options of every backend that the engine itself acts on.
const ENGINE_OPTIONS: [&str; 2] = ["ttl", "namespace"];
/// How many `$ref`s may follow each other before the schema is taken for circular.
const MAX_REFERENCES: usize = 16;
/// How deep schemas are followed; a schema may contain itself.
const MAX_DEPTH: usize = 32;
/// How many steps one option may take; a schema may contain itself twice.
const MAX_STEPS: usize = 100_000;

/// Where options come from, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The backend's name.
    pub backend: &'a str,
    /// The configuration file; `None` for options given in code.
    pub file: Option<&'a Path>,
    /// Where each option stands in the file.
    pub origins: &'a BTreeMap<String, Origin>,
    /// The line where the backend starts.
    pub line: usize,
}

/// Checks `options` and returns them as the plugin expects them: sizes as bytes, durations as seconds,
/// and numbers and booleans that were written as text (as variables of the environment are) as such.
pub fn prepare(source: Source<'_>, options: &Map<String, Value>, schema: &str) -> Result<Map<String, Value>> {
    let root: Value = serde_json::from_str(schema).map_err(|error| {
        Error::configuration(
            "check options",
            format!("backend `{}`: expected a JSON Schema from its plugin, found: {error}", source.backend),
        )
    })?;
    let empty = Map::new();
    let properties = root.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let mut prepared = Map::new();
    for (name, value) in options {
        let Some(property) = properties.get(name) else {
            if is_open(&root) {
                prepared.insert(name.clone(), value.clone());
                continue;
            }
            let known = || properties.keys().map(String::as_str).chain(ENGINE_OPTIONS);
            let subject = format!("unknown option `{name}` for backend `{}`", source.backend);
            let message = format!("expected one of {}{}", listed(known()), hint(name, known()));
            return Err(source.mistake(Some(name), &subject, &message));
        };
        let checked = Checker::new(&root).check(property, value).map_err(|wrong| {
            let subject = format!("option `{name}{}` of backend `{}`", wrong.place, source.backend);
            let from_environment = source.origins.get(name).and_then(|origin| origin.shown.as_deref());
            let found = from_environment.unwrap_or(&wrong.found);
            let mut message = format!("expected {}, found {found}", wrong.expected);
            if from_environment.is_none() {
                message.push_str(&wrong.hint);
            }
            source.mistake(Some(name), &subject, &message)
        })?;
        prepared.insert(name.clone(), checked);
    }
    for name in root.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !options.contains_key(name) {
            let expected = properties
                .get(name)
                .map_or_else(String::new, |property| Checker::new(&root).expected(property));
            let subject = format!("backend `{}`", source.backend);
            let separator = if expected.is_empty() { "" } else { ", " };
            return Err(source.mistake(
                None,
                &subject,
                &format!("expected the option `{name}`{separator}{expected}, found none"),
            ));
        }
    }
    Ok(prepared)
}

impl Source<'_> {
    fn mistake(&self, option: Option<&str>, subject: &str, message: &str) -> Error {
        let line = option.and_then(|option| self.origins.get(option)).map_or(self.line, |origin| origin.line);
        let place = self.file.map_or_else(String::new, |file| format!(" ({}:{line})", shown(file)));
        Error::configuration("check options", format!("{subject}{place}: {message}"))
    }
}

/// Whether an object may have members that its schema does not list. Unlike in JSON Schema, it must
/// say so: a misspelt option is a mistake, not an extension.
fn is_open(schema: &Value) -> bool {
    matches!(schema.get("additionalProperties"), Some(Value::Bool(true) | Value::Object(_)))
}

struct Wrong {
    place: String,
    expected: String,
    found: String,
    hint: String,
}

struct Checker<'a> {
    root: &'a Value,
    depth: Cell<usize>,
    steps: Cell<usize>,
}

impl<'a> Checker<'a> {
    fn new(root: &'a Value) -> Self {
        Checker { root, depth: Cell::new(0), steps: Cell::new(0) }
    }

    /// Runs `inner` one level deeper, or not at all where a limit is reached.
    fn deeper<T>(&self, inner: impl FnOnce() -> T) -> Option<T> {
        self.steps.set(self.steps.get() + 1);
        if self.depth.get() >= MAX_DEPTH || self.steps.get() >= MAX_STEPS {
            return None;
        }
        self.depth.set(self.depth.get() + 1);
        let result = inner();
        self.depth.set(self.depth.get() - 1);
        Some(result)
    }

    fn check(&self, schema: &'a Value, value: &Value) -> Result<Value, Wrong> {
        // Beyond the limits the rest is left to the plugin.
        self.deeper(|| self.check_here(schema, value)).unwrap_or_else(|| Ok(value.clone()))
    }

    fn check_here(&self, schema: &'a Value, value: &Value) -> Result<Value, Wrong> {
        let schema = self.resolve(schema);
        for keyword in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(keyword).and_then(Value::as_array) {
                let chosen = choices.iter().find_map(|choice| self.check(choice, value).ok());
                return chosen.ok_or_else(|| self.wrong(schema, value));
            }
        }
        let value = self.convert(schema, value)?;
        if let Some(constant) = schema.get("const") {
            return if *constant == value { Ok(value) } else { Err(self.wrong(schema, &value)) };
        }
        if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
            return if choices.contains(&value) { Ok(value) } else { Err(self.wrong(schema, &value)) };
        }
        let types = types(schema);
        if !(types.is_empty() || types.iter().any(|name| has_type(&value, name))) {
            return Err(self.wrong(schema, &value));
        }
        match value {
            Value::Number(_) | Value::String(_) if !is_within(schema, &value) => {
                Err(self.wrong(schema, &value))
            }
            Value::Array(items) => self.check_items(schema, items),
            Value::Object(members) => self.check_members(schema, members),
            value => Ok(value),
        }
    }

    /// Text where the schema wants something that text can stand for.
    fn convert(&self, schema: &Value, value: &Value) -> Result<Value, Wrong> {
        let Value::String(text) = value else { return Ok(value.clone()) };
        match schema.get("format").and_then(Value::as_str) {
            Some("size") => {
                return parse_size_text(text).map(Value::from).map_err(|_| self.wrong(schema, value))
            }
            Some("duration") => {
                let seconds = parse_duration_text(text).map(|duration| Value::from(duration.as_secs_f64()));
                return seconds.map_err(|_| self.wrong(schema, value));
            }
            _ => {}
        }
        let types = types(schema);
        if types.contains(&"string") {
            return Ok(value.clone());
        }
        let converted = match text.as_str() {
            "true" | "false" if types.contains(&"boolean") => Some(Value::Bool(text == "true")),
            _ if types.contains(&"integer") => text.parse::<i64>().ok().map(Value::from),
            _ if types.contains(&"number") => {
                text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from)
            }
            _ => None,
        };
        Ok(converted.unwrap_or_else(|| value.clone()))
    }

    fn check_items(&self, schema: &'a Value, items: Vec<Value>) -> Result<Value, Wrong> {
        let Some(each) = schema.get("items") else { return Ok(Value::Array(items)) };
        let checked = items.iter().enumerate().map(|(index, item)| {
            self.check(each, item)
                .map_err(|wrong| Wrong { place: format!("[{index}]{}", wrong.place), ..wrong })
        });
        checked.collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    fn check_members(&self, schema: &'a Value, members: Map<String, Value>) -> Result<Value, Wrong> {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return Ok(Value::Object(members));
        };
        let mut checked = Map::new();
        for (name, member) in members {
            let place = |wrong: Wrong| Wrong { place: format!(".{name}{}", wrong.place), ..wrong };
            match properties.get(&name) {
                Some(property) => checked.insert(name.clone(), self.check(property, &member).map_err(place)?),
                None if is_open(schema) => checked.insert(name, member),
                None => {
                    let known = || properties.keys().map(String::as_str);
                    return Err(Wrong {
                        place: String::new(),
                        expected: format!("only {}", listed(known())),
                        found: format!("`{name}`"),
                        hint: hint(&name, known()),
                    });
                }
            };
        }
        Ok(Value::Object(checked))
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..MAX_REFERENCES {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema };
            match reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => schema = target,
                None => return &Value::Null,
            }
        }
        &Value::Null
    }

    fn wrong(&self, schema: &'a Value, value: &Value) -> Wrong {
        let hint = match (value, schema.get("enum").and_then(Value::as_array)) {
            (Value::String(text), Some(choices)) => hint(text, choices.iter().filter_map(Value::as_str)),
            _ => String::new(),
        };
        let secret = schema.get("writeOnly") == Some(&Value::Bool(true))
            || schema.get("format").and_then(Value::as_str) == Some("password");
        let found = if secret { "another value, which is a secret".to_owned() } else { found(value) };
        Wrong { place: String::new(), expected: self.expected(schema), found, hint }
    }

    fn expected(&self, schema: &'a Value) -> String {
        self.deeper(|| self.expected_here(schema)).unwrap_or_else(|| "another value".to_owned())
    }

    fn expected_here(&self, schema: &'a Value) -> String {
        let schema = self.resolve(schema);
        let choices = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
        if let Some(choices) = choices {
            return choices.iter().map(|choice| self.expected(choice)).collect::<Vec<_>>().join(", or ");
        }
        if let Some(constant) = schema.get("const") {
            return found(constant);
        }
        if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
            let names: Vec<String> = choices
                .iter()
                .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
                .collect();
            return format!("one of {}", listed(names.iter().map(String::as_str)));
        }
        let null = if types(schema).contains(&"null") { ", or nothing" } else { "" };
        match schema.get("format").and_then(Value::as_str) {
            Some("size") => return format!("{SIZE}{null}"),
            Some("duration") => return format!("{DURATION}{null}"),
            _ => {}
        }
        let names: Vec<&str> = types(schema)
            .into_iter()
            .map(|name| match name {
                "integer" => "an integer",
                "number" => "a number",
                "string" => "text",
                "boolean" => "`true` or `false`",
                "array" => "a list",
                "object" => "a mapping",
                _ => "nothing",
            })
            .collect();
        let mut text = if names.is_empty() { "another value".to_owned() } else { names.join(" or ") };
        let mut bounds = Vec::new();
        for (keyword, words) in [
            ("minimum", "of at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "of at most"),
            ("exclusiveMaximum", "below"),
        ] {
            if let Some(bound) = schema.get(keyword).filter(|bound| bound.is_number()) {
                bounds.push(format!("{words} {bound}"));
            }
        }
        if !bounds.is_empty() {
            text = format!("{text} {}", bounds.join(" and "));
        }
        text
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        // A type of a later draft: the plugin's business.
        _ => true,
    }
}

fn is_within(schema: &Value, value: &Value) -> bool {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    match (value.as_f64(), value.as_str()) {
        (Some(number), _) => {
            bound("minimum").is_none_or(|least| number >= least)
                && bound("maximum").is_none_or(|most| number <= most)
                && bound("exclusiveMinimum").is_none_or(|least| number > least)
                && bound("exclusiveMaximum").is_none_or(|most| number < most)
        }
        (_, Some(text)) => bound("minLength").is_none_or(|least| text.chars().count() as f64 >= least),
        _ => true,
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(value) => format!("the number `{value}`"),
        Value::String(value) => format!("the text `{value}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> String {
        json!({
            "type": "object",
            "properties": {
                "max_size": {"type": ["integer", "null"], "minimum": 1},
                "max_bytes": {"type": ["integer", "null"], "format": "size"},
                "policy": {"$ref": "#/$defs/Policy"},
                "timeout": {"type": "number", "format": "duration"},
                "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                "mmap": {"type": "boolean"},
                "password": {"type": "integer", "writeOnly": true},
                "url": {"type": "string", "minLength": 1},
                "nodes": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "integer"}}}},
            },
            "required": ["url"],
            "$defs": {"Policy": {"enum": ["s3fifo", "lru"]}},
        })
        .to_string()
    }

    fn run(mut options: Value) -> Result<Value, String> {
        options["url"] = options.get("url").cloned().unwrap_or(json!("x"));
        let origins = BTreeMap::from([(
            "mmap".to_owned(),
            Origin { line: 9, shown: Some("the text `${MMAP}`".to_owned()) },
        )]);
        let source =
            Source { backend: "b", file: Some(Path::new("retainit.yaml")), origins: &origins, line: 7 };
        let mut prepared =
            prepare(source, options.as_object().unwrap(), &schema()).map_err(|error| error.to_string())?;
        prepared.remove("url");
        Ok(Value::Object(prepared))
    }

    #[test]
    fn options_arrive_as_the_plugin_wants_them() {
        let given = json!({"max_size": "10", "max_bytes": "1MiB", "timeout": "1m30s", "mmap": "true", "share": "0.5", "policy": "lru"});
        let expected = json!({"max_size": 10, "max_bytes": 1_048_576, "timeout": 90.0, "mmap": true, "share": 0.5, "policy": "lru"});
        assert_eq!(run(given), Ok(expected));
        let unchanged = json!({"max_size": null, "nodes": [{"port": 5}], "share": 1});
        assert_eq!(run(unchanged.clone()), Ok(unchanged));
    }

    #[test]
    fn mistakes() {
        for (given, expected) in [
            (
                json!({"max_sise": 1}),
                "unknown option `max_sise` for backend `b` (retainit.yaml:7): expected one of `max_bytes`, `max_size`, `mmap`, \
                 `nodes`, `password`, `policy`, `share`, `timeout`, `url`, `ttl`, `namespace`; hint: did you mean `max_size`?",
            ),
            (
                json!({"max_size": "many"}),
                "option `max_size` of backend `b` (retainit.yaml:7): expected an integer or nothing of at least 1, found the text `many`",
            ),
            (json!({"max_size": 0}), "option `max_size` of backend `b` (retainit.yaml:7): expected an integer or nothing of at least 1, found the number `0`"),
            (
                json!({"policy": "lur"}),
                "option `policy` of backend `b` (retainit.yaml:7): expected one of `s3fifo`, `lru`, found the text `lur`; hint: did you mean `lru`?",
            ),
            (json!({"share": 0}), "option `share` of backend `b` (retainit.yaml:7): expected a number above 0 and of at most 1, found the number `0`"),
            (json!({"password": "hunter2"}), "option `password` of backend `b` (retainit.yaml:7): expected an integer, found another value, which is a secret"),
            (json!({"mmap": "hunter2"}), "option `mmap` of backend `b` (retainit.yaml:9): expected `true` or `false`, found the text `${MMAP}`"),
            (json!({"url": ""}), "option `url` of backend `b` (retainit.yaml:7): expected text, found the text ``"),
            (json!({"nodes": [{"port": 1}, {"port": "x"}]}), "option `nodes[1].port` of backend `b` (retainit.yaml:7): expected an integer, found the text `x`"),
            (json!({"nodes": [{"prot": 1}]}), "option `nodes[0]` of backend `b` (retainit.yaml:7): expected only `port`, found `prot`; hint: did you mean `port`?"),
            (
                json!({"max_bytes": "lots"}),
                "option `max_bytes` of backend `b` (retainit.yaml:7): expected a size above zero, such as `1048576`, `512MiB` or `10MB`, or nothing, found the text `lots`",
            ),
        ] {
            assert_eq!(run(given).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_missing_option_says_what_it_is() {
        let source = Source { backend: "b", file: None, origins: &BTreeMap::new(), line: 0 };
        let error = prepare(source, &Map::new(), &schema()).unwrap_err();
        assert_eq!(error.to_string(), "backend `b`: expected the option `url`, text, found none");
    }

    #[test]
    fn a_schema_that_is_none_and_one_that_is_circular_do_no_harm() {
        let source = Source { backend: "b", file: None, origins: &BTreeMap::new(), line: 0 };
        let options = json!({"a": 1}).as_object().unwrap().clone();
        assert!(prepare(source, &options, "{").unwrap_err().is_configuration());
        let circular =
            json!({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}});
        assert_eq!(prepare(source, &options, &circular.to_string()).unwrap(), options);
        let itself = json!({"$ref": "#/$defs/A"});
        let recursive = json!({"properties": {"a": itself}, "$defs": {"A": {"anyOf": [{"type": "string"}, itself, itself]}}});
        assert_eq!(prepare(source, &options, &recursive.to_string()).unwrap(), options);
    }
}
