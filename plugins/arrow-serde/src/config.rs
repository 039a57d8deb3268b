//! Options of the serializers.

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};
use serde::Deserialize;

/// JSON Schema of [`ArrowOptions`].
pub const ARROW_SCHEMA: &str = include_str!("arrow.schema.json");
/// JSON Schema of [`ParquetOptions`].
pub const PARQUET_SCHEMA: &str = include_str!("parquet.schema.json");
/// JSON Schema of [`CsvOptions`].
pub const CSV_SCHEMA: &str = include_str!("csv.schema.json");

/// Options of `arrow`, as `arrow.schema.json` describes them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArrowOptions {
    /// Whether data is looked at before it is handed out; off only for bytes that were looked at before.
    pub validate: bool,
}

impl Default for ArrowOptions {
    fn default() -> Self {
        ArrowOptions { validate: true }
    }
}

/// How Parquet pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Small, and still fast to read.
    #[default]
    Zstd,
    /// Fast.
    Snappy,
    /// Faster to read than snappy.
    Lz4,
    /// As they are.
    None,
}

/// Options of `parquet`, as `parquet.schema.json` describes them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParquetOptions {
    /// How pages are compressed.
    pub compression: Compression,
    /// Level of zstd.
    pub level: Option<i32>,
    /// Most bytes that the data may take once it is read.
    pub max_bytes: u64,
}

/// Levels that zstd has; the negative ones are fast rather than small.
const LEVELS: std::ops::RangeInclusive<i32> = 1..=22;
/// What zstd itself takes for its default.
const DEFAULT_LEVEL: i32 = 3;

impl Default for ParquetOptions {
    fn default() -> Self {
        ParquetOptions { compression: Compression::default(), level: None, max_bytes: 4 << 30 }
    }
}

impl ParquetOptions {
    /// Checks what the schema cannot say.
    pub fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Configuration, message));
        let Some(level) = self.level else { return Ok(()) };
        if self.compression != Compression::Zstd {
            let other = format!("{:?}", self.compression).to_lowercase();
            return wrong(format!(
                "option `level` of serializer `parquet` belongs to `compression: zstd`: found `compression: {other}`; \
                 hint: leave `level` out"
            ));
        }
        if !LEVELS.contains(&level) {
            return wrong(format!(
                "invalid value for option `level` of serializer `parquet`: expected `{}` to `{}`, found `{level}`",
                LEVELS.start(),
                LEVELS.end()
            ));
        }
        Ok(())
    }

    /// Level of zstd.
    pub fn level(&self) -> i32 {
        self.level.unwrap_or(DEFAULT_LEVEL)
    }
}

/// Options of `csv`: none.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CsvOptions {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parquet(json: &str) -> ParquetOptions {
        serde_json::from_str(json).unwrap()
    }

    fn refused(json: &str) -> String {
        parquet(json).check().expect_err("must be refused").message().to_owned()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(parquet("{}"), ParquetOptions::default());
        assert_eq!(parquet("{}").level(), 3);
        assert_eq!(parquet(r#"{"level": 9}"#).level(), 9);
        assert_eq!(parquet(r#"{"compression": "lz4"}"#).compression, Compression::Lz4);
        assert_eq!(serde_json::from_str::<ArrowOptions>("{}").unwrap(), ArrowOptions { validate: true });
    }

    #[test]
    fn values_out_of_range_are_refused() {
        parquet(r#"{"level": 22}"#).check().unwrap();
        assert_eq!(
            refused(r#"{"level": 23}"#),
            "invalid value for option `level` of serializer `parquet`: expected `1` to `22`, found `23`"
        );
        assert_eq!(
            refused(r#"{"compression": "snappy", "level": 3}"#),
            "option `level` of serializer `parquet` belongs to `compression: zstd`: found `compression: snappy`; \
             hint: leave `level` out"
        );
    }

    /// The properties' names and their defaults as one object.
    fn defaults(schema: &str) -> serde_json::Value {
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        properties.iter().map(|(name, property)| (name.clone(), property["default"].clone())).collect()
    }

    #[test]
    fn the_schemas_describe_these_options_and_their_defaults() {
        assert_eq!(defaults(ARROW_SCHEMA), serde_json::json!({"validate": true}));
        assert_eq!(
            defaults(PARQUET_SCHEMA),
            serde_json::json!({"compression": "zstd", "level": null, "max_bytes": 4u64 << 30})
        );
        assert_eq!(
            serde_json::from_value::<ParquetOptions>(defaults(PARQUET_SCHEMA)).unwrap(),
            ParquetOptions::default()
        );
        assert_eq!(defaults(CSV_SCHEMA), serde_json::json!({}));
    }
}
