//! One entry, in one cache line.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | the value's owner (or a boxed value where it does not pack) |
//! | 8 | expiry |
//! | 4 + 4 | the value's length or weight, and where its bytes start, relative to the owner |
//! | 4 + 4 | links of the policy's queue |
//! | 4 | version |
//! | 1 + 1 + 1 | table number, flags, key length |
//! | 25 | the key, or a pointer to it |

use std::ffi::c_void;
use std::mem::ManuallyDrop;

use retainit_plugin_api::abi::value as raw;
use retainit_plugin_api::sdk::{Call, Value, NEVER};

use super::key::Key;
use super::tables::Tables;

/// No slot.
pub const NIL: u32 = u32::MAX;
/// Longer keys have an allocation of their own.
pub const INLINE_KEY: usize = 24;
/// [`Record::key_len`] of a key with an allocation of its own.
const LONG: u8 = u8::MAX;
/// What an entry is charged beyond its key and value: its record, its share of the index and of the
/// ghost queue, less the key bytes that the record holds.
pub const OVERHEAD: u64 = 80;

/// Bits 0 and 1 of the flags: the value's kind.
const KIND: u8 = 0b11;
const LIVE: u8 = 1 << 2;
const BOXED: u8 = 1 << 3;
/// Two bits that count hits.
const HEAT_SHIFT: u8 = 4;
const HEAT: u8 = 0b11 << HEAT_SHIFT;
const MAIN: u8 = 1 << 6;

/// An entry, or a free slot.
#[repr(C, align(64))]
pub struct Record {
    owner: *mut c_void,
    /// On the host's monotonic clock.
    pub expires: i64,
    len: u32,
    offset: i32,
    /// Neighbour in the policy's queue, towards its head.
    pub prev: u32,
    /// Neighbour in the policy's queue, towards its tail; in a free slot the next free one.
    pub next: u32,
    /// Grows with every write to this slot and outlives the entries in it.
    pub version: u32,
    table: u8,
    flags: u8,
    key_len: u8,
    key: [u8; INLINE_KEY + 1],
}

const _: () = assert!(size_of::<Record>() == 64);

// SAFETY: what the pointers reach are values and keys owned by the record, which may be released on
// any thread.
unsafe impl Send for Record {}

impl Record {
    /// A free slot.
    pub const FREE: Record = Record {
        owner: std::ptr::null_mut(),
        expires: NEVER,
        len: 0,
        offset: 0,
        prev: NIL,
        next: NIL,
        version: 0,
        table: 0,
        flags: 0,
        key_len: 0,
        key: [0; INLINE_KEY + 1],
    };

    /// Whether an entry lives here.
    #[inline(always)]
    pub const fn is_live(&self) -> bool {
        self.flags & LIVE != 0
    }

    /// Whether the entry is over at `now`; zero stands for "no expiry is to be looked at".
    #[inline(always)]
    pub const fn is_expired(&self, now: i64) -> bool {
        now != 0 && self.expires <= now
    }

    /// Puts an entry into a free slot.
    pub fn fill(&mut self, key: &[u8], value: Value, expires: i64, tables: &mut Tables) {
        debug_assert!(!self.is_live());
        self.put_key(key);
        self.flags = LIVE;
        self.expires = expires;
        self.version = next_version(self.version);
        self.pack(value, tables);
    }

    /// Gives the entry another value; the old one is to be dropped outside the lock.
    pub fn replace(&mut self, value: Value, expires: i64, tables: &mut Tables) -> Value {
        let old = self.unpack(tables);
        self.expires = expires;
        self.version = next_version(self.version);
        self.pack(value, tables);
        old
    }

