//! A configuration file as a [`Config`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::expand::{expand, Lookup};
use super::node::{Mistake, Node, Value};
use super::section::{self, unknown, Config};
use super::{find, json, toml, yaml};
use crate::{Error, Result};

const OPERATION: &str = "read configuration";
/// Largest file read: far beyond any configuration, far below what hurts.
const MAX_BYTES: u64 = 1 << 20;

/// Reads `path`, whose format its name tells: `.yaml`, `.yml`, `.json`, `.toml`, or `pyproject.toml`
/// with a table `tool.retainit`.
///
/// `named` says that the user named the file. One that was merely [found](super::find) is refused
/// where anybody may write it, and its plugins' paths need a digest.
pub fn read(path: &Path, named: bool) -> Result<Config> {
    read_with(path, named, &|name| std::env::var(name).ok())
}

fn read_with(path: &Path, named: bool, lookup: Lookup<'_>) -> Result<Config> {
    let text = contents(path, named)?;
    // Plugins' paths are relative to the file, and must not change with the working directory.
    let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    config(path, &text, named, lookup).map_err(|mistake| mistake_in(path, mistake))
}

/// A file's text as a configuration, with variables from `lookup`.
#[cfg(feature = "fuzzing")]
pub(crate) fn text(
    path: &Path,
    text: &str,
    named: bool,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Config> {
    config(path, text, named, lookup).map_err(|mistake| mistake_in(path, mistake))
}

fn config(path: &Path, text: &str, named: bool, lookup: Lookup<'_>) -> Result<Config, Mistake> {
    let mut root = tree(path, text)?;
    if is_pyproject(path) {
        let section = tool_section(&mut root).unwrap_or_else(|| Node::new(1, Value::Null));
        return finish(path, section, named, lookup);
    }
    let mut found = None;
    for (key, node) in section::mapping(&root, "configuration")? {
        if key.name != "retainit" {
            let mut mistake = unknown(key, "key", "outside section `retainit`", &["retainit"]);
            if ["plugins", "backends", "default_backend"].contains(&key.name.as_str()) {
                mistake.message.push_str(&format!("; hint: put `{}` below `retainit`", key.name));
            }
            return Err(mistake);
        }
        found = Some(node.clone());
    }
    finish(path, found.unwrap_or_else(|| Node::new(1, Value::Null)), named, lookup)
}

fn finish(path: &Path, mut section: Node, named: bool, lookup: Lookup<'_>) -> Result<Config, Mistake> {
    expand(&mut section, lookup)?;
    section::parse(path, &section, named)
}

fn tree(path: &Path, text: &str) -> Result<Node, Mistake> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("yaml" | "yml") => yaml::parse(text),
        Some("json") => json::parse(text),
        Some("toml") => toml::parse(text),
        _ => Err(Mistake::new(
            1,
            "file name",
            "expected an end of `.yaml`, `.yml`, `.json` or `.toml`, found another",
        )),
    }
}

fn is_pyproject(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "pyproject.toml")
}

/// Takes `tool.retainit` out of a `pyproject.toml`.
fn tool_section(root: &mut Node) -> Option<Node> {
    let take = |node: &mut Node, name: &str| match &mut node.value {
        Value::Map(entries) => {
            let index = entries.iter().position(|(key, _)| key.name == name)?;
            Some(entries.swap_remove(index).1)
        }
        _ => None,
    };
    let mut tool = take(root, "tool")?;
    take(&mut tool, "retainit")
}

/// Whether a `pyproject.toml` has a table for us. A file that never mentions it is not even parsed, so
/// that a broken one of somebody else's is none of our business.
pub(super) fn has_section(path: &Path) -> Result<bool> {
    let text = contents(path, true)?;
    if !text.contains("retainit") {
        return Ok(false);
    }
    let mut root = tree(path, &text).map_err(|mistake| mistake_in(path, mistake))?;
    Ok(tool_section(&mut root).is_some())
}

