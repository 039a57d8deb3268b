//! Tables to text.

use retainit_plugin_api::sdk::{Result, Value};

use super::column::{is_flat, refused, Writer};
use super::records::write_text;
use super::HEADER;
use crate::header;
use crate::stream::Table;

/// The text, as bytes.
pub fn encode(table: &Table) -> Result<Value> {
    let schema = &table.schema;
    for field in schema.fields() {
        if !is_flat(field.data_type()) {
            return Err(refused(field.data_type(), field.name()));
        }
    }
    let mut out = Vec::new();
    out.extend_from_slice(HEADER.as_bytes());
    out.extend_from_slice(header::encode(table)?.as_bytes());
    out.push(b'\n');
    for (place, field) in schema.fields().iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_text(field.name(), &mut out);
    }
    out.push(b'\n');
    let Some(batch) = &table.batch else { return Ok(Value::from_vec(out)) };
    let columns = batch.columns().iter().zip(schema.fields());
    let writers =
        columns.map(|(column, field)| Writer::new(column, field.name())).collect::<Result<Vec<_>>>()?;
    for row in 0..batch.num_rows() {
        for (place, writer) in writers.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            writer.write(row, &mut out);
        }
        out.push(b'\n');
    }
    Ok(Value::from_vec(out))
}
