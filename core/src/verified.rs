//! Which large entries this process has checked already.
//!
//! The checksum of a large entry costs more than all else of a hit. Where the backend gives each
//! version of an entry a token of its own, one check of a version is enough: the token is random, and
//! the backend never changes a version in place. Corruption of the medium after the check is outside
//! what is promised.

use std::collections::{HashSet, VecDeque};

use retainit_plugin_api::sdk::Token;

use crate::lock::Mutex;

/// Smaller entries are checked each time, in bytes.
const LARGE: usize = 64 * 1024;
/// Versions remembered.
const VERSIONS: usize = 4096;

#[derive(Default)]
struct Verified {
    tokens: HashSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

static VERIFIED: Mutex<Option<Verified>> = Mutex::new(None);

fn applies(len: usize, token: &Token) -> bool {
    len >= LARGE && *token != Token::default()
}

/// Whether this version of an entry of `len` bytes has been checked.
pub fn contains(len: usize, token: &Token) -> bool {
    applies(len, token)
        && VERIFIED.lock().as_ref().is_some_and(|verified| verified.tokens.contains(&token.bytes))
}

/// Remembers that it has been.
pub fn add(len: usize, token: &Token) {
    if !applies(len, token) {
        return;
    }
    let mut verified = VERIFIED.lock();
    let verified = verified.get_or_insert_default();
    if verified.tokens.insert(token.bytes) {
        verified.order.push_back(token.bytes);
        if verified.order.len() > VERSIONS {
            if let Some(oldest) = verified.order.pop_front() {
                verified.tokens.remove(&oldest);
            }
        }
    }
}

/// Around `fork`: takes the lock.
pub fn fork_prepare() {
    std::mem::forget(VERIFIED.lock());
}

/// Around `fork`: gives it back.
///
/// # Safety
/// Must follow [`fork_prepare`] on the same thread.
pub unsafe fn fork_done() {
    // SAFETY: promised by the caller.
    drop(unsafe { VERIFIED.make_guard_unchecked() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_versions_with_a_token_are_remembered_and_old_ones_go() {
        let token = |number: u128| Token { bytes: number.to_le_bytes() };
        for (len, token, expected) in
            [(10, token(1), false), (LARGE, token(0), false), (LARGE, token(1), true)]
        {
            add(len, &token);
            assert_eq!(contains(len, &token), expected);
        }
        for number in 2..VERSIONS as u128 + 2 {
            add(LARGE, &token(number));
        }
        assert!(!contains(LARGE, &token(1)));
        assert!(contains(LARGE, &token(2)));
    }
}
