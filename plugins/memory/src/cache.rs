//! The shards together: choosing one, making room, walking over all of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use retainit_plugin_api::sdk::{
    glob, Call, Error, ErrorKind, Host, Item, Result, ScanPage, Token, Value, NEVER,
};

use super::budget::Budget;
use super::config::Config;
use super::gone::{report, Gone};
use super::hasher::{random_word, Hasher};
use super::lock::{Guard, Locked};
use super::record::{charge, Record};
use super::shard::{Numbers, Shard};

/// A shard in cache lines of its own, so that threads in different shards do not meet.
#[repr(C, align(128))]
struct Padded(Locked<Shard>);

/// Everything that is stored.
pub struct Cache {
    shards: Box<[Padded]>,
    hasher: Hasher,
    budget: Budget,
    host: Host,
    refused: AtomicU64,
}

/// When a write takes place.
#[derive(Debug, Clone, Copy)]
pub enum Condition {
    /// Whatever is there.
    Always,
    /// Where the entry's token is this one; zero: where no entry is.
    Token(Token),
}

/// A write.
pub struct Write<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: Value,
    /// When it expires, on the host's clock.
    pub expires: i64,
    /// When it takes place.
    pub condition: Condition,
}

/// What a read under the lock found, for a write that builds on it.
pub struct Seen<T> {
    /// What was asked for.
    pub what: T,
    /// When the entry expires.
    pub expires: i64,
    /// The entry's version.
    pub token: Token,
}

impl Cache {
    /// An empty cache.
    pub fn new(config: &Config, hasher: Hasher, host: Host) -> Self {
        let shards =
            (0..config.shards()).map(|_| Padded(Locked::new(Shard::new(config.policy, random_word()))));
        Cache {
            shards: shards.collect(),
            hasher,
            budget: Budget::new(config.max_size, config.max_bytes),
            host,
            refused: AtomicU64::new(0),
        }
    }

    /// Reads an entry. The hot path: one hash, one lock, and in a warm process three cache lines
    /// (lock, index, record) before the value's own.
    #[inline(always)]
    pub fn get(&self, call: &Call<'_>, key: &[u8]) -> Option<Item> {
        let hash = self.hasher.hash(key);
        self.shard(hash).lock().read(call, hash, key)
    }

    /// Looks at an entry with `look`, without counting a hit.
    pub fn peek<T>(&self, key: &[u8], now: i64, look: impl FnOnce(Option<&[u8]>) -> T) -> Option<Seen<T>> {
        let hash = self.hasher.hash(key);
        let shard = self.shard(hash).lock();
        let slot = shard.find(hash, key).filter(|&slot| !shard.record(slot).is_expired(now))?;
        let (expires, token) = (shard.record(slot).expires, shard.token(slot));
        Some(Seen { what: look(shard.bytes_of(slot)), expires, token })
    }

    /// Stores an entry; the new token, or `None` where the condition did not hold.
    pub fn put(&self, now: i64, write: Write<'_>) -> Option<Token> {
        let Write { key, value, expires, condition } = write;
        let hash = self.hasher.hash(key);
        let charge = charge(key.len(), value.weight());
        if !self.budget.admits(charge) {
            return self.refuse(now, hash, key, condition);
        }
        let mut gone = Gone::default();
        loop {
            let mut shard = self.shard(hash).lock();
            let found = shard.find(hash, key);
            if !holds(&shard, found, now, condition) {
                return None;
            }
            let (entries, before) = match found {
                Some(slot) => (0, shard.record(slot).charge()),
                None => (1, 0),
            };
            if !self.make_room(&mut shard, entries, charge.saturating_sub(before), found, now, &mut gone) {
                drop(shard);
                self.make_room_elsewhere(hash, now, &mut gone);
                continue;
            }
            let slot = match found {
                Some(slot) => {
                    self.budget.release(0, before.saturating_sub(charge));
                    gone.value = Some(shard.replace(slot, value, expires));
                    slot
                }
                None => shard.insert(hash, key, value, expires),
            };
            let token = shard.token(slot);
            drop(shard);
            gone.report(&self.host);
            return Some(token);
        }
    }

