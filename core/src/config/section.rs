//! The keys of a configuration file, and what they hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Map;

use super::node::{Key, Mistake, Node, Text, Value};
use super::options::ENGINE_OPTIONS;
use crate::nearest::{hint, listed};
use crate::units::{parse_duration_text, parse_seconds, DURATION};

const KEYS: [&str; 3] = ["plugins", "backends", "default_backend"];
const PLUGIN_KEYS: [&str; 4] = ["name", "path", "sha256", "directory"];
/// What a tiered backend has beside what the engine gives every backend.
const TIERED_KEYS: [&str; 2] = ["type", "tiers"];

/// What a configuration file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file.
    pub file: PathBuf,
    /// Plugins, in the file's order.
    pub plugins: Vec<PluginEntry>,
    /// Backends, in the file's order.
    pub backends: Vec<BackendEntry>,
    /// The name of the default backend, and its line.
    pub default_backend: Option<(String, usize)>,
}

/// Where plugins are to be found.
#[derive(Debug, Clone, PartialEq)]
pub enum PluginEntry {
    /// A plugin of an installed distribution.
    Name(String),
    /// A binary, whose SHA-256 must be this one where it is given (64 lower-case hexadecimal digits).
    Path(PathBuf, Option<String>),
    /// A directory of binaries.
    Directory(PathBuf),
}

/// One backend.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendEntry {
    /// Its name.
    pub name: String,
    /// Its component's name, or `tiered`.
    pub kind: String,
    /// The options that are its plugin's; for `tiered`, `tiers`.
    pub options: Map<String, serde_json::Value>,
    /// How long its entries live.
    pub ttl: Ttl,
    /// What separates applications that share it.
    pub namespace: Option<String>,
    /// The line it starts on.
    pub line: usize,
    /// Where each option stands.
    pub origins: BTreeMap<String, Origin>,
}

/// A time to live that may be left to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Not said here.
    Unset,
    /// Kept for ever.
    Forever,
    /// As long as this.
    For(Duration),
}

/// Where an option stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The line of its value.
    pub line: usize,
    /// How messages show the value, where it came from the environment.
    pub shown: Option<String>,
}

/// Reads the section `retainit`. `named` says that the user named the file rather than that it was
/// found; only then is what it lists as binaries trusted without a digest.
pub(super) fn parse(file: &Path, section: &Node, named: bool) -> Result<Config, Mistake> {
    let mut config =
        Config { file: file.to_owned(), plugins: Vec::new(), backends: Vec::new(), default_backend: None };
    let directory = file.parent().unwrap_or(Path::new(""));
    for (key, node) in mapping(section, "section `retainit`")? {
        match key.name.as_str() {
            "plugins" => {
                let subject = "key `plugins`";
                let Some(items) = list(node, subject)? else { continue };
                config.plugins =
                    items.iter().map(|item| plugin(item, directory, named)).collect::<Result<_, _>>()?;
            }
            "backends" => {
                let entries = mapping(node, "key `backends`")?;
                config.backends =
                    entries.iter().map(|(key, node)| backend(key, node)).collect::<Result<_, _>>()?;
            }
            "default_backend" => {
                let name = text(node, "key `default_backend`", "the name of a backend")?;
                config.default_backend = Some((name.value.clone(), node.line));
            }
            _ => return Err(unknown(key, "key", "in section `retainit`", &KEYS)),
        }
    }
    Ok(config)
}

fn plugin(item: &Node, directory: &Path, named: bool) -> Result<PluginEntry, Mistake> {
    let subject = "entry of `plugins`";
    if let Value::Text(_) = &item.value {
        return Ok(PluginEntry::Name(text(item, subject, "the name of a plugin")?.value.clone()));
    }
    let Value::Map(entries) = &item.value else {
        let expected = "expected the name of a plugin, or a mapping with `path` and `sha256`";
        return Err(Mistake::new(item.line, subject, format!("{expected}, found {}", item.found())));
    };
    let mut given: BTreeMap<&str, &Node> = BTreeMap::new();
    for (key, node) in entries {
        if !PLUGIN_KEYS.contains(&key.name.as_str()) {
            return Err(unknown(key, "key", "in an entry of `plugins`", &PLUGIN_KEYS));
        }
        given.insert(&key.name, node);
    }
    let kinds: Vec<&str> = given.keys().copied().filter(|key| *key != "sha256").collect();
    let sha256 = given.get("sha256").map(|node| digest(node)).transpose()?;
    let (Some(kind), 1) = (kinds.first().copied(), kinds.len()) else {
        let found = if kinds.is_empty() { "none of them".to_owned() } else { listed(kinds) };
        let message = format!("expected one of `name`, `path`, `directory`, found {found}");
        return Err(Mistake::new(item.line, subject, message));
    };
    if let (Some(node), true) = (given.get("sha256"), kind != "path") {
        let message = format!("expected `sha256` beside `path` only, found it beside `{kind}`");
        return Err(Mistake::new(node.line, subject, message));
    }
    let node = given[kind];
    let value = &text(node, &format!("key `{kind}` of an entry of `plugins`"), "text")?.value;
    if kind == "name" {
        return Ok(PluginEntry::Name(value.clone()));
    }
    if !named && sha256.is_none() {
        let expected =
            if kind == "path" { "`path` with a `sha256`" } else { "`name`, or `path` with a `sha256`" };
        let message = format!(
            "expected {expected}, because this file was found rather than named, found `{kind}` alone; \
             hint: name the file in `RETAINIT_CONFIG` or with `load_config`, if you trust it"
        );
        return Err(Mistake::new(node.line, subject, message));
    }
    let path = directory.join(value);
    Ok(if kind == "path" { PluginEntry::Path(path, sha256) } else { PluginEntry::Directory(path) })
}

