//! Trees to JSON text and back, streaming: nothing is built in between.
//!
//! | file | what it holds |
//! |---|---|
//! | `write` | a tree's tokens to text |
//! | `read` | text to a tree |
//! | `keys` | whether a map has a key twice |
//! | `number` | integers that JSON's reader would make floats of |

mod keys;
mod number;
mod read;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

#[cfg(test)]
mod tests;
