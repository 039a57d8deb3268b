//! Keys as users give them.

use std::fmt;

use zeroize::Zeroize;

use crate::error::{Error, Result};

/// Bytes of a key.
const LEN: usize = 32;
const EXPECTED: &str = "expected 32 bytes, `hex:` and 64 digits, or `base64:` and 44 characters";

/// A key of 32 bytes. It shows itself to nobody, and is overwritten when dropped.
pub struct Secret(Box<[u8; LEN]>);

impl Secret {
    /// A key as it is.
    ///
    /// # Errors
    /// When it has not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut secret = Secret(Box::new([0; LEN]));
        if bytes.len() != LEN {
            return Err(wrong(&format!("of {} bytes", bytes.len())));
        }
        secret.0.copy_from_slice(bytes);
        Ok(secret)
    }

    /// A key as text: `hex:` or `base64:` (standard or URL-safe, padded or not).
    ///
    /// # Errors
    /// When it is not that, or has not 32 bytes; the message does not say what it is instead, as it
    /// may be a key all the same.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(digits) = text.strip_prefix("hex:") {
            return Self::decode(digits.as_bytes(), 4, |digit| {
                char::from(digit).to_digit(16).map(|value| value as u8)
            })
            .ok_or_else(|| wrong("that begins with `hex:`"));
        }
        if let Some(characters) = text.strip_prefix("base64:") {
            let padded = characters.strip_suffix('=').unwrap_or(characters);
            return Self::decode(padded.as_bytes(), 6, sixtyfour)
                .ok_or_else(|| wrong("that begins with `base64:`"));
        }
        Err(wrong("without one of the two prefixes"))
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// Of characters that stand for `bits` bits each, the first bits first.
    fn decode(characters: &[u8], bits: u32, value: impl Fn(u8) -> Option<u8>) -> Option<Self> {
        if characters.len() != (LEN * 8).div_ceil(bits as usize) {
            return None;
        }
        let mut secret = Secret(Box::new([0; LEN]));
        let (mut window, mut held, mut at) = (0_u32, 0, 0);
        for character in characters {
            window = (window << bits) | u32::from(value(*character)?);
            held += bits;
            if held >= 8 {
                held -= 8;
                secret.0[at] = (window >> held) as u8;
                at += 1;
            }
        }
        // Bits beyond the last byte say nothing, so they are to be zero: one key, one spelling.
        (window & ((1 << held) - 1) == 0).then_some(secret)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn sixtyfour(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

fn wrong(what: &str) -> Error {
    Error::configuration("encryption key", format!("an encryption key {what}: {EXPECTED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "hex:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
    const BASE64: &str = "base64:ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=";

    #[test]
    fn each_spelling_gives_the_same_key() {
        let bytes: Vec<u8> = (0..32).map(|index| (index % 16) * 0x11).collect();
        let unpadded = BASE64.trim_end_matches('=');
        for text in [HEX, BASE64, unpadded, &BASE64.replace('/', "_")] {
            assert_eq!(Secret::parse(text).unwrap().bytes()[..], bytes, "{text}");
        }
        assert_eq!(Secret::from_bytes(&bytes).unwrap().bytes()[..], bytes);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let short = &HEX[..HEX.len() - 2];
        let sloppy = BASE64.replace("8=", "9=");
        for text in ["", "swordfish", &HEX[4..], short, &HEX.replace("ff", "fg"), &sloppy, "base64:swordfish"]
        {
            let error = Secret::parse(text).unwrap_err();
            assert!(error.is_configuration());
            assert!(!format!("{error} {error:?}").contains("swordfish"), "{error}");
        }
        assert_eq!(
            Secret::from_bytes(b"swordfish").unwrap_err().to_string(),
            "an encryption key of 9 bytes: expected 32 bytes, `hex:` and 64 digits, or `base64:` and 44 characters"
        );
        assert_eq!(format!("{:?}", Secret::parse(HEX).unwrap()), "Secret(..)");
    }
}
