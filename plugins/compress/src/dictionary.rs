//! Reading a dictionary from options, training one from samples.

use base64::prelude::{Engine, BASE64_STANDARD};
use retainit_plugin_api::sdk::{Error, ErrorKind, Result};
use zstd::zstd_safe::{self, CDict, DDict};

/// zstd's trainer sets a quarter aside for tests and wants five to learn from.
const FEWEST_SAMPLES: usize = 8;
/// What is shorter has nothing that could be found again; the trainer reads eight bytes at a time.
const SHORTEST_SAMPLE: usize = 8;
/// The smallest that zstd makes.
const SMALLEST: u64 = 256;
/// Beyond this, a dictionary takes longer to load than the values take to compress.
const LARGEST: u64 = 1 << 20;

/// The bytes of the option `dictionary`.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>> {
    BASE64_STANDARD.decode(text.trim()).map_err(|_| wrong("a text that is not base64"))
}

/// Whether zstd can use these bytes, and tell them from other dictionaries.
pub(crate) fn check(bytes: &[u8]) -> Result<()> {
    // Any bytes would do for zstd, but without an id in the frame nobody could tell a wrong dictionary.
    if zstd_safe::get_dict_id_from_dict(bytes).is_none() {
        return Err(wrong(&format!("{} bytes without a dictionary's id", bytes.len())));
    }
    if CDict::try_create(bytes, 1).is_none() || DDict::try_create(bytes).is_none() {
        return Err(wrong("one that is damaged"));
    }
    Ok(())
}

/// The option itself appears in no message: it is made of values.
fn wrong(found: &str) -> Error {
    let message = format!(
        "invalid value for option `dictionary` of compressor `zstd`: expected a trained zstd dictionary in \
         base64, found {found}"
    );
    Error::new(ErrorKind::Configuration, message)
}

/// Trains a dictionary of at most `size` bytes.
pub(crate) fn train(samples: &[&[u8]], size: u64) -> Result<Vec<u8>> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Invalid, message));
    if size < SMALLEST {
        return wrong(format!("a dictionary of at most `{size}` bytes: expected at least `{SMALLEST}`"));
    }
    let samples: Vec<&[u8]> =
        samples.iter().copied().filter(|sample| sample.len() >= SHORTEST_SAMPLE).collect();
    if samples.len() < FEWEST_SAMPLES {
        return wrong(format!(
            "too few samples for a dictionary: expected at least `{FEWEST_SAMPLES}` of `{SHORTEST_SAMPLE}` bytes \
             or more, found `{}`; hint: hundreds of values that are alike make a good one",
            samples.len()
        ));
    }
    let sizes: Vec<usize> = samples.iter().map(|sample| sample.len()).collect();
    let bytes = samples.concat();
    let mut dictionary = Vec::with_capacity(size.min(LARGEST) as usize);
    match zstd_safe::train_from_buffer(&mut dictionary, &bytes, &sizes) {
        Ok(_) => Ok(dictionary),
        Err(code) => wrong(format!(
            "zstd could not train a dictionary from `{}` samples of `{}` bytes together: {}; hint: more samples, or \
             samples that have more in common, make a dictionary",
            samples.len(),
            bytes.len(),
            zstd_safe::get_error_name(code).to_lowercase(),
        )),
    }
}
