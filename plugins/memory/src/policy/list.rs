//! A queue of records, linked by slot numbers.

use crate::record::NIL;
use crate::slab::Slab;

/// New entries come to the head, victims leave at the tail.
#[derive(Debug)]
pub struct List {
    head: u32,
    tail: u32,
    len: usize,
    bytes: u64,
}

impl Default for List {
    fn default() -> Self {
        List { head: NIL, tail: NIL, len: 0, bytes: 0 }
    }
}

impl List {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Sum of the entries' charges.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first entry, or [`NIL`].
    #[inline(always)]
    pub fn head(&self) -> u32 {
        self.head
    }

    /// The last entry.
    pub fn tail(&self) -> Option<u32> {
        (self.tail != NIL).then_some(self.tail)
    }

    /// An entry's charge changed.
    pub fn reweigh(&mut self, before: u64, after: u64) {
        self.bytes = self.bytes - before + after;
    }

    /// Puts an entry at the head.
    pub fn push(&mut self, slab: &mut Slab, slot: u32) {
        self.link(slab, slot);
        self.len += 1;
        self.bytes += slab.get(slot).charge();
    }

    /// Takes an entry out, wherever it is.
    pub fn unlink(&mut self, slab: &mut Slab, slot: u32) {
        self.cut(slab, slot);
        self.len -= 1;
        self.bytes -= slab.get(slot).charge();
    }

    /// Moves an entry to the head.
    pub fn lift(&mut self, slab: &mut Slab, slot: u32) {
        self.cut(slab, slot);
        self.link(slab, slot);
    }

    fn link(&mut self, slab: &mut Slab, slot: u32) {
        let record = slab.get_mut(slot);
        record.prev = NIL;
        record.next = self.head;
        match self.head {
            NIL => self.tail = slot,
            head => slab.get_mut(head).prev = slot,
        }
        self.head = slot;
    }

    fn cut(&mut self, slab: &mut Slab, slot: u32) {
        let record = slab.get(slot);
        let (prev, next) = (record.prev, record.next);
        match prev {
            NIL => self.head = next,
            prev => slab.get_mut(prev).next = next,
        }
        match next {
            NIL => self.tail = prev,
            next => slab.get_mut(next).prev = prev,
        }
    }
}
