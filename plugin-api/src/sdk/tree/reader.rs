//! From bytes to tokens.

use super::{Error, FRACTION, FROZENSET, LONGEST_FRACTION, RANGE, SET, SLICE, TUPLE};

/// One value, or the head of one whose items follow as tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// An integer beyond `i64::MAX`.
    Unsigned(u64),
    /// A float; one of 4 bytes has been widened.
    Float(f64),
    /// Text, not yet held to be UTF-8: whoever makes a string checks it on the way.
    Text(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list of so many items, which follow.
    List(usize),
    /// A dict of so many pairs, which follow, each key before its value.
    Dict(usize),
    /// A value of an extension type that is made of others, which follow.
    Group(Group),
    /// A value of another extension type: its code and its body, for [`Leaf::parse`](super::Leaf::parse).
    Leaf(i8, &'a [u8]),
}

/// An extension type with values inside: `TUPLE`, `SET`, `FROZENSET`, `FRACTION`, `RANGE`, `SLICE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub code: i8,
    /// How many values follow.
    pub count: usize,
    // Bytes of the whole tree behind its last value.
    behind: usize,
}

/// Reads tokens. After an error nothing it gives means anything.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
    // Each item of a container has a byte of its own at least. So all containers together claim no more
    // items than there are bytes, however they lie within each other.
    items: usize,
}

