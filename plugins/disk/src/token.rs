//! Versions of entries and holders of leases: 16 bytes that no process ever makes twice.

use std::sync::atomic::{AtomicU64, Ordering};

use retainit_plugin_api::sdk::Token;

/// Random bits of this process; zero until drawn. A forked child draws its own.
static SEED: AtomicU64 = AtomicU64::new(0);
static COUNTER: AtomicU64 = AtomicU64::new(1);

/// A token that differs from every other one: 64 random bits of the process and a counter, as a
/// random number for each write would cost a system call.
pub fn fresh() -> Token {
    let mut seed = SEED.load(Ordering::Relaxed);
    if seed == 0 {
        // The counter starts anywhere, too, so that two processes with one seed are harmless.
        COUNTER.fetch_add(random(), Ordering::Relaxed);
        let drawn = random() | 1;
        seed = match SEED.compare_exchange(0, drawn, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => drawn,
            Err(other) => other,
        };
    }
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..].copy_from_slice(&COUNTER.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    Token { bytes }
}

/// Makes the next token draw new random bits: a child must not repeat its parent's.
pub fn forget_seed() {
    SEED.store(0, Ordering::Relaxed);
}

fn random() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer has the length that is given; 256 bytes at most cannot be interrupted.
    let failed = unsafe { libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len()) } != 0;
    assert!(!failed, "the kernel gives no random bytes: {}", std::io::Error::last_os_error());
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_before_and_after_a_fork() {
        let (first, second) = (fresh(), fresh());
        forget_seed();
        let third = fresh();
        assert_ne!(first, second);
        assert_ne!(first.bytes[..8], third.bytes[..8]);
        assert_ne!(first, Token::default());
    }
}
