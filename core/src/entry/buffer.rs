//! Memory for large entries.

/// From here on pages are asked for by 2 MiB, in bytes.
#[cfg(target_os = "linux")]
const LARGE: usize = 8 << 20;

/// An empty vector with room for `len` bytes. Where the system lets programs ask for them, large ones lie
/// in huge pages: touching 64 MiB of new memory takes 40 ms page by page, more than encrypting it, and
/// 7 ms in huge ones.
pub fn allocate(len: usize) -> Vec<u8> {
    let bytes = Vec::with_capacity(len);
    #[cfg(target_os = "linux")]
    if len >= LARGE {
        let start = (bytes.as_ptr() as usize).next_multiple_of(PAGE);
        let end = (bytes.as_ptr() as usize + len) / PAGE * PAGE;
        // SAFETY: whole pages inside the vector's own memory. This is advice, which changes no content,
        // so neither does it matter whether it is taken.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
    bytes
}

/// Enough for any architecture's pages.
#[cfg(target_os = "linux")]
const PAGE: usize = 64 << 10;
