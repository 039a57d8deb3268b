//! Plugins as files: the object file, and the manifest in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::OnceLock;

use retainit_core::fuzzing;

const MANIFEST: &str = r#"{"abi":[1,0],"name":"p","version":"1.2.3","components":[{"kind":"backend","name":"dummy","capabilities":"0x41","schema":{"type":"object","properties":{"max_size":{"type":["integer","null"],"minimum":0,"default":10},"policy":{"enum":["a","b"]}}}},{"kind":"compressor","name":"x","capabilities":"0x1000000","schema":{"type":"object"}}]}"#;

/// The bytes of the manifest's section.
pub fn manifest(data: &[u8]) -> Option<()> {
    if let Err(message) = fuzzing::manifest(data) {
        assert!(!message.is_empty());
    }
    Some(())
}

/// A whole file, which is never run.
pub fn binary(data: &[u8]) -> Option<()> {
    static PLACE: OnceLock<File> = OnceLock::new();
    let file = PLACE.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("retainit-fuzz-{}", std::process::id()));
        let file =
            File::options().read(true).write(true).create_new(true).open(&path).expect("a scratch file");
        // The open file stays until the process ends, and nothing has to be tidied up.
        std::fs::remove_file(&path).expect("our own file");
        file
    });
    file.set_len(0).and_then(|()| file.write_all_at(data, 0)).expect("room for one input");
    if let Err(message) = fuzzing::binary(file) {
        assert!(!message.is_empty());
    }
    Some(())
}

pub fn manifests() -> Vec<Vec<u8>> {
    let section = |json: &str| [fuzzing::MAGIC.as_bytes(), json.as_bytes(), b"\0\0\0"].concat();
    vec![section(MANIFEST), section("{}"), section(&MANIFEST.replace("[1,0]", "[9,0]")), Vec::new()]
}

/// A small plugin with each door, as the C compiler makes it.
pub fn binaries() -> Vec<Vec<u8>> {
    let folder = std::env::temp_dir().join(format!("retainit-fuzz-seeds-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a scratch folder");
    let literal = format!("{}{MANIFEST}", fuzzing::MAGIC)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    let mut seeds = Vec::new();
    for door in fuzzing::DOORS {
        let (source, library) = (folder.join("plugin.c"), folder.join("plugin.so"));
        let text = format!(
            "__attribute__((section(\"{}\"), used)) static const char manifest[] = \"{literal}\";\n\
             void *{door}(void) {{ return (void *)manifest; }}\n",
            fuzzing::SECTION,
        );
        std::fs::write(&source, text).expect("a scratch file");
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args([
            "-shared",
            "-fPIC",
            "-nostdlib",
            "-s",
            "-Wl,-z,noseparate-code",
            "-Wl,--build-id=none",
            "-o",
        ]);
        let done =
            compiler.arg(&library).arg(&source).status().expect("a C compiler, which zstd is built with too");
        assert!(done.success(), "the C compiler failed");
        seeds.push(std::fs::read(&library).expect("just made"));
    }
    std::fs::remove_dir_all(&folder).expect("our own folder");
    seeds
}
