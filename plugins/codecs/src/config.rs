//! Options of the serializers: there are none, and any is refused.

use serde::Deserialize;

/// The options, as `options.schema.json` describes them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_no_options_and_neither_has_the_type() {
        let schema: serde_json::Value = serde_json::from_str(crate::SCHEMA).unwrap();
        assert_eq!(schema["properties"], serde_json::json!({}));
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config {});
        assert!(serde_json::from_str::<Config>(r#"{"indent": 2}"#).is_err());
    }
}
