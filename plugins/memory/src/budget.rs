//! Room in the whole instance, shared by its shards.
//!
//! Every entry is paid for before it is stored, so neither bound is ever exceeded, not even by
//! threads that store at the same time; and because no shard has a share of its own, `max_size`
//! entries fit however unevenly their hashes fall.

use std::sync::atomic::{AtomicU64, Ordering};

use super::policy::Full;

/// The bounds, and what is used of them.
#[derive(Debug)]
pub struct Budget {
    max_entries: u64,
    max_bytes: u64,
    entries: AtomicU64,
    bytes: AtomicU64,
}

impl Budget {
    /// Bounds; `None` for none.
    pub fn new(max_entries: Option<u64>, max_bytes: Option<u64>) -> Self {
        Budget {
            max_entries: max_entries.unwrap_or(u64::MAX),
            max_bytes: max_bytes.unwrap_or(u64::MAX),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Whether an entry of `bytes` could be stored if nothing else were.
    pub fn admits(&self, bytes: u64) -> bool {
        self.max_entries > 0 && bytes <= self.max_bytes
    }

    /// Takes room for `entries` of `bytes` together, or says what is short and takes none.
    pub fn reserve(&self, entries: u64, bytes: u64) -> Result<(), Full> {
        take(&self.entries, entries, self.max_entries).ok_or(Full::Entries)?;
        take(&self.bytes, bytes, self.max_bytes).ok_or_else(|| {
            self.entries.fetch_sub(entries, Ordering::Relaxed);
            Full::Bytes
        })
    }

    /// Gives room back.
    pub fn release(&self, entries: u64, bytes: u64) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Entries stored.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }
}

/// Adds `amount` to `used` unless that exceeds `bound`. The locks of the shards order everything
/// else, so no ordering is needed here.
fn take(used: &AtomicU64, amount: u64, bound: u64) -> Option<()> {
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
        used.checked_add(amount).filter(|&after| after <= bound)
    })
    .ok()
    .map(|_| ())
}
