//! Leases: who may do what is named, for how long.

use std::collections::HashMap;

use retainit_plugin_api::sdk::{Lease, Token};

use super::hasher::random_word;
use super::lock::Locked;

/// Below this many leases expired ones are not looked for.
const TIDY_FROM: usize = 64;

/// The leases of one instance. They live beside the entries: no bound evicts them, and clearing
/// does not end them.
pub struct Leases(Locked<Held>);

struct Held {
    by_name: HashMap<Box<[u8]>, Holding>,
    /// One count for all names grows with every acquisition of each, and needs no memory of names
    /// whose leases are over.
    fence: u64,
    tidy_at: usize,
}

struct Holding {
    holder: Token,
    expires: i64,
}

impl Leases {
    /// None. Fences start after `fence`: with the time, they also grow from one process to the next.
    pub fn new(fence: u64) -> Self {
        Leases(Locked::new(Held { by_name: HashMap::new(), fence, tidy_at: TIDY_FROM }))
    }

    /// Takes a lease until `expires`, or `None` if somebody holds it at `now`.
    pub fn acquire(&self, name: &[u8], now: i64, expires: i64) -> Option<Lease> {
        let (name, holder) = (Box::from(name), random_token());
        let mut held = self.0.lock();
        if held.by_name.get(&name).is_some_and(|holding| holding.expires > now) {
            return None;
        }
        if held.by_name.len() >= held.tidy_at {
            held.by_name.retain(|_, holding| holding.expires > now);
            held.tidy_at = (2 * held.by_name.len()).max(TIDY_FROM);
        }
        held.fence += 1;
        held.by_name.insert(name, Holding { holder, expires });
        Some(Lease { holder, fence: held.fence })
    }

    /// Prolongs a lease that is still held.
    pub fn renew(&self, name: &[u8], lease: &Lease, now: i64, expires: i64) -> bool {
        let mut held = self.0.lock();
        let holding = held.by_name.get_mut(name).filter(|holding| holding.is_of(lease, now));
        holding.map(|holding| holding.expires = expires).is_some()
    }

    /// Gives a lease back; `false` if it was lost.
    pub fn release(&self, name: &[u8], lease: &Lease, now: i64) -> bool {
        let mut held = self.0.lock();
        let is_held = held.by_name.get(name).is_some_and(|holding| holding.is_of(lease, now));
        is_held && held.by_name.remove(name).is_some()
    }

    /// Takes the lock, for `fork`.
    pub fn acquire_lock(&self) {
        self.0.acquire();
    }

    /// Gives the lock back.
    pub fn release_lock(&self) {
        self.0.release();
    }

    /// In the child of a fork: who held a lease is not here, and the parent's entries are another store.
    pub fn forget_all(&self) {
        let parents = std::mem::take(&mut self.0.lock().by_name);
        drop(parents);
    }
}

impl Holding {
    fn is_of(&self, lease: &Lease, now: i64) -> bool {
        self.holder == lease.holder && self.expires > now
    }
}

fn random_token() -> Token {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random_word().to_ne_bytes());
    bytes[8..].copy_from_slice(&random_word().to_ne_bytes());
    Token { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_and_a_growing_fence() {
        let leases = Leases::new(0);
        let first = leases.acquire(b"a", 10, 20).unwrap();
        assert!(leases.acquire(b"a", 19, 30).is_none());
        assert!(leases.renew(b"a", &first, 19, 25));
        assert!(leases.acquire(b"a", 24, 40).is_none());
        let second = leases.acquire(b"a", 25, 40).unwrap();
        assert!(second.fence > first.fence);
        assert_ne!(second.holder, first.holder);
        assert!(!leases.renew(b"a", &first, 26, 50));
        assert!(!leases.release(b"a", &first, 26));
        assert!(leases.release(b"a", &second, 26));
        assert!(leases.acquire(b"a", 27, 40).unwrap().fence > second.fence);
    }

    #[test]
    fn a_child_holds_nothing_and_its_fences_go_on() {
        let leases = Leases::new(1_000);
        let first = leases.acquire(b"a", 10, 20).unwrap();
        assert!(first.fence > 1_000);
        leases.forget_all();
        assert!(!leases.release(b"a", &first, 11));
        assert!(leases.acquire(b"a", 11, 20).unwrap().fence > first.fence);
    }

    #[test]
    fn leases_that_are_over_do_not_pile_up() {
        let leases = Leases::new(0);
        for now in 0..10_000_i64 {
            leases.acquire(&now.to_le_bytes(), now, now + 10).unwrap();
        }
        assert!(leases.0.lock().by_name.len() <= TIDY_FROM);
    }
}
