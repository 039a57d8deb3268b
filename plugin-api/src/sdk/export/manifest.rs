//! The manifest, built in a constant: the bytes are in the file before any code of it runs.

use crate::abi::manifest::MAGIC;
use crate::abi::{kind, ABI_MAJOR, ABI_MINOR};
use crate::sdk::{Backend, Compressor, Serializer, Sink};

/// One component of a manifest.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    kind: u32,
    name: &'static str,
    capabilities: u64,
    schema: &'static str,
}

impl Component {
    /// A backend.
    pub const fn backend<T: Backend>() -> Self {
        Component { kind: kind::BACKEND, name: T::NAME, capabilities: T::CAPABILITIES, schema: T::SCHEMA }
    }
    /// A serializer.
    pub const fn serializer<T: Serializer>() -> Self {
        Component { kind: kind::SERIALIZER, name: T::NAME, capabilities: T::CAPABILITIES, schema: T::SCHEMA }
    }
    /// A compressor.
    pub const fn compressor<T: Compressor>() -> Self {
        Component { kind: kind::COMPRESSOR, name: T::NAME, capabilities: T::CAPABILITIES, schema: T::SCHEMA }
    }
    /// An event sink.
    pub const fn sink<T: Sink>() -> Self {
        Component { kind: kind::SINK, name: T::NAME, capabilities: T::CAPABILITIES, schema: T::SCHEMA }
    }
}

/// Length of the manifest in bytes, magic and final NUL included.
pub const fn manifest_len(name: &str, version: &str, components: &[Component]) -> usize {
    build::<0>(name, version, components).len
}

/// The manifest's bytes; `N` is [`manifest_len`] of the same arguments.
pub const fn manifest_bytes<const N: usize>(name: &str, version: &str, components: &[Component]) -> [u8; N] {
    let built = build::<N>(name, version, components);
    assert!(built.len == N);
    built.bytes
}

/// Bytes so far, and how many there would be: with `N` of zero it only counts.
struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    const fn push(mut self, text: &[u8]) -> Self {
        if N > 0 {
            let (_, rest) = self.bytes.split_at_mut(self.len);
            let (place, _) = rest.split_at_mut(text.len());
            place.copy_from_slice(text);
        }
        self.len += text.len();
        self
    }

    const fn push_decimal(self, number: u16) -> Self {
        let digit = [b'0' + (number % 10) as u8];
        if number < 10 {
            return self.push(&digit);
        }
        self.push_decimal(number / 10).push(&digit)
    }

    const fn push_hexadecimal(self, number: u64) -> Self {
        let mut digits = [0; 16];
        let mut i = 0;
        while i < 16 {
            digits[i] = b"0123456789abcdef"[((number >> (60 - 4 * i)) & 15) as usize];
            i += 1;
        }
        self.push(&digits)
    }
}

const fn build<const N: usize>(name: &str, version: &str, components: &[Component]) -> Text<N> {
    assert!(is_plain(name), "a plugin's name must be of letters, digits, `-`, `_`, `.` and `+`");
    assert!(is_plain(version), "a plugin's version must be of letters, digits, `-`, `_`, `.` and `+`");
    let mut text = Text { bytes: [0; N], len: 0 }.push(MAGIC.as_bytes()).push(b"{\"abi\": [");
    text = text.push_decimal(ABI_MAJOR).push(b", ").push_decimal(ABI_MINOR);
    text = text.push(b"], \"name\": \"").push(name.as_bytes());
    text = text.push(b"\", \"version\": \"").push(version.as_bytes()).push(b"\", \"components\": [");
    let mut i = 0;
    while i < components.len() {
        let component = components[i];
        assert!(
            is_plain(component.name),
            "a component's name must be of letters, digits, `-`, `_`, `.` and `+`"
        );
        if i > 0 {
            text = text.push(b", ");
        }
        text = text.push(b"{\"kind\": \"").push(kind::name(component.kind).as_bytes());
        text = text.push(b"\", \"name\": \"").push(component.name.as_bytes());
        text = text.push(b"\", \"capabilities\": \"0x").push_hexadecimal(component.capabilities);
        text = text.push(b"\", \"schema\": ").push(component.schema.as_bytes()).push(b"}");
        i += 1;
    }
    text.push(b"]}\0")
}

/// Whether a name needs no escaping, in JSON or anywhere else.
const fn is_plain(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if !(bytes[i].is_ascii_alphanumeric() || matches!(bytes[i], b'-' | b'_' | b'.' | b'+')) {
            return false;
        }
        i += 1;
    }
    !bytes.is_empty()
}
