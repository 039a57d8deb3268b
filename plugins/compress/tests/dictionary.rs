//! Dictionaries: what they gain, and what happens without the right one.

mod common;

use base64::prelude::{Engine, BASE64_STANDARD};
use common::{answer, zstd, zstd_with};
use retainit_compress::{Zstd, ZstdConfig};
use retainit_plugin_api::sdk::ErrorKind;

fn trained(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let samples: Vec<Vec<u8>> = numbers.map(answer).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    zstd(3).train(&samples, 8 * 1024).unwrap()
}

#[test]
fn small_values_that_are_alike_gain_by_a_dictionary() {
    let with = zstd_with(&trained(0..1000));
    let without = zstd(3);
    let (mut plain, mut small, mut smaller) = (0, 0, 0);
    for value in (5000..5200).map(answer) {
        let packed = with.pack(&value).unwrap();
        assert_eq!(with.unpack(&packed, value.len() as u64).unwrap(), value);
        plain += value.len();
        small += without.pack(&value).unwrap().len();
        smaller += packed.len();
    }
    println!("{plain} bytes: {small} without, {smaller} with a dictionary");
    assert!(smaller * 2 < small, "{plain} {small} {smaller}");
}

#[test]
fn the_wrong_dictionary_or_none_is_a_miss() {
    let right = zstd_with(&trained(0..1000));
    let wrong = zstd_with(&trained(1000..2000));
    let packed = right.pack(&answer(7)).unwrap();
    for other in [&wrong, &zstd(3)] {
        let error = other.unpack(&packed, 1 << 20).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.message(), "the zstd frame is damaged: dictionary mismatch");
    }
    // The context that failed is not used again.
    assert_eq!(wrong.unpack(&wrong.pack(b"value").unwrap(), 5).unwrap(), b"value");
}

#[test]
fn what_was_written_without_a_dictionary_is_read_with_one() {
    let with = zstd_with(&trained(0..1000));
    for value in [answer(7), Vec::new(), vec![0; 10 << 20]] {
        let packed = zstd(3).pack(&value).unwrap();
        assert!(with.unpack(&packed, 1 << 30).unwrap() == value);
        let packed = with.pack(&value).unwrap();
        assert!(with.unpack(&packed, 1 << 30).unwrap() == value);
    }
}

#[test]
fn a_dictionary_that_is_none_is_refused_without_being_shown() {
    let whole = trained(0..1000);
    let damaged = [&whole[..12], &[0xff; 100]].concat();
    let cases = [
        ("not base64!", "a text that is not base64"),
        (&BASE64_STANDARD.encode("secret"), "6 bytes without a dictionary's id"),
        ("", "0 bytes without a dictionary's id"),
        (&BASE64_STANDARD.encode(damaged), "one that is damaged"),
    ];
    for (text, found) in cases {
        let options = ZstdConfig { dictionary: Some(text.to_owned()), ..ZstdConfig::default() };
        let error = Zstd::new(&options).err().expect("must be refused");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(
            error.message(),
            format!(
                "invalid value for option `dictionary` of compressor `zstd`: expected a trained zstd dictionary in \
                 base64, found {found}"
            )
        );
    }
}

#[test]
fn training_says_what_is_missing() {
    let samples: Vec<Vec<u8>> = (0..100).map(answer).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    let refused = |samples: &[&[u8]], size| {
        let error = zstd(3).train(samples, size).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        error.message().to_owned()
    };
    assert_eq!(refused(&samples, 255), "a dictionary of at most `255` bytes: expected at least `256`");
    let too_few =
        "too few samples for a dictionary: expected at least `8` of `8` bytes or more, found `7`; hint: \
                   hundreds of values that are alike make a good one";
    assert_eq!(refused(&samples[..7], 1024), too_few);
    // Those that are too short do not count.
    assert_eq!(refused(&[&samples[..7], &[&b"short"[..]; 50]].concat(), 1024), too_few);
    for size in [256, 1000, 100_000, u64::MAX] {
        let dictionary = zstd(3).train(&samples, size).unwrap();
        assert!(dictionary.len() as u64 <= size && dictionary.len() <= 1 << 20);
        zstd_with(&dictionary);
    }
}
