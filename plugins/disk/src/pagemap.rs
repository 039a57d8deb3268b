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

/// The request `PAGEMAP_SCAN` and its argument, since Linux 6.7
/// (<https://docs.kernel.org/admin-guide/mm/pagemap.html>).
const SCAN: u64 = 0xC060_6610;

#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    region_count: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;

/// Whether all pages of `map`, which is a private map of a file, are still the file's.
pub fn is_unwritten(map: &[u8]) -> bool {
    let Some(file) = open() else { return false };
    scan(file, map).unwrap_or_else(|| read(file, map))
}

/// Lets the kernel look for a page that is not the file's; `None` where it cannot.
fn scan(file: i32, map: &[u8]) -> Option<bool> {
    // SAFETY: has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let start = map.as_ptr() as u64 / page * page;
    let mut region = [0u64; 3];
    let mut argument = Scan {
        size: size_of::<Scan>() as u64,
        start,
        end: (map.as_ptr() as u64 + map.len() as u64).next_multiple_of(page),
        regions: region.as_mut_ptr() as u64,
        region_count: 1,
        max_pages: 1,
        category_inverted: IS_FILE,
        category_mask: IS_FILE,
        category_anyof_mask: IS_PRESENT | IS_SWAPPED,
        return_mask: IS_FILE,
        ..Scan::default()
    };
    // SAFETY: the descriptor is open; the kernel writes to the argument and to one region.
    let found = unsafe { libc::ioctl(file, SCAN as _, &raw mut argument) };
    (found >= 0).then_some(found == 0)
}

/// The same, page by page.
fn read(file: i32, map: &[u8]) -> bool {
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
        assert!(read(open().unwrap(), &map));
        map[4_999_999] = 7;
        assert!(!is_unwritten(&map), "what it already was, but written");
        assert!(!read(open().unwrap(), &map));
        std::fs::remove_file(&path).unwrap();
    }
}
