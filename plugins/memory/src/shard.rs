//! One shard: what is done under one lock. Nothing here calls the host or drops a value that was
//! stored; what leaves goes to the caller, who lets go of it after unlocking.

use std::ops::Range;

use retainit_plugin_api::sdk::{Call, Evicted, Item, Token, Value};

use super::gone::Departed;
use super::hasher::Hasher;
use super::index::Index;
use super::key::Key;
use super::policy::{Algorithm, AnyPolicy, Full, Policy};
use super::record::Record;
use super::slab::Slab;
use super::tables::Tables;

/// Entries, index and queues of one part of the keys.
#[repr(C)]
pub struct Shard {
    // In the order of use by a hit, beginning in the lock's cache line.
    index: Index,
    slab: Slab,
    policy: AnyPolicy,
    tables: Tables,
    /// Random, and another one after each removal of everything: the part of tokens that tells
    /// apart entries which had the same slot.
    stamp: u64,
    bytes: u64,
    evictions: u64,
    expirations: u64,
}

/// Numbers of one shard.
#[derive(Debug, Default, Clone, Copy)]
pub struct Numbers {
    /// Entries, expired ones that were not reclaimed yet included.
    pub entries: u64,
    /// Their charges.
    pub bytes: u64,
    /// Entries that left for want of room.
    pub evictions: u64,
    /// Entries that left because they had expired.
    pub expirations: u64,
    /// Bytes allocated for records and index.
    pub allocated: u64,
}

impl Shard {
    /// An empty shard.
    pub fn new(algorithm: Algorithm, stamp: u64) -> Self {
        Shard {
            index: Index::default(),
            slab: Slab::default(),
            policy: AnyPolicy::new(algorithm),
            tables: Tables::default(),
            stamp,
            bytes: 0,
            evictions: 0,
            expirations: 0,
        }
    }

    /// Reads an entry and counts the hit.
    #[inline(always)]
    pub fn read(&mut self, call: &Call<'_>, hash: u32, key: &[u8]) -> Option<Item> {
        let slot = self.find(hash, key)?;
        let record = self.slab.get_mut(slot);
        if record.is_expired(call.now()) {
            return None;
        }
        let (expires, version) = (record.expires, record.version);
        record.warm();
        let value = record.share(call, &self.tables);
        self.policy.hit(&mut self.slab, slot);
        Some(Item { value, expires, token: self.token_of(slot, version) })
    }

    /// The slot of a key, expired or not.
    #[inline(always)]
    pub fn find(&self, hash: u32, key: &[u8]) -> Option<u32> {
        self.index.find(hash, |slot| self.slab.get(slot).has_key(key))
    }

    /// The record in a slot.
    pub fn record(&self, slot: u32) -> &Record {
        self.slab.get(slot)
    }

    /// The value's bytes, `None` for an object.
    pub fn bytes_of(&self, slot: u32) -> Option<&[u8]> {
        self.slab.get(slot).bytes(&self.tables)
    }

    /// The version of the entry in a slot: no other entry or version ever has the same one, except
    /// after four billion writes to one slot.
    #[inline(always)]
    pub fn token(&self, slot: u32) -> Token {
        self.token_of(slot, self.slab.get(slot).version)
    }

    /// A token that no entry has, for one that was not kept.
    pub fn token_of_none(&self) -> Token {
        self.token_of(u32::MAX, u32::MAX)
    }

    #[inline(always)]
    fn token_of(&self, slot: u32, version: u32) -> Token {
        let low = u128::from(u64::from(slot) << 32 | u64::from(version));
        Token { bytes: (u128::from(self.stamp) << 64 | low).to_ne_bytes() }
    }

    /// Stores an entry whose key is not there.
    pub fn insert(&mut self, hash: u32, key: &[u8], value: Value, expires: i64) -> u32 {
        let slot = self.slab.insert(key, value, expires, &mut self.tables);
        self.bytes += self.slab.get(slot).charge();
        self.index.insert(hash, slot);
        self.policy.inserted(&mut self.slab, slot, hash);
        slot
    }

