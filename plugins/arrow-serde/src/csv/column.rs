//! How the cells of a column are written.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{downcast_dictionary_array, Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use retainit_plugin_api::sdk::{Error, Result};

use super::calendar::{Shape, Time};
use super::number::{DayTime, Decimal, Float, Form, Integer, MonthDayNano};
use super::records::write_text;
use crate::contain::unsupported;

/// Calls `$use!(form)` with the form of a primitive type, `$else` for other types.
macro_rules! with_form {
    ($data_type:expr, $use:ident, $else:expr) => {
        match $data_type {
            DataType::Int8 => $use!(Integer::<Int8Type>::EXACT),
            DataType::Int16 => $use!(Integer::<Int16Type>::EXACT),
            DataType::Int32 => $use!(Integer::<Int32Type>::EXACT),
            DataType::Int64 => $use!(Integer::<Int64Type>::EXACT),
            DataType::UInt8 => $use!(Integer::<UInt8Type>::EXACT),
            DataType::UInt16 => $use!(Integer::<UInt16Type>::EXACT),
            DataType::UInt32 => $use!(Integer::<UInt32Type>::EXACT),
            DataType::UInt64 => $use!(Integer::<UInt64Type>::EXACT),
            DataType::Float16 => $use!(Float::<Float16Type>::EXACT),
            DataType::Float32 => $use!(Float::<Float32Type>::EXACT),
            DataType::Float64 => $use!(Float::<Float64Type>::EXACT),
            DataType::Decimal32(_, scale) => $use!(Decimal::<Decimal32Type>::new(*scale)),
            DataType::Decimal64(_, scale) => $use!(Decimal::<Decimal64Type>::new(*scale)),
            DataType::Decimal128(_, scale) => $use!(Decimal::<Decimal128Type>::new(*scale)),
            DataType::Decimal256(_, scale) => $use!(Decimal::<Decimal256Type>::new(*scale)),
            DataType::Date32 => $use!(Time::<Date32Type>::new(Shape::Date, 0)),
            DataType::Date64 => $use!(Time::<Date64Type>::new(Shape::Wall, 3)),
            DataType::Time32(TimeUnit::Second) => $use!(Time::<Time32SecondType>::new(Shape::Clock, 0)),
            DataType::Time32(TimeUnit::Millisecond) => {
                $use!(Time::<Time32MillisecondType>::new(Shape::Clock, 3))
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                $use!(Time::<Time64MicrosecondType>::new(Shape::Clock, 6))
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                $use!(Time::<Time64NanosecondType>::new(Shape::Clock, 9))
            }
            DataType::Timestamp(TimeUnit::Second, zone) => {
                $use!(Time::<TimestampSecondType>::new($crate::csv::column::moment(zone), 0))
            }
            DataType::Timestamp(TimeUnit::Millisecond, zone) => {
                $use!(Time::<TimestampMillisecondType>::new($crate::csv::column::moment(zone), 3))
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                $use!(Time::<TimestampMicrosecondType>::new($crate::csv::column::moment(zone), 6))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                $use!(Time::<TimestampNanosecondType>::new($crate::csv::column::moment(zone), 9))
            }
            DataType::Duration(TimeUnit::Second) => $use!(Integer::<DurationSecondType>::EXACT),
            DataType::Duration(TimeUnit::Millisecond) => $use!(Integer::<DurationMillisecondType>::EXACT),
            DataType::Duration(TimeUnit::Microsecond) => $use!(Integer::<DurationMicrosecondType>::EXACT),
            DataType::Duration(TimeUnit::Nanosecond) => $use!(Integer::<DurationNanosecondType>::EXACT),
            DataType::Interval(IntervalUnit::YearMonth) => $use!(Integer::<IntervalYearMonthType>::EXACT),
            DataType::Interval(IntervalUnit::DayTime) => $use!(DayTime),
            DataType::Interval(IntervalUnit::MonthDayNano) => $use!(MonthDayNano),
            _ => $else,
        }
    };
}
pub(super) use with_form;

/// With a zone, numbers count from 1970 in UTC; the zone itself is in the schema.
pub fn moment<Z>(zone: &Option<Z>) -> Shape {
    match zone {
        Some(_) => Shape::Instant,
        None => Shape::Wall,
    }
}

