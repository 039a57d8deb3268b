//! Tags of the process: who is in the table, and that nothing invalidated is ever good again.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[test]
fn a_tag_is_one_as_long_as_anything_carries_it() {
    let one = Tag::intern("one", "a");
    assert!(Arc::ptr_eq(&one, &Tag::intern("one", "a")));
    assert!(!Arc::ptr_eq(&one, &Tag::intern("another", "a")));
    let gone = Arc::downgrade(&one);
    drop(one);
    assert!(gone.upgrade().is_none());
    let key = key::tag_key("one", "a");
    assert!(!TABLE.lock().contains_key(&*key), "the table holds nothing that nobody carries");
}

#[test]
fn an_invalidated_tag_is_good_for_nobody_and_its_name_begins_anew() {
    let tags = Tags::new(vec![Tag::intern("ends", "a"), Tag::intern("ends", "b")]);
    assert!(tags.are_good(i64::MIN) && tags.are_good(i64::MAX - 1));
    assert_eq!(end("ends", &["b", "c"]), [true, false]);
    assert!(tags.are_dead() && !tags.are_good(0));
    let anew = Tag::intern("ends", "b");
    assert!(!anew.is_dead() && !Arc::ptr_eq(&anew, &tags.as_slice()[1]));
    drop(tags);
    // The old one goes after the new one has come.
    assert!(Arc::ptr_eq(&anew, &Tag::intern("ends", "b")));
}

#[test]
fn any_invalidation_ends_the_epoch_of_its_namespace() {
    let (here, there) = (Tag::intern("epoch", EPOCH), Tag::intern("no epoch", EPOCH));
    end("epoch", &["whatever"]);
    assert!(here.is_dead() && !there.is_dead());
}

#[test]
fn a_million_entries_of_a_tag_are_invalidated_within_a_millisecond() {
    let entries: Vec<Tags> = (0..1_000_000).map(|_| Tags::new(vec![Tag::intern("million", "all")])).collect();
    let fastest = (0..5).map(|_| {
        let _all = Tag::intern("million", "all");
        let began = std::time::Instant::now();
        end("million", &["all"]);
        began.elapsed()
    });
    assert!(fastest.min().is_some_and(|fastest| fastest < Duration::from_millis(1)));
    assert!(entries.iter().all(Tags::are_dead));
}

#[test]
fn names_are_checked() {
    let checked = |names: &[&str]| super::checked(names.iter().map(|name| (*name).into()).collect());
    assert_eq!(checked(&["b", "a", "b"]).unwrap(), ["b".into(), "a".into()]);
    let refused = |names: &[&str]| checked(names).unwrap_err().to_string();
    assert_eq!(refused(&[""]), "name of a tag: expected 1 to 255 bytes of UTF-8, found an empty one");
    assert_eq!(
        refused(&[&"ä".repeat(128)]),
        "name of a tag: expected 1 to 255 bytes of UTF-8, found 256 bytes"
    );
    let many: Vec<String> = (0..=MOST).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refused(&many), "tags of an entry: expected at most 128, found 129");
}

#[test]
fn threads_that_intern_and_end_one_name_agree() {
    // Whoever has a tag from before an end has a dead one after it.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let before = Tag::intern("threads", "a");
                    end("threads", &["a"]);
                    assert!(before.is_dead());
                    drop(Tag::intern("threads", "a"));
                }
            });
        }
    });
    assert!(!TABLE.lock().contains_key(&*key::tag_key("threads", "a")));
}

#[test]
fn who_is_told_that_a_tag_has_ended_never_finds_it_good() {
    // Two invalidate the same at once: the second must not return before the first has come so far.
    for _ in 0..2_000 {
        let tag = Tag::intern("twice", "a");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    end("twice", &["a"]);
                    assert!(tag.is_dead());
                });
            }
        });
    }
}

#[derive(Debug, Clone)]
enum Event {
    /// An entry is stored under a key, with tags.
    Store(u8, Vec<u8>),
    /// A load of a key begins, with tags.
    Begin(u8, Vec<u8>),
    /// The load of a key ends, and stores unless it has been fenced.
    Finish(u8),
    Invalidate(u8),
    Evict(u8),
}

fn event() -> impl Strategy<Value = Event> {
    let tags = || prop::collection::vec(0..5_u8, 0..4);
    prop_oneof![
        (0..6_u8, tags()).prop_map(|(key, tags)| Event::Store(key, tags)),
        (0..6_u8, tags()).prop_map(|(key, tags)| Event::Begin(key, tags)),
        (0..6_u8).prop_map(Event::Finish),
        (0..5_u8).prop_map(Event::Invalidate),
        (0..6_u8).prop_map(Event::Evict),
    ]
}

fn carried(namespace: &str, tags: &[u8]) -> Tags {
    Tags::new(tags.iter().map(|tag| Tag::intern(namespace, &tag.to_string())).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a model that numbers every invalidation: an entry is good exactly if none of its tags has been
    /// invalidated since its load began, and the table holds exactly what entries and loads carry.
    #[test]
    fn tags_are_as_the_model_has_them(events in prop::collection::vec(event(), 1..120)) {
        // Tests run side by side.
        static RUN: AtomicI64 = AtomicI64::new(0);
        let namespace = format!("model {}", RUN.fetch_add(1, Ordering::Relaxed));
        let mut now = 0_u64;
        let mut ended: HashMap<u8, u64> = HashMap::new();
        let mut entries: HashMap<u8, (u64, Vec<u8>, Tags)> = HashMap::new();
        let mut loads: HashMap<u8, (u64, Vec<u8>, Tags)> = HashMap::new();
        for event in events {
            now += 1;
            match event {
                Event::Store(key, tags) => {
                    let carried = carried(&namespace, &tags);
                    entries.insert(key, (now, tags, carried));
                }
                Event::Begin(key, tags) => {
                    let carried = carried(&namespace, &tags);
                    loads.insert(key, (now, tags, carried));
                }
                Event::Finish(key) => {
                    if let Some((began, tags, carried)) = loads.remove(&key) {
                        if !carried.are_dead() {
                            entries.insert(key, (began, tags, carried));
                        }
                    }
                }
                Event::Invalidate(tag) => {
                    ended.insert(tag, now);
                    end(&namespace, &[&tag.to_string()]);
                }
                Event::Evict(key) => {
                    entries.remove(&key);
                }
            }
            for (began, tags, carried) in entries.values().chain(loads.values()) {
                let expected = tags.iter().all(|tag| ended.get(tag).is_none_or(|ended| ended < began));
                prop_assert_eq!(carried.are_good(i64::MIN), expected);
            }
            let mut alive: Vec<u8> = entries
                .values()
                .chain(loads.values())
                .flat_map(|(_, tags, carried)| tags.iter().zip(carried.as_slice()))
                .filter(|(_, carried)| !carried.is_dead())
                .map(|(tag, _)| *tag)
                .collect();
            alive.sort_unstable();
            alive.dedup();
            let prefix = key::tag_key(&namespace, "");
            let known = TABLE.lock().keys().filter(|key| key.starts_with(&prefix)).count();
            prop_assert_eq!(known, alive.len());
        }
    }
}