    /// Gives an entry another value; returns the old one.
    pub fn replace(&mut self, slot: u32, value: Value, expires: i64) -> Value {
        let record = self.slab.get_mut(slot);
        let before = record.charge();
        let old = record.replace(value, expires, &mut self.tables);
        let after = record.charge();
        self.slab.note_expiry(slot, expires);
        self.bytes = self.bytes - before + after;
        self.policy.reweighed(&self.slab, slot, before, after);
        self.hit(slot);
        old
    }

    /// Gives an entry another time to live.
    pub fn touch(&mut self, slot: u32, expires: i64) {
        self.slab.get_mut(slot).expires = expires;
        self.slab.note_expiry(slot, expires);
        self.hit(slot);
    }

    /// Removes an entry.
    pub fn remove(&mut self, hasher: &Hasher, slot: u32) -> (Key, Value) {
        self.policy.removed(&mut self.slab, slot);
        self.detach(hasher, slot)
    }

    /// Removes an entry of the policy's choice, other than `keep`.
    pub fn evict(&mut self, full: Full, keep: Option<u32>, now: i64, hasher: &Hasher) -> Option<Departed> {
        if self.slab.len() <= usize::from(keep.is_some()) {
            return None;
        }
        // What must stay is taken out of the queues for the choice, rather than chosen and spared
        // again and again.
        keep.inspect(|&kept| self.policy.removed(&mut self.slab, kept));
        let victim = self.policy.victim(&mut self.slab, full, hasher);
        keep.inspect(|&kept| self.policy.kept(&mut self.slab, kept));
        let slot = victim?;
        let reason = if self.slab.get(slot).is_expired(now) { Evicted::Expired } else { Evicted::Capacity };
        match reason {
            Evicted::Expired => self.expirations += 1,
            _ => self.evictions += 1,
        }
        let (key, value) = self.detach(hasher, slot);
        Some(Departed { key, value, reason })
    }

    /// Removes the expired entries of a block.
    pub fn expire(&mut self, block: usize, now: i64, hasher: &Hasher, gone: &mut Vec<Departed>) {
        if self.slab.due(block) > now {
            return;
        }
        self.slab.reset_due(block);
        for slot in self.slab.slots(block) {
            let record = self.slab.get(slot);
            if !record.is_live() {
                continue;
            }
            if record.is_expired(now) {
                let (key, value) = self.remove(hasher, slot);
                self.expirations += 1;
                gone.push(Departed { key, value, reason: Evicted::Expired });
            } else {
                let expires = record.expires;
                self.slab.note_expiry(slot, expires);
            }
        }
    }

    /// The live entries of a block.
    pub fn live(&self, block: usize) -> impl Iterator<Item = (u32, &Record)> {
        self.slots(block).map(|slot| (slot, self.slab.get(slot))).filter(|(_, record)| record.is_live())
    }

    /// The slots of a block; none beyond the last block.
    pub fn slots(&self, block: usize) -> Range<u32> {
        self.slab.slots(block)
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.slab.blocks()
    }

    /// No entry expires before this.
    pub fn soonest(&self) -> i64 {
        self.slab.soonest()
    }

    /// Leaves an empty shard; the caller drops the full one, which lets go of the values.
    pub fn take_all(&mut self) -> Shard {
        let mut empty = Shard::new(self.policy.algorithm(), self.stamp.wrapping_add(1));
        (empty.evictions, empty.expirations) = (self.evictions, self.expirations);
        std::mem::replace(self, empty)
    }

    /// Numbers.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            entries: self.slab.len() as u64,
            bytes: self.bytes,
            evictions: self.evictions,
            expirations: self.expirations,
            allocated: (self.slab.allocated() + self.index.allocated()) as u64,
        }
    }

    fn hit(&mut self, slot: u32) {
        self.slab.get_mut(slot).warm();
        self.policy.hit(&mut self.slab, slot);
    }

    /// Takes an entry out of index and slab; it is in no queue any more.
    fn detach(&mut self, hasher: &Hasher, slot: u32) -> (Key, Value) {
        let record = self.slab.get(slot);
        self.bytes -= record.charge();
        self.index.remove(hasher.hash(record.key()), slot);
        self.slab.remove(slot, &self.tables)
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        for block in 0..self.slab.blocks() {
            for slot in self.slab.slots(block) {
                if self.slab.get(slot).is_live() {
                    drop(self.slab.remove(slot, &self.tables));
                }
            }
        }
    }
}
