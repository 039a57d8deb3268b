//! The patterns of `scan`.

/// Whether `key` matches the glob `pattern`: `*` is any bytes, `?` one byte, `[a-z]` and `[!a-z]` one
/// byte of a set, `\` takes the next byte as it is. An empty pattern matches everything.
///
/// Bytes, not characters: keys need not be text. A set that is never closed is an ordinary `[`.
pub fn glob(pattern: &[u8], key: &[u8]) -> bool {
    if pattern.is_empty() {
        return true;
    }
    let (mut p, mut k) = (0, 0);
    // Where to go on when what follows the last `*` does not match: one byte further. Earlier stars
    // need no second look, so the time is at most the product of both lengths.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, k));
            continue;
        }
        match (p < pattern.len(), key.get(k)) {
            (false, None) => return true,
            (true, Some(&byte)) => {
                if let Some(next) = one(pattern, p, byte) {
                    (p, k) = (next, k + 1);
                    continue;
                }
            }
            // The key has ended: no later start can help.
            (true, None) => return false,
            (false, Some(_)) => {}
        }
        match retry {
            Some((after_star, start)) if start < key.len() => {
                (p, k) = (after_star, start + 1);
                retry = Some((after_star, start + 1));
            }
            _ => return false,
        }
    }
}

/// The position after the element at `p` if that element matches `byte`.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern[p] {
        b'?' => Some(p + 1),
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        b'[' => match set(pattern, p + 1, byte) {
            Some((matches, next)) => matches.then_some(next),
            None => (byte == b'[').then_some(p + 1),
        },
        literal => (literal == byte).then_some(p + 1),
    }
}

/// Whether the set whose first element is at `p` holds `byte`, and where the pattern goes on;
/// `None` if it is never closed. A `]` that comes first belongs to the set.
fn set(pattern: &[u8], mut p: usize, byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(p), Some(b'!' | b'^'));
    p += usize::from(negated);
    let first = p;
    let mut found = false;
    loop {
        let mut low = *pattern.get(p)?;
        if low == b']' && p > first {
            return Some((found != negated, p + 1));
        }
        if low == b'\\' {
            p += 1;
            low = *pattern.get(p)?;
        }
        p += 1;
        let mut high = low;
        if pattern.get(p) == Some(&b'-') && pattern.get(p + 1).is_some_and(|end| *end != b']') {
            p += 1;
            high = *pattern.get(p)?;
            if high == b'\\' {
                p += 1;
                high = *pattern.get(p)?;
            }
            p += 1;
        }
        found |= (low..=high).contains(&byte);
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn patterns() {
        for (pattern, key, expected) in [
            ("", "anything", true),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "acb", false),
            ("a*b*c", "axxbxxbc", true),
            ("?", "", false),
            ("??", "ab", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("abc", "abcd", false),
            ("*d", "abcd", true),
            ("a\\", "a\\", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), key.as_bytes()), expected, "`{pattern}` on `{key}`");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = b"*a".repeat(30);
        assert!(!glob(&pattern, &[b'b'; 4000]));
        assert!(!glob(&[pattern.as_slice(), b"c"].concat(), &[b'a'; 4000]));
    }
}
