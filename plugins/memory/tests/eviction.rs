//! Which entries leave, and what the options change about it.

mod common;
#[path = "../examples/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::sync::Arc;

use common::{bytes, object, Store};
use retainit_memory::Algorithm;
use retainit_plugin_api::sdk::{Backend, Entry, Token, Value, NEVER};
use serde_json::json;
use support::trace::{hit_ratio, Trace, SEEDS};
use support::Random;

fn fill(store: &Store, keys: impl IntoIterator<Item = u32>) {
    keys.into_iter().for_each(|key| store.set(&key.to_le_bytes(), Value::from_vec(vec![0; 8]), NEVER));
}

fn present(store: &Store, keys: impl IntoIterator<Item = u32>) -> Vec<u32> {
    keys.into_iter().filter(|key| store.get(&key.to_le_bytes()).is_some()).collect()
}

#[test]
fn lru_evicts_in_the_exact_order_of_use() {
    for size in [1, 2, 3, 50] {
        let store = Store::open(json!({"policy": "lru", "max_size": size, "shards": 1}));
        let mut model: VecDeque<u32> = VecDeque::new();
        let mut random = Random::new(size);
        for _ in 0..5_000 {
            let key = random.below(2 * size + 1) as u32;
            let found = store.get(&key.to_le_bytes()).is_some();
            assert_eq!(found, model.contains(&key));
            model.retain(|&other| other != key);
            model.push_front(key);
            if found {
                continue;
            }
            fill(&store, [key]);
            let expected = (model.len() as u64 > size).then(|| model.pop_back().unwrap());
            let evicted = store.host.take_evicted().into_iter().map(|(key, _)| key);
            assert!(evicted.eq(expected.map(|key| key.to_le_bytes().to_vec())));
        }
    }
}

#[test]
fn a_value_written_anew_counts_as_used() {
    let store = Store::open(json!({"policy": "lru", "max_size": 2}));
    fill(&store, [1, 2, 1, 3]);
    assert_eq!(present(&store, 1..=3), [1, 3]);
}

#[test]
fn s3fifo_keeps_what_is_used_again_where_lru_does_not() {
    let kept = |policy| {
        let store = Store::open(json!({"policy": policy, "max_size": 100}));
        fill(&store, 0..50);
        assert_eq!(present(&store, 0..50).len(), 50);
        fill(&store, 1_000..3_000);
        present(&store, 0..50).len()
    };
    assert_eq!((kept("s3fifo"), kept("lru")), (50, 0));
}

#[test]
fn s3fifo_finds_at_least_what_lru_finds() {
    for trace in Trace::ALL {
        let requests = trace.requests();
        for size in trace.sizes() {
            let ratio = |policy| hit_ratio(&requests, policy, size, *SEEDS.start());
            let (s3fifo, lru) = (ratio(Algorithm::S3Fifo), ratio(Algorithm::Lru));
            println!("{:>10} {size:>6}: s3fifo {s3fifo:.4}, lru {lru:.4}", trace.name());
            assert!(s3fifo >= lru, "{} at {size}: s3fifo {s3fifo}, lru {lru}", trace.name());
        }
    }
}

#[test]
fn hit_ratios_repeat_and_depend_on_the_seed() {
    // The point at which the hashes matter most.
    let requests = Trace::Loop.requests();
    let ratio = |seed| hit_ratio(&requests, Algorithm::S3Fifo, 10_000, seed);
    assert_eq!(ratio(1).to_bits(), ratio(1).to_bits());
    assert_ne!(ratio(1).to_bits(), ratio(2).to_bits());
}

#[test]
fn max_size_entries_fit_however_many_shards_there_are() {
    for shards in [1, 16, 256] {
        let store = Store::open(json!({"max_size": 5_000, "shards": shards}));
        fill(&store, 0..5_000);
        assert_eq!(present(&store, 0..5_000).len(), 5_000, "{shards} shards");
        assert_eq!(store.statistic("evictions"), 0);
        fill(&store, 5_000..6_000);
        assert_eq!((store.statistic("entries"), store.statistic("evictions")), (5_000, 1_000));
        assert_eq!(store.statistic("shards"), shards);
    }
}

#[test]
fn max_size_null_is_no_bound_and_the_default_is_ten_thousand() {
    let stored = |options| {
        let store = Store::open(options);
        fill(&store, 0..12_000);
        store.statistic("entries")
    };
    assert_eq!(stored(json!({})), 10_000);
    assert_eq!(stored(json!({"max_size": null})), 12_000);
}

#[test]
fn max_size_zero_stores_nothing() {
    let store = Store::open(json!({"max_size": 0}));
    let payload = Arc::new(vec![1]);
    store.set(b"key", bytes(&payload), NEVER);
    assert!(store.get(b"key").is_none());
    assert_eq!(Arc::strong_count(&payload), 1);
    let entry = Entry { key: b"key", value: bytes(&payload), ttl: NEVER };
    assert!(store
        .call(|backend, call| backend.add(call, entry))
        .is_some_and(|token| token != Token::default()));
    assert_eq!(store.call(|backend, call| backend.increment(call, b"count", 3, NEVER)), 3);
    assert_eq!(store.statistic("entries"), 0);
}

#[test]
fn max_bytes_counts_keys_values_and_overhead() {
    let store = Store::open(json!({"max_bytes": 10 * (4 + 8 + 80), "max_size": null}));
    fill(&store, 0..10);
    assert_eq!((store.statistic("entries"), store.statistic("bytes")), (10, 920));
    fill(&store, 10..11);
    assert_eq!((store.statistic("entries"), store.statistic("evictions")), (10, 1));
}

#[test]
fn a_value_that_can_never_fit_removes_what_it_replaces_and_nothing_else() {
    let store = Store::open(json!({"max_bytes": 1_000}));
    let payload = Arc::new(vec![0; 8]);
    fill(&store, [1, 2]);
    store.set(&1_u32.to_le_bytes(), object(&payload, 2_000), NEVER);
    assert_eq!(present(&store, 1..=2), [2]);
    assert_eq!((store.statistic("refused"), Arc::strong_count(&payload)), (1, 1));
}

#[test]
fn a_large_value_makes_room_in_other_shards() {
    let store = Store::open(json!({"max_bytes": 20_000, "shards": 64}));
    fill(&store, 0..200);
    store.set(b"large", Value::from_vec(vec![0; 19_000]), NEVER);
    assert!(store.get(b"large").is_some());
    assert!(store.statistic("bytes") <= 20_000);
}

#[test]
fn a_growing_entry_that_is_alone_in_the_main_queue_evicts_others_and_ends() {
    // One shard, for the keys must meet in its queues whatever their hashes are.
    let store = Store::open(json!({"max_bytes": 960, "shards": 1}));
    let set = |key: &[u8], weight| store.set(key, Value::from_vec(vec![0; weight]), NEVER);
    set(b"a", 700);
    set(b"d", 10);
    assert!(store.get(b"a").is_some());
    // Full: `a` moves on to the main queue, `d` leaves.
    set(b"c", 10);
    assert_eq!(store.host.take_evicted()[0].0, b"d");
    store.call(|backend, call| backend.delete(call, b"c"));
    // The small queue is within its share, and all of the main queue is what must stay.
    set(b"e", 0);
    set(b"a", 800);
    assert_eq!(store.host.take_evicted()[0].0, b"e");
    assert!(store.get(b"a").is_some());
}
