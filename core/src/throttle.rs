//! Keeps repeated diagnostics from flooding a log.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::clock;
use crate::lock::Mutex;

/// One line for a subject in this many nanoseconds.
const INTERVAL: i64 = 10_000_000_000;
/// Subjects remembered; beyond it the list starts over.
const SUBJECTS: usize = 4096;

static LAST: LazyLock<Mutex<HashMap<String, i64>>> = LazyLock::new(Default::default);

/// Whether a line about `subject` may be written now.
pub fn allows(subject: &str) -> bool {
    let now = clock::monotonic();
    let mut last = LAST.lock();
    if last.get(subject).is_some_and(|at| now - at < INTERVAL) {
        return false;
    }
    if last.len() >= SUBJECTS {
        last.clear();
    }
    last.insert(subject.to_owned(), now);
    true
}

/// Around `fork`: takes the lock.
pub fn fork_prepare() {
    std::mem::forget(LAST.lock());
}

/// Around `fork`: gives it back.
///
/// # Safety
/// Must follow [`fork_prepare`] on the same thread.
pub unsafe fn fork_done() {
    // SAFETY: promised by the caller.
    drop(unsafe { LAST.make_guard_unchecked() });
}
