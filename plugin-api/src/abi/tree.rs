//! The *tree* form of data: MessagePack with the extension types below, so that exactly what went in
//! comes out. `docs/tree.md` specifies the bytes of each; `sdk::tree` reads, checks and writes them.
//!
//! Codes are frozen: stored entries depend on them. A reader refuses a code that it does not know.

/// Containers nested deeper than this are not a tree.
pub const DEPTH: u32 = 100;
/// A fraction's body is no longer than this, in bytes: the time that its lowest terms take to find is the
/// square of it.
pub const LONGEST_FRACTION: u32 = 16384;

/// A tuple: an array of its items.
pub const TUPLE: i8 = 1;
/// A set: an array of its members, in any order.
pub const SET: i8 = 2;
/// A frozenset, as a set.
pub const FROZENSET: i8 = 3;
/// An integer beyond 64 bits: two's complement, most significant byte first, as short as it gets.
pub const BIG_INT: i8 = 4;
/// Text with lone surrogates: UTF-8 in which each of them is three bytes.
pub const SURROGATES: i8 = 5;
/// A `bytearray`: its bytes.
pub const BYTEARRAY: i8 = 6;
/// A complex number: real and imaginary part, 8 bytes each.
pub const COMPLEX: i8 = 7;
/// A decimal number as text, such as `-1.50E+3`.
pub const DECIMAL: i8 = 8;
/// A fraction in lowest terms: an array of two integers.
pub const FRACTION: i8 = 9;
/// A UUID: 16 bytes, and one more where it is known whether it was made safely.
pub const UUID: i8 = 10;
/// A date.
pub const DATE: i8 = 11;
/// A time of day, with or without a zone.
pub const TIME: i8 = 12;
/// A date and time, with or without a zone.
pub const DATETIME: i8 = 13;
/// A duration.
pub const TIMEDELTA: i8 = 14;
/// A time zone of a fixed offset, with or without a name; no bytes at all for UTC.
pub const TIMEZONE: i8 = 15;
/// A time zone of the IANA database: its key.
pub const ZONE: i8 = 16;
/// A range: an array of start, stop and step.
pub const RANGE: i8 = 17;
/// A slice: an array of start, stop and step, of any type.
pub const SLICE: i8 = 18;
/// Python's `...`; no bytes.
pub const ELLIPSIS: i8 = 19;
/// A path: a byte for its class, and its text.
pub const PATH: i8 = 20;
/// An address, network or interface of IP: a byte for its class, and its text.
pub const IP: i8 = 21;
/// An n-dimensional array: an array of element type, extents, order and elements.
pub const TENSOR: i8 = 22;
/// One element as arrays have them: an array of element type and element.
pub const SCALAR: i8 = 23;
