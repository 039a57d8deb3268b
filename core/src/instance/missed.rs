//! Invalidations that a backend has missed: what it still has of them is not to be read.
//!
//! A backend that could not be told of an invalidation keeps the entry. Until it has been told, its
//! answers about that key are worth nothing. The same holds where a write is still under way whose
//! caller has given up (a *straggler*): should it come through after the entry was removed, it brings
//! back what was invalidated.

use std::collections::HashMap;

use crate::flight::Scope;

/// Keys remembered one by one; beyond it they are taken together.
pub(super) const LIMIT: usize = 1024;
/// Prefixes remembered; beyond it everything is to be removed.
const PREFIXES: usize = 64;

/// What is to be removed again.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Each with the number of its latest invalidation.
    keys: HashMap<Vec<u8>, u64>,
    prefixes: Vec<(Vec<u8>, u64)>,
    stragglers: Vec<(u64, Vec<u8>)>,
    last: u64,
}

/// One invalidation to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replay {
    pub(super) scope: Scope,
    number: u64,
}

impl Missed {
    /// Whether there is neither anything to remove nor a straggler.
    pub(super) fn is_empty(&self) -> bool {
        self.nothing_to_replay() && self.stragglers.is_empty()
    }

    pub(super) fn nothing_to_replay(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty()
    }

    /// Invalidations remembered.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.prefixes.len()
    }

    /// What follows has a higher number than this.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Whether what the backend has under `key` is not to be read.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        self.keys.contains_key(key) || self.prefixes.iter().any(|(prefix, _)| key.starts_with(prefix))
    }

    /// Whether a write to the scope is still under way that nobody waits for.
    pub(super) fn has_straggler(&self, scope: &Scope) -> bool {
        self.stragglers.iter().any(|(_, key)| match scope {
            Scope::Key(exact) => exact == key,
            Scope::Prefix(prefix) => key.starts_with(prefix),
        })
    }

    /// The write of operation `op` to `key` may come through at any time.
    pub(super) fn strays(&mut self, op: u64, key: Vec<u8>) {
        if self.stragglers.len() >= LIMIT {
            // As if it never came back: the key is not read before it has been removed.
            let (_, oldest) = self.stragglers.remove(0);
            self.add(Scope::Key(oldest));
        }
        self.stragglers.push((op, key));
    }

    /// That write has ended.
    pub(super) fn returned(&mut self, op: u64) {
        self.stragglers.retain(|(straggler, _)| *straggler != op);
    }

    /// In a forked child nobody hears of the parent's operations.
    pub(super) fn forget_stragglers(&mut self) {
        self.stragglers.clear();
    }

    /// The backend missed this.
    pub(super) fn add(&mut self, scope: Scope) {
        self.last += 1;
        match scope {
            // A replay under way may have passed it: what covers it is done once more.
            Scope::Key(name) | Scope::Prefix(name) if self.is_covered_again(&name) => {}
            Scope::Key(key) => {
                self.keys.insert(key, self.last);
            }
            Scope::Prefix(prefix) => self.add_prefix(prefix),
        }
        if self.keys.len() > LIMIT {
            self.collapse();
        }
        if self.prefixes.len() > PREFIXES {
            self.last += 1;
            self.add_prefix(Vec::new());
        }
    }

    /// A write that began after invalidation `before` has replaced what was under `key`.
    pub(super) fn replaced(&mut self, key: &[u8], before: u64) {
        if self.keys.get(key).is_some_and(|number| *number <= before)
            && !self.has_straggler(&Scope::Key(key.to_vec()))
        {
            self.keys.remove(key);
        }
    }

    /// The next one to replay; those with stragglers have to wait for them.
    pub(super) fn next(&self) -> Option<Replay> {
        let prefixes = self.prefixes.iter().map(|(prefix, number)| (Scope::Prefix(prefix.clone()), *number));
        let keys = self.keys.iter().map(|(key, number)| (Scope::Key(key.clone()), *number));
        prefixes
            .chain(keys)
            .find(|(scope, _)| self.stragglers.is_empty() || !self.has_straggler(scope))
            .map(|(scope, number)| Replay { scope, number })
    }

    /// That has been replayed, unless it was missed again meanwhile.
    pub(super) fn replayed(&mut self, replay: &Replay) {
        match &replay.scope {
            Scope::Key(key) => {
                if self.keys.get(key) == Some(&replay.number) {
                    self.keys.remove(key);
                }
            }
            Scope::Prefix(prefix) => {
                self.prefixes.retain(|(known, number)| known != prefix || *number != replay.number);
            }
        }
    }

    /// Gives the prefixes that cover `name` the latest number; whether there are any.
    fn is_covered_again(&mut self, name: &[u8]) -> bool {
        let last = self.last;
        let covering = self.prefixes.iter_mut().filter(|(prefix, _)| name.starts_with(prefix));
        covering.map(|(_, number)| *number = last).count() > 0
    }

    fn add_prefix(&mut self, prefix: Vec<u8>) {
        self.keys.retain(|key, _| !key.starts_with(&prefix));
        self.prefixes.retain(|(known, _)| !known.starts_with(&prefix));
        self.prefixes.push((prefix, self.last));
    }

    /// Takes keys together: those of one function by what their keys have in common.
    fn collapse(&mut self) {
        let mut prefixes: Vec<Vec<u8>> = self.keys.keys().map(|key| function(key).to_vec()).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        for prefix in prefixes {
            self.add_prefix(prefix);
        }
    }
}

