//! Plugins through the loader, as users have them: the same behaviour as without a library in between,
//! for every kind of component, and what loading one costs.

use std::path::Path;
use std::time::{Duration, Instant};

use retainit_core::loader::{Component, Kind, Registry};
use retainit_core::sdk::{Evicted, Value, NEVER};
use retainit_plugin_api::abi::codec::{form, Data};
use retainit_plugin_api::abi::sink::{event, Event};
use retainit_plugin_api::abi::value::Slice;
use retainit_plugin_api::conformance::{self, Suite};
use retainit_tests::{c_fixture, cargo_plugin, fixture, Scratch};

fn component(path: &Path, kind: Kind, name: &str) -> Component {
    let registry = Registry::new();
    registry.add_file(path, None).unwrap();
    registry.component(kind, name).unwrap()
}

/// Runs the suite against the table that the loader gives.
fn conforms(component: &Component, options: impl Fn(&str) -> String, bounded: impl Fn(&str) -> String) {
    Suite::new(component.backend_table().unwrap(), options).bounded(bounded).run().assert();
}

#[test]
fn the_memory_plugin_behaves_loaded_as_it_does_native() {
    let memory = component(&cargo_plugin("memory"), Kind::Backend, "memory");
    conforms(
        &memory,
        |_| r#"{"sweep_interval": 0.01}"#.to_owned(),
        |_| r#"{"max_bytes": 65536, "sweep_interval": 0.01}"#.to_owned(),
    );
}

