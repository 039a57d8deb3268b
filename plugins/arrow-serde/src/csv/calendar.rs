//! Dates and times to text and back, for every number that a column can hold.
//!
//! Dates are of the proleptic Gregorian calendar, years may be negative or longer than four digits, and there are no
//! leap seconds. A time of day beyond its day is written as it is counted: `25:00:00`, `-00:00:01`.

use std::marker::PhantomData;

use arrow_array::ArrowPrimitiveType;

use super::number::{put, Form};

const SECONDS_OF_DAY: i128 = 86_400;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i128 = 719_468;
/// Days of 400 years, after which the calendar repeats.
const ERA: i128 = 146_097;

/// What a number of time units stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Days since 1970.
    Date,
    /// Time since midnight.
    Clock,
    /// Time since 1970 on a clock on some wall.
    Wall,
    /// Time since 1970 in UTC.
    Instant,
}

/// A form for times.
pub struct Time<T> {
    shape: Shape,
    /// Digits behind the second.
    digits: u8,
    _type: PhantomData<T>,
}

impl<T> Time<T> {
    /// For a shape, in units of which there are `10^digits` in a second.
    pub fn new(shape: Shape, digits: u8) -> Self {
        Time { shape, digits, _type: PhantomData }
    }
}

impl<T> Form for Time<T>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128> + TryFrom<i128>,
{
    type Type = T;

    fn write(&self, value: T::Native, out: &mut Vec<u8>) {
        let value: i128 = value.into();
        if self.shape == Shape::Date {
            return write_date(value, out);
        }
        let day = SECONDS_OF_DAY * 10_i128.pow(self.digits.into());
        if self.shape == Shape::Clock {
            if value < 0 {
                out.push(b'-');
            }
            return write_clock(value.abs(), self.digits, out);
        }
        write_date(value.div_euclid(day), out);
        out.push(b'T');
        write_clock(value.rem_euclid(day), self.digits, out);
        if self.shape == Shape::Instant {
            out.push(b'Z');
        }
    }

    fn parse(&self, text: &str) -> Option<T::Native> {
        let value = match self.shape {
            Shape::Date => parse_date(text)?,
            Shape::Clock => match text.strip_prefix('-') {
                Some(text) => -parse_clock(text, self.digits)?,
                None => parse_clock(text, self.digits)?,
            },
            Shape::Wall => parse_moment(text, self.digits)?,
            Shape::Instant => parse_moment(text.strip_suffix('Z')?, self.digits)?,
        };
        value.try_into().ok()
    }
}

fn parse_moment(text: &str, digits: u8) -> Option<i128> {
    let (date, clock) = text.split_once('T')?;
    let day = SECONDS_OF_DAY * 10_i128.pow(digits.into());
    let clock = parse_clock(clock, digits).filter(|clock| *clock < day)?;
    Some(parse_date(date)? * day + clock)
}

fn write_clock(units: i128, digits: u8, out: &mut Vec<u8>) {
    let second = 10_i128.pow(digits.into());
    let (seconds, part) = (units / second, units % second);
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    if digits > 0 {
        put(out, format_args!(".{part:0width$}", width = usize::from(digits)));
    }
}

fn parse_clock(text: &str, digits: u8) -> Option<i128> {
    let (clock, part) = match digits {
        0 => (text, 0),
        digits => {
            let (clock, part) = text.split_once('.')?;
            (clock, number(part).filter(|_| part.len() == usize::from(digits))?)
        }
    };
    let (hours, rest) = clock.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':')?;
    let below_sixty = |text: &str| number(text).filter(|number| text.len() == 2 && *number < 60);
    let seconds = number(hours)? * 3600 + below_sixty(minutes)? * 60 + below_sixty(seconds)?;
    Some(seconds * 10_i128.pow(digits.into()) + part)
}

/// Up to as many digits as the longest number of hours or of a year can have.
fn number(text: &str) -> Option<i128> {
    let plain = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

fn write_date(days: i128, out: &mut Vec<u8>) {
    // Years begin in March here, so that a leap day is the last of its year.
    let day = days + EPOCH;
    let (era, day) = (day.div_euclid(ERA), day.rem_euclid(ERA));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let sign = if year < 0 { "-" } else { "" };
    put(out, format_args!("{sign}{:04}-{month:02}-{day:02}", year.abs()));
}

fn parse_date(text: &str) -> Option<i128> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (year, rest) = text.split_once('-').filter(|(year, _)| year.len() >= 4)?;
    let (month, day) = rest.split_once('-').filter(|(month, day)| month.len() == 2 && day.len() == 2)?;
    let year = if negative { -number(year)? } else { number(year)? };
    let (month, day) = (number(month)?, number(day)?);
    let days = days(year, month, day);
    // The 30th of February would be a day of March.
    let mut again = Vec::new();
    write_date(days, &mut again);
    let same = again.strip_prefix(b"-").unwrap_or(&again) == text.as_bytes();
    ((1..=12).contains(&month) && same).then_some(days)
}

fn days(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let day = (153 * month + 2) / 5 + day - 1;
    era * ERA + year * 365 + year / 4 - year / 100 + day - EPOCH
}

#[cfg(test)]
mod tests {
    use arrow_array::types::{Date32Type, Time64NanosecondType, TimestampSecondType};

    use super::*;

    fn text<T>(form: &Time<T>, value: T::Native) -> String
    where
        T: ArrowPrimitiveType,
        T::Native: Into<i128> + TryFrom<i128>,
    {
        let mut out = Vec::new();
        form.write(value, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(form.parse(&text), Some(value), "{text}");
        text
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        let dates = Time::<Date32Type>::new(Shape::Date, 0);
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (-25_509, "1900-02-28"),
            (-25_508, "1900-03-01"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (i32::MAX, "5881580-07-11"),
            (i32::MIN, "-5877641-06-23"),
        ] {
            assert_eq!(text(&dates, days), expected);
        }
        (-800_000..800_000).step_by(13).for_each(|day| drop(text(&dates, day)));
        for wrong in [
            "2023-02-29",
            "2023-13-01",
            "2023-1-01",
            "023-01-01",
            "2023-01-01 ",
            "",
            "--2023-01-01",
            "2023-00-10",
        ] {
            assert_eq!(dates.parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_exact_to_their_unit_over_the_whole_range() {
        let clock = Time::<Time64NanosecondType>::new(Shape::Clock, 9);
        assert_eq!(text(&clock, 3_661_000_000_005), "01:01:01.000000005");
        assert_eq!(text(&clock, -1), "-00:00:00.000000001");
        assert_eq!(text(&clock, i64::MIN), "-2562047:47:16.854775808");
        assert_eq!(clock.parse("00:60:00.000000000"), None);
        assert_eq!(clock.parse("00:00:00.0"), None);
        let wall = Time::<TimestampSecondType>::new(Shape::Wall, 0);
        assert_eq!(text(&wall, 1_700_000_000), "2023-11-14T22:13:20");
        assert_eq!(text(&wall, i64::MAX), "292277026596-12-04T15:30:07");
        assert_eq!(text(&wall, i64::MIN), "-292277022657-01-27T08:29:52");
        assert_eq!(wall.parse("2023-11-14T24:00:00"), None);
        assert_eq!(wall.parse("2023-11-14T22:13:20Z"), None);
        assert_eq!(wall.parse("99999999999999999999-01-01T00:00:00"), None);
        assert_eq!(text(&Time::<TimestampSecondType>::new(Shape::Instant, 0), -1), "1969-12-31T23:59:59Z");
    }
}