    /// Empties the slot.
    pub fn take(&mut self, tables: &Tables) -> (Key, Value) {
        let value = self.unpack(tables);
        let key = match self.long_key() {
            Some((ptr, len)) => {
                // SAFETY: made by `put_key` from a box, which this takes back once: the slot is free after this.
                Key::Long(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(ptr, len)) })
            }
            None => Key::short(self.key()),
        };
        let version = self.version;
        // Nothing is left in it that `Record::FREE` would have to release.
        *self = Record { version, ..Record::FREE };
        (key, value)
    }

    /// A second reference to the value.
    #[inline(always)]
    pub fn share(&self, call: &Call<'_>, tables: &Tables) -> Value {
        // SAFETY: the record owns the reference; `ManuallyDrop` keeps this view from releasing it.
        let view = ManuallyDrop::new(unsafe { Value::from_raw(self.value(tables)) });
        view.share(call)
    }

    /// The value's bytes, `None` for an object.
    pub fn bytes(&self, tables: &Tables) -> Option<&[u8]> {
        let value = self.value(tables);
        if value.kind != raw::BYTES {
            return None;
        }
        // SAFETY: the record owns a reference for as long as it is borrowed, and bytes are immutable.
        Some(unsafe { raw::Slice { ptr: value.ptr, len: value.len as usize }.as_bytes() })
    }

    /// What the entry counts against `max_bytes`.
    pub fn charge(&self) -> u64 {
        let weight = if self.flags & BOXED != 0 {
            // SAFETY: a boxed value is owned by the record.
            unsafe { (*self.owner.cast::<raw::Value>()).len }
        } else {
            u64::from(self.len)
        };
        charge(self.key().len(), weight)
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        match self.long_key() {
            // SAFETY: made by `put_key` and owned by the record while it lives.
            Some((ptr, len)) => unsafe { std::slice::from_raw_parts(ptr, len) },
            None => &self.key[..usize::from(self.key_len)],
        }
    }

    /// Whether the entry has this key.
    #[inline(always)]
    pub fn has_key(&self, key: &[u8]) -> bool {
        if key.len() <= INLINE_KEY {
            usize::from(self.key_len) == key.len() && same_short(&self.key, key)
        } else {
            self.key_len == LONG && self.key() == key
        }
    }

    /// Hits counted so far, at most three.
    pub const fn heat(&self) -> u8 {
        (self.flags & HEAT) >> HEAT_SHIFT
    }

    /// Sets the count of hits.
    pub fn set_heat(&mut self, heat: u8) {
        self.flags = self.flags & !HEAT | heat << HEAT_SHIFT;
    }

    /// Counts a hit. In the steady state nothing is written, and the line stays clean.
    #[inline(always)]
    pub fn warm(&mut self) {
        if self.flags & HEAT != HEAT {
            self.flags += 1 << HEAT_SHIFT;
        }
    }

    /// Whether the entry is in the main queue.
    pub const fn in_main(&self) -> bool {
        self.flags & MAIN != 0
    }

    /// Says which queue the entry is in.
    pub fn set_main(&mut self, main: bool) {
        self.flags = if main { self.flags | MAIN } else { self.flags & !MAIN };
    }

    fn put_key(&mut self, key: &[u8]) {
        if key.len() <= INLINE_KEY {
            self.key_len = key.len() as u8;
            self.key[..key.len()].copy_from_slice(key);
            return;
        }
        let key: *mut [u8] = Box::into_raw(Box::from(key));
        self.key_len = LONG;
        self.key[..8].copy_from_slice(&(key.cast::<u8>().expose_provenance() as u64).to_ne_bytes());
        self.key[8..16].copy_from_slice(&(key.len() as u64).to_ne_bytes());
    }

    fn long_key(&self) -> Option<(*mut u8, usize)> {
        let word = |at| u64::from_ne_bytes(word(&self.key, at)) as usize;
        (self.key_len == LONG).then(|| (std::ptr::with_exposed_provenance_mut(word(0)), word(8)))
    }

    /// Takes the value's reference over.
    fn pack(&mut self, value: Value, tables: &mut Tables) {
        let value = value.into_raw();
        self.flags = self.flags & !(KIND | BOXED) | value.kind as u8 & KIND;
        let packed = u32::try_from(value.len).ok().zip(offset(&value)).zip(tables.number(value.table));
        if let Some(((len, offset), table)) = packed {
            (self.owner, self.len, self.offset, self.table) = (value.owner, len, offset, table);
        } else {
            self.flags |= BOXED;
            self.owner = Box::into_raw(Box::new(value)).cast();
        }
    }

    /// Gives the value's reference away.
    fn unpack(&mut self, tables: &Tables) -> Value {
        let value = self.value(tables);
        if self.flags & BOXED != 0 {
            // SAFETY: boxed by `pack`; the flags no longer say so after this.
            drop(unsafe { Box::from_raw(self.owner.cast::<raw::Value>()) });
        }
        self.flags &= !(KIND | BOXED);
        // SAFETY: the record owned the reference and has just given it up.
        unsafe { Value::from_raw(value) }
    }

    /// The value, still owned by the record.
    #[inline(always)]
    fn value(&self, tables: &Tables) -> raw::Value {
        if self.flags & BOXED != 0 {
            // SAFETY: a boxed value is owned by the record.
            return unsafe { *self.owner.cast::<raw::Value>() };
        }
        let kind = u32::from(self.flags & KIND);
        let ptr = if kind == raw::OBJECT {
            std::ptr::null()
        } else {
            std::ptr::with_exposed_provenance(self.owner.addr().wrapping_add_signed(self.offset as isize))
        };
        raw::Value {
            ptr,
            len: u64::from(self.len),
            owner: self.owner,
            table: tables.get(self.table),
            kind,
            reserved: 0,
        }
    }
}

