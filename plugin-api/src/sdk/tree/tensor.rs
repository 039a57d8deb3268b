//! Bodies of arrays and of single elements of arrays.

use super::leaf::Body;
use super::{Error, Reader, Token};

/// More dimensions than these has no array.
const DIMENSIONS: usize = 64;

/// An array, or one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor<'a> {
    /// Of the elements.
    pub dtype: Dtype<'a>,
    /// Extents; none for a single element.
    pub shape: Vec<usize>,
    /// Whether the first index varies fastest, rather than the last.
    pub fortran: bool,
    /// The elements, without gaps: as many bytes as `dtype` and `shape` say.
    pub data: &'a [u8],
}

/// The type of an array's elements, in the notation of NumPy's array interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtype<'a> {
    /// Such as `<f8`.
    pub text: &'a str,
    /// Bytes of an element; never none.
    pub size: usize,
}

impl<'a> Dtype<'a> {
    /// Reads the notation: byte order, kind, size, and a unit for dates and durations. Truth values,
    /// integers, floats of at most 8 bytes, complex numbers, bytes, text, dates and durations; neither
    /// objects nor records, and no types whose bytes mean something else on another machine.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (order, rest) = text.split_at_checked(1)?;
        let (kind, rest) = rest.split_at_checked(1)?;
        let (number, unit) = match rest.find('[') {
            Some(at) => (&rest[..at], Some(rest[at + 1..].strip_suffix(']')?)),
            None => (rest, None),
        };
        if number.starts_with('0') || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: usize = number.parse().ok()?;
        let known = match kind {
            "b" => number == 1,
            "i" | "u" => matches!(number, 1 | 2 | 4 | 8),
            "f" => matches!(number, 2 | 4 | 8),
            "c" => matches!(number, 8 | 16),
            "S" | "U" => true,
            "m" | "M" => number == 8 && unit.is_none_or(is_unit),
            _ => false,
        };
        // Where there is but one order of bytes, none is written.
        let ordered = matches!(order, "<" | ">");
        let single = kind == "S" || (kind != "U" && number == 1);
        if !known || (unit.is_some() && !matches!(kind, "m" | "M")) || ordered == single {
            return None;
        }
        if single && order != "|" {
            return None;
        }
        Some(Dtype { text, size: if kind == "U" { number.checked_mul(4)? } else { number } })
    }
}

/// A count and a unit of time, such as `ns` or `25s`.
fn is_unit(unit: &str) -> bool {
    let name = unit.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let count = &unit[..unit.len() - name.len()];
    !count.starts_with('0')
        && count.len() <= 9
        && ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"].contains(&name)
}

impl<'a> Tensor<'a> {
    pub(super) fn parse(body: &Body<'a>) -> Result<Self, Error> {
        let mut reader = Reader::new(body.rest());
        let tensor = array(&mut reader).and_then(|tensor| reader.finish().ok().map(|()| tensor));
        tensor.ok_or_else(|| body.error("an array's body does not describe one"))
    }

    pub(super) fn parse_scalar(body: &Body<'a>) -> Result<Self, Error> {
        let mut reader = Reader::new(body.rest());
        let tensor = scalar(&mut reader).and_then(|tensor| reader.finish().ok().map(|()| tensor));
        tensor.ok_or_else(|| body.error("an array element's body does not describe one"))
    }
}

fn array<'a>(reader: &mut Reader<'a>) -> Option<Tensor<'a>> {
    let Ok(Token::List(4)) = reader.next() else { return None };
    let dtype = dtype(reader)?;
    let Ok(Token::List(dimensions)) = reader.next() else { return None };
    if dimensions > DIMENSIONS {
        return None;
    }
    let mut shape = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        let Ok(Token::Int(extent)) = reader.next() else { return None };
        shape.push(usize::try_from(extent).ok()?);
    }
    let fortran = match reader.next() {
        Ok(Token::Text(b"C")) => false,
        Ok(Token::Text(b"F")) => true,
        _ => return None,
    };
    let Ok(Token::Bytes(data)) = reader.next() else { return None };
    // Extents beside a zero are bounded too: NumPy wants the product of the others to fit.
    let others = shape.iter().filter(|extent| **extent != 0);
    let bytes = others.copied().chain([dtype.size]).try_fold(1_usize, usize::checked_mul)?;
    let bytes = if shape.contains(&0) { 0 } else { bytes };
    (data.len() == bytes).then_some(Tensor { dtype, shape, fortran, data })
}

fn scalar<'a>(reader: &mut Reader<'a>) -> Option<Tensor<'a>> {
    let Ok(Token::List(2)) = reader.next() else { return None };
    let dtype = dtype(reader)?;
    let Ok(Token::Bytes(data)) = reader.next() else { return None };
    (data.len() == dtype.size).then_some(Tensor { dtype, shape: Vec::new(), fortran: false, data })
}

fn dtype<'a>(reader: &mut Reader<'a>) -> Option<Dtype<'a>> {
    let Ok(Token::Text(text)) = reader.next() else { return None };
    Dtype::parse(std::str::from_utf8(text).ok()?)
}
