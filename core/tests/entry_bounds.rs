//! What opening an entry takes of memory: at most the entry's size and a little, whatever its header claims.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use retainit_core::entry::{Keyring, Meta, Seal, Secret, Tag};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, and what each thread has asked of it.
struct Counting;

// SAFETY: all calls go to the system's allocator as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One derived subkey.
const LITTLE: usize = 1024;

#[test]
fn no_header_makes_a_reader_allocate_more_than_the_entry() {
    let keyring = Keyring::new(vec![Secret::from_bytes(&[1; 32]).unwrap()]).unwrap();
    let keyring = Arc::new(keyring);
    let seals = [Seal::Open, Seal::Checksum, Seal::Signed(Arc::clone(&keyring)), Seal::Encrypted(keyring)];
    let tags = [Tag { name: "tag", token: [5; 16] }; 3];
    let meta = Meta {
        codec: "msgpack",
        compressor: "zstd",
        schema: "s",
        tags: &tags,
        plain_len: 9,
        ..Meta::default()
    };
    let mut opened = 0;
    for seal in &seals {
        let entry = seal.seal(b"key", &meta, &[3; 3000]).unwrap();
        // Each byte of the header, as small and as large as it gets, lengths and counts among them.
        for (at, value) in (0..200).flat_map(|at| [0, 0x7f, 0xff].map(|value| (at, value))) {
            for width in [1, 2, 8] {
                let mut entry = entry.clone();
                entry[at..at + width].fill(value);
                for reader in &seals {
                    let before = ALLOCATED.get();
                    opened += usize::from(reader.open(b"key", "s", &entry, 0, true).is_ok());
                    let took = ALLOCATED.get() - before;
                    assert!(took <= entry.len() + LITTLE, "{took} bytes with {value} at {at}, {reader:?}");
                }
            }
        }
    }
    assert!(opened > 100, "entries without a checksum, or with one that is not looked at, open");
}
