//! The checks of compressors.

use std::panic::Location;

use super::hostile::{extended, flips, noise, truncations, Random};
use super::instance::Instance;
use super::{Check, Subject};
use crate::abi::codec::CompressorTable;
use crate::abi::value::{Slice, Value as RawValue};
use crate::abi::{capability, status};
use crate::conformance::session::Fault;
use crate::conformance::{ensure, Outcome};
use crate::sdk::Value;

type Compressor = CompressorTable;

pub(super) const CHECKS: [Check<Compressor>; 6] = [
    ("what-went-in-comes-out", what_went_in_comes_out),
    ("results-outlive-the-instance", results_outlive_the_instance),
    ("never-more-than-the-limit", never_more_than_the_limit),
    ("hostile-bytes", hostile_bytes),
    ("threads", threads),
    ("dictionary", dictionary),
];

impl Instance<Compressor> {
    fn compress(&self, input: &[u8]) -> Result<Value, Fault> {
        let compress = self.table.compress.expect("`compress` is required");
        let mut out = RawValue::NONE;
        // SAFETY: the instance is open, and everything is valid for the call.
        self.call("compress", |handle, call| unsafe { compress(handle, call, Slice::new(input), &mut out) })?;
        // SAFETY: the plugin gave the reference to us.
        Ok(unsafe { Value::from_raw(out) })
    }

    fn decompress(&self, input: &[u8], limit: usize) -> Result<Value, Fault> {
        let decompress = self.table.decompress.expect("`decompress` is required");
        let mut out = RawValue::NONE;
        self.call("decompress", |handle, call| {
            // SAFETY: as above.
            unsafe { decompress(handle, call, Slice::new(input), limit as u64, &mut out) }
        })?;
        // SAFETY: as above.
        Ok(unsafe { Value::from_raw(out) })
    }

    fn train(&self, samples: &[&[u8]], size: usize) -> Result<Value, Fault> {
        let train = self.table.train.expect("`train` is required with `DICTIONARY`");
        let samples: Vec<Slice> = samples.iter().map(|sample| Slice::new(sample)).collect();
        let mut out = RawValue::NONE;
        self.call("train", |handle, call| {
            // SAFETY: as above.
            unsafe { train(handle, call, samples.as_ptr(), samples.len(), size as u64, &mut out) }
        })?;
        // SAFETY: as above.
        Ok(unsafe { Value::from_raw(out) })
    }
}

/// The bytes of a result, which must be bytes.
#[track_caller]
fn bytes(value: &Value) -> &[u8] {
    value.as_bytes().unwrap_or_else(|| panic!("a result is not bytes, at {}", Location::caller()))
}

/// Inputs of every temper, by name.
fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let text = "{\"name\": \"value\", \"list\": [1, 2, 3]}, ".repeat(300);
    vec![
        ("nothing", Vec::new()),
        ("one byte", vec![7]),
        ("every byte", (0..=255).collect()),
        ("text", text.into_bytes()),
        ("a megabyte of zeros", vec![0; 1 << 20]),
        ("noise", Random(42).bytes(100_000)),
    ]
}

fn what_went_in_comes_out(subject: &Subject<Compressor>) -> Outcome {
    let instance = subject.open()?;
    for (name, input) in inputs() {
        let packed = instance.compress(&input)?;
        for limit in [input.len(), input.len() + 1, input.len() + (1 << 24)] {
            let unpacked = instance.decompress(bytes(&packed), limit)?;
            ensure!(bytes(&unpacked) == input, "{name} came back otherwise, with limit {limit}");
        }
    }
    instance.close()
}

fn results_outlive_the_instance(subject: &Subject<Compressor>) -> Outcome {
    let instance = subject.open()?;
    let input = b"what is held stays".repeat(20);
    let packed = instance.compress(&input)?;
    let unpacked = instance.decompress(bytes(&packed), input.len())?;
    let copy = bytes(&packed).to_vec();
    let host = instance.shut()?;
    ensure!(bytes(&unpacked) == input, "what was decompressed changed with `close`");
    ensure!(bytes(&packed) == copy, "what was compressed changed with `close`");
    drop((packed, unpacked));
    host.settle()
}

