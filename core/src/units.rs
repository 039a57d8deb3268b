//! Durations and sizes as people write them: `2h30m`, `512MiB`.

use std::time::Duration;

use crate::nearest::{hint, listed};

/// What a duration is said to be in error messages.
pub const DURATION: &str = "a duration above zero and below 292 years, such as `60`, `90s`, `2h30m` or `7d`";
/// What a size is said to be in error messages.
pub const SIZE: &str = "a size above zero, such as `1048576`, `512MiB` or `10MB`";

/// The longest duration that expiry arithmetic holds: 2^63 - 1 nanoseconds, some 292 years.
const LONGEST: f64 = i64::MAX as f64;

const DURATION_UNITS: [(&str, f64); 9] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
];

const SIZE_UNITS: [(&str, f64); 9] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// Reads a duration: numbers with units, each unit once (`1d12h`), or a bare number of seconds.
///
/// The error says what was expected and why the text is not that, without naming the option.
pub fn parse_duration_text(text: &str) -> Result<Duration, String> {
    let wrong = |why: String| format!("expected {DURATION}, found `{text}`{why}");
    let trimmed = text.trim();
    if let Some(seconds) = number(trimmed) {
        return parse_seconds(seconds).map_err(|_| wrong(String::new()));
    }
    let mut rest = trimmed;
    let mut nanoseconds = 0.0;
    let mut seen: Vec<&str> = Vec::new();
    while !rest.is_empty() {
        let (amount, unit_and_rest) = leading_number(rest).ok_or_else(|| wrong(String::new()))?;
        let unit_and_rest = unit_and_rest.trim_start();
        let end = unit_and_rest.find(|c: char| !c.is_alphabetic()).unwrap_or(unit_and_rest.len());
        let (unit, after) = unit_and_rest.split_at(end);
        let names = || DURATION_UNITS.iter().map(|(name, _)| *name);
        let Some((unit, factor)) = DURATION_UNITS.iter().find(|(name, _)| *name == unit) else {
            let units = listed(names());
            return Err(wrong(format!("; the unit `{unit}` is not one of {units}{}", hint(unit, names()))));
        };
        if seen.contains(unit) {
            return Err(wrong(format!("; the unit `{unit}` comes twice")));
        }
        seen.push(unit);
        nanoseconds += amount * factor;
        rest = after.trim_start();
    }
    from_nanoseconds(nanoseconds).ok_or_else(|| wrong(String::new()))
}

/// Checks a duration given in seconds.
pub fn parse_seconds(seconds: f64) -> Result<Duration, String> {
    from_nanoseconds(seconds * 1e9).ok_or_else(|| format!("expected {DURATION}, found `{seconds}`"))
}

/// Reads a size in bytes: a number with a unit (powers of 1000: `MB`, of 1024: `MiB`), or a bare number.
///
/// The error says what was expected and why the text is not that, without naming the option.
pub fn parse_size_text(text: &str) -> Result<u64, String> {
    let wrong = |why: String| format!("expected {SIZE}, found `{text}`{why}");
    let (amount, unit) = leading_number(text.trim()).ok_or_else(|| wrong(String::new()))?;
    let unit = unit.trim_start();
    let names = || SIZE_UNITS.iter().map(|(name, _)| *name);
    let factor = if unit.is_empty() {
        1.0
    } else {
        let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) else {
            let units = listed(names());
            return Err(wrong(format!("; the unit `{unit}` is not one of {units}{}", hint(unit, names()))));
        };
        *factor
    };
    let bytes = (amount * factor).round();
    if !(1.0..LONGEST).contains(&bytes) {
        return Err(wrong(String::new()));
    }
    Ok(bytes as u64)
}

fn from_nanoseconds(nanoseconds: f64) -> Option<Duration> {
    // NaN is in no range.
    (1.0..LONGEST).contains(&nanoseconds).then(|| Duration::from_nanos(nanoseconds.round() as u64))
}

/// A whole text that is a decimal number, signs and exponents included (`inf` and `nan` are not).
fn number(text: &str) -> Option<f64> {
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.ends_with(|c: char| c.is_ascii_digit() || c == '.');
    numeric.then(|| text.parse().ok()).flatten()
}

/// A decimal number without sign or exponent, and what follows it.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    digits.parse().ok().map(|amount| (amount, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("90s", 90_000),
            ("2h30m", 9_000_000),
            ("2h 30m", 9_000_000),
            ("7d", 604_800_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("1w1d", 691_200_000),
            ("60", 60_000),
            ("0.25", 250),
            (" 1e1 ", 10_000),
        ] {
            assert_eq!(parse_duration_text(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(parse_duration_text("5µs"), Ok(Duration::from_micros(5)));
    }

    #[test]
    fn wrong_durations_say_what_was_expected() {
        for text in [
            "", "0", "0s", "-5", "-5s", "nan", "inf", "soon", "s", "5 5", "1..5s", "1e400", "300000d", "5s,",
            ".",
        ] {
            let message = parse_duration_text(text).unwrap_err();
            assert!(
                message.contains("expected a duration") && message.contains(&format!("`{text}`")),
                "{message}"
            );
        }
        let message = parse_duration_text("5mins").unwrap_err();
        assert!(message.contains("the unit `mins` is not one of"), "{message}");
        assert!(parse_duration_text("5hs").unwrap_err().contains("did you mean"), "no hint");
        assert!(parse_duration_text("5s5s").unwrap_err().contains("comes twice"));
    }

    #[test]
    fn seconds_must_be_finite_and_above_zero() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-12, 1e300] {
            assert!(parse_seconds(seconds).is_err(), "{seconds}");
        }
        assert_eq!(parse_seconds(0.5), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", 1),
            ("1048576", 1 << 20),
            ("512MiB", 512 << 20),
            ("10MB", 10_000_000),
            ("1.5GiB", 3 << 29),
            ("4 kib", 4096),
            ("7B", 7),
        ] {
            assert_eq!(parse_size_text(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn wrong_sizes_say_what_was_expected() {
        for text in ["", "0", "0MB", "-1", "big", "MiB", "1e3", "nan", "9999999999TiB", "1 2"] {
            let message = parse_size_text(text).unwrap_err();
            assert!(
                message.contains("expected a size") && message.contains(&format!("`{text}`")),
                "{message}"
            );
        }
        assert!(parse_size_text("5MiBs").unwrap_err().contains("did you mean `MiB`?"));
    }
}
