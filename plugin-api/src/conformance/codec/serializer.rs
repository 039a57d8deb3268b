//! The checks of serializers.

use std::sync::atomic::Ordering;

use super::calls::number;
use super::hostile::{extended, flips, noise, truncations};
use super::instance::Instance;
use super::sample::{one_of_each, samples, Data, Sample};
use super::stream::Live;
use super::tensor::Tensor;
use super::{Check, Subject};
use crate::abi::codec::{form, Data as RawData, SerializerTable};
use crate::abi::value::Value as RawValue;
use crate::abi::{capability, status};
use crate::conformance::handle::Handle;
use crate::conformance::session::Fault;
use crate::conformance::{ensure, Outcome};
use crate::sdk::{TensorInfo, Value};

type Serializer = SerializerTable;

const FORMS: u64 =
    capability::FORM_BYTES | capability::FORM_TREE | capability::FORM_TENSOR | capability::FORM_ARROW;

pub(super) const CHECKS: [Check<Serializer>; 9] = [
    ("forms", forms),
    ("what-went-in-comes-out", what_went_in_comes_out),
    ("results-outlive-the-instance", results_outlive_the_instance),
    ("undeclared-forms", undeclared_forms),
    ("malformed-data", malformed_data),
    ("hostile-bytes", hostile_bytes),
    ("hostile-depth", hostile_depth),
    ("references", references),
    ("threads", threads),
];

fn forms(subject: &Subject<Serializer>) -> Outcome {
    let declared = subject.table.prelude.capabilities;
    ensure!(declared & FORMS != 0, "no form is declared");
    Ok(())
}

/// The bytes of a sample; none where it may be refused and is.
fn written(instance: &Instance<Serializer>, sample: &Sample) -> Result<Option<Value>, String> {
    let live = Live::default();
    let answer = instance.serialize(&sample.data, &live);
    let left = live.load(Ordering::SeqCst);
    if left != 0 {
        return Err(format!(
            "`{}`: {left} parts of the stream that was given were not released",
            sample.name
        ));
    }
    match answer {
        Ok(bytes) => Ok(Some(bytes)),
        Err(fault) if !sample.plain && refused(&fault) => Ok(None),
        Err(fault) => Err(format!("`{}` was not taken: {fault}", sample.name)),
    }
}

/// A refusal names what to do.
fn refused(fault: &Fault) -> bool {
    matches!(fault.status, status::UNSUPPORTED | status::INVALID) && !fault.message.is_empty()
}

fn what_went_in_comes_out(subject: &Subject<Serializer>) -> Outcome {
    let instance = subject.open()?;
    for sample in samples(subject.table.prelude.capabilities) {
        let Some(bytes) = written(&instance, &sample)? else {
            continue;
        };
        let given = instance.deserialize(bytes.into_raw())?;
        let found = given.read().map_err(|why| format!("`{}` came back unreadable: {why}", sample.name))?;
        ensure!(sample.data.same(&found)?, "`{}` came back otherwise: {found:?}", sample.name);
    }
    instance.close()
}

fn results_outlive_the_instance(subject: &Subject<Serializer>) -> Outcome {
    for sample in samples(subject.table.prelude.capabilities).into_iter().filter(|sample| sample.plain) {
        let instance = subject.open()?;
        let Some(bytes) = written(&instance, &sample)? else {
            continue;
        };
        let copy = bytes.as_bytes().unwrap_or_default().to_vec();
        let given = instance.deserialize(instance.host.bytes(&copy))?;
        let host = instance.shut()?;
        ensure!(bytes.as_bytes() == Some(&copy), "the bytes of `{}` changed with `close`", sample.name);
        ensure!(sample.data.same(&given.read()?)?, "`{}` changed with `close`", sample.name);
        drop(bytes);
        host.settle()?;
    }
    Ok(())
}

