//! Calls on all keys that begin alike.

use super::call::Done;
use super::fault::Result;
use super::Session;
use crate::abi::call::Page;
use crate::abi::value::{Slice, Value as RawValue};
use crate::sdk::Value;

impl Session {
    pub(crate) fn clear(&self, prefix: &[u8]) -> Result<u64> {
        let mut removed = 0;
        let clear = self.table.clear.expect("`clear` is required");
        // SAFETY: as in `get`.
        let Done(status, completion) = self
            .call("clear", |call| unsafe { clear(self.instance, call, Slice::new(prefix), &mut removed) })?;
        self.only_ok("clear", status)?;
        Ok(completion.map_or(removed, |completion| completion.number as u64))
    }

    /// One page: keys and the next cursor.
    pub(crate) fn scan(
        &self,
        prefix: &[u8],
        pattern: &[u8],
        cursor: u64,
        limit: u64,
    ) -> Result<(Vec<Vec<u8>>, u64)> {
        let mut page = Page { keys: RawValue::NONE, cursor: 0, count: 0 };
        let scan = self.table.scan.expect("`scan` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) = self.call("scan", |call| unsafe {
            scan(self.instance, call, Slice::new(prefix), Slice::new(pattern), cursor, limit, &mut page)
        })?;
        self.only_ok("scan", status)?;
        let (value, next, count) = match completion {
            Some(completion) => (completion.text, completion.number as u64, None),
            // SAFETY: the plugin's reference is ours.
            None => (unsafe { Value::from_raw(page.keys) }, page.cursor, Some(page.count)),
        };
        let keys = page_keys(value.as_bytes().unwrap_or_default())
            .ok_or_else(|| self.broken("scan", "gave a page whose lengths do not add up"))?;
        if count.is_some_and(|count| count != keys.len() as u64) {
            return Err(self.broken("scan", &format!("gave {} keys and said {count:?}", keys.len())));
        }
        Ok((keys, next))
    }

    pub(crate) fn count(&self, prefix: &[u8]) -> Result<u64> {
        let mut number = 0;
        let count = self.table.count.expect("`count` is there");
        // SAFETY: as in `get`.
        let Done(status, completion) = self
            .call("count", |call| unsafe { count(self.instance, call, Slice::new(prefix), &mut number) })?;
        self.only_ok("count", status)?;
        Ok(completion.map_or(number, |completion| completion.number as u64))
    }

    pub(crate) fn subscribe(&self, prefix: &[u8]) -> Result<()> {
        let subscribe = self.table.subscribe.expect("`subscribe` is there");
        // SAFETY: as in `get`.
        let Done(status, _) =
            self.call("subscribe", |call| unsafe { subscribe(self.instance, call, Slice::new(prefix)) })?;
        self.only_ok("subscribe", status)
    }
}

/// The keys of a page: `u32` little-endian lengths, each followed by that many bytes.
fn page_keys(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        keys.push(key.to_vec());
        bytes = rest;
    }
    Some(keys)
}