/// Why a type is refused.
pub fn refused(data_type: &DataType, column: &str) -> Error {
    unsupported(format_args!(
        "serializer `csv` has no place for type `{data_type}` of column `{column}`: expected a type without others in \
         it; hint: serializer `arrow` takes every type"
    ))
}

/// Whether a column of this type can be written.
pub fn is_flat(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => {
            !matches!(**values, DataType::Dictionary(..) | DataType::Null) && is_flat(values)
        }
        DataType::FixedSizeBinary(size) => *size > 0,
        other => !other.is_nested(),
    }
}

type Text<'a> = Box<dyn Fn(usize) -> &'a str + 'a>;
type Plain<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// Writes the cells of a column.
pub struct Writer<'a> {
    nulls: Option<NullBuffer>,
    cells: Cells<'a>,
}

enum Cells<'a> {
    /// Which may need quotes.
    Text(Text<'a>),
    /// Which needs none, unless there is nothing of it.
    Plain(Plain<'a>),
}

impl<'a> Writer<'a> {
    /// A writer for `column`, which is called `name`.
    pub fn new(column: &'a dyn Array, name: &str) -> Result<Self> {
        let cells = Cells::new(column).ok_or_else(|| refused(column.data_type(), name))?;
        Ok(Writer { nulls: column.logical_nulls(), cells })
    }

    /// Appends a cell; nothing for null.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        match &self.cells {
            Cells::Text(text) => write_text(text(row), out),
            Cells::Plain(plain) => {
                let before = out.len();
                plain(row, out);
                if out.len() == before {
                    write_text("", out);
                }
            }
        }
    }

    /// Whether a cell is null.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// A cell's content, without quotes.
    pub fn content(&self, row: usize) -> Vec<u8> {
        match &self.cells {
            Cells::Text(text) => text(row).as_bytes().to_vec(),
            Cells::Plain(plain) => {
                let mut out = Vec::new();
                plain(row, &mut out);
                out
            }
        }
    }
}

impl<'a> Cells<'a> {
    fn new(column: &'a dyn Array) -> Option<Self> {
        if !is_flat(column.data_type()) {
            return None;
        }
        macro_rules! primitive {
            ($form:expr) => {
                Some(Cells::Plain(of_form(column, $form)))
            };
        }
        with_form!(column.data_type(), primitive, Self::of_other(column))
    }

    fn of_other(column: &'a dyn Array) -> Option<Self> {
        fn base64<'a>(bytes: impl Fn(usize) -> &'a [u8] + 'a) -> Cells<'a> {
            Cells::Plain(Box::new(move |row, out| {
                out.extend_from_slice(STANDARD.encode(bytes(row)).as_bytes());
            }))
        }
        Some(match column.data_type() {
            DataType::Null => Cells::Plain(Box::new(|_, _| {})),
            DataType::Boolean => {
                let column = column.as_boolean();
                Cells::Plain(Box::new(|row, out| {
                    out.extend_from_slice(if column.value(row) { b"true" } else { b"false" });
                }))
            }
            DataType::Utf8 => Cells::Text(Box::new(|row| column.as_string::<i32>().value(row))),
            DataType::LargeUtf8 => Cells::Text(Box::new(|row| column.as_string::<i64>().value(row))),
            DataType::Utf8View => Cells::Text(Box::new(|row| column.as_string_view().value(row))),
            DataType::Binary => base64(|row| column.as_binary::<i32>().value(row)),
            DataType::LargeBinary => base64(|row| column.as_binary::<i64>().value(row)),
            DataType::BinaryView => base64(|row| column.as_binary_view().value(row)),
            DataType::FixedSizeBinary(_) => base64(|row| column.as_fixed_size_binary().value(row)),
            DataType::Dictionary(..) => downcast_dictionary_array!(
                column => {
                    let keys = column.keys();
                    match Cells::new(column.values().as_ref())? {
                        Cells::Text(text) => Cells::Text(Box::new(move |row| text(keys.value(row) as usize))),
                        Cells::Plain(plain) => {
                            Cells::Plain(Box::new(move |row, out| plain(keys.value(row) as usize, out)))
                        }
                    }
                },
                _ => return None,
            ),
            _ => return None,
        })
    }
}

fn of_form<'a, F: Form + 'a>(column: &'a dyn Array, form: F) -> Plain<'a> {
    let column = column.as_primitive::<F::Type>();
    Box::new(move |row, out| form.write(column.value(row), out))
}
