//! S3-FIFO (Yang et al., SOSP 2023): three queues, and no moves on a hit.
//!
//! New entries pass through a small queue. Those that are hit there move on to the main queue, the
//! others leave, but their hashes are remembered by a ghost queue: whoever comes back soon goes to
//! the main queue at once. There, entries hit since they were last looked at go round again. One-off
//! keys thus cost a tenth of the room, and a hit is two bits in a record that was read anyway.

use super::ghost::Ghost;
use super::list::List;
use super::{Full, Policy};
use crate::hasher::Hasher;
use crate::slab::Slab;

/// The small queue's share of a shard is one part in this.
const SMALL_SHARE: u64 = 10;
/// Hits that an entry of the small queue needs in order to move on.
const PROMOTED: u8 = 1;

/// The queues of one shard.
#[derive(Debug, Default)]
pub struct S3Fifo {
    small: List,
    main: List,
    ghost: Ghost,
}

impl S3Fifo {
    fn queue(&mut self, slab: &Slab, slot: u32) -> &mut List {
        if slab.get(slot).in_main() {
            &mut self.main
        } else {
            &mut self.small
        }
    }

    fn enter(&mut self, slab: &mut Slab, slot: u32, main: bool) {
        slab.get_mut(slot).set_main(main);
        self.queue(slab, slot).push(slab, slot);
    }

    /// Whether the small queue has more than its share of what is short.
    fn small_is_over(&self, full: Full) -> bool {
        let (small, main) = match full {
            Full::Entries => (self.small.len() as u64, self.main.len() as u64),
            Full::Bytes => (self.small.bytes(), self.main.bytes()),
        };
        small * SMALL_SHARE >= small + main
    }
}

impl Policy for S3Fifo {
    fn inserted(&mut self, slab: &mut Slab, slot: u32, hash: u32) {
        let returning = self.ghost.take(hash);
        self.enter(slab, slot, returning);
    }

    #[inline(always)]
    fn hit(&mut self, _slab: &mut Slab, _slot: u32) {
        // The heat that the shard has raised is all there is to it.
    }

    fn reweighed(&mut self, slab: &Slab, slot: u32, before: u64, after: u64) {
        self.queue(slab, slot).reweigh(before, after);
    }

    fn removed(&mut self, slab: &mut Slab, slot: u32) {
        self.queue(slab, slot).unlink(slab, slot);
    }

    fn victim(&mut self, slab: &mut Slab, full: Full, hasher: &Hasher) -> Option<u32> {
        // Ends: each round removes an entry, moves one out of the small queue, or cools one.
        loop {
            let small = self.small.tail().filter(|_| self.small_is_over(full) || self.main.len() == 0);
            if let Some(slot) = small {
                self.small.unlink(slab, slot);
                if slab.get(slot).heat() < PROMOTED {
                    let capacity = self.small.len() + self.main.len() + 1;
                    self.ghost.remember(hasher.hash(slab.get(slot).key()), capacity);
                    return Some(slot);
                }
                slab.get_mut(slot).set_heat(0);
                self.enter(slab, slot, true);
                continue;
            }
            let slot = self.main.tail()?;
            match slab.get(slot).heat() {
                0 => {
                    self.main.unlink(slab, slot);
                    return Some(slot);
                }
                heat => {
                    slab.get_mut(slot).set_heat(heat - 1);
                    self.main.lift(slab, slot);
                }
            }
        }
    }

    fn kept(&mut self, slab: &mut Slab, slot: u32) {
        self.queue(slab, slot).push(slab, slot);
    }
}
