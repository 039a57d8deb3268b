//! Buffers that the host makes for plugins, with room before them that only the host knows of.
//!
//! A serializer that writes into one of these spares the engine a copy: the header of an entry goes
//! into that room, right before the payload.

use std::ffi::c_void;
use std::sync::atomic::{fence, AtomicUsize, Ordering};

use memmap2::MmapOptions;
use retainit_plugin_api::abi::value::{self as raw, RefTable};
use retainit_plugin_api::sdk::Value;

/// Bytes before the buffer. A page, so that what is aligned in the buffer is so in the entry.
const ROOM: usize = 4096;
/// Buffers of so many bytes begin on a huge page, which makes their first use several times cheaper.
const HUGE: usize = 2 << 20;

struct Buffer {
    references: AtomicUsize,
    /// Room and bytes.
    start: *mut u8,
    size: usize,
    /// Whose memory that is.
    _memory: Box<dyn Send + Sync>,
}

static TABLE: RefTable = RefTable { retain, release };

unsafe extern "C" fn retain(owner: *mut c_void) {
    // SAFETY: the owner is a buffer of ours that the caller holds a reference to.
    unsafe { (*owner.cast::<Buffer>()).references.fetch_add(1, Ordering::Relaxed) };
}

unsafe extern "C" fn release(owner: *mut c_void) {
    let buffer: *mut Buffer = owner.cast();
    // SAFETY: as above; whoever gives up the last reference frees the memory.
    unsafe {
        if (*buffer).references.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            drop(Box::from_raw(buffer));
        }
    }
}

/// A buffer of `len` zeros; `None` if there is no memory for it.
pub(crate) fn allocate(len: usize) -> Option<Value> {
    let size = len.checked_add(ROOM)?;
    let (start, memory) = if size < HUGE { small(size) } else { large(size)? };
    let buffer = Buffer { references: AtomicUsize::new(1), start, size, _memory: memory };
    let owner = Box::into_raw(Box::new(buffer)).cast();
    // SAFETY: the room lies before the buffer in the same memory; the one reference goes with the value.
    Some(unsafe {
        let ptr = start.add(ROOM);
        let value = raw::Value { ptr, len: len as u64, owner, table: &TABLE, kind: raw::BYTES, reserved: 0 };
        Value::from_raw(value)
    })
}

fn small(size: usize) -> (*mut u8, Box<dyn Send + Sync>) {
    let mut bytes = vec![0_u8; size];
    (bytes.as_mut_ptr(), Box::new(bytes))
}

fn large(size: usize) -> Option<(*mut u8, Box<dyn Send + Sync>)> {
    let mut memory = MmapOptions::new().len(size.checked_add(HUGE)?).map_anon().ok()?;
    let offset = memory.as_ptr().align_offset(HUGE);
    #[cfg(target_os = "linux")]
    // Only a wish: whatever comes of it, the memory can be used.
    let _ = memory.advise(memmap2::Advice::HugePage);
    Some((memory[offset..].as_mut_ptr(), Box::new(memory)))
}

/// Writes into the room before the bytes of `value`, if it is one of these buffers and nobody else has
/// it: `write` gets room and bytes, and where the bytes begin, and says where the result does. It must
/// not change the bytes, which `value` goes on to show.
pub(crate) fn extend<E>(
    value: &Value,
    write: impl FnOnce(&mut [u8], usize) -> Result<usize, E>,
) -> Option<Result<Value, E>> {
    let raw = value.as_raw();
    if raw.kind != raw::BYTES || !std::ptr::eq(raw.table, &TABLE) {
        return None;
    }
    let buffer: *mut Buffer = raw.owner.cast();
    // SAFETY: the table says that the owner is a buffer of ours; with one reference, which we have,
    // nobody else can see its memory.
    unsafe {
        let (start, size) = ((*buffer).start, (*buffer).size);
        let whole = raw.ptr == start.add(ROOM).cast_const() && raw.len as usize == size - ROOM;
        if !whole || (*buffer).references.load(Ordering::Acquire) != 1 {
            return None;
        }
        let memory = std::slice::from_raw_parts_mut(start, size);
        Some(write(memory, ROOM).map(|at| {
            retain(raw.owner);
            Value::from_raw(raw::Value { ptr: start.add(at), len: (size - at) as u64, ..*raw })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_reference_can_be_extended_and_shares_the_bytes() {
        for len in [1, 3, HUGE] {
            let value = allocate(len).unwrap();
            let bytes = value.as_bytes().unwrap().as_ptr();
            let write = |memory: &mut [u8], at: usize| {
                memory[at - 2..at].copy_from_slice(b"ab");
                Ok::<_, ()>(at - 2)
            };
            let extended = extend(&value, write).unwrap().unwrap();
            assert_eq!(&extended.as_bytes().unwrap()[..2], b"ab");
            assert_eq!(extended.as_bytes().unwrap()[2..].as_ptr(), bytes);
            assert_eq!(extended.weight(), len as u64 + 2);
            // Now there are two.
            assert!(extend(&value, write).is_none());
            assert!(extend(&extended, write).is_none());
            drop(extended);
            assert!(extend(&value, |_, _| Err::<usize, _>(())).unwrap().is_err());
        }
        assert!(extend(&Value::from_vec(vec![1]), |_, at| Ok::<_, ()>(at)).is_none());
        assert!(allocate(usize::MAX).is_none());
    }
}
