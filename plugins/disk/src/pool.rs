//! The instance's connections: a fixed number of slots without a lock, so that a fork finds them in
//! a known state at any moment.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::connection::Connection;
use crate::failure::Outcome;
use crate::fork;
use crate::wait::Wait;

/// Connections of one instance at most; each is two descriptors and up to 8 MiB of page cache.
const SLOTS: usize = 16;

// A slot is null (no connection), one of these, or an idle connection.
const BUSY: *mut Connection = ptr::without_provenance_mut(1);
const FROZEN: *mut Connection = ptr::without_provenance_mut(2);

/// The pool.
#[derive(Debug)]
pub struct Pool {
    /// Whether a fork waits for the slots: without it, threads that take them again at once would
    /// keep it waiting.
    freezing: AtomicBool,
    slots: [AtomicPtr<Connection>; SLOTS],
}

impl Default for Pool {
    fn default() -> Self {
        Pool { freezing: AtomicBool::new(false), slots: [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS] }
    }
}

/// A connection in use; goes back when dropped.
#[derive(Debug)]
pub struct Loan<'a> {
    slot: &'a AtomicPtr<Connection>,
    connection: Option<Box<Connection>>,
}

impl Pool {
    /// An idle connection that `fits`, or a new one from `open`, or waits for one.
    ///
    /// The first idle slot is taken, so that there are never more connections than threads that used
    /// one at the same moment, and the one whose page cache is warm comes first.
    pub fn take<'a>(
        &'a self,
        wait: &Wait,
        fits: impl Fn(&Connection) -> bool,
        mut open: impl FnMut() -> Outcome<Connection>,
    ) -> Outcome<Loan<'a>> {
        let mut attempt = 0;
        loop {
            let open_slots = if self.freezing.load(Ordering::Relaxed) { &[] } else { &self.slots[..] };
            for slot in open_slots {
                let Some(connection) = claim_idle(slot) else { continue };
                if fits(&connection) {
                    return Ok(Loan { slot, connection: Some(connection) });
                }
                // Of a database that is gone: closed here, and the slot is free.
                drop(connection);
                slot.store(ptr::null_mut(), Ordering::Release);
            }
            for slot in open_slots {
                if slot.compare_exchange(ptr::null_mut(), BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
                {
                    let mut loan = Loan { slot, connection: None };
                    loan.connection = Some(Box::new(open()?));
                    return Ok(loan);
                }
            }
            if !wait.pause(attempt) {
                return Err(wait.over("a connection to the database").into());
            }
            attempt += 1;
        }
    }

    /// Closes what is idle and keeps all slots from being taken, waiting for those in use; `false` if
    /// some stayed in use.
    pub fn freeze(&self, wait: &Wait) -> bool {
        self.freezing.store(true, Ordering::Relaxed);
        let mut attempt = 0;
        loop {
            let mut all = true;
            for slot in &self.slots {
                let _ = slot.compare_exchange(ptr::null_mut(), FROZEN, Ordering::Acquire, Ordering::Relaxed);
                if let Some(connection) = claim_idle(slot) {
                    drop(connection);
                    slot.store(FROZEN, Ordering::Release);
                }
                all &= slot.load(Ordering::Relaxed) == FROZEN;
            }
            if all || !wait.pause(attempt) {
                return all;
            }
            attempt += 1;
        }
    }

    /// Ends [`Pool::freeze`].
    pub fn thaw(&self) {
        self.freezing.store(false, Ordering::Relaxed);
        for slot in &self.slots {
            let _ = slot.compare_exchange(FROZEN, ptr::null_mut(), Ordering::Release, Ordering::Relaxed);
        }
    }

    fn close_idle(&self) {
        for slot in &self.slots {
            if let Some(connection) = claim_idle(slot) {
                drop(connection);
                slot.store(ptr::null_mut(), Ordering::Release);
            }
        }
    }
}

fn claim_idle(slot: &AtomicPtr<Connection>) -> Option<Box<Connection>> {
    let found = slot.load(Ordering::Relaxed);
    if found.is_null() || found == BUSY || found == FROZEN {
        return None;
    }
    slot.compare_exchange(found, BUSY, Ordering::Acquire, Ordering::Relaxed).ok()?;
    // SAFETY: an idle slot owns a box; having changed it to BUSY, this thread alone owns it now.
    Some(unsafe { Box::from_raw(found) })
}

impl Deref for Loan<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a loan holds its connection until it ends")
    }
}

impl Loan<'_> {
    /// Closes the connection instead of giving it back.
    pub fn close(mut self) {
        self.connection = None;
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let back = self.connection.take().map_or(ptr::null_mut(), Box::into_raw);
        self.slot.store(back, Ordering::Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Connections of the parent of this process are leaked, not closed.
        if !fork::inherited() {
            self.close_idle();
        }
    }
}
