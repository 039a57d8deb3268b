//! A whole tree, walked by the rules that need no language.

use super::{Error, Leaf, Reader, Token, DEPTH, FRACTION, FROZENSET, RANGE, SET, TUPLE};

/// Walks the one value of `bytes`. What passes is a tree, but for what only a language knows: which
/// keys of a dict or members of a set are equal, whether a fraction is in lowest terms, which time zones
/// and classes there are.
///
/// # Errors
/// Where it is none.
pub fn check(bytes: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(bytes);
    value(&mut reader, DEPTH)?;
    reader.finish()
}

/// What the walk must know of a value within another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Hashable,
    Unhashable,
}

fn value(reader: &mut Reader<'_>, depth: u32) -> Result<Kind, Error> {
    Ok(match reader.next()? {
        Token::Int(_) | Token::Unsigned(_) => Kind::Int,
        Token::Nil | Token::Bool(_) | Token::Float(_) | Token::Bytes(_) => Kind::Hashable,
        Token::Text(text) => match std::str::from_utf8(text) {
            Ok(_) => Kind::Hashable,
            Err(_) => return Err(reader.error("text is not UTF-8")),
        },
        Token::List(count) => {
            let depth = deeper(reader, depth)?;
            (0..count).try_for_each(|_| value(reader, depth).map(drop))?;
            Kind::Unhashable
        }
        Token::Dict(count) => {
            let depth = deeper(reader, depth)?;
            for _ in 0..count {
                hashable(reader, depth)?;
                value(reader, depth)?;
            }
            Kind::Unhashable
        }
        Token::Group(group) => {
            let depth = deeper(reader, depth)?;
            let mut kind = if group.code == SET { Kind::Unhashable } else { Kind::Hashable };
            for _ in 0..group.count {
                match group.code {
                    SET | FROZENSET => hashable(reader, depth)?,
                    FRACTION | RANGE => {
                        if value(reader, depth)? != Kind::Int {
                            return Err(reader.error("an integer was expected"));
                        }
                    }
                    code => {
                        let item = value(reader, depth)?;
                        if code == TUPLE && item == Kind::Unhashable {
                            kind = Kind::Unhashable;
                        }
                    }
                }
            }
            reader.close(group)?;
            kind
        }
        Token::Leaf(code, body) => match Leaf::parse(code, body, reader.at())? {
            Leaf::BigInt(_) => Kind::Int,
            Leaf::Bytearray(_) | Leaf::Tensor(_) => Kind::Unhashable,
            _ => Kind::Hashable,
        },
    })
}

fn hashable(reader: &mut Reader<'_>, depth: u32) -> Result<(), Error> {
    if value(reader, depth)? == Kind::Unhashable {
        return Err(reader.error("a key or member that cannot be one"));
    }
    Ok(())
}

fn deeper(reader: &Reader<'_>, depth: u32) -> Result<u32, Error> {
    depth.checked_sub(1).ok_or_else(|| reader.error("nested too deep"))
}
