//! Whether anybody has written to a private map: the kernel tells, page by page.
//!
//! Where it does not (systems other than Linux, no `/proc`), every map counts as written to.

use std::sync::atomic::{AtomicI32, Ordering};

/// `/proc/self/pagemap`, which speaks of the process that opened it; -1 until opened.
static PAGEMAP: AtomicI32 = AtomicI32::new(-1);

/// Entries read at once.
const ENTRIES: usize = 1024;
/// The page is in memory, is in swap, is one of a file.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_A_FILE: u64 = 1 << 61;

/// Whether all pages of `map`, which is a private map of a file, are still the file's.
pub fn is_unwritten(map: &[u8]) -> bool {
    let Some(file) = open() else { return false };
    // SAFETY: has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let first = map.as_ptr() as usize / page;
    let count = map.len().div_ceil(page);
    let mut entries = [0u64; ENTRIES];
    for start in (0..count).step_by(ENTRIES) {
        let part = &mut entries[..ENTRIES.min(count - start)];
        let len = size_of_val(part);
        let offset = ((first + start) * size_of::<u64>()) as libc::off_t;
        // SAFETY: the descriptor is open, and the buffer has the length that is given.
        let got = unsafe { libc::pread(file, part.as_mut_ptr().cast(), len, offset) };
        if got != len as isize || !part.iter().copied().all(is_of_the_file) {
            return false;
        }
    }
    true
}

/// A page that was written to is anonymous memory, in place or in swap; one that was not is the file's,
/// or not mapped at all.
fn is_of_the_file(entry: u64) -> bool {
    entry & (PRESENT | SWAPPED) == 0 || entry & (PRESENT | SWAPPED | OF_A_FILE) == PRESENT | OF_A_FILE
}

fn open() -> Option<i32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let known = PAGEMAP.load(Ordering::Acquire);
    if known >= 0 {
        return Some(known);
    }
    // SAFETY: the path ends with a zero byte.
    let opened = unsafe { libc::open(c"/proc/self/pagemap".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if opened < 0 {
        return None;
    }
    match PAGEMAP.compare_exchange(-1, opened, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(opened),
        Err(other) => {
            // SAFETY: opened above and given to nobody.
            unsafe { libc::close(opened) };
            Some(other)
        }
    }
}

/// In a forked child: the descriptor speaks of the parent.
pub fn forget() {
    let inherited = PAGEMAP.swap(-1, Ordering::AcqRel);
    if inherited >= 0 {
        // SAFETY: ours, and not used any more; a child may close files.
        unsafe { libc::close(inherited) };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn one_written_byte_shows() {
        let path = std::env::temp_dir().join(format!("retainit-pagemap-{}", std::process::id()));
        std::fs::write(&path, vec![7; 5_000_000]).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        // SAFETY: nobody else knows the file.
        let mut map = unsafe { memmap2::MmapOptions::new().map_copy(&file) }.unwrap();
        assert!(is_unwritten(&map), "never touched");
        assert_eq!(map.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 35_000_000);
        assert!(is_unwritten(&map), "only read");
        map[4_999_999] = 7;
        assert!(!is_unwritten(&map), "what it already was, but written");
        std::fs::remove_file(&path).unwrap();
    }
}
