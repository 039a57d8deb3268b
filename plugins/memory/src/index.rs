//! From a key's hash to the slot of its record.
//!
//! An open-addressing table of eight-byte entries (32 bits of hash, slot + 1), probed linearly. A
//! lookup therefore touches one cache line here and, because the hash is compared first, one record;
//! a table with separate control bytes touches three lines. The home position is the hash scaled to
//! the capacity, not masked: capacities need not be powers of two, so growth by a half wastes less
//! memory, and moving to a larger table is one sequential pass, because the order stays the same.

/// Growth happens above this load, in eighths.
const MAX_LOAD: usize = 6;
const SMALLEST: usize = 16;

/// The index of one shard.
#[derive(Debug, Default)]
pub struct Index {
    entries: Box<[u64]>,
    len: usize,
}

impl Index {
    /// The slot whose entry has `hash` and satisfies `is_key`.
    #[inline(always)]
    pub fn find(&self, hash: u32, mut is_key: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.entries.is_empty() {
            return None;
        }
        let mut position = self.home(hash);
        loop {
            let entry = self.entries[position];
            if entry == 0 {
                return None;
            }
            if hash_of(entry) == hash && is_key(slot_of(entry)) {
                return Some(slot_of(entry));
            }
            position = self.after(position);
        }
    }

    /// Adds an entry; the caller knows that its key is not there.
    pub fn insert(&mut self, hash: u32, slot: u32) {
        if (self.len + 1) * 8 > self.entries.len() * MAX_LOAD {
            self.grow();
        }
        self.place(entry(hash, slot));
        self.len += 1;
    }

    /// Removes the entry of `slot`, which must be there under `hash`.
    pub fn remove(&mut self, hash: u32, slot: u32) {
        let mut hole = self.home(hash);
        while self.entries[hole] != entry(hash, slot) {
            assert_ne!(self.entries[hole], 0, "slot {slot} is not in the index");
            hole = self.after(hole);
        }
        // Closing the hole, rather than marking it, keeps probes short for ever.
        let mut next = self.after(hole);
        while self.entries[next] != 0 {
            let home = self.home(hash_of(self.entries[next]));
            let stays = if hole < next { hole < home && home <= next } else { hole < home || home <= next };
            if !stays {
                self.entries[hole] = self.entries[next];
                hole = next;
            }
            next = self.after(next);
        }
        self.entries[hole] = 0;
        self.len -= 1;
    }

    /// Bytes allocated.
    pub fn allocated(&self) -> usize {
        self.entries.len() * size_of::<u64>()
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.entries.len() as u64) >> 32) as usize
    }

    #[inline(always)]
    fn after(&self, position: usize) -> usize {
        let next = position + 1;
        if next == self.entries.len() {
            0
        } else {
            next
        }
    }

    fn place(&mut self, entry: u64) {
        let mut position = self.home(hash_of(entry));
        while self.entries[position] != 0 {
            position = self.after(position);
        }
        self.entries[position] = entry;
    }

    #[cold]
    fn grow(&mut self) {
        let larger = (self.entries.len() + self.entries.len() / 2).max(SMALLEST);
        let old = std::mem::replace(&mut self.entries, vec![0; larger].into_boxed_slice());
        old.iter().filter(|&&entry| entry != 0).for_each(|&entry| self.place(entry));
    }
}

const fn entry(hash: u32, slot: u32) -> u64 {
    (hash as u64) << 32 | (slot as u64 + 1)
}

const fn hash_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

const fn slot_of(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_map(operations in prop::collection::vec((any::<bool>(), 0_u32..64), 1..400)) {
            let (mut index, mut model) = (Index::default(), HashMap::new());
            // Few distinct hashes, near the end of the range, so that probes collide and wrap.
            let hash = |slot: u32| u32::MAX - (slot % 5) * 0x0400_0000;
            for (add, slot) in operations {
                let found = index.find(hash(slot), |other| other == slot);
                prop_assert_eq!(found, model.get(&slot).copied());
                if add && found.is_none() {
                    index.insert(hash(slot), slot);
                    model.insert(slot, slot);
                } else if !add && found.is_some() {
                    index.remove(hash(slot), slot);
                    model.remove(&slot);
                }
            }
            for slot in 0..64 {
                prop_assert_eq!(index.find(hash(slot), |other| other == slot), model.get(&slot).copied());
            }
        }
    }
}
