//! What left under a lock, and must be let go of outside it.

use retainit_plugin_api::sdk::{Evicted, Host, Value};

use super::key::Key;
use super::record::charge;

/// An entry that left without being asked to.
pub struct Departed {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    /// Why it left.
    pub reason: Evicted,
}

impl Departed {
    /// What it counted against `max_bytes`.
    pub fn charge(&self) -> u64 {
        charge(self.key.as_bytes().len(), self.value.weight())
    }
}

/// What left in the course of one call. Declare it before the guard of the lock, so that it is
/// dropped after it.
#[derive(Default)]
pub struct Gone {
    // Most writes to a full cache make one entry leave: no allocation for that.
    first: Option<Departed>,
    others: Vec<Departed>,
    /// A value that was replaced or removed on request, which is not reported.
    pub value: Option<Value>,
}

impl Gone {
    /// Adds an entry.
    pub fn push(&mut self, departed: Departed) {
        match self.first {
            None => self.first = Some(departed),
            Some(_) => self.others.push(departed),
        }
    }

    /// Tells the host, outside locks.
    pub fn report(&self, host: &Host) {
        if self.first.is_some() {
            report(host, self.first.iter().chain(&self.others));
        }
    }
}

/// Tells the host of entries that left.
pub fn report<'d>(host: &Host, departed: impl IntoIterator<Item = &'d Departed>) {
    host.evicted(departed.into_iter().map(|each| (each.key.as_bytes(), each.reason)));
}
