//! How the cells of a column become a column again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BinaryViewBuilder, BooleanBuilder, FixedSizeBinaryBuilder,
    LargeBinaryBuilder, LargeStringBuilder, PrimitiveBuilder, StringBuilder, StringViewBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{downcast_integer, Array, ArrayRef, ArrowPrimitiveType, DictionaryArray, NullArray};
use arrow_buffer::ArrowNativeType;
use arrow_schema::IntervalUnit;
use arrow_schema::{ArrowError, DataType, TimeUnit};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use retainit_plugin_api::sdk::Result;

use super::calendar::{Shape, Time};
use super::column::{is_flat, with_form, Writer};
use super::number::{DayTime, Decimal, Float, Form, Integer, MonthDayNano};
use super::records::Cell;
use crate::contain::corrupt;

/// Takes the cells of a column, one after the other.
pub trait Parser {
    /// Takes a cell; `None` for one that is not of the type.
    fn push(&mut self, cell: Cell<'_>) -> Option<()>;
    /// The column.
    fn finish(&mut self) -> Result<ArrayRef>;
}

/// A parser for columns like `model`, which has the values of dictionaries.
pub fn parser(model: &ArrayRef) -> Result<Box<dyn Parser>> {
    let data_type = model.data_type();
    if !is_flat(data_type) {
        return Err(corrupt(format_args!("a csv file has a column of type `{data_type}`")));
    }
    macro_rules! primitive {
        ($form:expr) => {
            Ok(of_form(data_type, $form))
        };
    }
    with_form!(data_type, primitive, other(model))
}

fn other(model: &ArrayRef) -> Result<Box<dyn Parser>> {
    fn build<B: ArrayBuilder>(
        builder: B,
        push: fn(&mut B, Option<&str>) -> Option<()>,
    ) -> Result<Box<dyn Parser>> {
        Ok(Box::new(Built { builder, push }))
    }
    macro_rules! text {
        ($builder:expr) => {
            build($builder, |builder, text| {
                builder.append_option(text);
                Some(())
            })
        };
    }
    macro_rules! bytes {
        ($builder:expr) => {
            build($builder, |builder, text| {
                builder.append_option(text.map(|text| STANDARD.decode(text)).transpose().ok()?);
                Some(())
            })
        };
    }
    match model.data_type() {
        DataType::Null => Ok(Box::new(Nulls(0))),
        DataType::Boolean => build(BooleanBuilder::new(), |builder, text| {
            builder.append_option(text.map(str::parse).transpose().ok()?);
            Some(())
        }),
        DataType::Utf8 => text!(StringBuilder::new()),
        DataType::LargeUtf8 => text!(LargeStringBuilder::new()),
        DataType::Utf8View => text!(StringViewBuilder::new()),
        DataType::Binary => bytes!(BinaryBuilder::new()),
        DataType::LargeBinary => bytes!(LargeBinaryBuilder::new()),
        DataType::BinaryView => bytes!(BinaryViewBuilder::new()),
        DataType::FixedSizeBinary(size) => {
            build(FixedSizeBinaryBuilder::with_capacity(0, *size), |builder, text| {
                match text {
                    Some(text) => builder.append_value(STANDARD.decode(text).ok()?).ok()?,
                    None => builder.append_null(),
                }
                Some(())
            })
        }
        DataType::Dictionary(keys, _) => {
            let values = model.as_any_dictionary().values();
            macro_rules! keys {
                ($key:ty) => {
                    Keys::<$key>::new(values).map(|keys| Box::new(keys) as Box<dyn Parser>)
                };
            }
            downcast_integer! {
                keys.as_ref() => (keys),
                other => Err(corrupt(format_args!("a dictionary has keys of type `{other}`"))),
            }
        }
        other => Err(corrupt(format_args!("a csv file has a column of type `{other}`"))),
    }
}

/// A column that a builder of Arrow makes.
struct Built<B> {
    builder: B,
    push: fn(&mut B, Option<&str>) -> Option<()>,
}

impl<B: ArrayBuilder> Parser for Built<B> {
    fn push(&mut self, cell: Cell<'_>) -> Option<()> {
        let text = match cell {
            Cell::Null => None,
            Cell::Text(text) => Some(text),
        };
        (self.push)(&mut self.builder, text)
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(self.builder.finish())
    }
}

/// Numbers and times.
struct Numbers<F: Form> {
    form: F,
    builder: PrimitiveBuilder<F::Type>,
}

fn of_form<F: Form + 'static>(data_type: &DataType, form: F) -> Box<dyn Parser> {
    let builder = PrimitiveBuilder::<F::Type>::new().with_data_type(data_type.clone());
    Box::new(Numbers { form, builder })
}

impl<F: Form> Parser for Numbers<F> {
    fn push(&mut self, cell: Cell<'_>) -> Option<()> {
        match cell {
            Cell::Null => self.builder.append_null(),
            Cell::Text(text) => self.builder.append_value(self.form.parse(text)?),
        }
        Some(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(self.builder.finish()))
    }
}

/// As many nulls as there are lines.
struct Nulls(usize);

impl Parser for Nulls {
    fn push(&mut self, cell: Cell<'_>) -> Option<()> {
        self.0 += 1;
        (cell == Cell::Null).then_some(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(NullArray::new(self.0)))
    }
}

/// Keys of a dictionary, found by the text of its values.
struct Keys<K: ArrowPrimitiveType> {
    keys: PrimitiveBuilder<K>,
    places: HashMap<Vec<u8>, K::Native>,
    values: ArrayRef,
}

impl<K: ArrowDictionaryKeyType> Keys<K> {
    fn new(values: &ArrayRef) -> Result<Self> {
        let writer = Writer::new(values.as_ref(), "").map_err(corrupt)?;
        let mut places = HashMap::new();
        for place in 0..values.len() {
            let key = K::Native::from_usize(place).filter(|_| !writer.is_null(place));
            if let Some(key) = key {
                places.entry(writer.content(place)).or_insert(key);
            }
        }
        Ok(Keys { keys: PrimitiveBuilder::new(), places, values: Arc::clone(values) })
    }
}

impl<K: ArrowDictionaryKeyType> Parser for Keys<K> {
    fn push(&mut self, cell: Cell<'_>) -> Option<()> {
        match cell {
            Cell::Null => self.keys.append_null(),
            Cell::Text(text) => self.keys.append_value(*self.places.get(text.as_bytes())?),
        }
        Some(())
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let array: Result<DictionaryArray<K>, ArrowError> =
            DictionaryArray::try_new(self.keys.finish(), Arc::clone(&self.values));
        Ok(Arc::new(array.map_err(corrupt)?))
    }
}
