//! The three serializers: what they share, and what the host calls.

use retainit_plugin_api::sdk::{capability, Call, Data, Host, Result, Serializer, Value};

use crate::config::{self, ArrowOptions, CsvOptions, ParquetOptions};
use crate::contain::decoding;
use crate::ipc::Trust;
use crate::stream::Table;
use crate::{csv, ipc, parquet};

/// Arrow's own stream format: one copy to write, none to read.
pub struct ArrowSerializer {
    trust: Trust,
    /// Its buffers spare the host a copy.
    host: Host,
}

impl Serializer for ArrowSerializer {
    const NAME: &'static str = "arrow";
    const CAPABILITIES: u64 = capability::FORM_ARROW;
    const SCHEMA: &'static str = config::ARROW_SCHEMA;
    type Options = ArrowOptions;

    fn open(options: Self::Options, host: Host) -> Result<Self> {
        let trust = if options.validate {
            Trust::nothing()
        } else {
            // SAFETY: whoever turns validation off vouches for the bytes; the option's description says so.
            unsafe { Trust::everything() }
        };
        Ok(ArrowSerializer { trust, host })
    }

    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        let stream = ipc::encode(&Table::take(data)?)?;
        Ok(self.host.allocate(stream.len(), |out| stream.write(out)))
    }

    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        decoding(|| ipc::decode(bytes, &self.trust)?.give())
    }
}

/// Parquet: small, and slower than Arrow's own format.
pub struct ParquetSerializer {
    options: ParquetOptions,
}

impl Serializer for ParquetSerializer {
    const NAME: &'static str = "parquet";
    const CAPABILITIES: u64 = capability::FORM_ARROW;
    const SCHEMA: &'static str = config::PARQUET_SCHEMA;
    type Options = ParquetOptions;

    fn open(options: Self::Options, _: Host) -> Result<Self> {
        options.check()?;
        Ok(ParquetSerializer { options })
    }

    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        parquet::encode(&Table::take(data)?, &self.options)
    }

    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        decoding(|| parquet::decode(&bytes, self.options.max_bytes)?.give())
    }
}

/// Text that people and other programs read, with the types in its first line.
pub struct CsvSerializer;

impl Serializer for CsvSerializer {
    const NAME: &'static str = "csv";
    const CAPABILITIES: u64 = capability::FORM_ARROW;
    const SCHEMA: &'static str = config::CSV_SCHEMA;
    type Options = CsvOptions;

    fn open(_: Self::Options, _: Host) -> Result<Self> {
        Ok(CsvSerializer)
    }

    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        csv::encode(&Table::take(data)?)
    }

    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        decoding(|| csv::decode(&bytes)?.give())
    }
}