#[test]
fn the_testing_plugin_behaves_loaded_as_it_does_native() {
    let plugin = cargo_plugin("testing");
    for name in ["testing", "testing_async", "testing_inline"] {
        let table = component(&plugin, Kind::Backend, name).backend_table().unwrap();
        Suite::new(table, |check| format!(r#"{{"channel": "{check}"}}"#)).run().assert();
    }
}

#[test]
fn the_disk_plugin_behaves_loaded_as_it_does_native() {
    let scratch = Scratch::new();
    let disk = component(&cargo_plugin("disk"), Kind::Backend, "disk");
    let options = |check: &str, more: &str| {
        format!(r#"{{"base_path": {:?}, "sweep_interval": 0.01{more}}}"#, scratch.path().join(check))
    };
    conforms(&disk, |check| options(check, ""), |check| options(check, r#", "max_bytes": 65536"#));
}

#[test]
fn the_compressors_behave_loaded_as_they_do_native() {
    let plugin = cargo_plugin("compress");
    for name in ["zstd", "lz4"] {
        let table = component(&plugin, Kind::Compressor, name).compressor_table().unwrap();
        conformance::compressor(&table, "{}").assert();
    }
    let zstd = component(&plugin, Kind::Compressor, "zstd");
    let refused = zstd.open_compressor(&serde_json::json!({"level": 23})).unwrap_err();
    assert!(refused.to_string().contains("`level`"), "{refused}");
}

#[test]
fn the_serializers_behave_loaded_as_they_do_native() {
    let plugin = cargo_plugin("codecs");
    for name in ["msgpack", "json", "text", "bytes", "numpy"] {
        let table = component(&plugin, Kind::Serializer, name).serializer_table().unwrap();
        conformance::serializer(&table, "{}").assert();
    }
}

#[test]
fn the_plugin_in_rust_conforms() {
    let dummy = component(&fixture("dummy-rust", "retainit_dummy_rust"), Kind::Backend, "dummy");
    conforms(
        &dummy,
        |check| format!(r#"{{"store": "loaded-{check}"}}"#),
        |_| r#"{"max_bytes": 65536}"#.to_owned(),
    );
}

#[test]
fn the_plugin_in_c_conforms() {
    let scratch = Scratch::new();
    let path = c_fixture("dummy-c", "dummy.c", scratch.path());
    let dummy = component(&path, Kind::Backend, "dummy-c");
    conforms(&dummy, |_| "{}".to_owned(), |_| r#"{"max_bytes": 65536}"#.to_owned());
    let serializer = component(&path, Kind::Serializer, "dummy-c").serializer_table().unwrap();
    conformance::serializer(&serializer, "{}").assert();
    let compressor = component(&path, Kind::Compressor, "dummy-c").compressor_table().unwrap();
    conformance::compressor(&compressor, "{}").assert();
}

#[test]
fn every_operation_works_through_an_instance() {
    let dummy = component(&fixture("dummy-rust", "retainit_dummy_rust"), Kind::Backend, "dummy");
    let instance = dummy.open_backend("all", &serde_json::json!({"max_bytes": 100})).unwrap();
    let value = |text: &str| Value::from_vec(text.as_bytes().to_vec());
    let text = |value: &Value| String::from_utf8(value.as_bytes().unwrap().to_vec()).unwrap();

    instance.set(b"a:1", value("one"), NEVER).unwrap();
    assert_eq!(text(&instance.read(b"a:1").unwrap().unwrap().value), "one");
    assert!(instance.touch(b"a:1", 3_600_000_000_000).unwrap());
    assert!(!instance.touch(b"absent", 1).unwrap());
    let left = instance.ttl(b"a:1").unwrap().unwrap();
    assert!(left > 3_500_000_000_000 && left <= 3_600_000_000_000, "{left}");
    assert_eq!(instance.ttl(b"absent").unwrap(), None);

    let token = instance.add(b"a:2", value("two"), NEVER).unwrap().unwrap();
    assert_eq!(instance.add(b"a:2", value("again"), NEVER).unwrap(), None);
    let newer = instance.compare_and_set(b"a:2", value("second"), NEVER, token).unwrap().unwrap();
    assert_ne!(token, newer);
    assert_eq!(instance.compare_and_set(b"a:2", value("third"), NEVER, token).unwrap(), None);
    assert_eq!(instance.increment(b"n", 5, NEVER).unwrap(), 5);
    assert_eq!(instance.increment(b"n", -7, NEVER).unwrap(), -2);

    let page = instance.scan(b"a:", b"*2", 0, 10).unwrap();
    assert_eq!(page.keys, [b"a:2"]);
    assert_eq!(instance.count(b"a:").unwrap(), 2);

    let many = instance.get_many(&[b"a:1", b"absent", b"a:2"]).unwrap();
    let many: Vec<Option<String>> =
        many.into_iter().map(|item| item.unwrap().map(|item| text(&item.value))).collect();
    assert_eq!(many, [Some("one".to_owned()), None, Some("second".to_owned())]);
    let entries = ["b:1", "b:2"].map(|key| retainit_core::sdk::Entry {
        key: key.as_bytes(),
        value: value(key),
        ttl: NEVER,
    });
    assert!(instance.set_many(entries.into()).unwrap().iter().all(Result::is_ok));
    let removed = instance.delete_many(&[b"b:1", b"absent"]).unwrap();
    assert_eq!(removed.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [true, false]);

    let lease = instance.lease_acquire(b"job", 3_600_000_000_000).unwrap().unwrap();
    assert_eq!(instance.lease_acquire(b"job", 1).unwrap().map(|lease| lease.fence), None);
    assert!(instance.lease_renew(b"job", 3_600_000_000_000, &lease).unwrap());
    assert!(instance.lease_release(b"job", &lease).unwrap());
    assert!(!instance.lease_release(b"job", &lease).unwrap());
    instance.subscribe(b"").unwrap();
    instance.ping().unwrap();
    instance.flush().unwrap();
    assert!(instance.statistics().unwrap().is_object());

    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&seen);
    instance.on_evicted(Some(std::sync::Arc::new(move |keys: &[&[u8]], reasons: &[Evicted]| {
        sink.lock().unwrap().extend(keys.iter().zip(reasons).map(|(key, reason)| (key.to_vec(), *reason)));
    })));
    instance.set(b"large", value(&"x".repeat(99)), NEVER).unwrap();
    assert!(seen.lock().unwrap().iter().any(|(_, reason)| *reason == Evicted::Capacity));
    assert!(instance.counters().evicted > 0);

    let left = instance.count(b"").unwrap();
    assert!(left > 0);
    assert_eq!(instance.clear(b"").unwrap(), left);
    assert_eq!(instance.count(b"").unwrap(), 0);
    instance.quiesce(Duration::from_secs(5)).unwrap();
    assert!(instance.read(b"a:1").unwrap().is_none());
}

#[test]
fn a_serializer_a_compressor_and_a_sink_work() {
    let path = fixture("dummy-rust", "retainit_dummy_rust");
    let compressor = component(&path, Kind::Compressor, "dummy")
        .open_compressor(&serde_json::json!({"longest": 9}))
        .unwrap();
    let packed = compressor.compress(&[7; 1000]).unwrap();
    assert!(packed.as_bytes().unwrap().len() < 1000);
    let unpacked = compressor.decompress(packed.as_bytes().unwrap(), 1000).unwrap();
    assert_eq!(unpacked.as_bytes().unwrap(), [7; 1000]);
    let error = compressor.decompress(packed.as_bytes().unwrap(), 999).unwrap_err();
    assert_eq!(error.kind(), retainit_core::ErrorKind::Corrupt);

    let serializer =
        component(&path, Kind::Serializer, "dummy").open_serializer(&serde_json::json!({})).unwrap();
    let data = Data {
        form: form::BYTES,
        reserved: 0,
        value: Value::from_vec(b"data".to_vec()).into_raw(),
        tensor: std::ptr::null(),
        stream: std::ptr::null_mut(),
    };
    // SAFETY: the data is whole, and its reference passes on.
    let bytes = unsafe { serializer.serialize(&data) }.unwrap();
    // SAFETY: no place for a stream is given.
    let back = unsafe { serializer.deserialize(bytes, std::ptr::null_mut()) }.unwrap();
    // SAFETY: the reference is ours.
    assert_eq!(
        // SAFETY: the serializer gave the reference to us.
        (back.form, unsafe { Value::from_raw(back.value) }.as_bytes()),
        (form::BYTES, Some(&b"data"[..]))
    );
    // SAFETY: as above.
    assert!(unsafe { serializer.deserialize(Value::from_vec(b"?".to_vec()), std::ptr::null_mut()) }.is_err());

    let sink = component(&path, Kind::Sink, "dummy").open_sink(&serde_json::json!({"bound": 1})).unwrap();
    let hit = Event {
        kind: event::HIT,
        tier: 0,
        time: 0,
        duration: -1,
        size: -1,
        count: -1,
        call_id: 1,
        function: Slice::new(b"f"),
        key: Slice::new(b"k"),
        backend: Slice::EMPTY,
        tags: Slice::EMPTY,
        error: Slice::EMPTY,
    };
    // SAFETY: the texts are static.
    unsafe {
        sink.emit(&[hit]).unwrap();
        assert!(sink.emit(&[hit]).unwrap_err().is_retryable(), "full");
        sink.flush(Duration::from_secs(5)).unwrap();
        sink.emit(&[hit]).unwrap();
    }
}

#[test]
fn loading_a_plugin_takes_a_millisecond_at_most() {
    // A fresh copy each time, so that nothing has been seen before; the median leaves out whatever else
    // the machine does. Debug builds are larger by far, and slower.
    let bound = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 1 });
    let plugins = [
        ("memory", Kind::Backend, "memory"),
        ("disk", Kind::Backend, "disk"),
        ("codecs", Kind::Serializer, "json"),
        ("compress", Kind::Compressor, "zstd"),
        ("testing", Kind::Backend, "testing"),
    ];
    for (name, kind, of) in plugins {
        let built = cargo_plugin(name);
        let scratches: Vec<Scratch> = (0..9).map(|_| Scratch::new()).collect();
        let mut times: Vec<Duration> = scratches
            .iter()
            .map(|scratch| {
                let path = scratch.copy(&built);
                let start = Instant::now();
                component(&path, kind, of).load().unwrap();
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("load of {name}: median {:?}, from {:?} to {:?}", times[4], times[0], times[8]);
        assert!(times[4] <= bound, "{name}: {times:?}");
    }
}