    /// Gives an entry another expiry; says whether it was there.
    pub fn touch(&self, now: i64, key: &[u8], expires: i64) -> bool {
        let hash = self.hasher.hash(key);
        let mut shard = self.shard(hash).lock();
        let found = shard.find(hash, key).filter(|&slot| !shard.record(slot).is_expired(now));
        if let Some(slot) = found {
            shard.touch(slot, expires);
        }
        found.is_some()
    }

    /// Removes an entry; says whether it was there.
    pub fn delete(&self, now: i64, key: &[u8]) -> bool {
        let hash = self.hasher.hash(key);
        let mut shard = self.shard(hash).lock();
        let Some(slot) = shard.find(hash, key) else {
            return false;
        };
        let expired = shard.record(slot).is_expired(now);
        let removed = self.remove(&mut shard, slot);
        drop(shard);
        drop(removed);
        !expired
    }

    /// Removes the entries under a prefix; says how many there were.
    pub fn clear(&self, now: i64, prefix: &[u8]) -> u64 {
        if prefix.is_empty() {
            return self.clear_all(now);
        }
        let mut removed = 0;
        let mut values = Vec::new();
        self.walk(|mut shard, block| {
            for slot in shard.slots(block) {
                let record = shard.record(slot);
                if record.is_live() && record.key().starts_with(prefix) {
                    removed += u64::from(!record.is_expired(now));
                    values.push(self.remove(&mut shard, slot));
                }
            }
            drop(shard);
            values.clear();
        });
        removed
    }

    /// Counts the entries under a prefix. Without one it takes constant time, but for expired
    /// entries, which it reclaims.
    pub fn count(&self, now: i64, prefix: &[u8]) -> u64 {
        if prefix.is_empty() {
            if now != 0 && self.soonest() <= now {
                self.sweep(now, &AtomicBool::new(false));
            }
            return self.budget.entries();
        }
        let mut count = 0;
        self.walk(|shard, block| {
            count += shard.live(block).filter(|(_, record)| is_asked_for(record, now, prefix)).count() as u64;
        });
        count
    }

    /// A page of keys. The cursor is a slot (and its shard) plus one: entries keep their slots, so
    /// those that stay are met once, whatever else comes and goes.
    pub fn scan(&self, now: i64, prefix: &[u8], pattern: &[u8], cursor: u64, limit: usize) -> ScanPage {
        let mut page = ScanPage::default();
        let (first_shard, first_slot) = ((cursor >> 32) as usize, cursor as u32);
        for (number, padded) in self.shards.iter().enumerate().skip(first_shard) {
            let from = if number == first_shard { first_slot } else { 0 };
            let mut block = super::slab::Slab::block(from);
            loop {
                let shard = padded.0.lock();
                if block >= shard.blocks() {
                    break;
                }
                for (slot, record) in shard.live(block).filter(|(slot, _)| *slot >= from) {
                    if !is_asked_for(record, now, prefix) || !glob(pattern, record.key()) {
                        continue;
                    }
                    if page.keys.len() == limit {
                        page.next = std::num::NonZeroU64::new((number as u64) << 32 | u64::from(slot));
                        return page;
                    }
                    page.keys.push(record.key().to_vec());
                }
                block += 1;
            }
        }
        page
    }

    /// Reclaims expired entries, a block under each hold of a lock, until `stop` says so.
    pub fn sweep(&self, now: i64, stop: &AtomicBool) {
        let mut gone = Vec::new();
        self.walk(|mut shard, block| {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            shard.expire(block, now, &self.hasher, &mut gone);
            self.budget.release(gone.len() as u64, gone.iter().map(|each| each.charge()).sum());
            drop(shard);
            report(&self.host, &gone);
            gone.clear();
        });
    }

    /// No entry expires before this.
    pub fn soonest(&self) -> i64 {
        self.shards.iter().map(|padded| padded.0.lock().soonest()).min().unwrap_or(NEVER)
    }

