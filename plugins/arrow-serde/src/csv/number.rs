//! Numbers to text and back, exactly.

use std::io::Write;
use std::marker::PhantomData;

use arrow_array::types::*;
use arrow_array::ArrowPrimitiveType;
use arrow_buffer::{i256, IntervalDayTime, IntervalMonthDayNano};

/// How the values of a primitive type are written.
pub trait Form {
    /// The type.
    type Type: ArrowPrimitiveType;
    /// Appends a value's text, which has neither quotes nor commas nor ends of lines.
    fn write(&self, value: <Self::Type as ArrowPrimitiveType>::Native, out: &mut Vec<u8>);
    /// The value that has this text.
    fn parse(&self, text: &str) -> Option<<Self::Type as ArrowPrimitiveType>::Native>;
}

/// Appends formatted text. Writing to memory does not fail.
pub fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Decimal digits.
pub struct Integer<T>(PhantomData<T>);

impl<T> Integer<T> {
    /// The form.
    pub const EXACT: Self = Integer(PhantomData);
}

impl<T> Form for Integer<T>
where
    T: ArrowPrimitiveType,
    T::Native: std::fmt::Display + std::str::FromStr,
{
    type Type = T;

    fn write(&self, value: T::Native, out: &mut Vec<u8>) {
        put(out, format_args!("{value}"));
    }

    fn parse(&self, text: &str) -> Option<T::Native> {
        text.parse().ok()
    }
}

/// The shortest digits that give the same bits again.
///
/// The usual NaN is `NaN`; any other has its bits beside it.
pub struct Float<T>(PhantomData<T>);

impl<T> Float<T> {
    /// The form.
    pub const EXACT: Self = Float(PhantomData);
}

/// What the three widths of floats have in common.
pub trait Bits: ArrowPrimitiveType {
    /// The usual NaN.
    const NAN: u64;
    /// The number's bits.
    fn bits(value: Self::Native) -> u64;
    /// The number with these bits.
    fn from_bits(bits: u64) -> Option<Self::Native>;
    /// Whether it is any NaN.
    fn is_nan(value: Self::Native) -> bool;
    /// Appends the digits of what is not NaN.
    fn write(value: Self::Native, out: &mut Vec<u8>);
    /// Reads such digits.
    fn parse(text: &str) -> Option<Self::Native>;
}

macro_rules! bits {
    ($type:ty, $bits:ty, $nan:literal, $wide:expr, $narrow:expr) => {
        impl Bits for $type {
            const NAN: u64 = $nan;
            fn bits(value: Self::Native) -> u64 {
                value.to_bits().into()
            }
            fn from_bits(bits: u64) -> Option<Self::Native> {
                Some(Self::Native::from_bits(<$bits>::try_from(bits).ok()?))
            }
            fn is_nan(value: Self::Native) -> bool {
                value.is_nan()
            }
            fn write(value: Self::Native, out: &mut Vec<u8>) {
                // Debug's digits are Display's, with an exponent where there would be many zeros.
                put(out, format_args!("{:?}", $wide(value)));
            }
            fn parse(text: &str) -> Option<Self::Native> {
                text.parse().ok().map($narrow)
            }
        }
    };
}

bits!(Float16Type, u16, 0x7E00, Self::Native::to_f32, Self::Native::from_f32);
bits!(Float32Type, u32, 0x7FC0_0000, std::convert::identity::<f32>, std::convert::identity::<f32>);
bits!(Float64Type, u64, 0x7FF8_0000_0000_0000, std::convert::identity::<f64>, std::convert::identity::<f64>);

impl<T: Bits> Form for Float<T> {
    type Type = T;

    fn write(&self, value: T::Native, out: &mut Vec<u8>) {
        let bits = T::bits(value);
        match T::is_nan(value) {
            false => T::write(value, out),
            true if bits == T::NAN => out.extend(b"NaN"),
            true => put(out, format_args!("NaN:{bits:x}")),
        }
    }

    fn parse(&self, text: &str) -> Option<T::Native> {
        match text.strip_prefix("NaN") {
            None => T::parse(text),
            Some("") => T::from_bits(T::NAN),
            Some(bits) => T::from_bits(u64::from_str_radix(bits.strip_prefix(':')?, 16).ok()?),
        }
    }
}

/// Digits with a point where the scale has it, `12e3` where the scale is negative.
pub struct Decimal<T> {
    scale: i8,
    _type: PhantomData<T>,
}

impl<T> Decimal<T> {
    /// For this scale.
    pub fn new(scale: i8) -> Self {
        Decimal { scale, _type: PhantomData }
    }
}

/// Integers of decimals.
pub trait Whole: std::fmt::Display + Sized {
    /// Reads digits with an optional sign.
    fn from_digits(digits: &str) -> Option<Self>;
}

