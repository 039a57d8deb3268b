//! When entries were read last: noted in memory, written in batches, so that reads never write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// A read is noted if the row says that the last one was this many nanoseconds before.
const STEP: i64 = 1_000_000_000;
/// Entries noted at most in each part; beyond, reads go unnoticed until the next batch is written.
const PART: usize = 8192;
const PARTS: usize = 8;

/// Reads that the table does not know of yet.
#[derive(Debug, Default)]
pub struct Recency {
    parts: [Mutex<HashMap<i64, i64>>; PARTS],
}

impl Recency {
    /// Notes that the entry in row `id`, last used at `used`, is used at `now`.
    pub fn note(&self, id: i64, used: i64, now: i64) {
        if now.saturating_sub(used) < STEP {
            return;
        }
        let mut part = self.parts[id as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner);
        if part.len() < PART || part.contains_key(&id) {
            part.insert(id, now);
        }
    }

    /// What was noted, as rows and times, for writing.
    pub fn take(&self) -> Vec<(i64, i64)> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(part.lock().unwrap_or_else(PoisonError::into_inner).drain());
        }
        // In the order of the table, so that neighbours share a page write.
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_read_that_tells_something_new_is_noted() {
        let recency = Recency::default();
        recency.note(3, 5 * STEP, 5 * STEP + 1);
        assert!(recency.take().is_empty());
        recency.note(3, 5 * STEP, 7 * STEP);
        recency.note(1, 0, 7 * STEP);
        recency.note(3, 5 * STEP, 8 * STEP);
        assert_eq!(recency.take(), [(1, 7 * STEP), (3, 8 * STEP)]);
        assert!(recency.take().is_empty());
    }

    #[test]
    fn the_number_of_notes_is_bounded() {
        let recency = Recency::default();
        for id in 0..200_000 {
            recency.note(id, 0, STEP);
        }
        assert_eq!(recency.take().len(), PART * PARTS);
    }
}
