//! Random sequences of operations against a plain model.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{bytes, object, Payload, Store};
use proptest::prelude::*;
use retainit_plugin_api::abi::host::evict;
use retainit_plugin_api::sdk::{Backend, Entry, Token, NEVER};
use serde_json::json;

/// What an entry is charged beyond key and value, as the README says.
const OVERHEAD: u64 = 80;

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Set { key: u8, weight: u16, ttl: Option<u8>, is_object: bool },
    Add { key: u8, weight: u16 },
    Swap { key: u8, weight: u16 },
    Touch { key: u8, ttl: u8 },
    Delete(u8),
    Clear(u8),
    Advance(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0_u8..40;
    let weight = prop_oneof![4 => 0_u16..400, 1 => 0_u16..4000];
    let step = prop_oneof![
        4 => key.clone().prop_map(Step::Get),
        6 => (key.clone(), weight.clone(), any::<Option<u8>>(), any::<bool>())
            .prop_map(|(key, weight, ttl, is_object)| Step::Set { key, weight, ttl, is_object }),
        1 => (key.clone(), weight.clone()).prop_map(|(key, weight)| Step::Add { key, weight }),
        1 => (key.clone(), weight).prop_map(|(key, weight)| Step::Swap { key, weight }),
        1 => (key.clone(), any::<u8>()).prop_map(|(key, ttl)| Step::Touch { key, ttl }),
        2 => key.clone().prop_map(Step::Delete),
        1 => (0_u8..6).prop_map(Step::Clear),
        2 => any::<u8>().prop_map(Step::Advance),
    ];
    prop::collection::vec(step, 1..250)
}

/// Keys of every kind of length; the first byte makes groups that a prefix clears.
fn key(number: u8) -> Vec<u8> {
    let mut key = vec![number % 5];
    key.extend(std::iter::repeat_n(number, [0, 3, 8, 15, 23, 24, 60, 300][usize::from(number) % 8]));
    key.push(number);
    key
}

struct Modelled {
    payload: Payload,
    weight: u64,
    expires: i64,
    token: Token,
}

struct Run {
    store: Store,
    /// Exactly what the cache must have, since evictions are reported.
    model: HashMap<Vec<u8>, Modelled>,
    payloads: Vec<Payload>,
    max_entries: u64,
    max_bytes: u64,
}

impl Run {
    fn payload(&mut self, weight: u16) -> Payload {
        let payload = Arc::new(vec![weight as u8; usize::from(weight)]);
        self.payloads.push(payload.clone());
        payload
    }

    fn stored(&mut self, number: u8, payload: Payload, expires: i64) {
        let key = key(number);
        let weight = payload.len() as u64;
        // The report of what was evicted for it comes first: it may be an older entry of this key.
        self.forget_evicted();
        self.model.remove(&key);
        let now = self.store.host.now();
        if key.len() as u64 + weight + OVERHEAD > self.max_bytes || expires <= now {
            assert!(self.store.get(&key).is_none());
            return;
        }
        let item = self.store.get(&key).expect("what was just stored is there");
        self.model.insert(key, Modelled { payload, weight, expires, token: item.token });
    }

    fn forget_evicted(&mut self) {
        for (key, reason) in self.store.host.take_evicted() {
            let gone = self.model.remove(&key).expect("only what was there is evicted, and once");
            let expired = gone.expires <= self.store.host.now();
            assert_eq!(reason, if expired { evict::EXPIRED } else { evict::CAPACITY });
        }
    }

    fn live(&self, key: &[u8]) -> Option<&Modelled> {
        self.model.get(key).filter(|entry| entry.expires > self.store.host.now())
    }

