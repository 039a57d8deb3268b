//! Bodies of the extension types that are about time.

use super::leaf::{self, Body};
use super::{Error, Reader, Token, SURROGATES, TIMEZONE, ZONE};

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// A day of the proleptic Gregorian calendar, of the years 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// From 1 on.
    pub year: u16,
    /// From 1 on.
    pub month: u8,
    /// From 1 on.
    pub day: u8,
}

/// A time of day and its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time<'a> {
    /// Up to 23.
    pub hour: u8,
    /// Up to 59.
    pub minute: u8,
    /// Up to 59.
    pub second: u8,
    /// Up to 999 999.
    pub microsecond: u32,
    /// The second of two times that a clock set back shows twice.
    pub fold: bool,
    /// Its zone, if it has one.
    pub zone: Option<Zone<'a>>,
}

/// A duration, as Python normalises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timedelta {
    /// At most 999 999 999, either way.
    pub days: i32,
    /// Less than a day's.
    pub seconds: u32,
    /// Less than a second's.
    pub microseconds: u32,
}

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone<'a> {
    /// UTC.
    Utc,
    /// A fixed offset.
    Fixed(Offset<'a>),
    /// One of the IANA database, by its key.
    Key(&'a str),
}

/// A fixed offset, which may have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset<'a> {
    /// To the east of UTC; less than a day, either way.
    pub microseconds: i64,
    /// UTF-8 in which lone surrogates are three bytes each.
    pub name: Option<&'a [u8]>,
}

impl Date {
    pub(super) fn parse(body: &mut Body<'_>) -> Result<Self, Error> {
        let [high, low, month, day] = body.array()?;
        let year = u16::from_be_bytes([high, low]);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            _ => 31,
        };
        if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=days).contains(&day) {
            return Err(body.error("a day that is in no calendar"));
        }
        Ok(Date { year, month, day })
    }
}

impl<'a> Time<'a> {
    pub(super) fn parse(body: &mut Body<'a>) -> Result<Self, Error> {
        let [hour, minute, second, high, middle, low] = body.array()?;
        let fold = high & 0x80 != 0;
        let microsecond = u32::from_be_bytes([0, high & 0x7f, middle, low]);
        if hour > 23 || minute > 59 || second > 59 || microsecond > 999_999 {
            return Err(body.error("a time that no clock shows"));
        }
        let zone = match body.rest() {
            [] => None,
            rest => {
                let mut reader = Reader::new(rest);
                let zone = match reader.next() {
                    Ok(Token::Leaf(TIMEZONE, inner)) => Zone::fixed(&mut Body::new(inner, body.at())),
                    Ok(Token::Leaf(ZONE, inner)) => Zone::key(&mut Body::new(inner, body.at())),
                    _ => Err(body.error("a time's zone is none")),
                };
                reader.finish().and(zone).map(Some).map_err(|error| Error::new(body.at(), error.what()))?
            }
        };
        Ok(Time { hour, minute, second, microsecond, fold, zone })
    }
}

impl<'a> Zone<'a> {
    pub(super) fn fixed(body: &mut Body<'a>) -> Result<Self, Error> {
        if body.rest().is_empty() {
            return Ok(Zone::Utc);
        }
        let microseconds = i64::from_be_bytes(body.array()?);
        if microseconds <= -DAY || microseconds >= DAY {
            return Err(body.error("an offset of a day or more"));
        }
        let name = match body.rest() {
            [] => None,
            rest => {
                let mut reader = Reader::new(rest);
                let name = match reader.next() {
                    Ok(Token::Text(text)) if std::str::from_utf8(text).is_ok() => text,
                    Ok(Token::Leaf(SURROGATES, text)) if leaf::is_surrogate_utf8(text) => text,
                    _ => return Err(body.error("the name of a time zone is not text")),
                };
                reader.finish().map_err(|error| Error::new(body.at(), error.what()))?;
                Some(name)
            }
        };
        Ok(Zone::Fixed(Offset { microseconds, name }))
    }

    pub(super) fn key(body: &mut Body<'a>) -> Result<Self, Error> {
        match std::str::from_utf8(body.rest()) {
            Ok(key) if !key.is_empty() => Ok(Zone::Key(key)),
            _ => Err(body.error("the key of a time zone is not text")),
        }
    }
}

impl Timedelta {
    pub(super) fn parse(body: &mut Body<'_>) -> Result<Self, Error> {
        let days = i32::from_be_bytes(body.array()?);
        let seconds = u32::from_be_bytes(body.array()?);
        let microseconds = u32::from_be_bytes(body.array()?);
        if days.unsigned_abs() > 999_999_999 || seconds >= 86_400 || microseconds >= 1_000_000 {
            return Err(body.error("a duration out of range"));
        }
        Ok(Timedelta { days, seconds, microseconds })
    }
}