    /// Numbers of all shards together, and how many entries were too large to be stored.
    pub fn numbers(&self) -> (Numbers, u64) {
        let sum = self.shards.iter().map(|padded| padded.0.lock().numbers()).fold(
            Numbers::default(),
            |sum, one| Numbers {
                entries: sum.entries + one.entries,
                bytes: sum.bytes + one.bytes,
                evictions: sum.evictions + one.evictions,
                expirations: sum.expirations + one.expirations,
                allocated: sum.allocated + one.allocated,
            },
        );
        (sum, self.refused.load(Ordering::Relaxed))
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Takes every lock, for `fork`.
    pub fn acquire_all(&self) {
        self.shards.iter().for_each(|padded| padded.0.acquire());
    }

    /// Gives every lock back.
    pub fn release_all(&self) {
        self.shards.iter().for_each(|padded| padded.0.release());
    }

    #[inline(always)]
    fn shard(&self, hash: u32) -> &Locked<Shard> {
        // The number of shards is a power of two; the mask also shows that the index is in bounds.
        &self.shards[hash as usize & (self.shards.len() - 1)].0
    }

    /// Takes room for a write in this shard, evicting what it takes; `false` if there is nothing
    /// left here to evict.
    fn make_room(
        &self,
        shard: &mut Shard,
        entries: u64,
        bytes: u64,
        keep: Option<u32>,
        now: i64,
        gone: &mut Gone,
    ) -> bool {
        while let Err(full) = self.budget.reserve(entries, bytes) {
            let Some(departed) = shard.evict(full, keep, now, &self.hasher) else {
                return false;
            };
            self.budget.release(1, departed.charge());
            gone.push(departed);
        }
        true
    }

    /// Evicts one entry of some other shard. Only for caches of few or very unequal entries.
    #[cold]
    fn make_room_elsewhere(&self, hash: u32, now: i64, gone: &mut Gone) {
        let own = hash as usize;
        for distance in 1..self.shards.len() {
            let mut shard = self.shards[(own + distance) & (self.shards.len() - 1)].0.lock();
            if let Some(departed) = shard.evict(super::policy::Full::Entries, None, now, &self.hasher) {
                self.budget.release(1, departed.charge());
                drop(shard);
                gone.push(departed);
                return;
            }
        }
        // All room is taken by writes under way in other threads.
        std::thread::yield_now();
    }

    /// A write of what can never fit: what was there is gone all the same, since it is outdated.
    #[cold]
    fn refuse(&self, now: i64, hash: u32, key: &[u8], condition: Condition) -> Option<Token> {
        let mut shard = self.shard(hash).lock();
        let found = shard.find(hash, key);
        if !holds(&shard, found, now, condition) {
            return None;
        }
        let removed = found.map(|slot| self.remove(&mut shard, slot));
        let token = shard.token_of_none();
        drop(shard);
        drop(removed);
        self.refused.fetch_add(1, Ordering::Relaxed);
        Some(token)
    }

    fn remove(&self, shard: &mut Shard, slot: u32) -> (super::key::Key, Value) {
        let charge = shard.record(slot).charge();
        self.budget.release(1, charge);
        shard.remove(&self.hasher, slot)
    }

    fn clear_all(&self, now: i64) -> u64 {
        let mut removed = 0;
        for padded in &self.shards {
            let mut shard = padded.0.lock();
            let all = shard.take_all();
            let numbers = all.numbers();
            self.budget.release(numbers.entries, numbers.bytes);
            drop(shard);
            let live = |block| all.live(block).filter(|(_, record)| !record.is_expired(now)).count() as u64;
            removed += (0..all.blocks()).map(live).sum::<u64>();
        }
        removed
    }

    /// Calls `visit` for every block of every shard, locked anew for each.
    fn walk<'a>(&'a self, mut visit: impl FnMut(Guard<'a, Shard>, usize)) {
        for padded in &self.shards {
            for block in 0.. {
                let shard = padded.0.lock();
                if block >= shard.blocks() {
                    break;
                }
                visit(shard, block);
            }
        }
    }
}

/// Whether the condition of a write holds for what is there.
fn holds(shard: &Shard, found: Option<u32>, now: i64, condition: Condition) -> bool {
    let Condition::Token(token) = condition else {
        return true;
    };
    let found = found.filter(|&slot| !shard.record(slot).is_expired(now));
    token == found.map_or(Token::default(), |slot| shard.token(slot))
}

fn is_asked_for(record: &Record, now: i64, prefix: &[u8]) -> bool {
    record.key().starts_with(prefix) && !record.is_expired(now)
}

/// A decimal integer, as `increment` keeps it.
pub fn integer(bytes: Option<&[u8]>) -> Result<i64> {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.parse().ok()).ok_or_else(
        || {
            Error::new(
                ErrorKind::Invalid,
                "the entry is not a counter: expected a decimal integer of 64 bits",
            )
        },
    )
}
