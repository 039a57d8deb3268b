//! MessagePack in small: just enough to write samples and to compare what comes back.

/// A value of a tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Nil,
    Bool(bool),
    /// Anything from `i64::MIN` to `u64::MAX`.
    Int(i128),
    /// By its bits, so that NaN equals itself and 0.0 is not -0.0.
    Float(u64),
    Text(String),
    Binary(Vec<u8>),
    List(Vec<Tree>),
    /// In order, which is part of the value.
    Map(Vec<(Tree, Tree)>),
    Extension(i8, Vec<u8>),
}

impl Tree {
    pub(super) fn text(text: &str) -> Tree {
        Tree::Text(text.to_owned())
    }

    pub(super) fn float(float: f64) -> Tree {
        Tree::Float(float.to_bits())
    }

    /// A map with text for keys.
    pub(super) fn object<const N: usize>(entries: [(&str, Tree); N]) -> Tree {
        Tree::Map(entries.into_iter().map(|(key, value)| (Tree::text(key), value)).collect())
    }

    /// The shortest encoding, as the host writes it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Tree::Nil => out.push(0xC0),
            Tree::Bool(value) => out.push(0xC2 + u8::from(*value)),
            Tree::Int(value) => write_int(*value, out),
            Tree::Float(bits) => {
                out.push(0xCB);
                out.extend(bits.to_be_bytes());
            }
            Tree::Text(text) => {
                head(out, text.len(), Some((0xA0, 32)), Some(0xD9), 0xDA);
                out.extend(text.as_bytes());
            }
            Tree::Binary(bytes) => {
                head(out, bytes.len(), None, Some(0xC4), 0xC5);
                out.extend(bytes);
            }
            Tree::List(items) => {
                head(out, items.len(), Some((0x90, 16)), None, 0xDC);
                items.iter().for_each(|item| item.write(out));
            }
            Tree::Map(entries) => {
                head(out, entries.len(), Some((0x80, 16)), None, 0xDE);
                for (key, value) in entries {
                    key.write(out);
                    value.write(out);
                }
            }
            Tree::Extension(code, bytes) => {
                match bytes.len() {
                    len @ (1 | 2 | 4 | 8 | 16) => out.push(0xD4 + len.trailing_zeros() as u8),
                    len => head(out, len, None, Some(0xC7), 0xC8),
                }
                out.push(*code as u8);
                out.extend(bytes);
            }
        }
    }

    /// The whole of `bytes` as one value.
    pub(super) fn decode(bytes: &[u8]) -> Result<Tree, String> {
        let mut reader = Reader(bytes);
        let tree = reader.tree(0)?;
        match reader.0.len() {
            0 => Ok(tree),
            left => Err(format!("{left} bytes are left behind the tree")),
        }
    }
}

fn write_int(value: i128, out: &mut Vec<u8>) {
    let wide = value.to_be_bytes();
    let mut put = |marker: u8, len: usize| {
        out.push(marker);
        out.extend(&wide[16 - len..]);
    };
    match value {
        -32..=127 => out.push(value as u8),
        128..=0xFF => put(0xCC, 1),
        0x100..=0xFFFF => put(0xCD, 2),
        0x1_0000..=0xFFFF_FFFF => put(0xCE, 4),
        0x1_0000_0000.. => put(0xCF, 8),
        -0x80..=-33 => put(0xD0, 1),
        -0x8000..=-0x81 => put(0xD1, 2),
        -0x8000_0000..=-0x8001 => put(0xD2, 4),
        _ => put(0xD3, 8),
    }
}

