//! Configuration files in all formats.

use retainit_core::fuzzing;

const NAMES: [&str; 4] = ["retainit.yaml", "retainit.json", "retainit.toml", "pyproject.toml"];

/// The first byte says which file it is and whether the user named it.
pub fn read(data: &[u8]) -> Option<()> {
    let (choice, text) = data.split_first()?;
    let text = std::str::from_utf8(text).ok()?;
    let name = NAMES[usize::from(*choice) % NAMES.len()];
    if let Err(message) = fuzzing::configuration(name, text, *choice < 128) {
        assert!(!message.is_empty() && !message.contains(fuzzing::SECRET), "{message}");
    }
    Some(())
}

pub fn seeds() -> Vec<Vec<u8>> {
    let yaml = "# All there is.\nretainit:\n  default_backend: &name small\n  plugins:\n    - disk\n    - path: ./libx.so\n      \
                sha256: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n  backends:\n    \
                small: {type: memory, max_size: 1_000, max_bytes: 64MB, ttl: 10m}\n    large:\n      type: disk\n      \
                base_path: ${HOME:-/tmp}/cache\n      ttl: null\n      text: |\n        lines\n    tiers:\n      \
                type: tiered\n      backends: [small, large]\n";
    let json = r#"{"retainit": {"default_backend": "small", "plugins": ["disk"], "backends": {"small": {"type": "memory",
        "max_size": 1000, "policy": "lru", "ttl": 1.5e1, "name": "\u00e9\ud83d\ude00 ${TOKEN}"}}}}"#;
    let toml = "[retainit]\ndefault_backend = 'small'\nplugins = ['disk', {path = './x.so', sha256 = '00'}]\n\
                [retainit.backends.small]\ntype = \"memory\"\nmax_size = 1_000\nttl = 0x10\nat = 1979-05-27T07:32:00Z\n";
    let project = format!(
        "[project]\nname = 'x'\n[tool.{}",
        toml.replace("[retainit.", "[tool.retainit.").trim_start_matches('[')
    );
    [yaml, json, toml, &project]
        .into_iter()
        .enumerate()
        .flat_map(|(choice, text)| [0, 128].map(|named| [&[choice as u8 + named], text.as_bytes()].concat()))
        .collect()
}
