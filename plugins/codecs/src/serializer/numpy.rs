//! `numpy`: tensors as NPY files, read in place.

use retainit_plugin_api::sdk::{capability, Call, Data, Host, Result, Serializer, Value};

use super::{contents, corrupt, not_of_form, stored};
use crate::config::Config;
use crate::npy;

/// Writes tensors in NumPy's file format. What is read lies in the stored bytes, without a copy.
#[derive(Debug)]
pub struct NumpySerializer;

impl Serializer for NumpySerializer {
    const NAME: &'static str = "numpy";
    const CAPABILITIES: u64 = capability::FORM_TENSOR;
    const SCHEMA: &'static str = crate::SCHEMA;
    type Options = Config;

    fn open(_: Config, _: Host) -> Result<Self> {
        Ok(NumpySerializer)
    }

    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        let Data::Tensor(elements, info) = data else {
            return Err(not_of_form(Self::NAME, "a tensor", &data));
        };
        npy::write(&info, contents(&elements)?).map(Value::from_vec)
    }

    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        let (info, start) = npy::read(stored(&bytes)?)?;
        let end = bytes.weight() as usize;
        let elements = bytes.slice(start..end).ok_or_else(|| corrupt("the elements lie beyond the bytes"))?;
        Ok(Data::Tensor(elements, info))
    }
}
