//! Calls on the entries of many keys.

use super::call::Done;
use super::entry::Found;
use super::fault::Result;
use super::Session;
use crate::abi::call::{Call, Entry, Item};
use crate::abi::status;
use crate::abi::value::Slice;
use crate::sdk::Value;

impl Session {
    pub(crate) fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<std::result::Result<Option<Found>, i32>>> {
        let slices: Vec<Slice> = keys.iter().map(|key| Slice::new(key)).collect();
        let mut items = vec![Item { status: status::PENDING, ..Item::EMPTY }; keys.len()];
        let get_many = self.table.get_many.expect("`get_many` is there");
        // SAFETY: as in `get`; both arrays have the length that is given.
        let Done(status, completion) = self.call("get_many", |call| unsafe {
            get_many(self.instance, call, slices.as_ptr(), slices.len(), items.as_mut_ptr())
        })?;
        self.only_ok("get_many", status)?;
        let items: Vec<_> = match completion {
            Some(completion) => completion.items,
            None => items
                .into_iter()
                // SAFETY: the plugin's references are ours.
                .map(|item| (item.status, unsafe { Value::from_raw(item.value) }, item.expires, item.token))
                .collect(),
        };
        if items.len() != keys.len() {
            return Err(
                self.broken("get_many", &format!("gave {} items for {} keys", items.len(), keys.len()))
            );
        }
        Ok(items
            .into_iter()
            .map(|(status, value, expires, token)| match status {
                status::OK => Ok(Some(Found { value, expires, token })),
                status::NOT_FOUND => Ok(None),
                other => Err(other),
            })
            .collect())
    }

    /// The status of each entry.
    pub(crate) fn set_many(&self, entries: &[(&[u8], &[u8], i64)]) -> Result<Vec<i32>> {
        let entries: Vec<Entry> = entries
            .iter()
            .map(|(key, value, ttl)| Entry { key: Slice::new(key), value: self.host.bytes(value), ttl: *ttl })
            .collect();
        let set_many = self.table.set_many.expect("`set_many` is there");
        self.each("set_many", entries.len(), |call, statuses| {
            // SAFETY: as in `get`; both arrays have the length that is given.
            unsafe { set_many(self.instance, call, entries.as_ptr(), entries.len(), statuses) }
        })
    }

    /// The status of each key.
    pub(crate) fn delete_many(&self, keys: &[&[u8]]) -> Result<Vec<i32>> {
        let slices: Vec<Slice> = keys.iter().map(|key| Slice::new(key)).collect();
        let delete_many = self.table.delete_many.expect("`delete_many` is there");
        self.each("delete_many", keys.len(), |call, statuses| {
            // SAFETY: as in `get`; both arrays have the length that is given.
            unsafe { delete_many(self.instance, call, slices.as_ptr(), slices.len(), statuses) }
        })
    }

    fn each(
        &self,
        operation: &'static str,
        count: usize,
        body: impl FnOnce(*const Call, *mut i32) -> i32,
    ) -> Result<Vec<i32>> {
        let mut statuses = vec![status::PENDING; count];
        let Done(status, completion) = self.call(operation, |call| body(call, statuses.as_mut_ptr()))?;
        self.only_ok(operation, status)?;
        if let Some(completion) = completion {
            statuses = completion.items.iter().map(|item| item.0).collect();
        }
        if statuses.len() != count || statuses.contains(&status::PENDING) {
            return Err(self.broken(operation, "did not give a status to each item"));
        }
        Ok(statuses)
    }
}