fn undeclared_forms(subject: &Subject<Serializer>) -> Outcome {
    let instance = subject.open()?;
    let live = Live::default();
    for (form, data) in one_of_each() {
        if subject.table.prelude.capabilities & form != 0 {
            continue;
        }
        match instance.serialize(&data, &live) {
            Ok(_) => {
                return Err(format!("data of form {}, which is not declared, was taken", number(form)).into())
            }
            Err(fault) => {
                ensure!(refused(&fault), "data of an undeclared form: expected a refusal, found {fault}")
            }
        }
    }
    let unknown = RawData {
        form: 99,
        reserved: 0,
        value: instance.host.bytes(b"data"),
        tensor: std::ptr::null(),
        stream: std::ptr::null_mut(),
    };
    match instance.serialize_raw(&unknown) {
        Ok(_) => return Err("data of an unknown form was taken".into()),
        Err(fault) => ensure!(refused(&fault), "data of an unknown form: expected a refusal, found {fault}"),
    }
    ensure!(live.load(Ordering::SeqCst) == 0, "a stream that was refused was not released");
    instance.close()
}

/// Data that breaks its form: an error, and for no reason a panic.
fn malformed_data(subject: &Subject<Serializer>) -> Outcome {
    let instance = subject.open()?;
    let declared = subject.table.prelude.capabilities;
    let live = Live::default();
    for sample in samples(declared).into_iter().filter(|sample| sample.plain) {
        let Data::Tree(tree) = &sample.data else {
            continue;
        };
        for cut in truncations(&tree.encode()) {
            // A serializer that looks into the tree refuses; one that stores it as it is need not see it.
            Handle::lend(cut, |value| {
                if let Err(fault) = instance.serialize_value(&sample.data, value, &live).map(drop) {
                    ensure!(refused(&fault), "a tree cut short: expected a refusal, found {fault}");
                }
                Ok(())
            })?;
        }
    }
    if declared & capability::FORM_TENSOR != 0 {
        for tensor in malformed_tensors() {
            let about = format!("a malformed tensor, {:?}", tensor.info);
            match instance.serialize(&Data::Tensor(tensor), &live) {
                Ok(_) => return Err(format!("{about} was taken").into()),
                Err(fault) => ensure!(refused(&fault), "{about}: expected a refusal, found {fault}"),
            }
        }
        let without = RawData {
            form: form::TENSOR,
            reserved: 0,
            value: instance.host.bytes(&[0; 8]),
            tensor: std::ptr::null(),
            stream: std::ptr::null_mut(),
        };
        ensure!(instance.serialize_raw(&without).is_err(), "a tensor without a description was taken");
    }
    if declared & capability::FORM_ARROW != 0 {
        let without = RawData {
            form: form::ARROW,
            reserved: 0,
            value: RawValue::NONE,
            tensor: std::ptr::null(),
            stream: std::ptr::null_mut(),
        };
        ensure!(instance.serialize_raw(&without).is_err(), "arrow data without a stream was taken");
    }
    instance.close()
}

/// Tensors that reach beyond their 24 bytes, or are of no type.
fn malformed_tensors() -> Vec<Tensor> {
    let good = Tensor::c_order("<f8", &[3]);
    let with = |shape: &[i64], strides: &[i64]| Tensor {
        info: TensorInfo { shape: shape.to_vec(), strides: strides.to_vec(), ..good.info.clone() },
        ..good.clone()
    };
    let typed = |dtype: &str| Tensor {
        info: TensorInfo { dtype: dtype.to_owned(), ..good.info.clone() },
        ..good.clone()
    };
    vec![
        with(&[4], &[8]),
        with(&[2], &[17]),
        with(&[3], &[-8]),
        with(&[-1], &[8]),
        with(&[i64::MAX], &[8]),
        with(&[2], &[i64::MAX]),
        with(&[i64::MAX, i64::MAX], &[i64::MAX, i64::MIN]),
        with(&[1 << 32, 1 << 32], &[1 << 32, 8]),
        with(&[2, 2], &[i64::MIN, 8]),
        typed(""),
        typed("<"),
        typed("f8"),
        typed("<f"),
        typed("<f8x"),
        typed("<f99999999999999999999"),
        typed("<q8"),
        typed("<é8"),
        typed("|O"),
    ]
}

fn survives(instance: &Instance<Serializer>, hostile: Vec<u8>) -> Outcome {
    let shown = hostile[..hostile.len().min(200)].to_vec();
    let outcome = Handle::lend(hostile, |value| {
        match instance.deserialize(value) {
            Ok(given) => given.look()?,
            Err(fault) => {
                ensure!(fault.status == status::CORRUPT, "expected data or CORRUPT, found {fault}");
                ensure!(!fault.message.is_empty(), "CORRUPT without a message");
            }
        }
        Ok(())
    });
    outcome.map_err(|why| format!("{}: {why}", shown.escape_ascii()).into())
}

