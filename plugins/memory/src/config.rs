//! Options of the memory backend.

use std::time::Duration;

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::policy::Algorithm;

/// Below this `max_size` there is one shard, so that the policy sees all entries.
const SHARDED_FROM: u64 = 1024;
const MAX_SHARDS: usize = 256;

/// The options, as `options.schema.json` describes them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most entries at a time; `null` for no bound.
    pub max_size: Option<u64>,
    /// Most bytes at a time, of keys, values and 80 bytes an entry; `null` for no bound.
    pub max_bytes: Option<u64>,
    /// Which entries leave when there is no room.
    pub policy: Algorithm,
    /// Parts with a lock of their own; a power of two.
    pub shards: Option<usize>,
    /// Seconds between two looks for expired entries.
    pub sweep_interval: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_size: Some(10_000),
            max_bytes: None,
            policy: Algorithm::default(),
            shards: None,
            sweep_interval: 1.0,
        }
    }
}

impl Config {
    /// Checks what the schema cannot say.
    pub fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Configuration, message));
        if let Some(shards) = self.shards.filter(|shards| !shards.is_power_of_two() || *shards > MAX_SHARDS) {
            let below = shards.clamp(1, MAX_SHARDS);
            let nearest = if below.is_power_of_two() { below } else { below.next_power_of_two() / 2 };
            return wrong(format!(
                "invalid value for option `shards` of backend `memory`: expected a power of two up to {MAX_SHARDS}, \
                 found `{shards}`; hint: did you mean `{nearest}`?"
            ));
        }
        if !(0.001..=86_400.0).contains(&self.sweep_interval) {
            return wrong(format!(
                "invalid value for option `sweep_interval` of backend `memory`: expected seconds from `0.001` to \
                 `86400`, found `{}`",
                self.sweep_interval
            ));
        }
        Ok(())
    }

    /// Number of shards, by default twice the processors and at most sixteen; one for a small cache.
    pub fn shards(&self) -> usize {
        if let Some(shards) = self.shards {
            return shards;
        }
        if self.max_size.is_some_and(|entries| entries < SHARDED_FROM) {
            return 1;
        }
        let processors = std::thread::available_parallelism().map_or(4, |processors| processors.get());
        (2 * processors).next_power_of_two().min(16)
    }

    /// Time between two looks for expired entries.
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_secs_f64(self.sweep_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Config {
        serde_json::from_str(json).unwrap()
    }

    fn refused(json: &str) -> String {
        read(json).check().expect_err("must be refused").message().to_owned()
    }

    #[test]
    fn what_is_left_out_has_its_default_and_null_means_no_bound() {
        assert_eq!(read("{}"), Config::default());
        assert_eq!(read("{}").max_size, Some(10_000));
        assert_eq!(read(r#"{"max_size": null}"#).max_size, None);
        assert_eq!(read(r#"{"policy": "lru"}"#).policy, Algorithm::Lru);
    }

    #[test]
    fn small_caches_have_one_shard_unless_told_otherwise() {
        assert_eq!(read(r#"{"max_size": 1023}"#).shards(), 1);
        assert!(read(r#"{"max_size": 1024}"#).shards() > 1);
        assert_eq!(read(r#"{"max_size": 3, "shards": 4}"#).shards(), 4);
    }

    #[test]
    fn values_out_of_range_are_refused_with_a_hint() {
        assert_eq!(
            refused(r#"{"shards": 12}"#),
            "invalid value for option `shards` of backend `memory`: expected a power of two up to 256, found `12`; \
             hint: did you mean `8`?"
        );
        assert!(refused(r#"{"shards": 0}"#).ends_with("did you mean `1`?"));
        assert!(refused(r#"{"shards": 1024}"#).ends_with("did you mean `256`?"));
        assert!(refused(r#"{"sweep_interval": 0}"#).ends_with("found `0`"));
    }

    #[test]
    fn the_schema_describes_these_options_and_their_defaults() {
        let schema: serde_json::Value = serde_json::from_str(crate::SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        assert_eq!(names, ["max_bytes", "max_size", "policy", "shards", "sweep_interval"]);
        let defaults: serde_json::Map<_, _> =
            properties.iter().map(|(name, property)| (name.clone(), property["default"].clone())).collect();
        assert_eq!(serde_json::from_value::<Config>(defaults.into()).unwrap(), Config::default());
    }
}
