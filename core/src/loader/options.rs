//! Validation of a component's options against the schema in its manifest, before it is loaded.
//!
//! The subset of JSON Schema that options need: `type`, `enum`, `const`, `minimum`, `maximum`,
//! `exclusiveMinimum`, `exclusiveMaximum`, `minLength`, `maxLength`, `minItems`, `items`,
//! `properties`, `required`, `additionalProperties`, `anyOf`. Other keywords are left to the plugin,
//! which reads its options with types of its own. A whole validator would bring regular expressions,
//! reference resolution and dozens of crates for messages that are not ours.

use serde_json::{Map, Value};

use crate::nearest::{hint, listed};

/// Checks that a manifest's schema describes an object. The error says what is wrong.
pub fn check_schema(schema: &Value) -> Result<(), String> {
    let Some(object) = schema.as_object() else {
        return Err("its schema is not a JSON object".to_owned());
    };
    if object.get("type").and_then(Value::as_str) != Some("object") {
        return Err("its schema does not have the type `object`".to_owned());
    }
    let fine = object.get("properties").is_none_or(|properties| {
        properties.as_object().is_some_and(|properties| properties.values().all(Value::is_object))
    });
    if fine {
        Ok(())
    } else {
        Err("the `properties` of its schema are not objects".to_owned())
    }
}

/// Checks `options` against `schema`; `of` is whose they are, as in "backend `default`".
///
/// A schema that does not speak of additional properties allows none: an option that nobody reads is
/// a mistake.
pub fn validate(schema: &Value, options: &Value, of: &str) -> Result<(), String> {
    let Some(options) = options.as_object() else {
        return Err(format!("options of {of}: expected an object, found {}", shown(options)));
    };
    match schema.as_object() {
        Some(schema) => object(schema, options, "", of),
        None => Ok(()),
    }
}

