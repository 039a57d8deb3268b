//! Tokens in backends: 16 random bytes for each tag.
//!
//! A token is made when a load first wants it and removed by an invalidation; it never comes back, since
//! the next one is random again. So what carries it stays invalid, whoever else was writing meanwhile.

use std::sync::Arc;

use retainit_plugin_api::abi::call::NEVER;
use retainit_plugin_api::abi::capability;
use retainit_plugin_api::sdk::{Item, Value};

use super::EPOCH;
use crate::entry;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::key;

/// The token of a tag.
pub type Token = [u8; 16];

/// Rounds of making a token that others keep removing.
const ROUNDS: usize = 8;

/// The tokens that a backend has under `keys`.
pub(super) fn read(instance: &Instance, keys: &[&[u8]]) -> Result<Vec<Option<Token>>> {
    let items = match keys {
        [key] => vec![instance.read(key)],
        keys => instance.get_many(keys)?,
    };
    items.into_iter().map(|item| Ok(item?.as_ref().and_then(token))).collect()
}

/// The same; where there is none, one is made.
pub(super) fn read_or_make(instance: &Instance, keys: &[&[u8]]) -> Result<Vec<Option<Token>>> {
    let mut tokens = read(instance, keys)?;
    for (key, token) in keys.iter().zip(&mut tokens) {
        for _ in 0..ROUNDS {
            if token.is_some() {
                break;
            }
            *token = make(instance, key)?;
        }
    }
    Ok(tokens)
}

/// Makes a token, or takes the one that somebody has just made; `None` if that has gone again.
fn make(instance: &Instance, key: &[u8]) -> Result<Option<Token>> {
    let token: Token = entry::token()?;
    let value = Value::from_vec(token.to_vec());
    if instance.has(capability::CAS) {
        if instance.add(key, value, NEVER)?.is_some() {
            return Ok(Some(token));
        }
    } else {
        // Of two who make one at once the later wins; what the other's load stores is a miss.
        instance.set(key, value, NEVER)?;
    }
    Ok(read(instance, &[key])?.pop().flatten())
}

fn token(item: &Item) -> Option<Token> {
    item.value.as_bytes()?.try_into().ok()
}

/// Removes the tokens of tags in a namespace: whether each of them was there, as far as the backend says, and
/// what went wrong. What could not be removed is read from it no more until it has been.
pub fn remove(instance: &Arc<Instance>, namespace: &str, names: &[&str]) -> (Vec<bool>, Option<Error>) {
    // The epoch first: see `end`.
    let epoch = instance.delete(&key::tag_key(namespace, EPOCH)).err();
    let keys: Vec<Vec<u8>> = names.iter().map(|name| key::tag_key(namespace, name)).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let removed = match keys[..] {
        [key] => Ok(vec![instance.delete(key)]),
        _ => instance.delete_many(&keys),
    };
    match removed {
        Err(error) => (vec![false; names.len()], Some(error)),
        Ok(each) => {
            let mut failure = epoch;
            let was_there = |outcome: Result<bool>| {
                outcome.unwrap_or_else(|error| {
                    failure = Some(error);
                    false
                })
            };
            (each.into_iter().map(was_there).collect(), failure)
        }
    }
}