impl<'a> Reader<'a> {
    /// A reader of one value.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, len: bytes.len(), items: bytes.len() }
    }

    /// An error at the place that has been reached.
    #[cold]
    pub fn error(&self, what: &'static str) -> Error {
        Error::new(self.at(), what)
    }

    /// Nothing may follow the one value.
    ///
    /// # Errors
    /// Something does.
    #[inline]
    pub fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.error("bytes behind the value"))
    }

    /// After the last value of a group: they must have filled its body.
    ///
    /// # Errors
    /// They have not, or they went beyond it.
    #[inline]
    pub fn close(&self, group: Group) -> Result<(), Error> {
        if self.rest.len() == group.behind {
            return Ok(());
        }
        Err(self.error("an extension type's values do not fill its body"))
    }

    /// The next token.
    ///
    /// # Errors
    /// There is none, or it claims more than what is left.
    #[inline(always)]
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Token<'a>, Error> {
        let Some((&head, rest)) = self.rest.split_first() else { return Err(self.error(ENDS)) };
        self.rest = rest;
        Ok(match head {
            0x00..=0x7f => Token::Int(i64::from(head)),
            0x80..=0x8f => self.dict(usize::from(head & 0x0f))?,
            0x90..=0x9f => self.list(usize::from(head & 0x0f))?,
            0xa0..=0xbf => Token::Text(self.take(usize::from(head & 0x1f))?),
            0xe0..=0xff => Token::Int(i64::from(head as i8)),
            0xc0 => Token::Nil,
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xcb => Token::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Token::Int(i64::from(self.array::<1>()?[0])),
            0xcd => Token::Int(i64::from(u16::from_be_bytes(self.array()?))),
            0xce => Token::Int(i64::from(u32::from_be_bytes(self.array()?))),
            0xcf => {
                let value = u64::from_be_bytes(self.array()?);
                i64::try_from(value).map_or(Token::Unsigned(value), Token::Int)
            }
            0xd0 => Token::Int(i64::from(self.array::<1>()?[0] as i8)),
            0xd1 => Token::Int(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => Token::Int(i64::from(i32::from_be_bytes(self.array()?))),
            0xd3 => Token::Int(i64::from_be_bytes(self.array()?)),
            0xd9 => {
                let len = self.len1()?;
                Token::Text(self.take(len)?)
            }
            0xda => {
                let len = self.len2()?;
                Token::Text(self.take(len)?)
            }
            0xdb => {
                let len = self.len4()?;
                Token::Text(self.take(len)?)
            }
            0xdc => {
                let count = self.len2()?;
                self.list(count)?
            }
            0xdd => {
                let count = self.len4()?;
                self.list(count)?
            }
            0xde => {
                let count = self.len2()?;
                self.dict(count)?
            }
            0xdf => {
                let count = self.len4()?;
                self.dict(count)?
            }
            _ => self.rare(head)?,
        })
    }

    /// The byte that has been reached.
    pub fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    #[inline(never)]
    fn rare(&mut self, head: u8) -> Result<Token<'a>, Error> {
        let len = match head {
            0xc4 => {
                let len = self.len1()?;
                return self.take(len).map(Token::Bytes);
            }
            0xc5 => {
                let len = self.len2()?;
                return self.take(len).map(Token::Bytes);
            }
            0xc6 => {
                let len = self.len4()?;
                return self.take(len).map(Token::Bytes);
            }
            0xca => {
                return Ok(Token::Float(widened(u32::from_be_bytes(self.array()?))));
            }
            0xc7 => self.len1()?,
            0xc8 => self.len2()?,
            0xc9 => self.len4()?,
            0xd4..=0xd8 => 1 << (head - 0xd4),
            // 0xc1, the one byte that begins nothing.
            _ => return Err(self.error("a byte that begins no value")),
        };
        let code = self.array::<1>()?[0] as i8;
        match code {
            TUPLE | SET | FROZENSET => self.group(code, len, None),
            FRACTION if len > LONGEST_FRACTION as usize => Err(self.error("a fraction of so many digits")),
            FRACTION => self.group(code, len, Some(2)),
            RANGE | SLICE => self.group(code, len, Some(3)),
            _ => Ok(Token::Leaf(code, self.take(len)?)),
        }
    }

    fn group(&mut self, code: i8, len: usize, expected: Option<usize>) -> Result<Token<'a>, Error> {
        let Some(behind) = self.rest.len().checked_sub(len) else { return Err(self.error(ENDS)) };
        let count = match self.array::<1>()?[0] {
            head @ 0x90..=0x9f => usize::from(head & 0x0f),
            0xdc => self.len2()?,
            0xdd => self.len4()?,
            _ => return Err(self.error("an extension type's body is not an array")),
        };
        if expected.is_some_and(|expected| expected != count) {
            return Err(self.error("an extension type has a wrong number of values"));
        }
        self.claim(count)?;
        Ok(Token::Group(Group { code, count, behind }))
    }

    #[inline(always)]
    fn list(&mut self, count: usize) -> Result<Token<'a>, Error> {
        self.claim(count)?;
        Ok(Token::List(count))
    }

    #[inline(always)]
    fn dict(&mut self, count: usize) -> Result<Token<'a>, Error> {
        // No overflow: a count has at most 32 bits, and so has half of what 32-bit machines address.
        self.claim(count.saturating_mul(2))?;
        Ok(Token::Dict(count))
    }

    #[inline(always)]
    fn claim(&mut self, items: usize) -> Result<(), Error> {
        match self.items.checked_sub(items) {
            Some(left) if items <= self.rest.len() => {
                self.items = left;
                Ok(())
            }
            _ => Err(self.error("containers claim more items than there are bytes")),
        }
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else { return Err(self.error(ENDS)) };
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else { return Err(self.error(ENDS)) };
        self.rest = rest;
        Ok(*taken)
    }

    #[inline(always)]
    fn len1(&mut self) -> Result<usize, Error> {
        Ok(usize::from(self.array::<1>()?[0]))
    }

    #[inline(always)]
    fn len2(&mut self) -> Result<usize, Error> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    #[inline(always)]
    fn len4(&mut self) -> Result<usize, Error> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }
}

const ENDS: &str = "it ends within a value";

/// A float of 4 bytes as one of 8, NaN by its bits: a conversion would make a quiet one of a signalling one.
fn widened(bits: u32) -> f64 {
    let float = f32::from_bits(bits);
    if !float.is_nan() {
        return f64::from(float);
    }
    let (sign, fraction) = (u64::from(bits >> 31), u64::from(bits & 0x007f_ffff));
    f64::from_bits(sign << 63 | 0x7ff0_0000_0000_0000 | fraction << 29)
}