fn object(
    schema: &Map<String, Value>,
    options: &Map<String, Value>,
    path: &str,
    of: &str,
) -> Result<(), String> {
    let none = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    for (name, value) in options {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (properties.get(name), schema.get("additionalProperties")) {
            (Some(property), _) => one(property, value, &path, of)?,
            (None, Some(Value::Bool(true))) => {}
            (None, Some(additional @ Value::Object(_))) => one(additional, value, &path, of)?,
            (None, _) => return Err(unknown(&path, name, properties, of)),
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !options.contains_key(name) {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let kind = properties.get(name).map_or_else(|| "a value".to_owned(), expected_type);
            return Err(format!("missing option `{path}` for {of}: expected {kind}, found nothing"));
        }
    }
    Ok(())
}

fn unknown(path: &str, name: &str, properties: &Map<String, Value>, of: &str) -> String {
    if properties.is_empty() {
        return format!("unknown option `{path}` for {of}: it has no options");
    }
    let names = || properties.keys().map(String::as_str);
    format!("unknown option `{path}` for {of}: expected one of {}{}", listed(names()), hint(name, names()))
}

/// One value against one schema.
fn one(schema: &Value, value: &Value, path: &str, of: &str) -> Result<(), String> {
    let Some(schema_object) = schema.as_object() else { return Ok(()) };
    let found = if is_secret(schema) { "something else (not shown)".to_owned() } else { shown(value) };
    let wrong =
        |expected: String| Err(format!("option `{path}` for {of}: expected {expected}, found {found}"));
    if let Some(choices) = schema_object.get("anyOf").and_then(Value::as_array) {
        if !choices.iter().any(|choice| one(choice, value, path, of).is_ok()) {
            let expected: Vec<String> = choices.iter().map(expected_type).collect();
            return wrong(expected.join(" or "));
        }
    }
    let types = types(schema);
    if !types.is_empty() && !types.iter().any(|wanted| is_of_type(value, wanted)) {
        return wrong(expected_type(schema));
    }
    if let Some(constant) = schema_object.get("const") {
        if value != constant {
            return wrong(shown(constant));
        }
    }
    if let Some(allowed) = schema_object.get("enum").and_then(Value::as_array) {
        if !allowed.contains(value) {
            let names: Vec<String> = allowed.iter().map(shown).collect();
            let texts = allowed.iter().filter_map(Value::as_str);
            let hint = value.as_str().map(|text| hint(text, texts)).unwrap_or_default();
            return wrong(format!("one of {}", names.join(", "))).map_err(|message: String| message + &hint);
        }
    }
    if let Some(number) = value.as_f64() {
        type Holds = fn(f64, f64) -> bool;
        let bounds: [(&str, &str, Holds); 4] = [
            ("minimum", "at least", |number, bound| number >= bound),
            ("maximum", "at most", |number, bound| number <= bound),
            ("exclusiveMinimum", "more than", |number, bound| number > bound),
            ("exclusiveMaximum", "less than", |number, bound| number < bound),
        ];
        for (keyword, words, holds) in bounds {
            if let Some(bound) = schema_object.get(keyword) {
                if bound.as_f64().is_some_and(|bound| !holds(number, bound)) {
                    return wrong(format!("{words} {}", shown(bound)));
                }
            }
        }
    }
    let bound = |keyword: &str| schema_object.get(keyword).and_then(Value::as_u64);
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if bound("minLength").is_some_and(|least| length < least) {
            return wrong(format!("at least {} characters", bound("minLength").unwrap_or(0)));
        }
        if bound("maxLength").is_some_and(|most| length > most) {
            return wrong(format!("at most {} characters", bound("maxLength").unwrap_or(0)));
        }
    }
    if let Some(items) = value.as_array() {
        if bound("minItems").is_some_and(|least| (items.len() as u64) < least) {
            return wrong(format!("at least {} items", bound("minItems").unwrap_or(0)));
        }
        if let Some(schema) = schema_object.get("items") {
            for (index, item) in items.iter().enumerate() {
                one(schema, item, &format!("{path}[{index}]"), of)?;
            }
        }
    }
    match value.as_object() {
        Some(options) if schema_object.contains_key("properties") => object(schema_object, options, path, of),
        _ => Ok(()),
    }
}

/// Whether values of this option must not be shown.
fn is_secret(schema: &Value) -> bool {
    schema.get("writeOnly").and_then(Value::as_bool) == Some(true)
        || schema.get("format").and_then(Value::as_str) == Some("password")
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        // 1.0 is an integer in JSON Schema, but not for the types that plugins read options with.
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => true,
    }
}

fn expected_type(schema: &Value) -> String {
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        let names: Vec<String> = allowed.iter().map(shown).collect();
        return format!("one of {}", names.join(", "));
    }
    let names: Vec<&str> = types(schema)
        .into_iter()
        .map(|name| match name {
            "string" => "a text",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "`true` or `false`",
            "array" => "a list",
            "object" => "an object",
            "null" => "`null`",
            other => other,
        })
        .collect();
    if names.is_empty() {
        "a value".to_owned()
    } else {
        names.join(" or ")
    }
}

