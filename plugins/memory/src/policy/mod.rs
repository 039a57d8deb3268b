//! Which entry leaves when there is no room: one file an algorithm, behind one trait.
//!
//! Policies keep their queues in the links of the records themselves, eight bytes an entry.

mod ghost;
mod list;
mod lru;
mod s3fifo;

use serde::Deserialize;

use super::hasher::Hasher;
use super::slab::Slab;

use lru::Lru;
use s3fifo::S3Fifo;

/// What there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// One more entry.
    Entries,
    /// More bytes.
    Bytes,
}

/// An eviction algorithm, as a shard sees it.
pub trait Policy {
    /// An entry came to be.
    fn inserted(&mut self, slab: &mut Slab, slot: u32, hash: u32);
    /// An entry was read or written, and its record's heat was raised. The hot path.
    fn hit(&mut self, slab: &mut Slab, slot: u32);
    /// An entry's charge changed from `before` to `after`.
    fn reweighed(&mut self, slab: &Slab, slot: u32, before: u64, after: u64);
    /// An entry is about to be removed for other reasons than room.
    fn removed(&mut self, slab: &mut Slab, slot: u32);
    /// Chooses the entry to evict and takes it out of the queues; `None` if there is none.
    fn victim(&mut self, slab: &mut Slab, full: Full, hasher: &Hasher) -> Option<u32>;
    /// Takes an entry back that was removed for the time of a choice.
    fn kept(&mut self, slab: &mut Slab, slot: u32);
}

/// The names of `policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Keeps what is used again, lets what is used once pass through.
    #[default]
    S3Fifo,
    /// Evicts what was not used for longest; exact within a shard.
    Lru,
}

/// The algorithm of one shard. An enum rather than a box: its `hit` is inlined into `get`.
pub enum AnyPolicy {
    S3Fifo(S3Fifo),
    Lru(Lru),
}

impl AnyPolicy {
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::S3Fifo => AnyPolicy::S3Fifo(S3Fifo::default()),
            Algorithm::Lru => AnyPolicy::Lru(Lru::default()),
        }
    }

    pub const fn algorithm(&self) -> Algorithm {
        match self {
            AnyPolicy::S3Fifo(_) => Algorithm::S3Fifo,
            AnyPolicy::Lru(_) => Algorithm::Lru,
        }
    }

    fn inner(&mut self) -> &mut dyn Policy {
        match self {
            AnyPolicy::S3Fifo(policy) => policy,
            AnyPolicy::Lru(policy) => policy,
        }
    }
}

impl Policy for AnyPolicy {
    fn inserted(&mut self, slab: &mut Slab, slot: u32, hash: u32) {
        self.inner().inserted(slab, slot, hash);
    }

    #[inline(always)]
    fn hit(&mut self, slab: &mut Slab, slot: u32) {
        match self {
            AnyPolicy::S3Fifo(policy) => policy.hit(slab, slot),
            AnyPolicy::Lru(policy) => policy.hit(slab, slot),
        }
    }

    fn reweighed(&mut self, slab: &Slab, slot: u32, before: u64, after: u64) {
        self.inner().reweighed(slab, slot, before, after);
    }

    fn removed(&mut self, slab: &mut Slab, slot: u32) {
        self.inner().removed(slab, slot);
    }

    fn victim(&mut self, slab: &mut Slab, full: Full, hasher: &Hasher) -> Option<u32> {
        self.inner().victim(slab, full, hasher)
    }

    fn kept(&mut self, slab: &mut Slab, slot: u32) {
        self.inner().kept(slab, slot);
    }
}
