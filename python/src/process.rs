//! Fork and exit.
//!
//! Both are seen through Python's own hooks (`os.register_at_fork`, `atexit`), so that the way of a
//! call pays nothing for them. Locks are taken for a fork in the C library's hooks, which run inside
//! `fork` itself: between Python's hooks other code of Python's may run, and threads of it that want
//! one of the locks would keep the interpreter while they wait.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use retainit_core::abi::capability;
use retainit_core::{fork, load, Function, Instance};

use crate::backend::open_instances;
use crate::caller::FLIGHTS;
use crate::{handle, lease};

/// How long plugins may take to finish at exit.
const LEAVING: Duration = Duration::from_secs(2);

thread_local! {
    /// Whether this thread is about to fork in order to go on with Python.
    static FORKING: Cell<bool> = const { Cell::new(false) };
    /// Backends that were prepared for the fork under way on this thread.
    static PREPARED: RefCell<Vec<Arc<Instance>>> = const { RefCell::new(Vec::new()) };
    /// Names of backends that a child cannot use any more.
    static LOST: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Before a fork that goes on with Python; others do not concern us.
#[pyfunction]
pub fn before_fork() {
    // SAFETY: attached, no lock held.
    unsafe { handle::drain() };
    #[cfg(unix)]
    {
        static WATCHED: std::sync::Once = std::sync::Once::new();
        // SAFETY: the hooks are valid for ever, because the module is never unloaded.
        WATCHED.call_once(|| unsafe {
            libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child));
        });
    }
    FORKING.set(true);
}

/// After a fork, in the parent, or after one that failed.
#[pyfunction]
pub fn after_fork_in_parent() {
    FORKING.set(false);
}

/// After a fork, in the child: the names of backends that cannot be used here any more, because their
/// plugin knows nothing of forks.
#[pyfunction]
pub fn after_fork_in_child() -> Vec<String> {
    FORKING.set(false);
    LOST.take()
}

/// Brings every lock into a known state.
#[cfg(unix)]
extern "C" fn prepare() {
    if !FORKING.get() {
        return;
    }
    let instances = open_instances();
    // This thread stays attached: who holds one of these locks gives it back without needing the
    // interpreter, while who has the interpreter may want one of them. Flights come first, because a
    // load holds its flight's gate while it writes into a backend.
    FLIGHTS.fork_prepare();
    for instance in &instances {
        instance.fork_prepare();
    }
    fork::prepare();
    Function::fork_prepare();
    PREPARED.set(instances);
}

#[cfg(unix)]
extern "C" fn in_parent() {
    if !FORKING.get() {
        return;
    }
    // SAFETY: follows `prepare` on the thread that forked.
    unsafe {
        Function::fork_done();
        FLIGHTS.fork_done(false);
        fork::done(false);
    }
    for instance in PREPARED.take() {
        instance.fork_parent();
    }
}

#[cfg(unix)]
extern "C" fn in_child() {
    if !FORKING.get() {
        return;
    }
    handle::fork_child();
    // SAFETY: follows `prepare` on the thread that forked, which is the only one here.
    unsafe {
        Function::fork_done();
        FLIGHTS.fork_done(true);
        fork::done(true);
    }
    load::fork_child();
    for instance in PREPARED.take() {
        instance.fork_child();
        if !instance.has(capability::FORK) {
            LOST.with_borrow_mut(|lost| lost.push(instance.name().to_owned()));
            // Closing it would touch what belongs to the parent's threads.
            std::mem::forget(instance);
        }
    }
}

/// At interpreter exit: plugins stop their threads, and what they release from now on leaks.
#[pyfunction]
pub fn at_exit(py: Python<'_>) {
    let instances = open_instances();
    py.detach(|| {
        // Others need not wait for the time of what this process held to run out.
        lease::release_all(LEAVING);
        for instance in &instances {
            // At exit nobody is left to hear of it; the plugin has logged what went wrong.
            let _ = instance.flush();
            let _ = instance.quiesce(LEAVING);
        }
    });
    // SAFETY: attached, no lock held.
    unsafe { handle::close() };
    // A backend must not be closed later than here, when plugins may call back into an interpreter
    // that is gone: the operating system reclaims what is left.
    std::mem::forget(instances);
}
