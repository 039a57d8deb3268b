//! Integers that JSON's reader would make floats of: beyond 64 bits, and `-0`.

/// Whether a number of valid JSON text is written as an integer and is none of 64 bits. Our own texts have none,
/// so this is asked only where a float was read that may have been one.
pub(super) fn has_wide_integer(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        rest = match first {
            b'"' => behind_string(behind),
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
                let (number, behind) = rest.split_at(end);
                if is_wide_integer(number) {
                    return true;
                }
                behind
            }
            _ => behind,
        };
    }
    false
}

/// What follows the string whose first quote has been read.
fn behind_string(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = match rest {
            [b'\\', _, behind @ ..] => behind,
            [b'"', behind @ ..] => return behind,
            [_, behind @ ..] => behind,
            [] => return rest,
        }
    }
}

fn is_wide_integer(number: &[u8]) -> bool {
    if number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return false;
    }
    let Ok(number) = std::str::from_utf8(number) else {
        return true;
    };
    number == "-0" || (number.parse::<i64>().is_err() && number.parse::<u64>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_integers_that_do_not_fit_are_wide() {
        for text in [
            "0",
            "[18446744073709551615, -9223372036854775808]",
            "[1e30, 18446744073709551616.0, -0.0, 123456789012345678901234567890E1]",
            r#"{"18446744073709551616": 1, "\"18446744073709551616": "\\"}"#,
        ] {
            assert!(!has_wide_integer(text.as_bytes()), "{text}");
        }
        for text in
            ["18446744073709551616", "[1, -9223372036854775809]", r#"{"\\": 99999999999999999999}"#, "[-0]"]
        {
            assert!(has_wide_integer(text.as_bytes()), "{text}");
        }
    }
}
