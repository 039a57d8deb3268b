//! The tree form without any language: reading it token by token, checking it, writing it.
//!
//! | file | what it holds |
//! |---|---|
//! | `reader` | bytes to tokens: MessagePack, and the extension types that have values inside |
//! | `leaf` | the bodies of the other extension types |
//! | `temporal`, `tensor` | those of them that are about time, and arrays |
//! | `check` | a whole tree, walked by the rules |
//! | `write` | headers and numbers, as short as they get |
//!
//! A reader of our own rather than one of MessagePack's crates: a language's objects are made straight
//! from the tokens, with nothing built in between; and whatever a header claims is held against what
//! is there before anybody allocates for it.

mod check;
mod leaf;
mod reader;
mod temporal;
mod tensor;
pub mod write;

use std::fmt;

pub use crate::abi::tree::*;
pub use check::check;
pub use leaf::{IpClass, Leaf, PathClass};
pub use reader::{Group, Reader, Token};
pub use temporal::{Date, Offset, Time, Timedelta, Zone, DAY};
pub use tensor::{Dtype, Tensor};

/// Where bytes stop being a tree, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    at: usize,
    what: &'static str,
}

impl Error {
    /// `what` is wrong at byte `at`.
    pub const fn new(at: usize, what: &'static str) -> Self {
        Error { at, what }
    }

    /// The byte at which it was found out.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What is wrong.
    pub fn what(&self) -> &'static str {
        self.what
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed tree at byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for Error {}

impl From<Error> for super::Error {
    fn from(error: Error) -> Self {
        super::Error::new(super::ErrorKind::Corrupt, error.to_string())
    }
}
