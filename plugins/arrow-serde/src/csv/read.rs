//! Text to tables.

use std::sync::Arc;

use arrow_array::RecordBatch;
use retainit_plugin_api::sdk::{Result, Value};

use super::parser::parser;
use super::records::Records;
use super::HEADER;
use crate::contain::corrupt;
use crate::header;
use crate::stream::Table;

/// Reads the text of a table. What is built grows with the text, never with what the text says of itself.
pub fn decode(bytes: &Value) -> Result<Table> {
    let Some(bytes) = bytes.as_bytes() else {
        return Err(corrupt("expected bytes, found an object"));
    };
    let text = std::str::from_utf8(bytes).map_err(corrupt)?;
    let Some((head, text)) = text.strip_prefix(HEADER).and_then(|text| text.split_once('\n')) else {
        return Err(corrupt(format_args!("a csv file does not begin with `{HEADER}`")));
    };
    let header = header::decode(head.as_bytes())?;
    let names: Vec<&str> = header.schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut records = Records::new(text);
    records.names(&names)?;
    let Some(model) = &header.batch else {
        return if records.is_at_end() {
            Ok(header)
        } else {
            Err(corrupt("a csv file has lines and no batch"))
        };
    };
    let mut parsers = model.columns().iter().map(parser).collect::<Result<Vec<_>>>()?;
    let mut rows = 0_usize;
    while !records.is_at_end() {
        rows += 1;
        records.line(parsers.len(), |place, cell| {
            parsers[place].push(cell).ok_or_else(|| {
                let data_type = model.column(place).data_type();
                corrupt(format_args!(
                    "row {rows} of a csv file has something else than `{data_type}` in column {place}"
                ))
            })
        })?;
    }
    if parsers.is_empty() {
        let expected = model.num_rows();
        let message = format!("a csv file without columns has {rows} rows, {expected} expected");
        return if rows == expected { Ok(header) } else { Err(corrupt(message)) };
    }
    let columns = parsers.iter_mut().map(|parser| parser.finish()).collect::<Result<Vec<_>>>()?;
    let batch = RecordBatch::try_new(Arc::clone(&header.schema), columns).map_err(corrupt)?;
    Ok(Table { schema: header.schema, batch: Some(batch) })
}
