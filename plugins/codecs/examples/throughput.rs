//! What a conversion costs: JSON both ways beside serde_json alone, NPY beside a plain copy.
//!
//!     cargo run --release -p retainit-codecs --example throughput

use std::hint::black_box;
use std::time::{Duration, Instant};

use retainit_codecs::{JsonSerializer, NumpySerializer};
use retainit_plugin_api::abi::call::{Call as RawCall, NEVER};
use retainit_plugin_api::abi::host::HostRef;
use retainit_plugin_api::sdk::{Call, Data, Host, Serializer, TensorInfo, Value};

/// The fastest of several rounds: what else the machine does only adds.
fn best(mut work: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..15 {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    best
}

fn report(what: &str, bytes: usize, ours: Duration, other: &str, theirs: Duration) {
    let speed = |time: Duration| bytes as f64 / time.as_secs_f64() / 1e6;
    println!(
        "{what:<22} {:>8.0} MB/s   {other:<24} {:>8.0} MB/s   {:.2} x its time",
        speed(ours),
        speed(theirs),
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}

/// What an API answers: records of text, numbers and lists.
fn response(records: usize) -> serde_json::Value {
    let record = |id: usize| {
        serde_json::json!({
            "id": id,
            "name": format!("user number {id}"),
            "email": format!("user{id}@example.org"),
            "score": id as f64 * 0.37,
            "active": id.is_multiple_of(3),
            "roles": ["reader", "writer"],
            "address": {"street": "Große Straße 7", "zip": "12345", "geo": [52.52, 13.405]},
            "parent": null,
        })
    };
    serde_json::json!({"count": records, "items": (0..records).map(record).collect::<Vec<_>>()})
}

fn json(call: &Call<'_>, serializer: &JsonSerializer, records: usize) {
    let value = response(records);
    let text = value.to_string().into_bytes();
    let tree = |text: &[u8]| match serializer.deserialize(call, Value::from_vec(text.to_vec())) {
        Ok(Data::Tree(tree)) => tree,
        other => panic!("{other:?}"),
    };
    let rounds = (1 << 22) / text.len() + 1;
    let stored = tree(&text);
    let given = Value::from_vec(text.clone());
    let share = |value: &Value| value.share_bytes().expect("bytes");
    let write = best(|| {
        for _ in 0..rounds {
            black_box(serializer.serialize(call, Data::Tree(share(&stored))).expect("json"));
        }
    });
    let read = best(|| {
        for _ in 0..rounds {
            black_box(serializer.deserialize(call, share(&given)).expect("json"));
        }
    });
    let plain_write = best(|| (0..rounds).for_each(|_| drop(black_box(serde_json::to_vec(&value)))));
    let plain_read = best(|| {
        for _ in 0..rounds {
            black_box(serde_json::from_slice::<serde_json::Value>(black_box(&text)).expect("json"));
        }
    });
    let bytes = text.len() * rounds;
    println!("json of {} bytes", text.len());
    report("  tree to text", bytes, write, "serde_json::Value to text", plain_write);
    report("  text to tree", bytes, read, "text to serde_json::Value", plain_read);
}

fn numpy(call: &Call<'_>, serializer: &NumpySerializer) {
    let elements = vec![7u8; 32 << 20];
    let copy = best(|| drop(black_box(elements.to_vec())));
    let given = Value::from_vec(elements.clone());
    // A row less, so that the second is no packed Fortran order and has to be gathered.
    for (what, shape, strides) in [
        ("  in C order", [2048, 2048], [8 * 2048, 8]),
        ("  gathered by columns", [2047, 2048], [8, 8 * 2048]),
    ] {
        let info = TensorInfo { dtype: "<f8".into(), shape: shape.into(), strides: strides.into() };
        let time = best(|| {
            let elements = given.share_bytes().expect("bytes");
            drop(black_box(serializer.serialize(call, Data::Tensor(elements, info.clone()))));
        });
        report(what, elements.len(), time, "a plain copy", copy);
    }
    let info = TensorInfo { dtype: "<f8".into(), shape: vec![2048, 2048], strides: vec![8 * 2048, 8] };
    let file = serializer.serialize(call, Data::Tensor(given, info)).expect("a file");
    let read = best(|| {
        for _ in 0..10_000 {
            black_box(serializer.deserialize(call, file.share_bytes().expect("bytes")).expect("a tensor"));
        }
    });
    println!("  read in place: {:?}, whatever the size", read / 10_000);
}

fn main() {
    let raw = RawCall { op: 0, now: 1, deadline: NEVER, error: std::ptr::null_mut() };
    let call = Call::new(&raw);
    // SAFETY: these serializers never call their host.
    let host = unsafe { Host::new(HostRef { table: std::ptr::null(), context: std::ptr::null_mut() }) };
    let open = "these serializers open without options";
    let serializer = JsonSerializer::open(Default::default(), host).expect(open);
    for records in [10, 1000] {
        json(&call, &serializer, records);
    }
    println!("numpy, 32 MiB of floats");
    numpy(&call, &NumpySerializer::open(Default::default(), host).expect(open));
}
