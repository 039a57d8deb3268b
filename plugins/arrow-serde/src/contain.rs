//! From the errors and panics of the Arrow crates to ours.

use std::fmt::Display;
use std::panic::{catch_unwind, AssertUnwindSafe};

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};

/// Error texts may quote a whole schema.
const LONGEST: usize = 300;

/// An error about stored bytes.
pub fn corrupt(what: impl Display) -> Error {
    Error::new(ErrorKind::Corrupt, short(what))
}

/// An error about data that has no representation in the format.
pub fn unsupported(what: impl Display) -> Error {
    Error::new(ErrorKind::Unsupported, short(what))
}

/// An error about data that breaks the rules of Arrow.
pub fn invalid(what: impl Display) -> Error {
    Error::new(ErrorKind::Invalid, short(what))
}

/// Runs a decoder over bytes that may be hostile.
///
/// The Arrow crates check most of what they are told, and panic over some of the rest; what is known to panic is
/// looked at before they see it, and this is the net below.
pub fn decoding<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(corrupt(format_args!("the arrow data cannot be decoded: {text}")))
    })
}

fn short(what: impl Display) -> String {
    let mut text = what.to_string();
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panicking_decoder_found_corrupt_data() {
        let error = decoding::<()>(|| panic!("offset {} out of range", 7)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.message(), "the arrow data cannot be decoded: offset 7 out of range");
        assert_eq!(decoding(|| Ok(3)).unwrap(), 3);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(corrupt("é".repeat(200)).message().chars().count(), LONGEST / 2 + 1);
    }
}
