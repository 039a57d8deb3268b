//! Capability bits of components. A host refuses a component that sets a bit in [`REQUIRED_MASK`]
//! which it does not know; unknown bits outside that mask are ignored.

/// Backend: never blocks, the host calls it on the event loop's own thread.
pub const INLINE: u64 = 1 << 0;
/// Backend: may block; the host offloads calls made for asyncio.
pub const BLOCKING: u64 = 1 << 1;
/// Backend: answers `PENDING` to calls that carry an operation id.
pub const ASYNC: u64 = 1 << 2;
/// Backend: keeps opaque object handles, not only bytes.
pub const OBJECTS: u64 = 1 << 3;
/// Backend: other processes or hosts see its entries.
pub const SHARED: u64 = 1 << 4;
/// Backend: entries outlive the process.
pub const PERSISTENT: u64 = 1 << 5;
/// Backend: honours a time to live by itself (`ttl`, `touch` work).
pub const TTL: u64 = 1 << 6;
/// Backend: `add` and `compare_and_set`, and tokens in items.
pub const CAS: u64 = 1 << 7;
/// Backend: `increment`.
pub const COUNTER: u64 = 1 << 8;
/// Backend: `scan` and `count`.
pub const SCAN: u64 = 1 << 9;
/// Backend: leases.
pub const LEASE: u64 = 1 << 10;
/// Backend: delivers invalidations made elsewhere.
pub const SUBSCRIBE: u64 = 1 << 11;
/// Backend: the operations of fork.
pub const FORK: u64 = 1 << 12;
/// Backend: bounds itself and reports evictions.
pub const EVICTS: u64 = 1 << 13;
/// Backend: the bytes of a value that `get` or `get_many` gives belong to that one reference alone:
/// whoever holds it may write to them, and nobody else ever sees it.
pub const EXCLUSIVE: u64 = 1 << 14;
/// Backend: only programs of the same user on this machine can write to its entries, and it refuses
/// to read what others could have written.
pub const PRIVATE: u64 = 1 << 15;

/// Serializer: takes and gives `bytes`.
pub const FORM_BYTES: u64 = 1 << 16;
/// Serializer: takes and gives a MessagePack `tree`.
pub const FORM_TREE: u64 = 1 << 17;
/// Serializer: takes and gives a `tensor`.
pub const FORM_TENSOR: u64 = 1 << 18;
/// Serializer: takes and gives an Arrow C stream.
pub const FORM_ARROW: u64 = 1 << 19;

/// Compressor: trains and takes dictionaries.
pub const DICTIONARY: u64 = 1 << 24;

/// Backend, since 1.1: `claim`. The bytes of a value that `get` or `get_many` gives are read-only until
/// its holder has claimed them; from then on they are as with [`EXCLUSIVE`].
pub const CLAIM: u64 = 1 << 32;

/// Bits that a host must know in order to use the component.
pub const REQUIRED_MASK: u64 = 0xFF00_0000_0000_0000;

/// Names of the bits, for messages and listings.
pub const NAMES: &[(u64, &str)] = &[
    (INLINE, "inline"),
    (BLOCKING, "blocking"),
    (ASYNC, "async"),
    (OBJECTS, "objects"),
    (SHARED, "shared"),
    (PERSISTENT, "persistent"),
    (TTL, "ttl"),
    (CAS, "cas"),
    (COUNTER, "counter"),
    (SCAN, "scan"),
    (LEASE, "lease"),
    (SUBSCRIBE, "subscribe"),
    (FORK, "fork"),
    (EVICTS, "evicts"),
    (EXCLUSIVE, "exclusive"),
    (PRIVATE, "private"),
    (FORM_BYTES, "bytes"),
    (FORM_TREE, "tree"),
    (FORM_TENSOR, "tensor"),
    (FORM_ARROW, "arrow"),
    (DICTIONARY, "dictionary"),
    (CLAIM, "claim"),
];
