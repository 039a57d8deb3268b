//! Options of the testing backends.

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};
use serde::Deserialize;

/// Calls on record where the options say nothing.
pub const MAX_CALLS: usize = 10_000;

/// The options, as `options.schema.json` describes them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What instances share entries, script and record with; `None` keeps an instance to itself.
    pub channel: Option<String>,
    /// Most calls on record.
    pub max_calls: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { channel: None, max_calls: MAX_CALLS }
    }
}

impl Config {
    /// Checks what the schema cannot say to a host that does not read it.
    ///
    /// # Errors
    /// `Configuration`: a channel without a name.
    pub fn check(&self) -> Result<()> {
        if self.channel.as_deref() == Some("") {
            return Err(Error::new(
                ErrorKind::Configuration,
                "invalid value for option `channel` of backend `testing`: expected a name, found ``",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_describes_these_options_and_their_defaults() {
        let schema: serde_json::Value = serde_json::from_str(crate::SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let defaults: serde_json::Map<_, _> =
            properties.iter().map(|(name, property)| (name.clone(), property["default"].clone())).collect();
        assert_eq!(properties.keys().collect::<Vec<_>>(), ["channel", "max_calls"]);
        assert_eq!(serde_json::from_value::<Config>(defaults.into()).unwrap(), Config::default());
    }

    #[test]
    fn a_channel_has_a_name() {
        let config = Config { channel: Some(String::new()), ..Config::default() };
        assert_eq!(config.check().unwrap_err().kind(), ErrorKind::Configuration);
    }
}
