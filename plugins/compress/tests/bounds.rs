//! How much memory an input can make us allocate.
//!
//! zstd's contexts come from C's allocator, which is not counted; the resident set shows them.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard};

use common::{lz4, zstd};
use retainit_plugin_api::sdk::ErrorKind;

const MIB: usize = 1 << 20;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: counts, and passes everything on.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One measurement at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The most bytes allocated at a time while `work` runs, beyond those before it.
fn peak<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    (result, PEAK.load(Relaxed).saturating_sub(before))
}

/// The most memory this process ever had, in bytes; `None` where the system does not say.
fn high_water() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<usize>().ok().map(|kib| kib * 1024)
}

/// A frame of `blocks` blocks of 128 KiB of zeros in four bytes each, which claims `size` bytes and a
/// window of 2^`window` bytes.
fn bomb(blocks: usize, size: u64, window: u8) -> Vec<u8> {
    // Content size in eight bytes, several segments.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1100_0000, (window - 10) << 3];
    frame.extend_from_slice(&size.to_le_bytes());
    for block in 0..blocks {
        let (last, run) = (u32::from(block + 1 == blocks), 0b010);
        let header = last | run | (128 * 1024) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn a_bomb_is_refused_before_anything_is_allocated() {
    let _alone = alone();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.set_pledged_src_size(Some(1 << 30)).unwrap();
    let zeros = vec![0; MIB];
    (0..1024).for_each(|_| encoder.write_all(&zeros).unwrap());
    let real = encoder.finish().unwrap();
    assert!(real.len() < MIB);
    let packed = lz4().pack(&vec![0; 64 * MIB]).unwrap();

    let before = high_water();
    for frame in [&real, &bomb(8192, 1 << 30, 21)] {
        let (error, peak) = peak(|| zstd(3).unpack(frame, MIB as u64).unwrap_err());
        assert_eq!(error.message(), "the data says it has 1073741824 bytes: expected at most 1048576");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(peak < 4096, "{peak}");
    }
    let (error, peak) = peak(|| lz4().unpack(&packed, MIB as u64).unwrap_err());
    assert_eq!(error.message(), "the data says it has 67108864 bytes: expected at most 1048576");
    assert!(peak < 4096, "{peak}");
    if let (Some(before), Some(after)) = (before, high_water()) {
        assert!(after - before < 2 * MIB, "{before} {after}");
    }
}

#[test]
fn more_than_was_claimed_is_refused_within_what_was_claimed() {
    let _alone = alone();
    let frame = bomb(8192, 1000, 21);
    let (error, peak) = peak(|| zstd(3).unpack(&frame, MIB as u64).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(peak < 8192, "{peak}");
    // The claim of lz4 data is its first eight bytes.
    let mut packed = lz4().pack(&vec![0; 4 * MIB]).unwrap();
    packed[..8].copy_from_slice(&1000_u64.to_le_bytes());
    let (error, peak) = self::peak(|| lz4().unpack(&packed, MIB as u64).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(peak < 8192 + 2 * packed.len(), "{peak}");
}

#[test]
fn a_claim_that_nothing_stands_behind_gets_little_memory() {
    let _alone = alone();
    let whole = bomb(8192, 1 << 30, 21);
    // Truncated, with a last block too early, and with a block that cannot be.
    let mut early = bomb(4, 1 << 30, 21);
    let mut broken = whole.clone();
    let at = 14 + 4 * 4;
    broken[at] |= 0b110;
    for (name, frame) in
        [("truncated", &whole[..whole.len() - 4]), ("early", &early[..]), ("broken", &broken)]
    {
        let (error, peak) = peak(|| zstd(3).unpack(frame, u64::MAX).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
        assert!(peak < 4 * MIB, "{name}: {peak}");
    }
    // The same with a window that no decoder has to have.
    early[5] = (30 - 10) << 3;
    let before = high_water();
    let (error, peak) = peak(|| zstd(3).unpack(&early, u64::MAX).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(peak < 4 * MIB, "{peak}");
    if let (Some(before), Some(after)) = (before, high_water()) {
        assert!(after - before < 2 * MIB, "{before} {after}");
    }

    let mut packed = lz4().pack(&common::answer(1)).unwrap();
    for (size, allowed) in [(u64::MAX, 4096), (1 << 30, 4096), (packed.len() as u64 * 254, 128 * 1024)] {
        packed[..8].copy_from_slice(&size.to_le_bytes());
        let (error, peak) = self::peak(|| lz4().unpack(&packed, u64::MAX).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(peak < allowed, "{size}: {peak}");
    }
}

#[test]
fn what_is_as_large_as_it_says_comes_out_in_twice_its_size() {
    let _alone = alone();
    let frame = bomb(512, 64 << 20, 21);
    let (output, peak) = peak(|| zstd(3).unpack(&frame, 64 << 20).unwrap());
    assert!(output.len() == 64 * MIB && output.iter().all(|byte| *byte == 0));
    assert!(peak <= 97 * MIB, "{peak}");
    drop(output);
    let packed = lz4().pack(&vec![0; 64 * MIB]).unwrap();
    let (output, peak) = self::peak(|| lz4().unpack(&packed, 64 << 20).unwrap());
    assert!(output.len() == 64 * MIB && output.iter().all(|byte| *byte == 0));
    assert!(peak <= 97 * MIB, "{peak}");
}

#[test]
fn the_highest_level_needs_no_larger_window_to_be_read() {
    let _alone = alone();
    // Out of proportion, so that it is read in steps, through a window; and larger than any window.
    let value = vec![0; 20 * MIB];
    let packed = zstd(22).pack(&value).unwrap();
    assert!(packed.len() < 64 * 1024);
    assert!(zstd(1).unpack(&packed, u64::MAX).unwrap() == value);
}

#[test]
fn what_is_given_has_no_more_memory_than_it_needs() {
    let _alone = alone();
    let value: Vec<u8> = (0..1000).flat_map(common::answer).collect();
    for packed in [zstd(3).pack(&value).unwrap(), lz4().pack(&value).unwrap()] {
        assert_eq!(packed.capacity(), packed.len());
    }
    let packed = zstd(3).pack(&value).unwrap();
    assert_eq!(zstd(3).unpack(&packed, u64::MAX).unwrap().capacity(), value.len());
}
