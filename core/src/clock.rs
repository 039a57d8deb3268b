//! The process's clock: cheap monotonic time, Unix time, and a fake that tests switch on.
//!
//! Everything that asks for the time asks here, plugins included (through the host table), so that a
//! test that [`advance`]s the clock moves the whole process.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// Whether anything below is to be looked at. One relaxed load is all that a real clock pays.
static ALTERED: AtomicBool = AtomicBool::new(false);
/// How far the clock is ahead of the real one, in nanoseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);
/// Where the monotonic clock stands still, or [`RUNNING`].
static MONOTONIC_AT: AtomicI64 = AtomicI64::new(RUNNING);
/// Where the Unix clock stands still; meaningful while [`MONOTONIC_AT`] is not [`RUNNING`].
static UNIX_AT: AtomicI64 = AtomicI64::new(0);

const RUNNING: i64 = i64::MIN;

/// Monotonic time in nanoseconds since an arbitrary moment before the process started; never zero.
///
/// On Linux it is the coarse clock, which advances with the kernel's tick (1 to 4 ms) and costs a
/// third of the precise one: expiry needs no more, and every hit reads it.
#[inline]
pub fn monotonic() -> i64 {
    if ALTERED.load(Ordering::Relaxed) {
        return altered_monotonic();
    }
    real_monotonic()
}

/// Unix time in nanoseconds.
pub fn unix() -> i64 {
    if !ALTERED.load(Ordering::Relaxed) {
        return real_unix();
    }
    match MONOTONIC_AT.load(Ordering::Acquire) {
        RUNNING => real_unix().saturating_add(AHEAD.load(Ordering::Acquire)),
        _ => UNIX_AT.load(Ordering::Acquire),
    }
}

/// `after` from now on the monotonic clock; [`NEVER`](retainit_plugin_api::abi::call::NEVER) where
/// that cannot be said.
pub fn deadline(after: Duration) -> i64 {
    monotonic().saturating_add(nanoseconds(after))
}

/// How long to wait in real time before looking at the clock again, for somebody who waits until a moment of
/// the monotonic clock. Nobody is woken when a test moves a frozen clock, so that is looked at often.
pub fn glance(until: i64) -> Duration {
    let longest = if is_frozen() { Duration::from_millis(5) } else { Duration::from_millis(50) };
    let left = until.saturating_sub(monotonic()).max(0);
    longest.min(Duration::from_nanos(left as u64))
}

/// Stops both clocks where they are. From here on only [`advance`] moves them.
pub fn freeze() {
    UNIX_AT.store(unix(), Ordering::Release);
    MONOTONIC_AT.store(monotonic(), Ordering::Release);
    ALTERED.store(true, Ordering::Release);
}

/// Moves both clocks forward, frozen or not. There is no way back: monotonic time stays monotonic.
pub fn advance(by: Duration) {
    let by = nanoseconds(by);
    ALTERED.store(true, Ordering::Release);
    AHEAD.fetch_add(by, Ordering::AcqRel);
    UNIX_AT.fetch_add(by, Ordering::AcqRel);
    let _ = MONOTONIC_AT.fetch_update(Ordering::AcqRel, Ordering::Acquire, |at| {
        (at != RUNNING).then(|| at.saturating_add(by))
    });
}

/// Lets both clocks run again, ahead of the real ones by what they were advanced.
pub fn thaw() {
    MONOTONIC_AT.store(RUNNING, Ordering::Release);
}

/// Whether a test holds the clock, so that waiting has to look at it rather than at real time.
pub(crate) fn is_frozen() -> bool {
    ALTERED.load(Ordering::Relaxed) && MONOTONIC_AT.load(Ordering::Acquire) != RUNNING
}

#[cold]
fn altered_monotonic() -> i64 {
    match MONOTONIC_AT.load(Ordering::Acquire) {
        RUNNING => real_monotonic().saturating_add(AHEAD.load(Ordering::Acquire)),
        at => at,
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(clippy::unnecessary_cast)] // both are 32 bits wide on some targets
#[inline]
fn real_monotonic() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid; this clock exists on every supported kernel.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    time.tv_sec as i64 * 1_000_000_000 + time.tv_nsec as i64
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn real_monotonic() -> i64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // One second ahead, because zero means "no time" in calls.
    nanoseconds(START.elapsed() + Duration::from_secs(1))
}

fn real_unix() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the clock is the process's, and tests of one binary run at the same time.
    #[test]
    fn the_clock_freezes_advances_and_never_goes_back() {
        let (before, unix_before) = (monotonic(), unix());
        assert!(before > 0);
        freeze();
        let (frozen, frozen_unix) = (monotonic(), unix());
        assert!(frozen >= before && frozen_unix >= unix_before);
        advance(Duration::from_secs(3600));
        assert_eq!(monotonic() - frozen, 3_600_000_000_000);
        assert_eq!(unix() - frozen_unix, 3_600_000_000_000);
        let last = monotonic();
        thaw();
        assert!(monotonic() >= last);
        assert!(!is_frozen());
    }
}
