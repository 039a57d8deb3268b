//! The memory that a stream is written into.

use std::alloc::{alloc, dealloc, Layout};
use std::ptr::NonNull;

use super::ALIGNMENT;

/// From here on memory comes in huge pages where the system has them.
const LARGE: usize = 4 << 20;
const HUGE_PAGE: usize = 2 << 20;

/// Bytes that are appended until there are as many as were asked for.
///
/// A vector would do, but for two things: its bytes lie at any multiple of 16, and the system gives it pages of 4 KiB,
/// of which 95 MB are 23 000. Clearing and mapping those takes twice as long as filling them.
pub struct Memory {
    start: NonNull<u8>,
    len: usize,
    layout: Layout,
}

// SAFETY: the bytes are owned, and change only through `&mut self`.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Room for `capacity` bytes; `None` where there is none.
    pub fn with_capacity(capacity: usize) -> Option<Self> {
        let alignment = if capacity < LARGE { ALIGNMENT } else { HUGE_PAGE };
        // An allocation of no bytes would not be one.
        let layout = Layout::from_size_align(capacity.max(1), alignment).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) })?;
        if capacity >= LARGE {
            prefer_huge_pages(start, capacity);
        }
        Some(Memory { start, len: 0, layout })
    }

    /// Appends `bytes`, for which there must be room.
    pub fn extend(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.layout.size() - self.len, "more bytes than there was room asked for");
        // SAFETY: there is room, as was just made sure, and nobody else sees it yet.
        unsafe { self.start.add(self.len).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) }
        self.len += bytes.len();
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: so many bytes have been written.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Only a wish: whatever comes of it, the memory can be used.
#[cfg(target_os = "linux")]
fn prefer_huge_pages(start: NonNull<u8>, len: usize) {
    // SAFETY: the range is our own allocation; its content does not change.
    unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn prefer_huge_pages(_: NonNull<u8>, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_appended_at_an_aligned_place() {
        for capacity in [0, 1, 1000, LARGE, LARGE + 12345] {
            let mut memory = Memory::with_capacity(capacity).unwrap();
            assert_eq!(memory.as_ref().as_ptr().align_offset(ALIGNMENT), 0);
            let bytes: Vec<u8> = (0..capacity).map(|i| i as u8).collect();
            let (one, other) = bytes.split_at(capacity / 3);
            memory.extend(one);
            memory.extend(other);
            assert_eq!(memory.as_ref(), bytes);
        }
    }

    #[test]
    fn what_cannot_be_had_is_not_asked_for_twice() {
        assert!(Memory::with_capacity(usize::MAX).is_none());
        assert!(Memory::with_capacity(isize::MAX as usize - HUGE_PAGE).is_none());
    }

    #[test]
    #[should_panic(expected = "more bytes than there was room")]
    fn nothing_is_written_beyond_the_end() {
        Memory::with_capacity(3).unwrap().extend(&[0; 4]);
    }
}