/// What all keys of the function have in common that `key` belongs to: three parts that end with a
/// colon (see [`crate::key::storage_prefix`]). Nothing, where a key is made otherwise.
fn function(key: &[u8]) -> &[u8] {
    let third = key.iter().enumerate().filter(|(_, byte)| **byte == b':').nth(2);
    third.map_or(&[], |(at, _)| &key[..=at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: &str) -> Scope {
        Scope::Key(name.into())
    }

    fn prefix(name: &str) -> Scope {
        Scope::Prefix(name.into())
    }

    #[test]
    fn what_was_missed_is_covered_until_it_has_been_replayed() {
        let mut missed = Missed::default();
        missed.add(key("a"));
        missed.add(prefix("f:"));
        assert!(missed.covers(b"a") && missed.covers(b"f:1") && !missed.covers(b"b"));
        while let Some(replay) = missed.next() {
            missed.replayed(&replay);
        }
        assert!(missed.is_empty() && !missed.covers(b"a") && !missed.covers(b"f:1"));
    }

    #[test]
    fn what_was_missed_again_during_its_replay_stays() {
        let mut missed = Missed::default();
        for scope in [key("a"), prefix("a")] {
            missed.add(scope.clone());
            let replay = missed.next().unwrap();
            missed.add(scope.clone());
            missed.replayed(&replay);
            assert!(missed.covers(b"a"), "{scope:?}");
            let replay = missed.next().unwrap();
            missed.add(key("a"));
            missed.replayed(&replay);
            assert!(missed.covers(b"a"), "{scope:?}");
            missed.replayed(&missed.next().unwrap());
            assert!(missed.is_empty());
        }
    }

    #[test]
    fn a_write_that_began_later_makes_a_key_readable_and_an_earlier_one_does_not() {
        let mut missed = Missed::default();
        let before = missed.last();
        missed.add(key("a"));
        missed.replaced(b"a", before);
        assert!(missed.covers(b"a"));
        missed.replaced(b"a", missed.last());
        assert!(!missed.covers(b"a"));
    }

    #[test]
    fn a_straggler_keeps_a_key_from_being_trusted_or_replayed() {
        let mut missed = Missed::default();
        missed.strays(7, b"a".to_vec());
        missed.add(key("a"));
        missed.add(key("b"));
        missed.replaced(b"a", missed.last());
        assert!(missed.covers(b"a"));
        assert_eq!(missed.next().unwrap().scope, key("b"));
        missed.replayed(&missed.next().unwrap());
        assert_eq!(missed.next(), None);
        missed.add(prefix(""));
        assert_eq!(missed.next(), None);
        missed.returned(7);
        assert_eq!(missed.next().unwrap().scope, prefix(""));
    }

    #[test]
    fn too_many_keys_of_a_function_become_the_function() {
        let mut missed = Missed::default();
        for number in 0..=LIMIT {
            missed.add(key(&format!("app:f(a):v:{number}")));
        }
        assert_eq!(missed.len(), 1);
        assert!(missed.covers(b"app:f(a):v:new") && !missed.covers(b"app:g(a):v:new"));
        for number in 0..=PREFIXES {
            missed.add(prefix(&format!("{number}/")));
        }
        assert_eq!(missed.len(), 1);
        assert!(missed.covers(b"app:g(a):v:new"));
    }

    #[test]
    fn stragglers_beyond_the_limit_are_taken_for_lost() {
        let mut missed = Missed::default();
        for op in 0..=LIMIT as u64 {
            missed.strays(op, op.to_le_bytes().to_vec());
        }
        assert!(missed.covers(&0_u64.to_le_bytes()) && !missed.covers(&1_u64.to_le_bytes()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is taken together, nothing that was missed and not replayed can be read.
        #[test]
        fn never_forgets(steps in prop::collection::vec((0..3_u8, "[ab]{0,1}:[ab]{0,1}:[ab]:[a-d]?"), 1..300)) {
            let mut missed = Missed::default();
            let mut model: Vec<Scope> = Vec::new();
            for (kind, name) in steps {
                match kind {
                    0 => {
                        missed.add(key(&name));
                        model.push(key(&name));
                    }
                    1 => {
                        missed.add(prefix(&name));
                        model.push(prefix(&name));
                    }
                    _ => {
                        if let Some(replay) = missed.next() {
                            missed.replayed(&replay);
                            model.retain(|scope| match (&replay.scope, scope) {
                                (Scope::Prefix(done), Scope::Key(name) | Scope::Prefix(name)) => !name.starts_with(done),
                                (done, scope) => done != scope,
                            });
                        }
                    }
                }
                for scope in &model {
                    let (Scope::Key(name) | Scope::Prefix(name)) = scope;
                    prop_assert!(missed.covers(name), "{scope:?}");
                }
            }
        }
    }
}