macro_rules! whole {
    ($($native:ty),*) => {$(
        impl Whole for $native {
            fn from_digits(digits: &str) -> Option<Self> {
                digits.parse().ok()
            }
        }
    )*};
}

whole!(i32, i64, i128, i256);

impl<T: DecimalType> Form for Decimal<T>
where
    T::Native: Whole,
{
    type Type = T;

    fn write(&self, value: T::Native, out: &mut Vec<u8>) {
        let text = value.to_string();
        if self.scale < 0 {
            return put(out, format_args!("{text}e{}", self.scale.unsigned_abs()));
        }
        let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
        let scale = usize::from(self.scale.unsigned_abs());
        if scale == 0 {
            return put(out, format_args!("{sign}{digits}"));
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, part) = digits.split_at(digits.len() - scale);
        put(out, format_args!("{sign}{whole}.{part}"));
    }

    fn parse(&self, text: &str) -> Option<T::Native> {
        let scale = usize::from(self.scale.unsigned_abs());
        if self.scale < 0 {
            let (digits, exponent) = text.split_once('e')?;
            return (exponent.parse() == Ok(scale)).then(|| T::Native::from_digits(digits))?;
        }
        if scale == 0 {
            return T::Native::from_digits(text);
        }
        let (whole, part) = text.split_once('.')?;
        (part.len() == scale).then(|| T::Native::from_digits(&format!("{whole}{part}")))?
    }
}

/// Days and milliseconds, with a blank between them.
pub struct DayTime;

impl Form for DayTime {
    type Type = IntervalDayTimeType;

    fn write(&self, value: IntervalDayTime, out: &mut Vec<u8>) {
        put(out, format_args!("{} {}", value.days, value.milliseconds));
    }

    fn parse(&self, text: &str) -> Option<IntervalDayTime> {
        let (days, milliseconds) = text.split_once(' ')?;
        Some(IntervalDayTime::new(days.parse().ok()?, milliseconds.parse().ok()?))
    }
}

/// Months, days and nanoseconds, with blanks between them.
pub struct MonthDayNano;

impl Form for MonthDayNano {
    type Type = IntervalMonthDayNanoType;

    fn write(&self, value: IntervalMonthDayNano, out: &mut Vec<u8>) {
        put(out, format_args!("{} {} {}", value.months, value.days, value.nanoseconds));
    }

    fn parse(&self, text: &str) -> Option<IntervalMonthDayNano> {
        let (months, rest) = text.split_once(' ')?;
        let (days, nanoseconds) = rest.split_once(' ')?;
        Some(IntervalMonthDayNano::new(months.parse().ok()?, days.parse().ok()?, nanoseconds.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<F: Form>(form: &F, value: <F::Type as ArrowPrimitiveType>::Native) -> String {
        let mut out = Vec::new();
        form.write(value, &mut out);
        let text = String::from_utf8(out).unwrap();
        let again = form.parse(&text).unwrap_or_else(|| panic!("`{text}` cannot be read"));
        let mut out = Vec::new();
        form.write(again, &mut out);
        assert_eq!(text, String::from_utf8(out).unwrap());
        text
    }

    #[test]
    fn floats_are_as_short_as_they_can_be() {
        let form = Float::<Float64Type>::EXACT;
        for (value, expected) in [
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (-0.0, "-0.0"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "NaN"),
            (f64::from_bits(0xFFF8_0000_0000_0001), "NaN:fff8000000000001"),
        ] {
            assert_eq!(text(&form, value), expected);
            assert_eq!(form.parse(expected).map(f64::to_bits), Some(value.to_bits()));
        }
        assert_eq!(form.parse("NaN:"), None);
    }

    #[test]
    fn all_halves_come_back() {
        let form = Float::<Float16Type>::EXACT;
        for bits in 0..=u16::MAX {
            let mut out = Vec::new();
            form.write(<Float16Type as Bits>::from_bits(bits.into()).unwrap(), &mut out);
            let text = String::from_utf8(out).unwrap();
            assert_eq!(form.parse(&text).map(|half| half.to_bits()), Some(bits), "{text}");
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        let form = Decimal::<Decimal128Type>::new(3);
        for (value, expected) in [(0, "0.000"), (-1, "-0.001"), (12_345, "12.345"), (-1_000, "-1.000")] {
            assert_eq!(text(&form, value), expected);
        }
        for wrong in ["1", "1.0", "1.0000", "1.00a", "", "."] {
            assert_eq!(form.parse(wrong), None, "{wrong}");
        }
        assert_eq!(text(&Decimal::<Decimal128Type>::new(-3), -12), "-12e3");
        assert_eq!(Decimal::<Decimal128Type>::new(-3).parse("12e4"), None);
        assert_eq!(text(&Decimal::<Decimal256Type>::new(0), i256::MIN), i256::MIN.to_string());
        assert_eq!(text(&Decimal::<Decimal32Type>::new(9), i32::MIN), "-2.147483648");
    }
}
