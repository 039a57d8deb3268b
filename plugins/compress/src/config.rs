//! Options of the compressors.

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};
use serde::Deserialize;

/// The levels that zstd has names for; those below 1 trade nearly all of the gain away.
const LEVELS: std::ops::RangeInclusive<i32> = 1..=22;

/// The options of `zstd`, as `zstd.schema.json` describes them.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZstdConfig {
    /// From 1, the fastest, to 22, the smallest.
    pub level: i32,
    /// A trained dictionary in base64.
    pub dictionary: Option<String>,
    /// Whether each frame carries a checksum of the value.
    pub checksum: bool,
}

// A dictionary is made of values, which are nobody's business.
impl std::fmt::Debug for ZstdConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZstdConfig")
            .field("level", &self.level)
            .field("dictionary", &self.dictionary.as_ref().map(|text| format!("{} characters", text.len())))
            .field("checksum", &self.checksum)
            .finish()
    }
}

impl Default for ZstdConfig {
    fn default() -> Self {
        ZstdConfig { level: 3, dictionary: None, checksum: false }
    }
}

impl ZstdConfig {
    /// Checks the level.
    pub fn check(&self) -> Result<()> {
        if LEVELS.contains(&self.level) {
            return Ok(());
        }
        let (lowest, highest) = LEVELS.into_inner();
        let message = format!(
            "invalid value for option `level` of compressor `zstd`: expected `{lowest}` to `{highest}`, found `{}`",
            self.level
        );
        Err(Error::new(ErrorKind::Configuration, message))
    }
}

/// The options of `lz4`: there are none.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lz4Config {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> ZstdConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(read("{}"), ZstdConfig::default());
        assert_eq!(read(r#"{"level": 9}"#).level, 9);
        assert_eq!(read(r#"{"dictionary": null}"#).dictionary, None);
    }

    #[test]
    fn levels_out_of_range_are_refused() {
        assert!(read(r#"{"level": 22}"#).check().is_ok());
        for (level, json) in [(0, r#"{"level": 0}"#), (23, r#"{"level": 23}"#), (-1, r#"{"level": -1}"#)] {
            let error = read(json).check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert_eq!(
                error.message(),
                format!("invalid value for option `level` of compressor `zstd`: expected `1` to `22`, found `{level}`")
            );
        }
    }

    #[test]
    fn a_dictionary_is_not_shown() {
        let shown = format!("{:?}", read(r#"{"dictionary": "c2VjcmV0"}"#));
        assert_eq!(shown, "ZstdConfig { level: 3, dictionary: Some(\"8 characters\"), checksum: false }");
    }

    #[test]
    fn the_schemas_describe_these_options_and_their_defaults() {
        let schema: serde_json::Value = serde_json::from_str(crate::ZSTD_SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        assert_eq!(names, ["checksum", "dictionary", "level"]);
        let defaults: serde_json::Map<_, _> =
            properties.iter().map(|(name, property)| (name.clone(), property["default"].clone())).collect();
        assert_eq!(serde_json::from_value::<ZstdConfig>(defaults.into()).unwrap(), ZstdConfig::default());
        let schema: serde_json::Value = serde_json::from_str(crate::LZ4_SCHEMA).unwrap();
        assert!(schema["properties"].as_object().unwrap().is_empty());
    }
}
