//! Bodies of extension types that have no values inside.

use super::temporal::{Date, Time, Timedelta, Zone};
use super::tensor::Tensor;
use super::{
    Error, BIG_INT, BYTEARRAY, COMPLEX, DATE, DATETIME, DECIMAL, ELLIPSIS, IP, PATH, SCALAR, SURROGATES,
    TENSOR, TIME, TIMEDELTA, TIMEZONE, UUID, ZONE,
};

/// A value of an extension type, as its body describes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Leaf<'a> {
    /// Two's complement, most significant byte first; not empty.
    BigInt(&'a [u8]),
    /// Text: UTF-8 in which lone surrogates are three bytes each.
    Surrogates(&'a [u8]),
    /// Bytes that may be written to.
    Bytearray(&'a [u8]),
    /// Real and imaginary part.
    Complex(f64, f64),
    /// A decimal number, an infinity or a NaN with its payload.
    Decimal(&'a str),
    /// A UUID, and whether it is known to have been made safely (or not) across processes.
    Uuid([u8; 16], Option<bool>),
    /// A date.
    Date(Date),
    /// A time of day.
    Time(Time<'a>),
    /// A date and time.
    Datetime(Date, Time<'a>),
    /// A duration.
    Timedelta(Timedelta),
    /// A time zone.
    Zone(Zone<'a>),
    /// Python's `...`.
    Ellipsis,
    /// A path: UTF-8 in which lone surrogates are three bytes each.
    Path(PathClass, &'a [u8]),
    /// An address, network or interface of IP.
    Ip(IpClass, &'a str),
    /// An n-dimensional array.
    Tensor(Tensor<'a>),
    /// One element as arrays have them; without extents.
    Scalar(Tensor<'a>),
}

/// Classes of paths, as numbered in bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathClass {
    /// `PurePosixPath`
    PurePosix = 0,
    /// `PureWindowsPath`
    PureWindows = 1,
    /// `PosixPath`
    Posix = 2,
    /// `WindowsPath`
    Windows = 3,
}

/// Classes of what IP has, as numbered in bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpClass {
    /// An address of version 4.
    Address4 = 0,
    /// An address of version 6.
    Address6 = 1,
    /// A network of version 4.
    Network4 = 2,
    /// A network of version 6.
    Network6 = 3,
    /// An interface of version 4.
    Interface4 = 4,
    /// An interface of version 6.
    Interface6 = 5,
}

impl<'a> Leaf<'a> {
    /// What the body of extension type `code` says. `at` is where it lies, for the message.
    ///
    /// # Errors
    /// It says nothing of that type, or the code is unknown.
    pub fn parse(code: i8, body: &'a [u8], at: usize) -> Result<Self, Error> {
        let mut body = Body::new(body, at);
        let parsed = match code {
            BIG_INT if !body.rest().is_empty() => Leaf::BigInt(body.all()),
            SURROGATES if is_surrogate_utf8(body.rest()) => Leaf::Surrogates(body.all()),
            BYTEARRAY => Leaf::Bytearray(body.all()),
            COMPLEX => Leaf::Complex(f64::from_be_bytes(body.array()?), f64::from_be_bytes(body.array()?)),
            DECIMAL if is_decimal(body.rest()) => Leaf::Decimal(body.text()?),
            UUID => Leaf::Uuid(
                body.array()?,
                match body.all() {
                    [] => None,
                    [0] => Some(false),
                    [1] => Some(true),
                    _ => return Err(body.error("a UUID's body is neither 16 bytes nor 17")),
                },
            ),
            DATE => Leaf::Date(Date::parse(&mut body)?),
            TIME => return Ok(Leaf::Time(Time::parse(&mut body)?)),
            DATETIME => return Ok(Leaf::Datetime(Date::parse(&mut body)?, Time::parse(&mut body)?)),
            TIMEDELTA => Leaf::Timedelta(Timedelta::parse(&mut body)?),
            TIMEZONE => return Ok(Leaf::Zone(Zone::fixed(&mut body)?)),
            ZONE => return Ok(Leaf::Zone(Zone::key(&mut body)?)),
            ELLIPSIS => Leaf::Ellipsis,
            PATH => {
                let class = match body.array()? {
                    [0] => PathClass::PurePosix,
                    [1] => PathClass::PureWindows,
                    [2] => PathClass::Posix,
                    [3] => PathClass::Windows,
                    _ => return Err(body.error("an unknown class of paths")),
                };
                if !is_surrogate_utf8(body.rest()) {
                    return Err(body.error("a path is not text"));
                }
                Leaf::Path(class, body.all())
            }
            IP => {
                let class = match body.array()? {
                    [0] => IpClass::Address4,
                    [1] => IpClass::Address6,
                    [2] => IpClass::Network4,
                    [3] => IpClass::Network6,
                    [4] => IpClass::Interface4,
                    [5] => IpClass::Interface6,
                    _ => return Err(body.error("an unknown class of addresses")),
                };
                Leaf::Ip(class, body.text()?)
            }
            TENSOR => return Tensor::parse(&body).map(Leaf::Tensor),
            SCALAR => return Tensor::parse_scalar(&body).map(Leaf::Scalar),
            BIG_INT => return Err(body.error("an integer without bytes")),
            SURROGATES => return Err(body.error("text is not UTF-8, not even with lone surrogates")),
            DECIMAL => return Err(body.error("not a decimal number")),
            _ => return Err(body.error("an unknown extension type")),
        };
        if body.rest().is_empty() {
            return Ok(parsed);
        }
        Err(body.error("an extension type's body is too long"))
    }
}

/// A body that is being read.
pub(super) struct Body<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Body<'a> {
    pub(super) fn new(rest: &'a [u8], at: usize) -> Self {
        Body { rest, at }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[cold]
    pub(super) fn error(&self, what: &'static str) -> Error {
        Error::new(self.at, what)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(self.error("an extension type's body is too short"));
        };
        self.rest = rest;
        Ok(*taken)
    }

    fn all(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.all()).map_err(|_| self.error("text is not UTF-8"))
    }
}

/// Whether bytes are UTF-8 but for lone surrogates, which are three bytes each.
pub(super) fn is_surrogate_utf8(mut bytes: &[u8]) -> bool {
    while let Err(error) = std::str::from_utf8(bytes) {
        match &bytes[error.valid_up_to()..] {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, rest @ ..] => bytes = rest,
            _ => return false,
        }
    }
    true
}

/// Whether bytes are a decimal number, as Python writes them: `-1.50E+3`, `Infinity`, `sNaN12`.
fn is_decimal(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if bytes == b"Infinity" {
        return true;
    }
    if let Some(payload) = bytes.strip_prefix(b"NaN").or_else(|| bytes.strip_prefix(b"sNaN")) {
        return payload.iter().all(u8::is_ascii_digit);
    }
    let (number, exponent) = match bytes.iter().position(|byte| *byte == b'E') {
        Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
        None => (bytes, None),
    };
    let (whole, part) = match number.iter().position(|byte| *byte == b'.') {
        Some(at) => (&number[..at], &number[at + 1..]),
        None => (number, &b"0"[..]),
    };
    let digits = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let signed = |digits: &[u8]| match digits {
        [b'+' | b'-', rest @ ..] => {
            rest.len() <= 20 && rest.iter().all(u8::is_ascii_digit) && !rest.is_empty()
        }
        _ => false,
    };
    digits(whole) && digits(part) && exponent.is_none_or(signed)
}