fn digest(node: &Node) -> Result<String, Mistake> {
    let expected = "64 hexadecimal digits";
    let subject = "key `sha256` of an entry of `plugins`";
    let digits = text(node, subject, expected)?;
    let valid = digits.value.len() == 64 && digits.value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !valid {
        return Err(Mistake::new(node.line, subject, format!("expected {expected}, found {}", node.found())));
    }
    Ok(digits.value.to_ascii_lowercase())
}

fn backend(key: &Key, node: &Node) -> Result<BackendEntry, Mistake> {
    let name = &key.name;
    if name.is_empty() {
        return Err(Mistake::new(
            key.line,
            "key `backends`",
            "expected a name for each backend, found an empty one",
        ));
    }
    let mut entry = BackendEntry {
        name: name.clone(),
        kind: String::new(),
        options: Map::new(),
        ttl: Ttl::Unset,
        namespace: None,
        line: key.line,
        origins: BTreeMap::new(),
    };
    for (key, node) in mapping(node, &format!("backend `{name}`"))? {
        let subject = format!("option `{}` for backend `{name}`", key.name);
        match key.name.as_str() {
            "type" => entry.kind = text(node, &subject, "the type of a backend")?.value.clone(),
            "ttl" => entry.ttl = ttl(node, &subject)?,
            "namespace" => entry.namespace = Some(text(node, &subject, "text")?.value.clone()),
            _ => {
                check_numbers(node, &subject)?;
                entry.options.insert(key.name.clone(), node.to_json());
                let shown = node.is_expanded().then(|| match &node.value {
                    Value::Text(_) => node.found(),
                    _ => format!("{} with values from the environment", node.found()),
                });
                entry.origins.insert(key.name.clone(), Origin { line: node.line, shown });
                continue;
            }
        }
        entry.origins.insert(key.name.clone(), Origin { line: node.line, shown: None });
    }
    if entry.kind.is_empty() {
        let message = "expected a `type`, such as `type: memory`, found none";
        return Err(Mistake::new(key.line, format!("backend `{name}`"), message));
    }
    if entry.kind == "tiered" {
        check_tiered(key, node)?;
    }
    Ok(entry)
}

fn check_tiered(name: &Key, node: &Node) -> Result<(), Mistake> {
    let subject = format!("option `tiers` for backend `{}`", name.name);
    let expected = "a list of names of backends, nearest first";
    let mut found = None;
    for (key, node) in mapping(node, &subject)? {
        let known = [&TIERED_KEYS[..], &ENGINE_OPTIONS].concat();
        if !known.contains(&key.name.as_str()) {
            return Err(unknown(key, "option", &format!("for backend `{}`", name.name), &known));
        }
        if key.name == "tiers" {
            found = list(node, &subject)?;
        }
    }
    let Some(tiers) = found.filter(|tiers| !tiers.is_empty()) else {
        return Err(Mistake::new(name.line, subject, format!("expected {expected}, found none")));
    };
    tiers.iter().try_for_each(|tier| text(tier, &subject, "the name of a backend").map(|_| ()))
}

fn ttl(node: &Node, subject: &str) -> Result<Ttl, Mistake> {
    let duration = match &node.value {
        Value::Null => return Ok(Ttl::Forever),
        Value::Integer(seconds) => parse_seconds(*seconds as f64).ok(),
        Value::Float(seconds) => parse_seconds(*seconds).ok(),
        Value::Text(Text { value, written: None }) => {
            Some(parse_duration_text(value).map_err(|message| Mistake::new(node.line, subject, message))?)
        }
        // Its own message would show what the environment holds.
        Value::Text(Text { value, .. }) => parse_duration_text(value).ok(),
        _ => None,
    };
    let wrong = || Mistake::new(node.line, subject, format!("expected {DURATION}, found {}", node.found()));
    duration.map(Ttl::For).ok_or_else(wrong)
}

fn check_numbers(node: &Node, subject: &str) -> Result<(), Mistake> {
    match &node.value {
        Value::Float(value) if !value.is_finite() => {
            Err(Mistake::new(node.line, subject, format!("expected a finite number, found `{value}`")))
        }
        Value::List(items) => items.iter().try_for_each(|item| check_numbers(item, subject)),
        Value::Map(entries) => entries.iter().try_for_each(|(_, value)| check_numbers(value, subject)),
        _ => Ok(()),
    }
}

/// The entries of a mapping; nothing at all counts as an empty one.
pub(super) fn mapping<'a>(node: &'a Node, subject: &str) -> Result<&'a [(Key, Node)], Mistake> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(&[]),
        _ => Err(Mistake::new(node.line, subject, format!("expected a mapping, found {}", node.found()))),
    }
}

fn list<'a>(node: &'a Node, subject: &str) -> Result<Option<&'a [Node]>, Mistake> {
    match &node.value {
        Value::List(items) => Ok(Some(items)),
        Value::Null => Ok(None),
        _ => Err(Mistake::new(node.line, subject, format!("expected a list, found {}", node.found()))),
    }
}

fn text<'a>(node: &'a Node, subject: &str, expected: &str) -> Result<&'a Text, Mistake> {
    match &node.value {
        Value::Text(text) if !text.value.is_empty() => Ok(text),
        _ => Err(Mistake::new(node.line, subject, format!("expected {expected}, found {}", node.found()))),
    }
}

/// What is said of a key that does not exist.
pub(super) fn unknown(key: &Key, what: &str, place: &str, known: &[&str]) -> Mistake {
    let subject = format!("unknown {what} `{}` {place}", key.name);
    let message = format!(
        "expected one of {}{}",
        listed(known.iter().copied()),
        hint(&key.name, known.iter().copied())
    );
    Mistake::new(key.line, subject, message)
}
