//! The manifest: what a plugin says of itself before any of its code runs.

use std::collections::HashSet;

use retainit_plugin_api::abi::manifest::{ComponentManifest, Manifest, MAGIC};
use retainit_plugin_api::abi::{capability, kind, ABI_MAJOR, ABI_MINOR};
use serde::Deserialize;

use super::options;

/// The kinds a manifest may name.
const KINDS: [u32; 4] = [kind::BACKEND, kind::SERIALIZER, kind::COMPRESSOR, kind::SINK];
/// Names end up in file names, keys of configurations and environment variables.
const LONGEST_NAME: usize = 64;

/// The one field that every version has.
#[derive(Deserialize)]
struct Version {
    abi: (u16, u16),
}

/// Reads the bytes of the manifest's section. The error says what is wrong.
pub fn read(section: &[u8]) -> Result<Manifest, String> {
    let text = text(section)?;
    let damaged = |error: serde_json::Error| format!("its manifest cannot be understood: {error}");
    // The version first: the rest of another major's manifest may look different.
    let Version { abi: (major, minor) } = serde_json::from_str(text).map_err(damaged)?;
    if major != ABI_MAJOR {
        let advice = if major > ABI_MAJOR { "a newer retainit" } else { "a newer build of the plugin" };
        return Err(format!(
            "built for ABI `{major}.{minor}`, expected `{ABI_MAJOR}.*` (this host has `{ABI_MAJOR}.{ABI_MINOR}`); hint: it needs {advice}"
        ));
    }
    let manifest: Manifest = serde_json::from_str(text).map_err(damaged)?;
    check_name("plugin", &manifest.name)?;
    if manifest.components.is_empty() {
        return Err("its manifest names no component".to_owned());
    }
    let mut seen = HashSet::new();
    for component in &manifest.components {
        check_component(component)?;
        if !seen.insert((&component.kind, &component.name)) {
            return Err(format!(
                "its manifest has two components `{}` of kind `{}`",
                component.name, component.kind
            ));
        }
    }
    Ok(manifest)
}

fn text(section: &[u8]) -> Result<&str, String> {
    let record = section
        .strip_prefix(MAGIC.as_bytes())
        .ok_or_else(|| format!("its manifest does not begin with `{}`", MAGIC.trim_end()))?;
    let end = record.iter().position(|byte| *byte == 0).ok_or("its manifest does not end with a NUL byte")?;
    if record[end..].iter().any(|byte| *byte != 0) {
        return Err("it has more than one manifest".to_owned());
    }
    std::str::from_utf8(&record[..end]).map_err(|_| "its manifest is not UTF-8".to_owned())
}

fn check_component(component: &ComponentManifest) -> Result<(), String> {
    check_name("component", &component.name)?;
    if !KINDS.iter().any(|known| kind::name(*known) == component.kind) {
        return Err(format!(
            "component `{}` has kind `{}`: expected one of {}",
            component.name,
            component.kind,
            KINDS.map(|known| format!("`{}`", kind::name(known))).join(", "),
        ));
    }
    let known = capability::NAMES.iter().fold(0, |bits, (bit, _)| bits | bit);
    let unknown = component.capabilities & capability::REQUIRED_MASK & !known;
    if unknown != 0 {
        return Err(format!(
            "component `{}` requires capabilities `{unknown:#018x}`, which this host does not know; hint: it needs a newer retainit",
            component.name
        ));
    }
    options::check_schema(&component.schema)
        .map_err(|error| format!("component `{}`: {error}", component.name))
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(fine) {
        let shown: String = name.chars().take(LONGEST_NAME).flat_map(char::escape_default).collect();
        return Err(format!(
            "{what} name `{shown}`: expected 1 to {LONGEST_NAME} of the characters `a-z`, `0-9`, `_`, `-`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(json: &str) -> Vec<u8> {
        [MAGIC.as_bytes(), json.as_bytes(), b"\0\0\0"].concat()
    }

    fn refused(json: &str) -> String {
        read(&section(json)).unwrap_err()
    }

    fn with(kind: &str, name: &str, capabilities: &str) -> String {
        format!(
            r#"{{"abi":[1,0],"name":"p","version":"1","components":[{{"kind":"{kind}","name":"{name}","capabilities":"{capabilities}","schema":{{"type":"object","properties":{{}}}}}}]}}"#
        )
    }

    #[test]
    fn a_manifest_is_read() {
        let manifest = read(&section(&with("backend", "dummy", "0x41"))).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.components[0].capabilities), ("p", 0x41));
    }

    #[test]
    fn a_newer_minor_is_fine_and_may_say_more() {
        let json = with("backend", "dummy", "0x41")
            .replace("[1,0]", "[1,99]")
            .replace("\"name\":\"p\"", "\"name\":\"p\",\"homepage\":\"x\"");
        assert_eq!(read(&section(&json)).unwrap().abi, (1, 99));
    }

    #[test]
    fn another_major_is_refused_whatever_follows() {
        assert_eq!(
            refused(r#"{"abi":[2,3],"something":"else"}"#),
            format!(
                "built for ABI `2.3`, expected `1.*` (this host has `1.{ABI_MINOR}`); hint: it needs a newer retainit"
            )
        );
        assert!(refused(r#"{"abi":[0,9]}"#).ends_with("a newer build of the plugin"));
    }

    #[test]
    fn unknown_required_capabilities_are_refused_and_unknown_optional_ones_are_not() {
        assert!(refused(&with("backend", "dummy", "0x8000000000000000")).contains("`0x8000000000000000`"));
        assert!(read(&section(&with("backend", "dummy", "0x0080000000000000"))).is_ok());
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        assert!(read(b"").unwrap_err().contains("does not begin"));
        assert!(read(MAGIC.as_bytes()).unwrap_err().contains("NUL"));
        assert!(read(&[&section("{}")[..], b"x"].concat()).unwrap_err().contains("more than one"));
        assert!(read(&section("\u{0}")).is_err());
        assert!(refused("not json").contains("cannot be understood"));
        assert!(refused(r#"{"abi":[1,0],"name":"p","version":"1","components":[]}"#)
            .contains("names no component"));
        assert!(
            refused(&with("frontend", "dummy", "0x1")).contains("expected one of `backend`, `serializer`")
        );
        assert!(refused(&with("backend", "../../etc", "0x1")).contains("component name `../../etc`"));
        assert!(refused(&with("backend", "dummy", "65")).contains("hexadecimal"));
    }
}
