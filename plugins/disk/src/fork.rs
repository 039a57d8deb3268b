//! Forks: a child must not use its parent's connections, nor make new ones beside them.
//!
//! SQLite counts file locks for each file and process. A child inherits the counts but not the locks:
//! even a new connection would believe that the process holds locks which it does not hold, and other
//! processes could then replace the log under it. So the connections are closed before a fork, and a
//! child that finds some all the same (a fork without the hooks, or one that could not wait for a
//! slow operation) never touches a database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Once;

use retainit_plugin_api::sdk::{Error, ErrorKind, Result};

use crate::{connection, token};

static INHERITED: AtomicBool = AtomicBool::new(false);

/// Sees to it that a child learns what it is. Called before the first connection is made.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler only touches atomics, which a child of a process with threads may do; this
        // library is never unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

extern "C" fn in_child() {
    token::forget_seed();
    if connection::OPEN.load(Ordering::SeqCst) != 0 {
        INHERITED.store(true, Ordering::SeqCst);
    }
}

/// Whether this process must leave SQLite alone.
#[inline]
pub fn inherited() -> bool {
    INHERITED.load(Ordering::Relaxed)
}

/// An error where [`inherited`].
#[inline]
pub fn check() -> Result<()> {
    if !inherited() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Fatal,
        "this process was forked while its parent used the cache, so it cannot use it; hint: fork before the first call, or start processes with `spawn`",
    ))
}
