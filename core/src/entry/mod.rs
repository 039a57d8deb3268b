//! The entry as it lies in a byte tier: a header that describes it, and the payload. Specified in
//! `docs/entry-format.md`.
//!
//! | module | what it holds |
//! |---|---|
//! | `seal` | sealing and opening: checksum, signature, encryption |
//! | `meta`, `opened` | what a writer says of a value, and what a reader gets |
//! | `layout` | the bytes of the header, version 2 |
//! | `secret`, `keyring`, `subkeys`, `random` | keys, what is derived from them, nonces |
//! | `buffer` | memory for large entries |
//! | `unreadable` | why an entry did not open |
//! | `v1` | version 1, which is read for ever |
//!
//! Whatever does not open is a miss, never an error of the caller. Seals cover the storage key and
//! the header, so an entry that was moved to another key, or edited, does not open.

mod buffer;
mod keyring;
mod layout;
mod meta;
mod opened;
mod random;
#[cfg(test)]
mod samples;
mod seal;
mod secret;
mod subkeys;
#[cfg(test)]
mod tests;
mod unreadable;
mod v1;

pub use buffer::allocate;
pub use keyring::Keyring;
pub use layout::MAGIC;
pub use meta::{Meta, Tag};
pub use opened::{Opened, Payload, Tags};
pub(crate) use random::token;
pub use seal::Seal;
pub use secret::Secret;
pub use unreadable::Unreadable;
pub use v1::{codec, open, seal, HEADER};

/// Never expires.
pub const NEVER: i64 = i64::MAX;
