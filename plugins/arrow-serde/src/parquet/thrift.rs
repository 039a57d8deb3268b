//! Thrift's compact encoding, as far as a look at a file's metadata needs it: fields by number, everything else
//! skipped. It allocates nothing, and goes no deeper than Parquet's own structures do.

use retainit_plugin_api::sdk::Result;

use crate::contain::corrupt;

/// Structures within structures; Parquet's metadata has less than half of it.
const DEEPEST: u8 = 16;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    True,
    False,
    Byte,
    /// Of 16, 32 or 64 bits: one encoding for all.
    Integer,
    Double,
    Binary,
    List,
    Struct,
}

/// A place in encoded bytes.
#[derive(Debug, Clone)]
pub struct Thrift<'a>(pub &'a [u8]);

impl<'a> Thrift<'a> {
    /// Calls `visit` with the number and the kind of each field of a structure. It must read the field's value.
    pub fn fields(&mut self, mut visit: impl FnMut(&mut Self, i16, Kind) -> Result<()>) -> Result<()> {
        let mut last = 0_i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            let step = i16::from(head >> 4);
            let number = match step {
                0 => i16::try_from(self.integer()?).map_err(corrupt)?,
                step => last.checked_add(step).ok_or_else(|| corrupt("a field's number is too large"))?,
            };
            // A field that comes twice could mean one thing here and another to whoever reads the file.
            if number <= last {
                return Err(corrupt(format_args!("field {number} follows field {last}")));
            }
            last = number;
            visit(self, number, kind(head & 0x0F)?)?;
        }
    }

    /// Calls `visit` for each item of a list.
    pub fn items(&mut self, mut visit: impl FnMut(&mut Self, Kind) -> Result<()>) -> Result<()> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.unsigned()?,
            count => u64::from(count),
        };
        // Every item is at least one byte.
        if count > self.0.len() as u64 {
            return Err(corrupt(format_args!("a list of {count} items in {} bytes", self.0.len())));
        }
        if count == 0 {
            return Ok(());
        }
        let kind = kind(head & 0x0F)?;
        (0..count).try_for_each(|_| visit(self, kind))
    }

    /// Passes over a value.
    pub fn skip(&mut self, kind: Kind) -> Result<()> {
        self.skip_within(kind, DEEPEST)
    }

    fn skip_within(&mut self, kind: Kind, depth: u8) -> Result<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(corrupt("metadata is nested too deeply"));
        };
        match kind {
            Kind::True | Kind::False => Ok(()),
            Kind::Byte => self.byte().map(drop),
            Kind::Integer => self.unsigned().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Binary => self.binary().map(drop),
            Kind::Struct => self.fields(|value, _, kind| value.skip_within(kind, depth)),
            Kind::List => self.items(|value, kind| match kind {
                // Alone they are in the field's head, in lists they are bytes.
                Kind::True | Kind::False => value.byte().map(drop),
                kind => value.skip_within(kind, depth),
            }),
        }
    }

    /// Bytes with their length before them.
    pub fn binary(&mut self) -> Result<&'a [u8]> {
        let len = self.unsigned()?;
        self.take(usize::try_from(len).map_err(corrupt)?)
    }

    /// A signed number.
    pub fn integer(&mut self) -> Result<i64> {
        let zigzag = self.unsigned()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            if part.leading_zeros() < shift {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(corrupt("a number has more than 64 bits"))
    }

    fn byte(&mut self) -> Result<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(len) else {
            return Err(corrupt(format_args!(
                "metadata ends early: expected {len} bytes, found {}",
                self.0.len()
            )));
        };
        self.0 = rest;
        Ok(taken)
    }
}

fn kind(code: u8) -> Result<Kind> {
    Ok(match code {
        1 => Kind::True,
        2 => Kind::False,
        3 => Kind::Byte,
        4..=6 => Kind::Integer,
        7 => Kind::Double,
        8 => Kind::Binary,
        // Sets are encoded as lists are. Parquet has no maps.
        9 | 10 => Kind::List,
        12 => Kind::Struct,
        other => return Err(corrupt(format_args!("metadata holds a value of the unknown kind {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8]) -> Result<Vec<(i16, i64)>> {
        let mut found = Vec::new();
        Thrift(bytes).fields(|value, number, kind| {
            match kind {
                Kind::Integer => found.push((number, value.integer()?)),
                kind => value.skip(kind)?,
            }
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn numbers_are_found_among_other_things() {
        // Field 1: -1; 2: "ab"; 3: a list of two booleans; 4: a structure with a double; 20: 300, by its full number.
        let mut bytes = vec![0x15, 1, 0x18, 2, b'a', b'b', 0x19, 0x21, 1, 2, 0x1C, 0x17];
        bytes.extend([0; 8]);
        bytes.extend([0, 0x05, 40, 0xD8, 0x04, 0]);
        assert_eq!(numbers(&bytes).unwrap(), [(1, -1), (20, 300)]);
        for end in 0..bytes.len() {
            numbers(&bytes[..end]).unwrap_err();
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_without_end_is_refused() {
        let message = |bytes: &[u8]| numbers(bytes).unwrap_err().message().to_owned();
        assert_eq!(message(&[0x15, 1, 0x05, 2, 1, 0]), "field 1 follows field 1");
        assert_eq!(message(&[0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0x0F]), "a list of 33554431 items in 0 bytes");
        assert_eq!(message(&[0x1C; 100]), "metadata is nested too deeply");
        assert_eq!(
            message(&[0x15, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
            "a number has more than 64 bits"
        );
        assert_eq!(message(&[0x1B]), "metadata holds a value of the unknown kind 11");
    }
}
