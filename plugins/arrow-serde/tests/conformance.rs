//! The behaviour every serializer must show, through the plugin's own tables, without a library in between.

use retainit_arrow_serde::{ArrowSerializer, CsvSerializer, ParquetSerializer};
use retainit_plugin_api::conformance::serializer;
use retainit_plugin_api::sdk::export::SerializerExport;

#[test]
fn arrow() {
    serializer(&SerializerExport::<ArrowSerializer>::TABLE, "{}").assert();
}

#[test]
fn parquet() {
    serializer(&SerializerExport::<ParquetSerializer>::TABLE, "{}").assert();
    for compression in ["snappy", "lz4", "none"] {
        let options = format!(r#"{{"compression": "{compression}", "max_bytes": 67108864}}"#);
        serializer(&SerializerExport::<ParquetSerializer>::TABLE, &options).assert();
    }
    serializer(&SerializerExport::<ParquetSerializer>::TABLE, r#"{"level": 1}"#).assert();
}

#[test]
fn csv() {
    serializer(&SerializerExport::<CsvSerializer>::TABLE, "{}").assert();
}
