//! The instance's connections: a fixed number of slots without a lock, so that a fork finds them in
//! a known state at any moment.

use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

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
#[derive(Debug, Default)]
pub struct Pool {
    /// Whether a fork waits for the slots: without it, threads that take them again at once would
    /// keep it waiting.
    freezing: AtomicBool,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default)]
struct Slot {
    connection: AtomicPtr<Connection>,
    /// The tick in which the idle connection's view began, or [`NO_VIEW`]: so that the connection need
    /// not be taken to learn it.
    begun: AtomicU64,
}

const NO_VIEW: u64 = 0;

/// A connection in use; goes back when dropped.
#[derive(Debug)]
pub struct Loan<'a> {
    slot: &'a Slot,
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
                let Some(connection) = slot.claim_idle() else { continue };
                if fits(&connection) {
                    return Ok(Loan { slot, connection: Some(connection) });
                }
                // Of a database that is gone: closed here, and the slot is free.
                drop(connection);
                slot.put(ptr::null_mut());
            }
            for slot in open_slots {
                if slot.change(ptr::null_mut(), BUSY) {
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
                slot.change(ptr::null_mut(), FROZEN);
                if let Some(connection) = slot.claim_idle() {
                    drop(connection);
                    slot.put(FROZEN);
                }
                all &= slot.connection.load(Ordering::Relaxed) == FROZEN;
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
            slot.change(FROZEN, ptr::null_mut());
        }
    }

    /// Ends the views of idle connections that began in a tick which `old` says is long ago; whether
    /// there are others, or connections in use that may have one.
    pub fn end_views(&self, old: impl Fn(u64) -> bool) -> bool {
        let mut others = false;
        for slot in &self.slots {
            let found = slot.connection.load(Ordering::SeqCst);
            if found.is_null() || found == FROZEN {
                continue;
            }
            let begun = slot.begun.load(Ordering::Relaxed);
            if found == BUSY || (begun != NO_VIEW && !old(begun)) {
                others = true;
            } else if begun != NO_VIEW {
                match slot.claim_idle() {
                    Some(connection) => {
                        connection.end_view();
                        slot.give_back(connection);
                    }
                    None => others = true,
                }
            }
        }
        others
    }

    fn close_idle(&self) {
        for slot in &self.slots {
            if let Some(connection) = slot.claim_idle() {
                drop(connection);
                slot.put(ptr::null_mut());
            }
        }
    }
}

impl Slot {
    // Changes are sequentially consistent for the sake of `Views`.
    fn change(&self, from: *mut Connection, to: *mut Connection) -> bool {
        self.connection.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    fn put(&self, back: *mut Connection) {
        self.connection.store(back, Ordering::Release);
    }

    fn claim_idle(&self) -> Option<Box<Connection>> {
        let found = self.connection.load(Ordering::Relaxed);
        if found.is_null() || found == BUSY || found == FROZEN || !self.change(found, BUSY) {
            return None;
        }
        // SAFETY: an idle slot owns a box; having changed it to BUSY, this thread alone owns it now.
        Some(unsafe { Box::from_raw(found) })
    }

    fn give_back(&self, connection: Box<Connection>) {
        self.begun.store(connection.view_begun().unwrap_or(NO_VIEW), Ordering::Relaxed);
        self.put(Box::into_raw(connection));
    }
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
        match self.connection.take() {
            Some(connection) => {
                if std::thread::panicking() {
                    // Nobody has decided whether its view may stay.
                    connection.end_view();
                }
                self.slot.give_back(connection);
            }
            None => self.slot.put(ptr::null_mut()),
        }
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