    fn step(&mut self, step: Step) {
        let now = self.store.host.now();
        match step {
            Step::Get(number) => self.check(&key(number)),
            Step::Set { key: number, weight, ttl, is_object } => {
                let payload = self.payload(weight);
                let value = if is_object { object(&payload, u64::from(weight)) } else { bytes(&payload) };
                let ttl = ttl.map_or(NEVER, |ttl| i64::from(ttl) + 1);
                self.store.set(&key(number), value, ttl);
                self.stored(number, payload, now.saturating_add(ttl));
            }
            Step::Add { key: number, weight } => {
                let (payload, key) = (self.payload(weight), key(number));
                let entry = Entry { key: &key, value: bytes(&payload), ttl: NEVER };
                let added = self.store.call(|backend, call| backend.add(call, entry)).is_some();
                assert_eq!(added, self.live(&key).is_none());
                if added {
                    self.stored(number, payload, NEVER);
                }
            }
            Step::Swap { key: number, weight } => {
                let (payload, key) = (self.payload(weight), key(number));
                let token = self.live(&key).map_or(Token::default(), |entry| entry.token);
                let stale = Token { bytes: [1; 16] };
                let swap = |token| {
                    let entry = Entry { key: &key, value: bytes(&payload), ttl: NEVER };
                    self.store.call(|backend, call| backend.compare_and_set(call, entry, token)).is_some()
                };
                assert!(!swap(stale));
                assert!(swap(token));
                self.stored(number, payload, NEVER);
            }
            Step::Touch { key: number, ttl } => {
                let (key, ttl) = (key(number), i64::from(ttl) + 1);
                let touched = self.store.call(|backend, call| backend.touch(call, &key, ttl));
                assert_eq!(touched, self.live(&key).is_some());
                if touched {
                    self.model.get_mut(&key).unwrap().expires = now + ttl;
                }
            }
            Step::Delete(number) => {
                let key = key(number);
                let deleted = self.store.call(|backend, call| backend.delete(call, &key));
                assert_eq!(deleted, self.live(&key).is_some());
                self.model.remove(&key);
            }
            Step::Clear(group) => {
                let prefix = if group < 5 { vec![group] } else { vec![] };
                let expected =
                    self.model.keys().filter(|key| key.starts_with(&prefix) && self.live(key).is_some());
                let expected = expected.count() as u64;
                assert_eq!(self.store.call(|backend, call| backend.clear(call, &prefix)), expected);
                self.model.retain(|key, _| !key.starts_with(&prefix));
            }
            Step::Advance(by) => self.store.host.advance(i64::from(by)),
        }
        self.forget_evicted();
        self.check_bounds();
    }

    fn check(&self, key: &[u8]) {
        let found = self.store.get(key);
        assert_eq!(found.is_some(), self.live(key).is_some());
        let (Some(found), Some(entry)) = (found, self.live(key)) else {
            return;
        };
        assert_eq!((found.expires, found.token), (entry.expires, entry.token));
        match found.value.as_bytes() {
            Some(found) => assert_eq!(found, entry.payload.as_slice()),
            None => assert_eq!(found.value.as_raw().owner.cast_const(), Arc::as_ptr(&entry.payload).cast()),
        }
    }

    fn check_bounds(&self) {
        let entries = self.store.statistic("entries");
        let charged: u64 =
            self.model.iter().map(|(key, entry)| key.len() as u64 + entry.weight + OVERHEAD).sum();
        assert_eq!((entries, self.store.statistic("bytes")), (self.model.len() as u64, charged));
        assert!(entries <= self.max_entries && charged <= self.max_bytes);
    }

    /// Everything that is not in the cache was let go of exactly once, and what is in it is held once.
    fn finish(self) {
        let live = self.model.keys().filter(|key| self.live(key).is_some()).count() as u64;
        let mut seen = Vec::new();
        let mut cursor = 0;
        loop {
            let page = self.store.call(|backend, call| backend.scan(call, b"", b"", cursor, 7));
            seen.extend(page.keys);
            match page.next {
                Some(next) => cursor = next.get(),
                None => break,
            }
        }
        seen.sort();
        let mut expected: Vec<_> =
            self.model.keys().filter(|key| self.live(key).is_some()).cloned().collect();
        expected.sort();
        assert_eq!(seen, expected);
        assert_eq!(self.store.call(|backend, call| backend.count(call, b"")), live);
        let Run { store, model, payloads, .. } = self;
        drop(store);
        drop(model);
        for payload in payloads {
            assert_eq!(
                Arc::strong_count(&payload),
                1,
                "let go of once, not {} times",
                2 - Arc::strong_count(&payload)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_map(
        steps in steps(),
        policy in prop::sample::select(vec!["s3fifo", "lru"]),
        shards in prop::sample::select(vec![1, 4]),
        max_entries in 1_u64..30,
        max_bytes in 200_u64..6000,
    ) {
        // The sweeper would make reports at moments of its own.
        let store = Store::open(json!({
            "policy": policy, "shards": shards, "max_size": max_entries, "max_bytes": max_bytes,
            "sweep_interval": 86_400,
        }));
        let mut run = Run { store, model: HashMap::new(), payloads: Vec::new(), max_entries, max_bytes };
        for step in steps {
            run.step(step);
        }
        run.finish();
    }
}
