//! The serializers of the base install: what they read is whole, and what they take they give back.

use std::path::Path;

use retainit_codecs::{BytesSerializer, JsonSerializer, MsgpackSerializer, NumpySerializer, TextSerializer};
use retainit_plugin_api::abi::call::{Call as RawCall, NEVER};
use retainit_plugin_api::abi::value::Value as RawValue;
use retainit_plugin_api::sdk::tree;
use retainit_plugin_api::sdk::{Call, Data, ErrorKind, Result, Serializer, TensorInfo, Value};

fn calling<T>(body: impl FnOnce(&Call<'_>) -> T) -> T {
    let mut error = RawValue::NONE;
    body(&Call::new(&RawCall { op: 0, now: 1, deadline: NEVER, error: &mut error }))
}

fn read<S: Serializer>(serializer: &S, bytes: &[u8]) -> Option<Data> {
    match calling(|call| serializer.deserialize(call, Value::from_vec(bytes.to_vec()))) {
        Ok(data) => Some(data),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            None
        }
    }
}

fn write<S: Serializer>(serializer: &S, data: Data) -> Result<Vec<u8>> {
    calling(|call| serializer.serialize(call, data)).map(|value| bytes(&value).to_vec())
}

fn bytes(value: &Value) -> &[u8] {
    value.as_bytes().expect("bytes")
}

fn read_tree<S: Serializer>(serializer: &S, bytes: &[u8]) -> Option<Vec<u8>> {
    match read(serializer, bytes)? {
        Data::Tree(tree) => Some(self::bytes(&tree).to_vec()),
        other => panic!("expected a tree, found {other:?}"),
    }
}

fn write_tree<S: Serializer>(serializer: &S, tree: &[u8]) -> Result<Vec<u8>> {
    write(serializer, Data::Tree(Value::from_vec(tree.to_vec())))
}

/// Trees that lie in storage.
pub fn msgpack(data: &[u8]) -> Option<()> {
    if let Some(tree) = read_tree(&MsgpackSerializer, data) {
        assert_eq!(tree, data);
        assert_eq!(write_tree(&MsgpackSerializer, &tree).expect("what was read"), data);
    }
    Some(())
}

/// Text that claims to be JSON; and trees, which JSON gives back exactly or refuses.
pub fn json(data: &[u8]) -> Option<()> {
    if let Some(tree) = read_tree(&JsonSerializer, data) {
        tree::check(&tree).expect("what json gives is a tree");
        // The text may be another (spaces, escapes), its meaning not.
        if let Ok(text) = write_tree(&JsonSerializer, &tree) {
            assert_eq!(read_tree(&JsonSerializer, &text).expect("what was written"), tree);
        }
    }
    if tree::check(data).is_ok() {
        if let Ok(text) = write_tree(&JsonSerializer, data) {
            let back = read_tree(&JsonSerializer, &text).expect("what was written");
            // The tree itself may be spelled longer than it need be.
            assert_eq!(write_tree(&JsonSerializer, &back).expect("what was read"), text);
        }
    }
    Some(())
}

/// Any bytes as text and as bytes.
pub fn text(data: &[u8]) -> Option<()> {
    match read(&TextSerializer, data) {
        Some(read) => assert_eq!(write(&TextSerializer, read).expect("what was read"), data),
        None => assert!(std::str::from_utf8(data).is_err()),
    }
    let read = read(&BytesSerializer, data).expect("any bytes are bytes");
    assert_eq!(write(&BytesSerializer, read).expect("what was read"), data);
    Some(())
}

/// Files as numpy saves them.
pub fn npy(data: &[u8]) -> Option<()> {
    let (elements, info) = read_tensor(data)?;
    assert!(info.item_size().is_none() || info.fits(elements.len()), "{info:?} in {} bytes", elements.len());
    let tensor = Data::Tensor(Value::from_vec(elements.clone()), info.clone());
    if let Ok(file) = write(&NumpySerializer, tensor) {
        let (again, described) = read_tensor(&file).expect("what was written");
        assert_eq!((described.dtype, described.shape), (info.dtype, info.shape));
        assert_eq!(again.len(), elements.len());
    }
    Some(())
}

fn read_tensor(file: &[u8]) -> Option<(Vec<u8>, TensorInfo)> {
    match read(&NumpySerializer, file)? {
        Data::Tensor(elements, info) => Some((bytes(&elements).to_vec(), info)),
        other => panic!("expected a tensor, found {other:?}"),
    }
}

pub fn json_seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"id": 7, "name": "a\u00e9\ud83d\ude00\n", "price": -1.5e-7, "tags": ["x", null, true, false], "more": {}}"#,
        "[123456789012345678901234567890, 18446744073709551615, -9223372036854775808, 0.1, -0.0, 1e308, []]",
        r#"{"a": {"b": {"c": [[[[[[1]]]]]]}}, "": "", "a\"b": "\\"}"#,
        "\"text\"",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain(super::tree::seeds()).collect()
}

pub fn text_seeds() -> Vec<Vec<u8>> {
    ["", "text", "grün, 語, \u{1F600}, \0", "\u{feff}mark"].map(|text| text.as_bytes().to_vec()).into()
}

/// The files of the serializer's own tests.
pub fn npy_seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/codecs/tests/files");
    let files = std::fs::read_dir(folder).expect("files of the tests");
    files.map(|file| std::fs::read(file.expect("a file").path()).expect("a file")).collect()
}
