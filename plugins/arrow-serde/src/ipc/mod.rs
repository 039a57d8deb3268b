//! The IPC stream format, uncompressed, with one record batch.
//!
//! | file | what it holds |
//! |---|---|
//! | `write` | messages laid out so that every buffer begins at a multiple of 64 bytes |
//! | `message` | from bytes to messages, whose claims are checked against the bytes that are there |
//! | `layout` | whether a batch has the buffers that its types call for |
//! | `read` | from messages to arrays that lie in the bytes |
//! | `views` | whether views lead to text |

mod layout;
mod message;
mod read;
mod views;
mod write;

pub use read::{decode, Trust};
pub use write::encode;

/// Where buffers lie: at multiples of a cache line, which is also what Arrow recommends.
pub const ALIGNMENT: usize = 64;