fn corrupt(answer: Result<Value, Fault>, about: &str) -> Outcome {
    match answer {
        Err(fault) if fault.status == status::CORRUPT => Ok(()),
        Err(fault) => Err(format!("{about}: expected CORRUPT, found {fault}").into()),
        Ok(value) => Err(format!("{about}: expected CORRUPT, found {} bytes", bytes(&value).len()).into()),
    }
}

fn never_more_than_the_limit(subject: &Subject<Compressor>) -> Outcome {
    let instance = subject.open()?;
    for (name, input) in inputs().into_iter().filter(|(_, input)| !input.is_empty()) {
        let packed = instance.compress(&input)?;
        for limit in [input.len() - 1, 0] {
            let answer = instance.decompress(bytes(&packed), limit);
            corrupt(answer, &format!("{name}, {} bytes with limit {limit}", input.len()))?;
        }
    }
    let bomb = instance.compress(&vec![0; 64 << 20])?;
    corrupt(instance.decompress(bytes(&bomb), 1000), "64 MiB of zeros with limit 1000")?;
    instance.close()
}

fn hostile_bytes(subject: &Subject<Compressor>) -> Outcome {
    const LIMIT: usize = 1 << 16;
    let instance = subject.open()?;
    let text = b"a text that repeats itself, a text that repeats itself ".repeat(20);
    for input in [text, Random(3).bytes(700), Vec::new()] {
        let packed = instance.compress(&input)?;
        let packed = bytes(&packed);
        for hostile in truncations(packed).chain(flips(packed)).chain(extended(packed)).chain(noise()) {
            match instance.decompress(&hostile, LIMIT) {
                Ok(value) => {
                    let len = bytes(&value).len();
                    ensure!(len <= LIMIT, "{} gave {len} bytes with limit {LIMIT}", hostile.escape_ascii());
                }
                Err(fault) => ensure!(
                    fault.status == status::CORRUPT,
                    "{}: expected bytes or CORRUPT, found {fault}",
                    hostile.escape_ascii()
                ),
            }
        }
    }
    instance.close()
}

fn threads(subject: &Subject<Compressor>) -> Outcome {
    let instance = subject.open()?;
    let storm = |thread: u64| -> Result<(), String> {
        let mut random = Random(thread + 1);
        for round in 0..50 {
            let input = random.bytes(round * 17).repeat(1 + round % 5);
            let packed = instance.compress(&input).map_err(|fault| fault.to_string())?;
            let unpacked =
                instance.decompress(bytes(&packed), input.len()).map_err(|fault| fault.to_string())?;
            if bytes(&unpacked) != input {
                return Err("another thread's data, or none, came back".to_owned());
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || storm(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    instance.close()
}

fn dictionary(subject: &Subject<Compressor>) -> Outcome {
    if subject.table.prelude.capabilities & capability::DICTIONARY == 0 {
        return Ok(());
    }
    let instance = subject.open()?;
    let samples: Vec<Vec<u8>> = (0..400)
        .map(|i| {
            format!(r#"{{"id": {i}, "name": "user {i}", "roles": ["reader", "writer"], "active": true}}"#)
        })
        .map(String::into_bytes)
        .collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    for size in [1 << 10, 1 << 14] {
        let trained = instance.train(&samples, size)?;
        let len = bytes(&trained).len();
        ensure!((1..=size).contains(&len), "a dictionary of at most {size} bytes has {len}");
    }
    // Nothing to learn from: an error, or a dictionary of no use, but no panic.
    for samples in [&[][..], &[&b""[..]]] {
        match instance.train(samples, 1 << 10) {
            Ok(trained) => ensure!(bytes(&trained).len() <= 1 << 10, "a dictionary is larger than asked for"),
            Err(fault) => ensure!(fault.status != status::PANIC, "{fault}"),
        }
    }
    instance.close()
}