/// What a key and a value count against `max_bytes`.
pub const fn charge(key: usize, weight: u64) -> u64 {
    (key as u64).saturating_add(weight).saturating_add(OVERHEAD)
}

/// Zero is kept for "no entry".
const fn next_version(version: u32) -> u32 {
    match version.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// Distance from a value's owner to its bytes, where it fits: buffers that follow their reference
/// count, and most others that were allocated not far from it.
fn offset(value: &raw::Value) -> Option<i32> {
    if value.kind == raw::OBJECT {
        return value.ptr.is_null().then_some(0);
    }
    let distance = value.ptr.expose_provenance().wrapping_sub(value.owner.addr()) as isize;
    i32::try_from(distance).ok()
}

#[inline(always)]
fn word<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("N bytes")
}

/// Compares `key` with as many bytes of `stored`. Overlapping loads cost a third of a call to
/// `memcmp`, and one branch.
#[inline(always)]
fn same_short(stored: &[u8; INLINE_KEY + 1], key: &[u8]) -> bool {
    let len = key.len();
    let eight = |at: usize| u64::from_ne_bytes(word(stored, at)) ^ u64::from_ne_bytes(word(key, at));
    let four = |at: usize| u32::from_ne_bytes(word(stored, at)) ^ u32::from_ne_bytes(word(key, at));
    match len {
        8..=INLINE_KEY => eight(0) | eight((len - 8).min(8)) | eight(len - 8) == 0,
        4..=7 => four(0) | four(len - 4) == 0,
        1..=3 => stored[0] == key[0] && stored[len / 2] == key[len / 2] && stored[len - 1] == key[len - 1],
        _ => len == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_keys_compare_by_every_byte() {
        for len in 0..=INLINE_KEY {
            let key: Vec<u8> = (1..=len as u8).collect();
            let mut stored = [0xEE; INLINE_KEY + 1];
            stored[..len].copy_from_slice(&key);
            assert!(same_short(&stored, &key), "{len}");
            for at in 0..len {
                let mut other = key.clone();
                other[at] ^= 0x80;
                assert!(!same_short(&stored, &other), "{len} at {at}");
            }
        }
    }

    #[test]
    fn keys_of_every_length_survive() {
        let mut tables = Tables::default();
        for len in [0, 1, 8, INLINE_KEY, INLINE_KEY + 1, 254, 255, 256, 70_000] {
            let key = vec![7; len];
            let mut record = Record::FREE;
            record.fill(&key, Value::from_vec(vec![1, 2]), NEVER, &mut tables);
            assert!(record.has_key(&key));
            assert!(!record.has_key(&vec![7; len + 1]));
            assert_eq!(record.charge(), OVERHEAD + len as u64 + 2);
            let (taken, value) = record.take(&tables);
            assert_eq!((taken.as_bytes(), value.as_bytes()), (&key[..], Some(&[1, 2][..])));
            assert!(!record.is_live() && record.version == 1);
        }
    }

    #[test]
    fn values_that_do_not_pack_are_kept_whole() {
        let mut tables = Tables::default();
        let mut record = Record::FREE;
        // Static bytes are far from their (absent) owner; the length is that of a huge object.
        let far = raw::Value { ptr: b"static".as_ptr(), len: 6, kind: raw::BYTES, ..raw::Value::NONE };
        let huge = raw::Value { len: 1 << 40, kind: raw::OBJECT, ..raw::Value::NONE };
        // SAFETY: neither counts references.
        let (far, huge) = unsafe { (Value::from_raw(far), Value::from_raw(huge)) };
        record.fill(b"k", far, NEVER, &mut tables);
        assert_eq!(record.bytes(&tables), Some(&b"static"[..]));
        let old = record.replace(huge, 5, &mut tables);
        assert_eq!(old.as_bytes(), Some(&b"static"[..]));
        assert_eq!(record.charge(), OVERHEAD + 1 + (1 << 40));
        assert_eq!(record.take(&tables).1.weight(), 1 << 40);
    }
}
