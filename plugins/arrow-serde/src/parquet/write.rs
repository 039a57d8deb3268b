//! Tables to files.

use std::sync::Arc;

use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, Type, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use retainit_plugin_api::sdk::{ErrorKind, Result, Value};

use super::{read, storage, HEADER};
use crate::config::{Compression, ParquetOptions};
use crate::contain::{invalid, unsupported};
use crate::header;
use crate::stream::Table;

/// The file. What could not be read again is refused here rather than there.
pub fn encode(table: &Table, options: &ParquetOptions) -> Result<Value> {
    let schema = storage::schema(&table.schema)?;
    let mut file = Vec::new();
    let settings = ArrowWriterOptions::new()
        .with_properties(properties(table, options)?)
        // The header has it, and more of it.
        .with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(&mut file, Arc::clone(&schema), settings).map_err(unsupported)?;
    if let Some(batch) = table.batch.as_ref().filter(|batch| batch.num_columns() > 0) {
        writer.write(&storage::to_storage(batch, &schema)?).map_err(unsupported)?;
    }
    writer.close().map_err(unsupported)?;
    let file = Value::from_vec(file);
    match read::open(&file, options.max_bytes) {
        Ok(opened) if *opened.schema() == schema => Ok(file),
        Ok(_) => Err(unsupported("parquet would give back other types than it was given")),
        Err(error) if error.kind() == ErrorKind::Corrupt => Err(unsupported(error)),
        Err(error) => Err(error),
    }
}

fn properties(table: &Table, options: &ParquetOptions) -> Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(codec(options)?)
        .set_key_value_metadata(Some(vec![KeyValue::new(HEADER.to_owned(), header::encode(table)?)]))
        // Nobody looks for single rows in here.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    for column in storage::descriptor(&*storage::schema(&table.schema)?)?.columns() {
        // How much a list of such values comes to could not be told from the file (see `limits`).
        if column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() > 0 {
            properties = properties.set_column_dictionary_enabled(column.path().clone(), false);
        }
    }
    Ok(properties.build())
}

fn codec(options: &ParquetOptions) -> Result<Codec> {
    Ok(match options.compression {
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(options.level()).map_err(invalid)?),
        Compression::Snappy => Codec::SNAPPY,
        Compression::Lz4 => Codec::LZ4_RAW,
        Compression::None => Codec::UNCOMPRESSED,
    })
}