/// Marker and length: in the marker where `tiny` allows, in one byte behind `short`, else in two or four
/// behind `long` and its successor.
fn head(out: &mut Vec<u8>, len: usize, tiny: Option<(u8, usize)>, short: Option<u8>, long: u8) {
    match (tiny, short) {
        (Some((marker, below)), _) if len < below => out.push(marker | len as u8),
        (_, Some(marker)) if len < 0x100 => out.extend([marker, len as u8]),
        _ if len < 0x1_0000 => {
            out.push(long);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(long + 1);
            out.extend((len as u32).to_be_bytes());
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("the tree ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    /// A big-endian number of `len` bytes.
    fn number(&mut self, len: usize) -> Result<u64, String> {
        Ok(self.take(len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn length(&mut self, len: usize) -> Result<usize, String> {
        Ok(self.number(len)? as usize)
    }

    fn tree(&mut self, depth: usize) -> Result<Tree, String> {
        if depth > 2000 {
            return Err("the tree is nested too deeply".to_owned());
        }
        let marker = self.take(1)?[0];
        Ok(match marker {
            0x00..=0x7F | 0xE0..=0xFF => Tree::Int((marker as i8).into()),
            0x80..=0x8F => self.map(usize::from(marker & 15), depth)?,
            0x90..=0x9F => self.list(usize::from(marker & 15), depth)?,
            0xA0..=0xBF => self.string(usize::from(marker & 31))?,
            0xC0 => Tree::Nil,
            0xC1 => return Err("the tree has the marker that is never used".to_owned()),
            0xC2 | 0xC3 => Tree::Bool(marker == 0xC3),
            0xC4..=0xC6 => {
                let len = self.length(1 << (marker - 0xC4))?;
                Tree::Binary(self.take(len)?.to_vec())
            }
            0xC7..=0xC9 => {
                let len = self.length(1 << (marker - 0xC7))?;
                self.extension(len)?
            }
            0xCA => Tree::float(f32::from_bits(self.number(4)? as u32).into()),
            0xCB => Tree::Float(self.number(8)?),
            0xCC..=0xCF => Tree::Int(self.number(1 << (marker - 0xCC))?.into()),
            0xD0 => Tree::Int((self.number(1)? as i8).into()),
            0xD1 => Tree::Int((self.number(2)? as i16).into()),
            0xD2 => Tree::Int((self.number(4)? as i32).into()),
            0xD3 => Tree::Int((self.number(8)? as i64).into()),
            0xD4..=0xD8 => self.extension(1 << (marker - 0xD4))?,
            0xD9..=0xDB => {
                let len = self.length(1 << (marker - 0xD9))?;
                self.string(len)?
            }
            0xDC | 0xDD => {
                let len = self.length(2 << (marker - 0xDC))?;
                self.list(len, depth)?
            }
            0xDE | 0xDF => {
                let len = self.length(2 << (marker - 0xDE))?;
                self.map(len, depth)?
            }
        })
    }

    fn string(&mut self, len: usize) -> Result<Tree, String> {
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "the tree has text that is not utf-8")?;
        Ok(Tree::text(text))
    }

    fn extension(&mut self, len: usize) -> Result<Tree, String> {
        let code = self.take(1)?[0] as i8;
        Ok(Tree::Extension(code, self.take(len)?.to_vec()))
    }

    fn list(&mut self, len: usize, depth: usize) -> Result<Tree, String> {
        // Collected one by one: a length that claims too much ends with the bytes.
        (0..len).map(|_| self.tree(depth + 1)).collect::<Result<_, _>>().map(Tree::List)
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Tree, String> {
        let entries = (0..len).map(|_| Ok((self.tree(depth + 1)?, self.tree(depth + 1)?)));
        entries.collect::<Result<_, String>>().map(Tree::Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let ints = [0, 127, 128, 255, 256, 65_536, 1 << 32, u64::MAX.into(), -1, -32, -33, -129, -40_000];
        let ints = ints.into_iter().chain([i64::MIN.into(), -3_000_000_000]).map(Tree::Int);
        let tree = Tree::object([
            ("ints", Tree::List(ints.collect())),
            ("texts", Tree::List([0, 31, 32, 300, 70_000].map(|len| Tree::Text("x".repeat(len))).into())),
            ("binary", Tree::List([0, 300, 70_000].map(|len| Tree::Binary(vec![9; len])).into())),
            (
                "extensions",
                Tree::List([0, 1, 2, 3, 4, 16, 300].map(|n| Tree::Extension(-3, vec![1; n])).into()),
            ),
            ("floats", Tree::List([0.0, -0.0, f64::NAN, 1e300].map(Tree::float).into())),
            (
                "lists",
                Tree::List(vec![Tree::List(vec![Tree::Nil; 20]), Tree::Map(Vec::new()), Tree::Bool(true)]),
            ),
        ]);
        assert_eq!(Tree::decode(&tree.encode()), Ok(tree));
        assert_eq!(Tree::Int(-33).encode(), [0xD0, 0xDF]);
        assert!(Tree::decode(&[0xC0, 0xC0]).is_err());
        assert!(Tree::decode(&[0xDD, 0xFF, 0xFF, 0xFF, 0xFF, 0xC0]).is_err());
    }
}
