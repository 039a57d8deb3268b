//! The plain-C layer: everything that crosses between host and plugin.
//!
//! All types are `#[repr(C)]`, all statuses are `i32` constants. `docs/abi.md` is the specification
//! and `include/retainit_plugin.h` the same thing for other languages; the size assertions at the end
//! of each file and of the header keep the three together.
//!
//! | file | what it holds |
//! |---|---|
//! | [`status`] | results of calls |
//! | [`capability`] | what a component can do |
//! | [`value`] | borrowed bytes, reference-counted bytes and object handles |
//! | [`call`] | arguments and results of calls |
//! | [`backend`], [`codec`], [`sink`] | one function table for each kind of component |
//! | [`host`] | what the host offers to plugins |
//! | [`tree`] | extension types of the tree form |
//! | [`root`] | the two doors: an abi_stable root module, a C root |
//! | [`manifest`] | the record that is read before any code runs |

pub mod backend;
pub mod call;
pub mod capability;
pub mod codec;
pub mod host;
pub mod manifest;
pub mod root;
pub mod sink;
pub mod status;
pub mod tree;
pub mod value;

use abi_stable::StableAbi;

/// Major version of the ABI: host and plugin must agree on it.
pub const ABI_MAJOR: u16 = 1;
/// Minor version: grows when functions are added at the end of tables.
pub const ABI_MINOR: u16 = 1;

/// The frozen head of every table, read before anything else of it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, StableAbi)]
pub struct Prelude {
    /// Bytes of the whole table that its author compiled; fields beyond it do not exist.
    pub struct_size: u32,
    /// [`ABI_MAJOR`] of its author.
    pub abi_major: u16,
    /// [`ABI_MINOR`] of its author.
    pub abi_minor: u16,
    /// Bits of [`capability`] (component tables) or zero.
    pub capabilities: u64,
}

impl Prelude {
    /// The prelude of a table of type `T` built against this version.
    pub const fn of<T>(capabilities: u64) -> Self {
        Self {
            struct_size: std::mem::size_of::<T>() as u32,
            abi_major: ABI_MAJOR,
            abi_minor: ABI_MINOR,
            capabilities,
        }
    }
}

const _: () = assert!(std::mem::size_of::<Prelude>() == 16);

/// The four kinds of component, as numbered in manifests and roots.
pub mod kind {
    /// Keeps entries.
    pub const BACKEND: u32 = 1;
    /// Turns data into bytes and back.
    pub const SERIALIZER: u32 = 2;
    /// Makes bytes smaller and back.
    pub const COMPRESSOR: u32 = 3;
    /// Takes events.
    pub const SINK: u32 = 4;

    /// The name used in manifests and messages.
    pub const fn name(kind: u32) -> &'static str {
        match kind {
            BACKEND => "backend",
            SERIALIZER => "serializer",
            COMPRESSOR => "compressor",
            SINK => "sink",
            _ => "unknown",
        }
    }
}
