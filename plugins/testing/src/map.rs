//! Entries and leases.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use retainit_plugin_api::sdk::{glob, Error, ErrorKind, Lease, Result, ScanPage, Token, Value, NEVER};

/// One entry.
#[derive(Debug)]
pub struct Stored {
    /// The value.
    pub value: Value,
    /// When it expires, on the host's monotonic clock.
    pub expires: i64,
    /// Its version.
    pub token: Token,
    number: u64,
}

/// Entries by key, and who holds which lease. What leaves is handed out, to be dropped outside locks.
#[derive(Debug, Default)]
pub struct Map {
    entries: BTreeMap<Vec<u8>, Stored>,
    /// Keys by age, which is the order of scans.
    order: BTreeMap<u64, Vec<u8>>,
    leases: BTreeMap<Vec<u8>, (Lease, i64)>,
    serial: u64,
}

/// Whether something that ends at `expires` is over; a `now` of zero does not look.
fn is_over(expires: i64, now: i64) -> bool {
    now != 0 && expires <= now
}

impl Map {
    fn token(&mut self) -> Token {
        self.serial += 1;
        let mut token = Token::default();
        token.bytes[..8].copy_from_slice(&self.serial.to_le_bytes());
        token
    }

    /// An entry that has not expired.
    pub fn live(&self, key: &[u8], now: i64) -> Option<&Stored> {
        self.entries.get(key).filter(|stored| !is_over(stored.expires, now))
    }

    /// Stores a value; its version, and what it replaced.
    pub fn put(&mut self, key: &[u8], value: Value, expires: i64) -> (Token, Option<Stored>) {
        let token = self.token();
        let number = self.entries.get(key).map_or(self.serial, |stored| stored.number);
        self.order.insert(number, key.to_vec());
        (token, self.entries.insert(key.to_vec(), Stored { value, expires, token, number }))
    }

    /// Removes an entry.
    pub fn take(&mut self, key: &[u8]) -> Option<Stored> {
        let stored = self.entries.remove(key)?;
        self.order.remove(&stored.number);
        Some(stored)
    }

    /// Removes all entries whose key starts with `prefix`.
    pub fn clear(&mut self, prefix: &[u8]) -> Vec<Stored> {
        let keys: Vec<_> = self.entries.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        keys.iter().filter_map(|key| self.take(key)).collect()
    }

    /// Adds to a decimal number; the sum, and what it replaced.
    pub fn increment(
        &mut self,
        key: &[u8],
        delta: i64,
        now: i64,
        expires: i64,
    ) -> Result<(i64, Option<Stored>)> {
        let (old, expires) = match self.live(key, now) {
            None => (0, expires),
            Some(stored) => {
                let text = stored.value.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
                let number = text.and_then(|text| text.parse::<i64>().ok());
                let no_number = || Error::new(ErrorKind::Corrupt, "the value is not a decimal integer");
                (number.ok_or_else(no_number)?, stored.expires)
            }
        };
        let overflow = || Error::new(ErrorKind::Invalid, "the counter would overflow");
        let sum = old.checked_add(delta).ok_or_else(overflow)?;
        let (_, replaced) = self.put(key, Value::from_vec(sum.to_string().into_bytes()), expires);
        Ok((sum, replaced))
    }

    /// Gives a live entry another end; whether there was one.
    pub fn touch(&mut self, key: &[u8], now: i64, expires: i64) -> bool {
        let stored = self.entries.get_mut(key).filter(|stored| !is_over(stored.expires, now));
        stored.map(|stored| stored.expires = expires).is_some()
    }

    /// A page of keys, by age.
    pub fn scan(&self, prefix: &[u8], pattern: &[u8], now: i64, cursor: u64, limit: u64) -> ScanPage {
        let mut page = ScanPage::default();
        for (number, key) in self.order.range(cursor..) {
            if page.keys.len() as u64 == limit {
                page.next = NonZeroU64::new(*number);
                break;
            }
            if key.starts_with(prefix) && glob(pattern, key) && self.live(key, now).is_some() {
                page.keys.push(key.clone());
            }
        }
        page
    }

    /// Number of live entries whose key starts with `prefix`.
    pub fn count(&self, prefix: &[u8], now: i64) -> u64 {
        let live =
            |(key, stored): &(&Vec<u8>, &Stored)| key.starts_with(prefix) && !is_over(stored.expires, now);
        self.entries.iter().filter(live).count() as u64
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> u64 {
        self.entries.values().map(|stored| stored.value.weight()).sum()
    }

    /// Takes a lease that nobody holds.
    pub fn acquire(&mut self, name: &[u8], now: i64, expires: i64) -> Option<Lease> {
        if self.leases.get(name).is_some_and(|(_, expires)| !is_over(*expires, now)) {
            return None;
        }
        let lease = Lease { holder: self.token(), fence: self.serial };
        self.leases.insert(name.to_vec(), (lease, expires));
        Some(lease)
    }

    /// Prolongs a lease that is still held, or ends it where `expires` is `None`.
    pub fn hold(&mut self, name: &[u8], lease: &Lease, now: i64, expires: Option<i64>) -> bool {
        let Some((held, end)) = self.leases.get_mut(name) else { return false };
        if held.holder != lease.holder || held.fence != lease.fence || is_over(*end, now) {
            return false;
        }
        match expires {
            Some(expires) => *end = expires,
            None => drop(self.leases.remove(name)),
        }
        true
    }
}

/// When what is stored at `now` for `ttl` is over.
///
/// # Errors
/// `Invalid`: it would be over at once.
pub fn end(now: i64, ttl: i64) -> Result<i64> {
    match ttl {
        NEVER => Ok(NEVER),
        1.. => Ok(now.saturating_add(ttl)),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format!("invalid time to live: expected at least one nanosecond, found `{ttl}`"),
        )),
    }
}
