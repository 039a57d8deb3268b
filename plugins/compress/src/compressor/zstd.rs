//! `zstd`: one frame per value, levels, dictionaries.

use retainit_plugin_api::sdk::{capability, Call, Compressor, Error, ErrorKind, Host, Result, Value};
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, ErrorCode, InBuffer, OutBuffer};

use super::{claimed, corrupt, first_room, reserve};
use crate::config::ZstdConfig;
use crate::dictionary;
use crate::pool::Pool;

/// First bytes of a frame. zstd itself also takes frames to be skipped, which have no content.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame refers back by at most 2^23 bytes, which is what its specification asks of every decoder;
/// so reading needs no more than that beyond the value itself.
const WINDOW_LOG: u32 = 23;
/// From this level on, zstd's own windows are larger.
const LARGE_WINDOWS: i32 = 20;
/// A context that has grown beyond this is not kept.
const LARGEST_CONTEXT: usize = 4 << 20;

/// The compressor `zstd`.
pub struct Zstd {
    level: i32,
    checksum: bool,
    dictionary: Option<Vec<u8>>,
    compressors: Pool<CCtx<'static>>,
    decompressors: Pool<DCtx<'static>>,
}

impl Compressor for Zstd {
    const NAME: &'static str = "zstd";
    const CAPABILITIES: u64 = capability::DICTIONARY;
    const SCHEMA: &'static str = crate::ZSTD_SCHEMA;
    type Options = ZstdConfig;

    fn open(options: ZstdConfig, _: Host) -> Result<Self> {
        Self::new(&options)
    }

    fn compress(&self, _: &Call<'_>, input: &[u8]) -> Result<Value> {
        self.pack(input).map(Value::from_vec)
    }

    fn decompress(&self, _: &Call<'_>, input: &[u8], limit: u64) -> Result<Value> {
        self.unpack(input, limit).map(Value::from_vec)
    }

    fn train(&self, _: &Call<'_>, samples: &[&[u8]], size: u64) -> Result<Value> {
        self.train(samples, size).map(Value::from_vec)
    }
}

impl Zstd {
    /// A compressor with these options; `Configuration` where they are wrong.
    pub fn new(options: &ZstdConfig) -> Result<Self> {
        let dictionary = options.dictionary.as_deref().map(dictionary::decode).transpose()?;
        Self::make(options, dictionary)
    }

    /// As [`Zstd::new`], with a dictionary that is there as bytes.
    pub fn with_dictionary(options: &ZstdConfig, dictionary: Vec<u8>) -> Result<Self> {
        Self::make(options, Some(dictionary))
    }

    fn make(options: &ZstdConfig, dictionary: Option<Vec<u8>>) -> Result<Self> {
        options.check()?;
        dictionary.as_deref().map(dictionary::check).transpose()?;
        Ok(Zstd {
            level: options.level,
            checksum: options.checksum,
            dictionary,
            compressors: Pool::new(),
            decompressors: Pool::new(),
        })
    }

    /// One frame that holds `input` and its size.
    pub fn pack(&self, input: &[u8]) -> Result<Vec<u8>> {
        let mut context = match self.compressors.take() {
            Some(context) => context,
            None => self.compressor().map_err(|code| failed("prepare to compress", code))?,
        };
        let mut output = Vec::new();
        reserve(&mut output, zstd_safe::compress_bound(input.len()))?;
        context.compress2(&mut output, input).map_err(|code| failed("compress", code))?;
        if context.sizeof() <= LARGEST_CONTEXT {
            self.compressors.put(context);
        }
        output.shrink_to_fit();
        Ok(output)
    }

    /// The content of the one frame in `input`, of at most `limit` bytes; `Corrupt` where there is
    /// another thing.
    pub fn unpack(&self, input: &[u8], limit: u64) -> Result<Vec<u8>> {
        if !input.starts_with(&MAGIC) {
            return Err(corrupt("not a zstd frame"));
        }
        let size = match zstd_safe::get_frame_content_size(input) {
            Ok(Some(size)) => claimed(size, limit)?,
            Ok(None) => return Err(corrupt("the zstd frame does not say how large it is")),
            Err(_) => return Err(corrupt("the zstd frame is truncated")),
        };
        // Walks over the headers of the blocks only.
        if zstd_safe::find_frame_compressed_size(input) != Ok(input.len()) {
            return Err(corrupt("expected one whole zstd frame, found less or more"));
        }
        let mut context = match self.decompressors.take() {
            Some(context) => context,
            None => self.decompressor().map_err(|code| failed("prepare to decompress", code))?,
        };
        let first = first_room(input.len(), size);
        let mut output = Vec::new();
        reserve(&mut output, first)?;
        if first == size {
            context.decompress(&mut output, input).map_err(damaged)?;
        } else {
            in_steps(&mut context, input, &mut output, size)?;
        }
        if output.len() != size {
            let found = output.len();
            return Err(corrupt(format!("the zstd frame says it has {size} bytes: found {found}")));
        }
        if context.sizeof() <= LARGEST_CONTEXT {
            self.decompressors.put(context);
        }
        Ok(output)
    }

    /// A dictionary of at most `size` bytes out of samples; `Invalid` where they do not make one.
    pub fn train(&self, samples: &[&[u8]], size: u64) -> Result<Vec<u8>> {
        dictionary::train(samples, size)
    }

    fn compressor(&self) -> Result<CCtx<'static>, ErrorCode> {
        let mut context = CCtx::try_create().ok_or(OUT_OF_MEMORY)?;
        context.set_parameter(CParameter::CompressionLevel(self.level))?;
        context.set_parameter(CParameter::ContentSizeFlag(true))?;
        context.set_parameter(CParameter::ChecksumFlag(self.checksum))?;
        if self.level >= LARGE_WINDOWS {
            context.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        }
        if let Some(dictionary) = &self.dictionary {
            context.load_dictionary(dictionary)?;
        }
        Ok(context)
    }

    fn decompressor(&self) -> Result<DCtx<'static>, ErrorCode> {
        let mut context = DCtx::try_create().ok_or(OUT_OF_MEMORY)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
        if let Some(dictionary) = &self.dictionary {
            context.load_dictionary(dictionary)?;
        }
        Ok(context)
    }
}

/// Decompresses with twice the room each time what there is has been filled, so that an input gets
/// memory for what it holds rather than for what it says.
fn in_steps(context: &mut DCtx<'static>, input: &[u8], output: &mut Vec<u8>, size: usize) -> Result<()> {
    let mut source = InBuffer::around(input);
    loop {
        let (read, written) = (source.pos(), output.len());
        let mut room = OutBuffer::around_pos(output, written);
        let left = context.decompress_stream(&mut room, &mut source).map_err(damaged)?;
        if left == 0 {
            return Ok(());
        }
        if output.len() == output.capacity() && output.len() < size {
            let room = output.len().saturating_mul(2).min(size);
            reserve(output, room)?;
        } else if (source.pos(), output.len()) == (read, written) {
            return Err(corrupt("the zstd frame is truncated"));
        }
    }
}

/// zstd's own number of this error.
const OUT_OF_MEMORY: ErrorCode = 64_usize.wrapping_neg();

fn damaged(code: ErrorCode) -> Error {
    corrupt(format!("the zstd frame is damaged: {}", zstd_safe::get_error_name(code).to_lowercase()))
}

/// What fails although nothing is wrong with the data fails for want of memory.
fn failed(what: &str, code: ErrorCode) -> Error {
    let reason = zstd_safe::get_error_name(code).to_lowercase();
    Error::new(ErrorKind::Retryable, format!("zstd could not {what}: {reason}"))
}
