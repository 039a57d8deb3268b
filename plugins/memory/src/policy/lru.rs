//! Least recently used.

use super::list::List;
use super::{Full, Policy};
use crate::hasher::Hasher;
use crate::slab::Slab;

/// One queue in the order of use. Exact: with one shard it is the order of `functools.lru_cache`.
#[derive(Debug, Default)]
pub struct Lru {
    queue: List,
}

impl Policy for Lru {
    fn inserted(&mut self, slab: &mut Slab, slot: u32, _hash: u32) {
        self.queue.push(slab, slot);
    }

    #[inline(always)]
    fn hit(&mut self, slab: &mut Slab, slot: u32) {
        // A key that is read again and again is already there, and nothing is written.
        if self.queue.head() != slot {
            self.queue.lift(slab, slot);
        }
    }

    fn reweighed(&mut self, _slab: &Slab, _slot: u32, before: u64, after: u64) {
        self.queue.reweigh(before, after);
    }

    fn removed(&mut self, slab: &mut Slab, slot: u32) {
        self.queue.unlink(slab, slot);
    }

    fn victim(&mut self, slab: &mut Slab, _full: Full, _hasher: &Hasher) -> Option<u32> {
        let slot = self.queue.tail()?;
        self.queue.unlink(slab, slot);
        Some(slot)
    }

    fn kept(&mut self, slab: &mut Slab, slot: u32) {
        self.queue.push(slab, slot);
    }
}
