//! `serialize` and `deserialize` of an open instance.

use super::instance::{fault, Instance};
use super::sample::Data;
use super::stream::{Live, Stream};
use super::tensor::Tensor;
use super::tree::Tree;
use crate::abi::codec::{form, Data as RawData, SerializerTable, Tensor as RawTensor};
use crate::abi::value::{Slice, Value as RawValue, NONE};
use crate::abi::{capability, status};
use crate::conformance::session::Fault;
use crate::sdk::{ArrowStream, TensorInfo, Value};

/// The number of a form's capability.
pub(super) fn number(capability: u64) -> u32 {
    match capability {
        capability::FORM_BYTES => form::BYTES,
        capability::FORM_TREE => form::TREE,
        capability::FORM_TENSOR => form::TENSOR,
        _ => form::ARROW,
    }
}

/// What a serializer gave back, as it crossed.
pub(super) struct Given {
    form: u32,
    value: Value,
    tensor: *const RawTensor,
    stream: Option<ArrowStream>,
}

impl Instance<SerializerTable> {
    /// Serializes `data`, whose bytes the host's counted handles hold.
    pub(super) fn serialize(&self, data: &Data, live: &Live) -> Result<Value, Fault> {
        self.serialize_value(data, self.host.bytes(&data.value()), live)
    }

    /// Serializes `data`, whose bytes are in `value`.
    pub(super) fn serialize_value(&self, data: &Data, value: RawValue, live: &Live) -> Result<Value, Fault> {
        let description = match data {
            Data::Tensor(Tensor { info, .. }) => Some(RawTensor {
                dtype: Slice::new(info.dtype.as_bytes()),
                shape: info.shape.as_ptr(),
                strides: info.strides.as_ptr(),
                ndim: info.shape.len() as u32,
                reserved: 0,
            }),
            _ => None,
        };
        let mut stream = data.stream(live);
        let raw = RawData {
            form: number(data.form()),
            reserved: 0,
            value,
            tensor: description.as_ref().map_or(std::ptr::null(), std::ptr::from_ref),
            stream: if stream.is_some() {
                std::ptr::from_mut(&mut stream).cast()
            } else {
                std::ptr::null_mut()
            },
        };
        let result = self.serialize_raw(&raw);
        if !stream.is_some() {
            return result;
        }
        // Ours to release, so that nothing leaks besides.
        drop(stream.take());
        Err(fault("serialize", status::FATAL, "left the stream that it was given to the host"))
    }

    /// Serializes whatever this is.
    pub(super) fn serialize_raw(&self, data: &RawData) -> Result<Value, Fault> {
        let serialize = self.table.serialize.expect("`serialize` is required");
        let mut out = RawValue::NONE;
        // SAFETY: the instance is open, and what the data points to is valid for the call.
        self.call("serialize", |handle, call| unsafe { serialize(handle, call, data, &mut out) })?;
        // SAFETY: the plugin gave the reference to us.
        let value = unsafe { Value::from_raw(out) };
        match value.as_bytes() {
            Some(_) => Ok(value),
            None => Err(fault("serialize", status::FATAL, "gave no bytes")),
        }
    }

    /// Deserializes bytes, whose reference is given away.
    pub(super) fn deserialize(&self, bytes: RawValue) -> Result<Given, Fault> {
        let deserialize = self.table.deserialize.expect("`deserialize` is required");
        let mut stream = Stream::empty();
        let mut out = RawData {
            form: 0,
            reserved: 0,
            value: RawValue::NONE,
            tensor: std::ptr::null(),
            stream: std::ptr::from_mut(&mut stream).cast(),
        };
        // SAFETY: the instance is open; the reference passes on, and the place of a stream is ours.
        self.call("deserialize", |handle, call| unsafe { deserialize(handle, call, &bytes, &mut out) })?;
        // SAFETY: the plugin gave the reference to us.
        let value = unsafe { Value::from_raw(out.value) };
        let stream = stream.is_some().then(|| stream.take());
        let broken = |message: &str| Err(fault("deserialize", status::FATAL, message));
        let declared = self.table.prelude.capabilities;
        let forms =
            [capability::FORM_BYTES, capability::FORM_TREE, capability::FORM_TENSOR, capability::FORM_ARROW];
        match forms.into_iter().find(|form| number(*form) == out.form) {
            None => return broken(&format!("gave data in the unknown form {}", out.form)),
            Some(form) if declared & form == 0 => {
                return broken("gave data in a form that it does not declare")
            }
            Some(capability::FORM_ARROW) if stream.is_none() => return broken("gave no stream"),
            Some(capability::FORM_ARROW) if value.as_raw().kind != NONE => {
                return broken("gave a value beside a stream")
            }
            Some(capability::FORM_ARROW) => {}
            Some(_) if stream.is_some() => return broken("gave a stream beside a value"),
            Some(_) if value.as_bytes().is_none() => return broken("gave no bytes"),
            Some(capability::FORM_TENSOR) if out.tensor.is_null() => return broken("gave no description"),
            Some(_) => {}
        }
        Ok(Given { form: out.form, value, tensor: out.tensor, stream })
    }
}

impl Given {
    /// The data, read to its end.
    pub(super) fn read(mut self) -> Result<Data, String> {
        let bytes = self.value.as_bytes().unwrap_or_default();
        Ok(match self.form {
            form::BYTES => Data::Bytes(bytes.to_vec()),
            form::TREE => Data::Tree(Tree::decode(bytes)?),
            form::TENSOR => Data::Tensor(Tensor { info: self.description()?, memory: bytes.to_vec() }),
            _ => match &mut self.stream {
                Some(stream) => Data::Arrow(super::stream::read(stream)?),
                None => return Err("there is no stream".to_owned()),
            },
        })
    }

    /// What must hold of any data, though nobody wrote it: a tensor lies within its bytes, a stream ends. A tree
    /// and an error of a stream are the host's to judge.
    pub(super) fn look(mut self) -> Result<(), String> {
        if self.form == form::TENSOR {
            let mut info = self.description()?;
            let len = self.value.as_bytes().unwrap_or_default().len();
            // A changed type may be one that is not known here; its elements have one byte at least.
            if info.item_size().is_none() {
                info.dtype = "|u1".to_owned();
            }
            if !info.fits(len) {
                return Err(format!("{info:?} reaches beyond its {len} bytes"));
            }
        }
        if let Some(stream) = &mut self.stream {
            let _ = super::stream::read(stream);
        }
        Ok(())
    }

    fn description(&self) -> Result<TensorInfo, String> {
        // SAFETY: the description is valid for as long as the value is held.
        unsafe {
            let tensor = &*self.tensor;
            let numbers = |first: *const i64| match tensor.ndim {
                0 => Vec::new(),
                rank => std::slice::from_raw_parts(first, rank as usize).to_vec(),
            };
            let dtype =
                std::str::from_utf8(tensor.dtype.as_bytes()).map_err(|_| "an element type is not text")?;
            Ok(TensorInfo {
                dtype: dtype.to_owned(),
                shape: numbers(tensor.shape),
                strides: numbers(tensor.strides),
            })
        }
    }
}
