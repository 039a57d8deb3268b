//! Options, as `options.schema.json` describes them.

use std::path::PathBuf;
use std::time::Duration;

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};
use serde::Deserialize;

/// JSON Schema of [`Options`].
pub const SCHEMA: &str = include_str!("options.schema.json");

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The end of the process, `kill -9` included: writes have reached the kernel.
    Process,
    /// Also the end of power: writes have reached the disk.
    Full,
}

/// Options of one instance.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Directory of the cache.
    pub base_path: PathBuf,
    /// Bound on the bytes of keys and values.
    pub max_bytes: Option<u64>,
    /// Bound on the number of entries.
    pub max_size: Option<u64>,
    /// Values longer than this, in bytes, live in files.
    pub inline_limit: u64,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Seconds between two rounds of the background thread.
    pub sweep_interval: f64,
    /// Longest wait in seconds for another writer.
    pub busy_timeout: f64,
    /// Mode of directories.
    pub dir_mode: u32,
    /// Mode of files.
    pub file_mode: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            base_path: PathBuf::from(".cache/function_resp"),
            max_bytes: None,
            max_size: None,
            inline_limit: 32 * 1024,
            durability: Durability::Process,
            sweep_interval: 60.0,
            busy_timeout: 5.0,
            dir_mode: 0o700,
            file_mode: 0o600,
        }
    }
}

impl Options {
    /// Checks what the schema cannot say to an author who skips it, and makes the path absolute, so
    /// that a later change of the working directory does not move the cache.
    pub fn check(mut self) -> Result<Self> {
        let wrong = |option: &str, value: &dyn std::fmt::Display, expected: &str| {
            let message = format!("option `{option}`: expected {expected}, found `{value}`");
            Err(Error::new(ErrorKind::Configuration, message))
        };
        if self.base_path.as_os_str().is_empty() {
            return wrong("base_path", &"", "a directory");
        }
        for (option, value) in [("max_bytes", self.max_bytes), ("max_size", self.max_size)] {
            if value == Some(0) {
                return wrong(option, &0, "a number above zero, or null for no bound");
            }
        }
        if self.inline_limit > 16 << 20 {
            return wrong("inline_limit", &self.inline_limit, "at most 16777216 bytes");
        }
        for (option, value) in [("sweep_interval", self.sweep_interval), ("busy_timeout", self.busy_timeout)]
        {
            if value.is_nan() || value <= 0.0 || Duration::try_from_secs_f64(value).is_err() {
                return wrong(option, &value, "a number of seconds above zero");
            }
        }
        if self.dir_mode & 0o700 != 0o700 || self.dir_mode & !0o775 != 0 {
            let expected =
                "a mode that gives the owner everything and others no right to write, such as 0o700";
            return wrong("dir_mode", &format_args!("{:#o}", self.dir_mode), expected);
        }
        if self.file_mode & 0o600 != 0o600 || self.file_mode & !0o664 != 0 {
            let expected = "a mode that lets the owner read and write and others not write, such as 0o600";
            return wrong("file_mode", &format_args!("{:#o}", self.file_mode), expected);
        }
        if let Ok(rest) = self.base_path.strip_prefix("~") {
            let Some(home) = std::env::var_os("HOME") else {
                return wrong(
                    "base_path",
                    &self.base_path.display(),
                    "a path without `~`, as `HOME` is not set",
                );
            };
            self.base_path = PathBuf::from(home).join(rest);
        }
        self.base_path = std::path::absolute(&self.base_path)
            .map_err(|error| Error::new(ErrorKind::Configuration, format!("option `base_path`: {error}")))?;
        Ok(self)
    }

    /// Whether anything bounds the store.
    pub fn bounded(&self) -> bool {
        self.max_bytes.is_some() || self.max_size.is_some()
    }

    /// [`Options::sweep_interval`].
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_secs_f64(self.sweep_interval)
    }

    /// [`Options::busy_timeout`].
    pub fn busy_timeout(&self) -> Duration {
        Duration::from_secs_f64(self.busy_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_and_the_struct_agree_on_names_and_defaults() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let mut defaults = serde_json::Map::new();
        for (name, option) in schema["properties"].as_object().unwrap() {
            defaults.insert(name.clone(), option["default"].clone());
        }
        assert_eq!(defaults.len(), 9);
        let read: Options = serde_json::from_value(defaults.into()).unwrap();
        assert_eq!(read, Options::default());
    }

    #[test]
    fn wrong_options_are_named() {
        let check = |json: &str| {
            serde_json::from_str::<Options>(json).unwrap().check().unwrap_err().message().to_owned()
        };
        assert_eq!(
            check(r#"{"max_bytes": 0}"#),
            "option `max_bytes`: expected a number above zero, or null for no bound, found `0`"
        );
        assert_eq!(
            check(r#"{"sweep_interval": 0}"#),
            "option `sweep_interval`: expected a number of seconds above zero, found `0`"
        );
        assert_eq!(
            check(r#"{"dir_mode": 511}"#),
            "option `dir_mode`: expected a mode that gives the owner everything and others no right to write, such as 0o700, found `0o777`"
        );
        assert!(check(r#"{"file_mode": 438}"#).ends_with("found `0o666`"));
        assert!(check(r#"{"base_path": ""}"#).ends_with("expected a directory, found ``"));
        assert!(serde_json::from_str::<Options>(r#"{"max_byte": 1}"#).is_err());
    }

    #[test]
    fn a_relative_path_becomes_absolute() {
        let options = Options::default().check().unwrap();
        assert!(options.base_path.is_absolute());
        assert!(options.base_path.ends_with(".cache/function_resp"));
    }
}
