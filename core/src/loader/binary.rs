//! A plugin's object file, read without mapping or running it.

use std::fs::File;

use object::read::{NameOrOrdinal, ReadRef};
use object::{Architecture, Object, ObjectKind, ObjectSection, ObjectSegment, ReadCache};
use retainit_plugin_api::abi::manifest::SECTION;
use retainit_plugin_api::abi::root::{C_DOOR, RUST_DOOR};

/// A manifest larger than this is a mistake.
const LARGEST_MANIFEST: u64 = 1 << 20;
/// More sections or exported names than this are an attempt to be slow.
const MOST_EXPORTS: usize = 100_000;

/// Reads only the parts that are asked for, through the open file.
type ObjectFile<'a, 'f> = object::File<'a, &'a ReadCache<&'f File>>;

/// Which door a plugin has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The layout-checked root module of Rust plugins.
    Rust,
    /// The root function of plugins in other languages.
    C,
}

/// What the object file says.
#[derive(Debug)]
pub struct Contents {
    /// The bytes of the manifest's section.
    pub manifest: Vec<u8>,
    /// The door it exports.
    pub door: Door,
}

/// Reads the object file's headers and the few parts that are needed. The error says what is wrong.
///
/// Every part that the dynamic loader would map has to lie within the file: reading beyond the end
/// of a mapped file raises a signal in the middle of `dlopen`.
pub fn read(file: &File) -> Result<Contents, String> {
    let cache = ReadCache::new(file);
    let object = object::File::parse(&cache).map_err(|_| not_an_object(&cache))?;
    for_this_machine(&object)?;
    within_the_file(&object, (&cache).len().map_err(|()| "cannot be read".to_owned())?)?;
    let manifest = manifest(&object)?;
    let door = door(&object)?;
    Ok(Contents { manifest, door })
}

fn not_an_object(cache: &ReadCache<&File>) -> String {
    let head = cache.read_bytes_at(0, 4).unwrap_or_default();
    match head {
        [0x7f, b'E', b'L', b'F'] => {
            "the file is truncated or damaged: its headers point beyond its end".to_owned()
        }
        head if head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            "expected a shared library, found text".to_owned()
        }
        _ => "expected a shared library, found something else".to_owned(),
    }
}

fn for_this_machine(object: &ObjectFile<'_, '_>) -> Result<(), String> {
    let format = if cfg!(target_os = "macos") {
        object::BinaryFormat::MachO
    } else if cfg!(windows) {
        object::BinaryFormat::Pe
    } else {
        object::BinaryFormat::Elf
    };
    if object.format() != format {
        return Err(format!("expected a {format:?} file, found {:?}", object.format()));
    }
    if object.kind() != ObjectKind::Dynamic {
        return Err(format!("expected a shared library, found `{:?}`", object.kind()).to_lowercase());
    }
    let expected = match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        "x86" => Architecture::I386,
        "arm" => Architecture::Arm,
        "riscv64" => Architecture::Riscv64,
        "s390x" => Architecture::S390x,
        "powerpc64" => Architecture::PowerPc64,
        "loongarch64" => Architecture::LoongArch64,
        _ => Architecture::Unknown,
    };
    let found = object.architecture();
    if found != expected
        || object.is_64() != cfg!(target_pointer_width = "64")
        || object.is_little_endian() != cfg!(target_endian = "little")
    {
        let bits = if object.is_64() { 64 } else { 32 };
        return Err(format!(
            "built for another machine: expected `{}`, found `{}` ({bits} bit)",
            std::env::consts::ARCH,
            format!("{found:?}").to_lowercase(),
        ));
    }
    Ok(())
}

fn within_the_file(object: &ObjectFile<'_, '_>, size: u64) -> Result<(), String> {
    let outside = |(offset, length): (u64, u64)| offset.checked_add(length).is_none_or(|end| end > size);
    let truncated = |what: &str| format!("the file is truncated: {what} lies beyond its {size} bytes");
    let mut segments = 0;
    for segment in object.segments() {
        segments += 1;
        if outside(segment.file_range()) {
            return Err(truncated("a segment"));
        }
    }
    if segments == 0 {
        return Err("expected a shared library, found a file without segments".to_owned());
    }
    for section in object.sections() {
        if section.file_range().is_some_and(outside) {
            return Err(truncated("a section"));
        }
    }
    Ok(())
}

fn manifest(object: &ObjectFile<'_, '_>) -> Result<Vec<u8>, String> {
    let section = object
        .section_by_name(SECTION)
        .ok_or_else(|| format!("not a retainit plugin: it has no section `{SECTION}`"))?;
    if section.size() > LARGEST_MANIFEST {
        return Err(format!(
            "its manifest has {} bytes, at most {LARGEST_MANIFEST} are allowed",
            section.size()
        ));
    }
    let bytes = section.data().map_err(|error| format!("its section `{SECTION}` cannot be read: {error}"))?;
    Ok(bytes.to_vec())
}

/// Looked up before `dlopen`, so that a library without a door never runs a constructor.
fn door(object: &ObjectFile<'_, '_>) -> Result<Door, String> {
    let named = |door: &'static [u8]| &door[..door.len() - 1];
    let damaged = |error: object::Error| format!("its exported names cannot be read: {error}");
    let mut found = None;
    for (count, export) in object.exports().map_err(damaged)?.enumerate() {
        if count == MOST_EXPORTS {
            return Err(format!("it exports more than {MOST_EXPORTS} names"));
        }
        let export = export.map_err(damaged)?;
        let NameOrOrdinal::Name(name) = export.name() else { continue };
        // Mach-O puts an underscore before every name.
        let name = if cfg!(target_os = "macos") { name.strip_prefix(b"_").unwrap_or(name) } else { name };
        if name == named(RUST_DOOR) {
            return Ok(Door::Rust);
        }
        if name == named(C_DOOR) {
            found = Some(Door::C);
        }
    }
    found.ok_or_else(|| {
        format!(
            "it exports neither `{}` nor `{}`",
            String::from_utf8_lossy(named(RUST_DOOR)),
            String::from_utf8_lossy(named(C_DOOR)),
        )
    })
}
