//! The behaviour every serializer must show, through the plugin's own tables, without a library in between.

use retainit_codecs::{BytesSerializer, JsonSerializer, MsgpackSerializer, NumpySerializer, TextSerializer};
use retainit_plugin_api::conformance;
use retainit_plugin_api::sdk::export::SerializerExport;

#[test]
fn msgpack_conforms() {
    conformance::serializer(&SerializerExport::<MsgpackSerializer>::TABLE, "{}").assert();
}

#[test]
fn json_conforms() {
    conformance::serializer(&SerializerExport::<JsonSerializer>::TABLE, "{}").assert();
}

#[test]
fn text_conforms() {
    conformance::serializer(&SerializerExport::<TextSerializer>::TABLE, "{}").assert();
}

#[test]
fn bytes_conform() {
    conformance::serializer(&SerializerExport::<BytesSerializer>::TABLE, "{}").assert();
}

#[test]
fn numpy_conforms() {
    conformance::serializer(&SerializerExport::<NumpySerializer>::TABLE, "{}").assert();
}