fn hostile_bytes(subject: &Subject<Serializer>) -> Outcome {
    let instance = subject.open()?;
    survives(&instance, Vec::new())?;
    for hostile in noise() {
        survives(&instance, hostile)?;
    }
    for sample in samples(subject.table.prelude.capabilities) {
        let Some(bytes) = written(&instance, &sample)? else {
            continue;
        };
        // Of what is larger, one sample of its kind says as much.
        let bytes = bytes.as_bytes().unwrap_or_default();
        if bytes.len() > 1 << 14 {
            continue;
        }
        for hostile in truncations(bytes).chain(flips(bytes)).chain(extended(bytes)) {
            survives(&instance, hostile)?;
        }
    }
    instance.close()
}

/// Nesting that would take a stack apart which follows it.
fn hostile_depth(subject: &Subject<Serializer>) -> Outcome {
    const DEPTH: usize = 1_000_000;
    let instance = subject.open()?;
    for pattern in [&b"["[..], b"{\"a\":", &[0x91], &[0x81, 0xA1, b'a'], &[0xDD, 0, 0, 0, 1]] {
        let deep = pattern.repeat(DEPTH);
        survives(&instance, deep.clone())?;
        if subject.table.prelude.capabilities & capability::FORM_TREE == 0 {
            continue;
        }
        Handle::lend([&deep[..], &[0xC0]].concat(), |value| {
            let data = RawData {
                form: form::TREE,
                reserved: 0,
                value,
                tensor: std::ptr::null(),
                stream: std::ptr::null_mut(),
            };
            match instance.serialize_raw(&data) {
                Ok(bytes) => survives(&instance, bytes.as_bytes().unwrap_or_default().to_vec()),
                Err(fault) => {
                    ensure!(refused(&fault), "a tree of depth {DEPTH}: expected a refusal, found {fault}");
                    Ok(())
                }
            }
        })?;
    }
    instance.close()
}

/// Every way of a reference: taken by a result or not, before and after `close`.
fn references(subject: &Subject<Serializer>) -> Outcome {
    let instance = subject.open()?;
    let live = Live::default();
    for sample in samples(subject.table.prelude.capabilities) {
        let Some(bytes) = written(&instance, &sample)? else {
            continue;
        };
        let copy = bytes.as_bytes().unwrap_or_default().to_vec();
        drop(bytes);
        let first = instance.deserialize(instance.host.bytes(&copy))?;
        let second = instance.deserialize(instance.host.bytes(&copy))?;
        drop(first);
        ensure!(sample.data.same(&second.read()?)?, "`{}` changed with another's release", sample.name);
    }
    // A value that is not bytes.
    if subject.table.prelude.capabilities & (capability::FORM_BYTES | capability::FORM_TREE) != 0 {
        let (object, _) = instance.host.object(8);
        let data = one_of_each().into_iter().find(|(form, _)| subject.table.prelude.capabilities & form != 0);
        let (_, data) = data.ok_or("no form is declared")?;
        ensure!(instance.serialize_value(&data, object, &live).is_err(), "an object was serialized");
    }
    let (object, _) = instance.host.object(8);
    ensure!(instance.deserialize(object).is_err(), "an object was deserialized");
    instance.close()
}

fn threads(subject: &Subject<Serializer>) -> Outcome {
    let instance = subject.open()?;
    let samples = samples(subject.table.prelude.capabilities);
    let storm = |thread: usize| -> Result<(), String> {
        for round in 0..3 {
            for i in 0..samples.len() {
                // Each begins elsewhere, so that different data meet.
                let sample = &samples[(i + thread * 3 + round) % samples.len()];
                let Some(bytes) = written(&instance, sample)? else {
                    continue;
                };
                let given = instance.deserialize(bytes.into_raw()).map_err(|fault| fault.to_string())?;
                if !sample.data.same(&given.read()?)? {
                    return Err(format!("`{}` came back otherwise from one of several threads", sample.name));
                }
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
