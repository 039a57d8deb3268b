//! Which large entries this process has checked already.
//!
//! The checksum of a large entry costs more than all else of a hit. Where the backend gives each
//! version of an entry a token of its own, one check of a version is enough: the token is random, and
//! the backend never changes a version in place. Corruption of the medium after the check is outside
//! what is promised. An entry under another key, or in another backend, is another one even if its
//! token is the same: it may be a copy, and was not checked there.

use std::collections::{HashSet, VecDeque};

use retainit_plugin_api::sdk::Token;

use crate::lock::Mutex;

/// Smaller entries are checked each time, in bytes.
const LARGE: usize = 64 * 1024;
/// Versions remembered.
const VERSIONS: usize = 4096;

/// A version of a large entry: the digest of where it is and of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version([u8; 16]);

#[derive(Default)]
struct Verified {
    versions: HashSet<Version>,
    order: VecDeque<Version>,
}

static VERIFIED: Mutex<Option<Verified>> = Mutex::new(None);

impl Version {
    /// Of the entry of `len` bytes under `key` in the instance of that number, where `token` is the
    /// version's; `None` where each read is checked.
    pub fn of(len: usize, instance: usize, key: &[u8], token: &Token) -> Option<Self> {
        if len < LARGE || *token == Token::default() {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        // All but the last have a fixed length, which keeps them apart.
        hasher.update(&instance.to_le_bytes()).update(&token.bytes).update(key);
        Some(Version(*hasher.finalize().as_bytes().first_chunk().expect("a digest has 32 bytes")))
    }

    /// Whether it has been checked.
    pub fn is_verified(self) -> bool {
        VERIFIED.lock().as_ref().is_some_and(|verified| verified.versions.contains(&self))
    }

    /// Remembers that it has been.
    pub fn remember(self) {
        let mut verified = VERIFIED.lock();
        let verified = verified.get_or_insert_default();
        if verified.versions.insert(self) {
            verified.order.push_back(self);
            if verified.order.len() > VERSIONS {
                if let Some(oldest) = verified.order.pop_front() {
                    verified.versions.remove(&oldest);
                }
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
        let version = |len, number: u128| Version::of(len, 1, b"key", &Token { bytes: number.to_le_bytes() });
        assert_eq!((version(LARGE - 1, 1), version(LARGE, 0)), (None, None));
        let first = version(LARGE, 1).unwrap();
        assert!(!first.is_verified());
        first.remember();
        assert!(first.is_verified());
        for number in 2..VERSIONS as u128 + 2 {
            version(LARGE, number).unwrap().remember();
        }
        assert!(!first.is_verified());
        assert!(version(LARGE, 2).unwrap().is_verified());
    }

    #[test]
    fn an_entry_that_was_moved_or_copied_is_not_verified() {
        let version =
            |instance, key: &[u8], token| Version::of(LARGE, instance, key, &Token { bytes: [token; 16] });
        let known = version(7, b"a key", 9);
        assert_eq!(known, version(7, b"a key", 9));
        for other in [version(8, b"a key", 9), version(7, b"another", 9), version(7, b"a key", 8)] {
            assert_ne!(known, other);
        }
    }
}
