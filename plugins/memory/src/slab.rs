//! Records in chunks: growing never moves more than one chunk, and a slot's number never changes.

use retainit_plugin_api::sdk::{Value, NEVER};

use super::key::Key;
use super::record::{Record, NIL};
use super::tables::Tables;

/// Records of a chunk: 64 KiB.
const CHUNK: usize = 1024;
const SHIFT: u32 = CHUNK.trailing_zeros();
/// Records that are walked under one hold of the lock.
const BLOCK: usize = 256;

/// The records of one shard.
#[derive(Default)]
pub struct Slab {
    chunks: Vec<Vec<Record>>,
    /// For each block, no entry of it expires before this; what sweeps skip by.
    due: Vec<i64>,
    free: Option<u32>,
    len: usize,
}

impl Slab {
    /// The record in `slot`, which must have been given out.
    #[inline(always)]
    pub fn get(&self, slot: u32) -> &Record {
        let (chunk, place) = self.place(slot);
        // SAFETY: chunks and their records are never taken away, and `place` has asserted what this
        // relies on. The two checks would be a tenth of the time of a hit.
        unsafe { self.chunks.get_unchecked(chunk).get_unchecked(place) }
    }

    /// The record in `slot`, which must have been given out.
    #[inline(always)]
    pub fn get_mut(&mut self, slot: u32) -> &mut Record {
        let (chunk, place) = self.place(slot);
        // SAFETY: as above.
        unsafe { self.chunks.get_unchecked_mut(chunk).get_unchecked_mut(place) }
    }

    /// Where `slot` is. Slots come from this slab alone: from `insert` by way of the index, the
    /// queues and the list of free slots, all of them thrown away together with the slab.
    #[inline(always)]
    fn place(&self, slot: u32) -> (usize, usize) {
        let (chunk, place) = (slot as usize >> SHIFT, slot as usize & (CHUNK - 1));
        debug_assert!(place < self.chunks[chunk].len());
        (chunk, place)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.due.len()
    }

    /// Slots of a block that are or were in use; none beyond the last block.
    pub fn slots(&self, block: usize) -> std::ops::Range<u32> {
        let start = block * BLOCK;
        let in_use = self.chunks.get(start >> SHIFT).map_or(0, Vec::len) + (start & !(CHUNK - 1));
        start as u32..in_use.clamp(start, start + BLOCK) as u32
    }

    /// The block that `slot` is in.
    pub const fn block(slot: u32) -> usize {
        slot as usize / BLOCK
    }

    /// Stores an entry.
    pub fn insert(&mut self, key: &[u8], value: Value, expires: i64, tables: &mut Tables) -> u32 {
        let slot = self.vacant();
        self.get_mut(slot).fill(key, value, expires, tables);
        self.note_expiry(slot, expires);
        self.len += 1;
        slot
    }

    /// Removes an entry, and keeps its slot for the next one.
    pub fn remove(&mut self, slot: u32, tables: &Tables) -> (Key, Value) {
        let free = self.free.replace(slot).unwrap_or(NIL);
        let record = self.get_mut(slot);
        let taken = record.take(tables);
        record.next = free;
        self.len -= 1;
        taken
    }

    /// Must be called after an entry's expiry was set.
    pub fn note_expiry(&mut self, slot: u32, expires: i64) {
        let due = &mut self.due[Self::block(slot)];
        *due = expires.min(*due);
    }

    /// No entry of the block expires before this.
    pub fn due(&self, block: usize) -> i64 {
        self.due.get(block).copied().unwrap_or(NEVER)
    }

    /// Starts a new estimate of [`Slab::due`]; the caller notes what it meets.
    pub fn reset_due(&mut self, block: usize) {
        self.due[block] = NEVER;
    }

    /// No entry expires before this.
    pub fn soonest(&self) -> i64 {
        self.due.iter().copied().min().unwrap_or(NEVER)
    }

    /// Bytes allocated for records.
    pub fn allocated(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Record>()).sum()
    }

    fn vacant(&mut self) -> u32 {
        if let Some(slot) = self.free {
            let next = self.get(slot).next;
            self.free = (next != NIL).then_some(next);
            self.get_mut(slot).next = NIL;
            return slot;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first chunk starts small and doubles, so that a cache of a hundred entries does
            // not take 64 KiB; the others come whole and never move.
            let capacity = if self.chunks.is_empty() { 8 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
            self.due.resize(self.chunks.len() * (CHUNK / BLOCK), NEVER);
        }
        let chunk = self.chunks.len() - 1;
        let records = &mut self.chunks[chunk];
        records.push(Record::FREE);
        ((chunk << SHIFT) + records.len() - 1) as u32
    }
}
