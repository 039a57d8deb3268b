//! Writes that wait their turn: a bounded queue in front of a backend.
//!
//! One entry a key: a later write takes the place of an earlier one. An invalidation removes what waits
//! and then waits for the one that is being written, so that nothing it removed is written afterwards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::sdk::Value;

use crate::flight::Scope;

/// An entry on its way.
pub(super) struct Queued {
    pub(super) value: Value,
    /// On the process's clock; [`NEVER`] for none.
    pub(super) expires: i64,
}

#[derive(Default)]
pub(super) struct Behind {
    /// Entries that may wait; zero where writes do not.
    limit: usize,
    entries: HashMap<Arc<[u8]>, (u64, Queued)>,
    order: BTreeMap<u64, Arc<[u8]>>,
    /// What is being written. It can still be read from here.
    writing: Option<(Arc<[u8]>, Queued)>,
    /// Whether somebody is about to write what waits.
    pub(super) drained: bool,
    last: u64,
}

impl Behind {
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Entries that wait or are being written.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + usize::from(self.writing.is_some())
    }

    /// Entries that wait and whose key starts with `prefix`.
    pub(super) fn count(&self, prefix: &[u8]) -> usize {
        self.entries.keys().filter(|key| key.starts_with(prefix)).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes an entry in; gives it back where the queue is full. What it replaces comes as `Ok`.
    pub(super) fn push(&mut self, key: &[u8], queued: Queued) -> Result<Option<Queued>, Queued> {
        if let Some((_, waiting)) = self.entries.get_mut(key) {
            return Ok(Some(std::mem::replace(waiting, queued)));
        }
        if self.entries.len() >= self.limit {
            return Err(queued);
        }
        self.last += 1;
        let key: Arc<[u8]> = key.into();
        self.order.insert(self.last, key.clone());
        self.entries.insert(key, (self.last, queued));
        Ok(None)
    }

    /// The entry that waits under `key`, or the one that is being written if that `counts`: an invalidation
    /// removes the one, and may have come too late for the other.
    pub(super) fn get(&self, key: &[u8], counts: bool) -> Option<&Queued> {
        let waiting = self.entries.get(key).map(|(_, queued)| queued);
        let writing = || self.writing.as_ref().filter(|(writing, _)| counts && **writing == *key);
        waiting.or_else(|| writing().map(|(_, queued)| queued))
    }

    /// Takes out what waits in the scope. To be dropped outside the lock.
    pub(super) fn remove(&mut self, scope: &Scope) -> Vec<Queued> {
        match scope {
            Scope::Key(key) => self
                .entries
                .remove(&key[..])
                .into_iter()
                .map(|(at, queued)| {
                    self.order.remove(&at);
                    queued
                })
                .collect(),
            Scope::Prefix(prefix) => {
                let order = &mut self.order;
                let gone = self.entries.extract_if(|key, _| key.starts_with(prefix));
                gone.map(|(_, (at, queued))| {
                    order.remove(&at);
                    queued
                })
                .collect()
            }
        }
    }

    /// Whether an entry of the scope is being written.
    pub(super) fn is_writing(&self, scope: &Scope) -> bool {
        self.writing.as_ref().is_some_and(|(key, _)| match scope {
            Scope::Key(exact) => **key == **exact,
            Scope::Prefix(prefix) => key.starts_with(prefix),
        })
    }

    /// The next entry to write, with a second reference to its value; its place is taken until
    /// [`Behind::written`]. `None` where nothing waits, or where somebody else is writing.
    pub(super) fn next(&mut self) -> Option<(Arc<[u8]>, Value, i64)> {
        if self.writing.is_some() {
            return None;
        }
        loop {
            let (_, key) = self.order.pop_first()?;
            let Some((_, queued)) = self.entries.remove(&key) else { continue };
            // Objects never wait here.
            let Some(value) = queued.value.share_bytes() else { continue };
            let expires = queued.expires;
            self.writing = Some((key.clone(), queued));
            return Some((key, value, expires));
        }
    }

    /// What [`Behind::next`] gave has been written, or could not be.
    pub(super) fn written(&mut self) -> Option<Queued> {
        self.writing.take().map(|(_, queued)| queued)
    }

    /// Empties it without dropping anything: in a forked child it belongs to the parent's threads.
    pub(super) fn forget(&mut self) {
        std::mem::forget(std::mem::take(&mut self.entries));
        std::mem::forget(self.writing.take());
        self.order.clear();
        self.drained = false;
    }
}

/// Nanoseconds that an entry has left at `now`.
pub(super) fn left(expires: i64, now: i64) -> i64 {
    if expires == NEVER {
        NEVER
    } else {
        expires.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(text: &str) -> Queued {
        Queued { value: Value::from_vec(text.into()), expires: NEVER }
    }

    fn text(queued: Option<&Queued>) -> Option<String> {
        queued.map(|queued| String::from_utf8_lossy(queued.value.as_bytes().unwrap()).into_owned())
    }

    fn behind(limit: usize) -> Behind {
        Behind { limit, ..Behind::default() }
    }

    #[test]
    fn entries_leave_in_the_order_they_came_and_can_be_read_meanwhile() {
        let mut behind = behind(2);
        assert!(behind.push(b"a", queued("1")).is_ok() && behind.push(b"b", queued("2")).is_ok());
        assert!(behind.push(b"c", queued("3")).is_err(), "full");
        assert!(behind.push(b"a", queued("4")).is_ok_and(|old| text(old.as_ref()).as_deref() == Some("1")));
        let (key, value, _) = behind.next().unwrap();
        assert_eq!((&*key, value.as_bytes()), (&b"a"[..], Some(&b"4"[..])));
        assert_eq!(text(behind.get(b"a", true)).as_deref(), Some("4"));
        assert!(behind.get(b"a", false).is_none() && behind.get(b"b", false).is_some());
        assert!(behind.next().is_none(), "one at a time");
        behind.written();
        assert_eq!(&*behind.next().unwrap().0, b"b");
        behind.written();
        assert!(behind.is_empty() && behind.next().is_none());
    }

    #[test]
    fn what_is_removed_is_not_written_and_what_is_being_written_is_known() {
        let mut behind = behind(9);
        for key in [b"a1", b"a2", b"b1"] {
            assert!(behind.push(key, queued("v")).is_ok());
        }
        assert_eq!(&*behind.next().unwrap().0, b"a1");
        assert_eq!(behind.remove(&Scope::Prefix(b"a".to_vec())).len(), 1);
        assert!(behind.is_writing(&Scope::Prefix(b"a".to_vec())));
        assert!(
            behind.is_writing(&Scope::Key(b"a1".to_vec())) && !behind.is_writing(&Scope::Key(b"a2".to_vec()))
        );
        behind.written();
        assert_eq!(&*behind.next().unwrap().0, b"b1");
        assert_eq!(behind.len(), 1);
        // One that came while its key was being written waits behind it.
        assert!(behind.push(b"b1", queued("newer")).is_ok());
        assert_eq!(text(behind.get(b"b1", true)).as_deref(), Some("newer"));
        assert_eq!(behind.remove(&Scope::Key(b"b1".to_vec())).len(), 1);
        assert_eq!(behind.order.len(), 0);
    }
}
