//! Maps whose file is cut short while they are read: zeros instead of the end of the process.
//!
//! Reading a mapped page that its file no longer has raises SIGBUS. A handler looks whether the address
//! lies in one of our maps; if so, it puts empty memory in place of the lost part, notes the loss, and
//! the read goes on. Every other SIGBUS goes where it would have gone without us. The table of maps is
//! made of atomic numbers, as a signal handler must neither lock nor allocate.

use std::ffi::{c_int, c_void};
use std::mem::{transmute, zeroed};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// Maps at most: a quarter of what Linux allows a process, so that others find some, too.
const REGIONS: usize = 16 * 1024;
/// A region that is being filled in.
const CLAIMED: usize = 1;

/// One map; free where `start` is zero.
#[derive(Debug)]
struct Region {
    start: AtomicUsize,
    end: AtomicUsize,
    lost: AtomicBool,
}

static TABLE: [Region; REGIONS] =
    [const { Region { start: AtomicUsize::new(0), end: AtomicUsize::new(0), lost: AtomicBool::new(false) } };
        REGIONS];
/// Where a free region was seen last.
static HINT: AtomicUsize = AtomicUsize::new(0);
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// Where a signal that is not for us goes.
struct Action {
    handler: AtomicUsize,
    flags: AtomicI32,
}

impl Action {
    const fn default() -> Self {
        Action { handler: AtomicUsize::new(libc::SIG_DFL), flags: AtomicI32::new(0) }
    }

    fn set(&self, action: &libc::sigaction) {
        self.flags.store(action.sa_flags, Ordering::Relaxed);
        self.handler.store(action.sa_sigaction, Ordering::Release);
    }
}

/// The handler that was there before ours came for the first time.
static ORIGINAL: Action = Action::default();
/// The one that ours took the place of last: the same, or one that was installed over ours and may
/// itself pass signals on to ours.
static LATEST: Action = Action::default();
static INSTALLED: AtomicBool = AtomicBool::new(false);
/// Whether a fault went to [`LATEST`]: what it sends us then goes to [`ORIGINAL`], not round in a circle.
static PASSED_ON: AtomicBool = AtomicBool::new(false);

/// Memory that is looked after until this is dropped, which must come before it is unmapped.
#[derive(Debug)]
pub struct Guard(usize);

impl Guard {
    /// A place in the table for a map that is to be made; none if there are too many.
    pub fn reserve() -> Option<Self> {
        let hint = HINT.load(Ordering::Relaxed);
        let free = |at: &usize| {
            let start = &TABLE[*at].start;
            start.load(Ordering::Relaxed) == 0
                && start.compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let found = (hint..REGIONS).chain(0..hint).find(free)?;
        HINT.store((found + 1) % REGIONS, Ordering::Relaxed);
        Some(Guard(found))
    }

    /// Looks after the map from now on.
    pub fn watch(&self, map: &[u8]) {
        install();
        let region = &TABLE[self.0];
        let start = map.as_ptr() as usize;
        region.end.store(start + map.len(), Ordering::Relaxed);
        region.lost.store(false, Ordering::Relaxed);
        region.start.store(start, Ordering::Release);
    }

    /// Whether a part of the map was lost.
    pub fn is_lost(&self) -> bool {
        TABLE[self.0].lost.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        TABLE[self.0].start.store(0, Ordering::Release);
        HINT.store(self.0, Ordering::Relaxed);
    }
}

/// Puts our handler in place, also where another one has come over it since.
fn install() {
    let ours: usize = on_sigbus as *const () as usize;
    // SAFETY: the structures are valid for the calls; the handler does only what a handler may do.
    unsafe {
        let mut found: libc::sigaction = zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &mut found) != 0 || found.sa_sigaction == ours {
            return;
        }
        if PAGE.load(Ordering::Relaxed) == 0 {
            PAGE.store(libc::sysconf(libc::_SC_PAGESIZE) as usize, Ordering::Relaxed);
        }
        if !INSTALLED.swap(true, Ordering::Relaxed) {
            ORIGINAL.set(&found);
        }
        LATEST.set(&found);
        PASSED_ON.store(false, Ordering::Relaxed);
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = ours;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
    }
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid structure; a fault, unlike a signal that was sent, has an address.
    let (by_fault, address) = unsafe { ((*info).si_code > 0, (*info).si_addr() as usize) };
    if by_fault && mend(address) {
        return;
    }
    let action = match by_fault {
        true => {
            PASSED_ON.store(true, Ordering::Relaxed);
            &LATEST
        }
        false if PASSED_ON.load(Ordering::Relaxed) => &ORIGINAL,
        false => &LATEST,
    };
    let (handler, flags) = (action.handler.load(Ordering::Acquire), action.flags.load(Ordering::Relaxed));
    // SAFETY: the handler is one that was installed with these flags for this signal.
    unsafe {
        match handler {
            libc::SIG_IGN if !by_fault => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                libc::signal(signal, libc::SIG_DFL);
                // Delivered when this handler returns. A fault comes again by itself; it is sent all the
                // same, as another thread could mend the map meanwhile.
                libc::raise(signal);
            }
            handler if flags & libc::SA_SIGINFO != 0 => {
                let call: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = transmute(handler);
                call(signal, info, context);
            }
            handler => {
                let call: extern "C" fn(c_int) = transmute(handler);
                call(signal);
            }
        }
    }
}

/// Puts zeros in place of what a map has lost from `address` on; `false` if it is none of ours.
fn mend(address: usize) -> bool {
    let page = PAGE.load(Ordering::Relaxed);
    for region in &TABLE {
        let start = region.start.load(Ordering::Acquire);
        let end = region.end.load(Ordering::Relaxed);
        if start <= CLAIMED || address < start || address >= end {
            continue;
        }
        region.lost.store(true, Ordering::Relaxed);
        let from = address & !(page - 1);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // A file that has lost this page has lost all that follow.
        // SAFETY: the pages belong to a map that is ours and in use, and nothing can be read there.
        let got = unsafe { libc::mmap(from as *mut c_void, end - from, rights, flags, -1, 0) };
        return got != libc::MAP_FAILED;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_its_places_are_used_again() {
        let bytes = [0u8; 1];
        for _ in 0..2 {
            let guards: Vec<Guard> = std::iter::from_fn(Guard::reserve).collect();
            assert_eq!(guards.len(), REGIONS);
            guards.iter().for_each(|guard| guard.watch(&bytes));
            assert!(guards.iter().all(|guard| !guard.is_lost()));
        }
        assert!(!mend(bytes.as_ptr() as usize), "memory that is not looked after any more");
    }
}