/// A value in a message: texts as they are, everything in backticks, nothing without end.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.is_empty() => return "an empty text".to_owned(),
        Value::String(text) if text.contains("://") && text.contains('@') => {
            return "a URL with credentials".to_owned()
        }
        Value::String(text) => text.clone(),
        Value::Array(_) => return "a list".to_owned(),
        Value::Object(_) => return "an object".to_owned(),
        other => other.to_string(),
    };
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    match value {
        Value::String(_) if short.chars().all(char::is_numeric) => format!("the text `{short}`"),
        _ => format!("`{short}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({
            "type": "object",
            "required": ["path"],
            "properties": {
                "path": {"type": "string", "minLength": 1},
                "max_size": {"type": ["integer", "null"], "exclusiveMinimum": 0},
                "policy": {"type": "string", "enum": ["s3fifo", "lru"]},
                "share": {"type": "number", "minimum": 0, "maximum": 1},
                "hosts": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                "tls": {"type": "object", "properties": {"verify": {"type": "boolean"}}},
            },
        })
    }

    fn refused(options: Value) -> String {
        validate(&schema(), &options, "backend `default`").unwrap_err()
    }

    #[test]
    fn good_options_pass() {
        let options = json!({"path": "x", "max_size": null, "policy": "lru", "share": 0.5, "hosts": ["a"], "tls": {"verify": true}});
        assert_eq!(validate(&schema(), &options, "backend `default`"), Ok(()));
    }

    #[test]
    fn each_mistake_has_its_message() {
        let expected = [
            (json!({"path": "x", "max_sise": 5}), "unknown option `max_sise` for backend `default`: expected one of `hosts`, `max_size`, `path`, `policy`, `share`, `tls`; hint: did you mean `max_size`?"),
            (json!({}), "missing option `path` for backend `default`: expected a text, found nothing"),
            (json!({"path": 5}), "option `path` for backend `default`: expected a text, found `5`"),
            (json!({"path": ""}), "option `path` for backend `default`: expected at least 1 characters, found an empty text"),
            (json!({"path": "x", "max_size": 0}), "option `max_size` for backend `default`: expected more than `0`, found `0`"),
            (json!({"path": "x", "max_size": "10"}), "option `max_size` for backend `default`: expected an integer or `null`, found the text `10`"),
            (json!({"path": "x", "max_size": true}), "option `max_size` for backend `default`: expected an integer or `null`, found `true`"),
            (json!({"path": "x", "policy": "lur"}), "option `policy` for backend `default`: expected one of `s3fifo`, `lru`, found `lur`; hint: did you mean `lru`?"),
            (json!({"path": "x", "share": 1.5}), "option `share` for backend `default`: expected at most `1`, found `1.5`"),
            (json!({"path": "x", "hosts": []}), "option `hosts` for backend `default`: expected at least 1 items, found a list"),
            (json!({"path": "x", "hosts": ["a", 1]}), "option `hosts[1]` for backend `default`: expected a text, found `1`"),
            (json!({"path": "x", "tls": {"verfy": true}}), "unknown option `tls.verfy` for backend `default`: expected one of `verify`; hint: did you mean `verify`?"),
            (json!([]), "options of backend `default`: expected an object, found a list"),
        ];
        for (options, message) in expected {
            assert_eq!(refused(options), message);
        }
    }

    #[test]
    fn additional_properties_are_allowed_only_by_saying_so() {
        let open = json!({"type": "object", "additionalProperties": {"type": "integer"}});
        assert!(validate(&open, &json!({"a": 1}), "sink `s`").is_ok());
        assert!(validate(&open, &json!({"a": "b"}), "sink `s`").is_err());
        let closed = json!({"type": "object"});
        assert_eq!(
            validate(&closed, &json!({"a": 1}), "sink `s`").unwrap_err(),
            "unknown option `a` for sink `s`: it has no options"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let schema = json!({"type": "object", "properties": {
            "password": {"type": "string", "writeOnly": true},
            "url": {"type": "string", "enum": ["redis://localhost"]},
        }});
        let of = "backend `b`";
        let password = validate(&schema, &json!({"password": 123456}), of).unwrap_err();
        let url = validate(&schema, &json!({"url": "redis://me:123456@host"}), of).unwrap_err();
        assert!(!password.contains("123456") && !url.contains("123456"), "{password} {url}");
    }

    #[test]
    fn schemas_of_other_shapes_are_refused() {
        for schema in [
            json!([]),
            json!({}),
            json!({"type": "string"}),
            json!({"type": "object", "properties": {"a": 1}}),
        ] {
            assert!(check_schema(&schema).is_err(), "{schema}");
        }
    }
}
