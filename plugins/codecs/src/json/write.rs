//! A tree's tokens to text.

use std::ops::Range;

use retainit_plugin_api::sdk::tree::{self, Reader, Token, DEPTH};
use retainit_plugin_api::sdk::{Error, ErrorKind, Result};

use super::keys::Keys;

/// The text of a tree, without spaces. `UNSUPPORTED` for what JSON could not give back exactly.
pub(crate) fn write(tree: &[u8]) -> Result<Vec<u8>> {
    // Quotes and commas are what text has and MessagePack has not.
    let out = Vec::with_capacity(tree.len() + tree.len() / 2 + 16);
    let mut writer = Writer { tree, reader: Reader::new(tree), out, keys: Keys::default() };
    writer.value(DEPTH)?;
    writer.reader.finish().map_err(malformed)?;
    Ok(writer.out)
}

struct Writer<'a> {
    tree: &'a [u8],
    reader: Reader<'a>,
    out: Vec<u8>,
    keys: Keys,
}

impl<'a> Writer<'a> {
    fn value(&mut self, depth: u32) -> Result<()> {
        match self.reader.next().map_err(malformed)? {
            Token::Nil => self.out.extend(b"null"),
            Token::Bool(true) => self.out.extend(b"true"),
            Token::Bool(false) => self.out.extend(b"false"),
            Token::Int(value) => self.scalar(&value)?,
            Token::Unsigned(value) => self.scalar(&value)?,
            // Shortest digits that read back to the same bits, and never without a point or an exponent.
            Token::Float(value) if value.is_finite() => self.scalar(&value)?,
            Token::Float(_) => return Err(refused("a float that is infinite or not a number")),
            Token::Text(text) => self.text(text)?,
            Token::Bytes(_) => return Err(refused("bytes")),
            Token::List(count) => self.list(count, deeper(depth)?)?,
            Token::Dict(count) => self.dict(count, deeper(depth)?)?,
            Token::Group(group) => return Err(refused(name(group.code))),
            Token::Leaf(code, _) => return Err(refused(name(code))),
        }
        Ok(())
    }

    fn list(&mut self, count: usize, depth: u32) -> Result<()> {
        self.out.push(b'[');
        for i in 0..count {
            if i > 0 {
                self.out.push(b',');
            }
            self.value(depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn dict(&mut self, count: usize, depth: u32) -> Result<()> {
        self.out.push(b'{');
        let keys = self.keys.begin();
        for i in 0..count {
            if i > 0 {
                self.out.push(b',');
            }
            let Token::Text(key) = self.reader.next().map_err(malformed)? else {
                return Err(refused("a dict whose keys are not all text"));
            };
            self.keys.push(self.place(key));
            self.text(key)?;
            self.out.push(b':');
            self.value(depth)?;
        }
        self.out.push(b'}');
        if self.keys.end(keys, self.tree) {
            return Ok(());
        }
        Err(refused("a dict with a key twice"))
    }

    /// Where the text that was just read lies in the tree.
    fn place(&self, text: &[u8]) -> Range<usize> {
        let end = self.reader.at();
        end - text.len()..end
    }

    fn text(&mut self, text: &'a [u8]) -> Result<()> {
        if needs_no_escape(text) {
            self.out.push(b'"');
            self.out.extend_from_slice(text);
            self.out.push(b'"');
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(text) else {
            return Err(malformed(self.reader.error("text is not UTF-8")));
        };
        self.scalar(text)
    }

    fn scalar<S: serde::Serialize + ?Sized>(&mut self, value: &S) -> Result<()> {
        serde_json::to_writer(&mut self.out, value)
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("a value has no text: {error}")))
    }
}

/// Whether text is ASCII that stands for itself between quotes: most is, and is then neither decoded nor searched
/// for escapes. Every byte is looked at, which takes fewer steps than stopping early.
fn needs_no_escape(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~' if !matches!(byte, b'"' | b'\\')))
}

fn deeper(depth: u32) -> Result<u32> {
    let nested = || format!("lists and dicts nested deeper than {DEPTH}");
    depth.checked_sub(1).ok_or_else(|| refused(&nested()))
}

/// What a tree's extension type stands for.
fn name(code: i8) -> &'static str {
    match code {
        tree::TUPLE => "a tuple",
        tree::SET => "a set",
        tree::FROZENSET => "a frozenset",
        tree::BIG_INT => "an integer beyond 64 bits",
        tree::SURROGATES => "text with lone surrogates",
        tree::BYTEARRAY => "a bytearray",
        tree::COMPLEX => "a complex number",
        tree::DECIMAL => "a decimal",
        tree::FRACTION => "a fraction",
        tree::UUID => "a uuid",
        tree::DATE => "a date",
        tree::TIME => "a time",
        tree::DATETIME => "a datetime",
        tree::TIMEDELTA => "a timedelta",
        tree::TIMEZONE | tree::ZONE => "a time zone",
        tree::RANGE => "a range",
        tree::SLICE => "a slice",
        tree::ELLIPSIS => "an ellipsis",
        tree::PATH => "a path",
        tree::IP => "an ip address",
        tree::TENSOR => "an array",
        tree::SCALAR => "an array's element",
        _ => "an extension type",
    }
}

#[cold]
fn refused(what: &str) -> Error {
    let message = format!(
        "serializer `json` could not give {what} back exactly: expected None, flags, integers of 64 bits, finite \
         floats, text, lists, and dicts with text for keys; hint: `serializer=\"msgpack\"` keeps all types of a tree"
    );
    Error::new(ErrorKind::Unsupported, message)
}

#[cold]
fn malformed(error: tree::Error) -> Error {
    Error::new(ErrorKind::Invalid, error.to_string())
}
