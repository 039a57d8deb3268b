//! `msgpack`: the tree is MessagePack already, so it is stored as it is.

use retainit_plugin_api::sdk::{capability, Call, Data, Error, ErrorKind, Host, Result, Serializer, Value};

use super::{contents, corrupt, not_of_form, stored};
use crate::config::Config;

/// Stores trees as they are, without a copy. The host, which makes the objects, checks a tree on the way.
#[derive(Debug)]
pub struct MsgpackSerializer;

impl Serializer for MsgpackSerializer {
    const NAME: &'static str = "msgpack";
    const CAPABILITIES: u64 = capability::FORM_TREE;
    const SCHEMA: &'static str = crate::SCHEMA;
    type Options = Config;

    fn open(_: Config, _: Host) -> Result<Self> {
        Ok(MsgpackSerializer)
    }

    fn serialize(&self, _: &Call<'_>, data: Data) -> Result<Value> {
        let Data::Tree(value) = data else {
            return Err(not_of_form(Self::NAME, "a tree", &data));
        };
        if contents(&value)?.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "expected a tree, found no bytes"));
        }
        Ok(value)
    }

    fn deserialize(&self, _: &Call<'_>, bytes: Value) -> Result<Data> {
        if stored(&bytes)?.is_empty() {
            return Err(corrupt("expected a tree, found no bytes"));
        }
        Ok(Data::Tree(bytes))
    }
}