fn contents(path: &Path, named: bool) -> Result<String> {
    let wrong =
        |what: String| Error::configuration(OPERATION, format!("configuration `{}`: {what}", shown(path)));
    let file = File::open(path).map_err(|error| {
        wrong(format!("expected a file that can be read, found: {}", error.to_string().to_lowercase()))
    })?;
    let metadata = file.metadata().map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_file() {
        return Err(wrong("expected a regular file, found something else".to_owned()));
    }
    if !named && find::is_world_writable(&metadata) {
        let hint = format!("hint: `chmod o-w {}`", shown(path));
        return Err(wrong(format!(
            "expected a file that not everybody may write, found one that everybody may; {hint}"
        )));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large, even one that grows meanwhile.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("expected at most {MAX_BYTES} bytes, found more")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        wrong(format!("expected UTF-8, found other bytes on line {line}"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn mistake_in(path: &Path, mistake: Mistake) -> Error {
    let Mistake { line, subject, message } = mistake;
    Error::configuration(OPERATION, format!("{subject} ({}:{line}): {message}", shown(path)))
}

/// The path as messages show it: without the working directory, if it is below that.
pub(super) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    short.unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::scratch::Scratch;
    use super::super::{PluginEntry, Ttl};
    use super::*;

    fn parse(name: &str, text: &str) -> Result<Config> {
        parse_as(name, text, true)
    }

    fn parse_as(name: &str, text: &str, named: bool) -> Result<Config> {
        let lookup = |name: &str| match name {
            "SIZE" => Some("512".to_owned()),
            "SECRET" => Some("hunter2".to_owned()),
            _ => None,
        };
        let path = Path::new("/etc/app").join(name);
        config(&path, text, named, &lookup).map_err(|mistake| mistake_in(&path, mistake))
    }

    fn message(text: &str) -> String {
        parse("retainit.yaml", text).unwrap_err().to_string()
    }

    const FULL: &str = "\
retainit:
  plugins:
    - redis
    - path: ./plugins/libacme_cache.so
      sha256: 9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C9F2C
    - directory: /opt/plugins
  backends:
    default:    {type: memory, max_size: 10000, ttl: 1h}
    persistent:
      type: disk
      base_path: cache
      max_bytes: ${SIZE:-1}MiB
      ttl: null
      namespace: app
    both: {type: tiered, tiers: [default, persistent]}
  default_backend: both
";

    #[test]
    fn a_whole_file() {
        let config = parse("retainit.yaml", FULL).unwrap();
        let digest = "9f2c".repeat(16);
        assert_eq!(
            config.plugins,
            [
                PluginEntry::Name("redis".to_owned()),
                PluginEntry::Path(PathBuf::from("/etc/app/./plugins/libacme_cache.so"), Some(digest)),
                PluginEntry::Directory(PathBuf::from("/opt/plugins")),
            ]
        );
        assert_eq!(config.default_backend, Some(("both".to_owned(), 16)));
        let [default, persistent, both] = &config.backends[..] else { panic!("{:?}", config.backends) };
        assert_eq!((default.name.as_str(), default.kind.as_str(), default.line), ("default", "memory", 8));
        assert_eq!(default.ttl, Ttl::For(Duration::from_secs(3600)));
        assert_eq!(default.options["max_size"], 10_000);
        assert_eq!((persistent.ttl, persistent.namespace.as_deref()), (Ttl::Forever, Some("app")));
        assert_eq!(persistent.options["max_bytes"], "512MiB");
        assert_eq!(persistent.origins["max_bytes"].line, 12);
        assert_eq!(persistent.origins["max_bytes"].shown.as_deref(), Some("the text `${SIZE:-1}MiB`"));
        assert_eq!((both.ttl, both.options["tiers"][1].as_str()), (Ttl::Unset, Some("persistent")));
    }

    #[test]
    fn the_formats_say_the_same() {
        let yaml = parse("c.yml", "retainit:\n  backends:\n    a: {type: memory, max_size: 5}\n").unwrap();
        let json = parse(
            "c.json",
            "{\"retainit\": {\"backends\":\n\n{\"a\": {\"type\": \"memory\", \"max_size\": 5}}}}",
        )
        .unwrap();
        let toml = parse("c.toml", "[retainit.backends]\n\na = {type = \"memory\", max_size = 5}\n").unwrap();
        let pyproject = parse(
            "pyproject.toml",
            "[project]\nname = \"x\"\n[tool.retainit.backends.a]\ntype = \"memory\"\nmax_size = 5\n",
        )
        .unwrap();
        assert_eq!(yaml.backends, json.backends);
        assert_eq!(yaml.backends, toml.backends);
        assert_eq!(yaml.backends[0].options, pyproject.backends[0].options);
        assert_eq!(pyproject.backends[0].origins["max_size"].line, 5);
    }

    #[test]
    fn nothing_is_a_configuration_too() {
        for text in [
            "",
            "retainit:\n",
            "retainit: {}\n",
            "# all of it a comment\n",
            "retainit:\n  backends:\n  plugins:\n",
        ] {
            let config = parse("retainit.yaml", text).unwrap();
            assert!(
                config.plugins.is_empty() && config.backends.is_empty() && config.default_backend.is_none()
            );
        }
    }

    #[test]
    fn mistakes_name_file_line_key_expected_found_and_the_nearest_name() {
        for (text, expected) in [
            (
                "retainit:\n  backend: {}\n",
                "unknown key `backend` in section `retainit` (/etc/app/retainit.yaml:2): expected one of `plugins`, \
                 `backends`, `default_backend`; hint: did you mean `backends`?",
            ),
            (
                "retainit:\n  profiles: {}\n",
                "unknown key `profiles` in section `retainit` (/etc/app/retainit.yaml:2): expected one of `plugins`, \
                 `backends`, `default_backend`",
            ),
            (
                "backends: {}\n",
                "unknown key `backends` outside section `retainit` (/etc/app/retainit.yaml:1): expected one of \
                 `retainit`; hint: put `backends` below `retainit`",
            ),
            (
                "retainit:\n  backends:\n    a:\n      type: memory\n      ttl: soon\n",
                "option `ttl` for backend `a` (/etc/app/retainit.yaml:5): expected a duration above zero and below 292 years, \
                 such as `60`, `90s`, `2h30m` or `7d`, found `soon`",
            ),
            (
                "retainit:\n  backends:\n    a: {type: memory, ttl: '${SECRET}'}\n",
                "option `ttl` for backend `a` (/etc/app/retainit.yaml:3): expected a duration above zero and below 292 years, \
                 such as `60`, `90s`, `2h30m` or `7d`, found the text `${SECRET}`",
            ),
            (
                "retainit:\n  backends:\n    a: {type: memory, ttl: ${SECRET}}\n",
                "yaml (/etc/app/retainit.yaml:3): expected valid YAML, found: while parsing a flow mapping, did not find \
                 expected ',' or '}'; hint: within `{...}` and `[...]`, quote texts that contain `${`",
            ),
            (
                "retainit:\n  backends:\n    a: {type: memory, ttl: -1}\n",
                "option `ttl` for backend `a` (/etc/app/retainit.yaml:3): expected a duration above zero and below 292 years, \
                 such as `60`, `90s`, `2h30m` or `7d`, found the number `-1`",
            ),
            (
                "retainit:\n  backends:\n    a: {max_size: 1}\n",
                "backend `a` (/etc/app/retainit.yaml:3): expected a `type`, such as `type: memory`, found none",
            ),
            (
                "retainit:\n  backends: [memory]\n",
                "key `backends` (/etc/app/retainit.yaml:2): expected a mapping, found a list",
            ),
            (
                "retainit:\n  backends:\n    t: {type: tiered, tier: [a]}\n",
                "unknown option `tier` for backend `t` (/etc/app/retainit.yaml:3): expected one of `type`, `tiers`, `ttl`, \
                 `namespace`, `serializer`, `compression`, `compression_threshold`, `encryption`, `encryption_key`, `integrity`, `pickle`, `timeout`, `circuit_breaker`, \
                 `circuit_breaker_threshold`, `circuit_breaker_timeout`, `write_behind`; hint: did you mean `tiers`?",
            ),
            (
                "retainit:\n  backends:\n    t: {type: tiered, tiers: []}\n",
                "option `tiers` for backend `t` (/etc/app/retainit.yaml:3): expected a list of names of backends, \
                 nearest first, found none",
            ),
            (
                "retainit:\n  backends:\n    m: {type: memory, max_size: .nan}\n",
                "option `max_size` for backend `m` (/etc/app/retainit.yaml:3): expected a finite number, found `NaN`",
            ),
            (
                "retainit:\n  default_backend: 5\n",
                "key `default_backend` (/etc/app/retainit.yaml:2): expected the name of a backend, found the number `5`",
            ),
            (
                "retainit:\n  plugins:\n    - {path: a.so, sha: b}\n",
                "unknown key `sha` in an entry of `plugins` (/etc/app/retainit.yaml:3): expected one of `name`, `path`, \
                 `sha256`, `directory`",
            ),
            (
                "retainit:\n  plugins:\n    - {path: a.so, sha256: abc}\n",
                "key `sha256` of an entry of `plugins` (/etc/app/retainit.yaml:3): expected 64 hexadecimal digits, found \
                 the text `abc`",
            ),
            (
                "retainit:\n  plugins:\n    - {path: a.so, name: a}\n",
                "entry of `plugins` (/etc/app/retainit.yaml:3): expected one of `name`, `path`, `directory`, found \
                 `name`, `path`",
            ),
            (
                "retainit:\n  backends:\n    a: {type: redis, url: '${URL}'}\n",
                "the text `${URL}` (/etc/app/retainit.yaml:3): expected the environment variable `URL` to be set, found \
                 that it is not; hint: `${URL:-default}` gives a default",
            ),
        ] {
            assert_eq!(message(text), expected);
        }
    }

    #[test]
    fn a_found_file_names_plugins_and_pins_paths() {
        let pinned = format!(
            "retainit:\n  plugins:\n    - redis\n    - {{path: a.so, sha256: {}}}\n",
            "ab".repeat(32)
        );
        assert_eq!(parse_as("retainit.yaml", &pinned, false).unwrap().plugins.len(), 2);
        for entry in ["{path: a.so}", "{directory: plugins}"] {
            let text = format!("retainit:\n  plugins:\n    - {entry}\n");
            assert!(parse_as("retainit.yaml", &text, true).is_ok());
            let error = parse_as("retainit.yaml", &text, false).unwrap_err().to_string();
            assert!(
                error.contains("(/etc/app/retainit.yaml:3)") && error.contains("found rather than named"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_of_another_kind_is_refused_by_its_name() {
        let error = parse("retainit.ini", "").unwrap_err().to_string();
        assert!(error.contains("`.yaml`, `.yml`, `.json` or `.toml`"), "{error}");
    }

    #[test]
    fn files_that_cannot_be_read_are_refused() {
        let directory = Scratch::new("unreadable");
        let path = directory.0.join("retainit.yaml");
        let refused = |expected: &str| {
            let error = read(&path, true).unwrap_err();
            assert!(error.is_configuration() && error.to_string().contains(expected), "{error}");
            assert!(error.to_string().contains("retainit.yaml"), "{error}");
        };
        refused("no such file");
        std::fs::write(&path, b"retainit:\n  default_backend: \xff\n").unwrap();
        refused("expected UTF-8, found other bytes on line 2");
        std::fs::write(&path, vec![b'#'; MAX_BYTES as usize + 1]).unwrap();
        refused("expected at most 1048576 bytes");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        refused("regular file");
    }

    #[test]
    fn a_byte_order_mark_is_no_mistake() {
        let directory = Scratch::new("mark");
        let path = directory.0.join("retainit.yaml");
        std::fs::write(&path, "\u{feff}retainit:\n  default_backend: memory\n").unwrap();
        assert_eq!(read(&path, true).unwrap().default_backend.unwrap().0, "memory");
    }

    #[test]
    fn damaged_files_are_errors_and_never_panics() {
        // Every single-byte change and every truncation of a whole file, in each format.
        let json = "{\"retainit\": {\"plugins\": [\"a\"], \"backends\": {\"a\": {\"type\": \"memory\", \"ttl\": \"1h\"}}}}";
        let toml = "[retainit]\nplugins = [\"a\"]\n[retainit.backends.a]\ntype = \"memory\"\nttl = 1.5\n";
        for (name, text) in [("c.yaml", FULL), ("c.json", json), ("c.toml", toml)] {
            for at in 0..text.len() {
                let _ = parse(name, &text[..at]);
                for byte in b"\0\n\t {}[]&*!|>'\"%@`,:-?#$0~\\" {
                    let mut damaged = text.as_bytes().to_vec();
                    damaged[at] = *byte;
                    let _ = parse(name, std::str::from_utf8(&damaged).unwrap());
                }
            }
        }
    }
}
