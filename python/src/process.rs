//! Fork and exit.
//!
//! Both are seen through Python's own hooks (`os.register_at_fork`, `atexit`), so that the way of a
//! call pays nothing for them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use retainit_core::abi::capability;
use retainit_core::{fork, Function, Instance};

use crate::backend::open_instances;
use crate::caller::FLIGHTS;
use crate::handle;

/// How long plugins may take to finish at exit.
const LEAVING: Duration = Duration::from_secs(2);

thread_local! {
    /// Backends that were prepared for the fork under way on this thread.
    static PREPARED: RefCell<Vec<Arc<Instance>>> = const { RefCell::new(Vec::new()) };
}

/// Before a fork: brings every lock into a known state.
#[pyfunction]
pub fn before_fork() {
    let instances = open_instances();
    // SAFETY: attached, no lock held.
    unsafe { handle::drain() };
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

/// After a fork, in the parent.
#[pyfunction]
pub fn after_fork_in_parent() {
    // SAFETY: follows `before_fork` on the thread that forked.
    unsafe {
        Function::fork_done();
        FLIGHTS.fork_done(false);
        fork::done(false);
    }
    for instance in PREPARED.take() {
        instance.fork_parent();
    }
}

/// After a fork, in the child: the names of backends that cannot be used here any more, because their
/// plugin knows nothing of forks.
#[pyfunction]
pub fn after_fork_in_child() -> Vec<String> {
    handle::fork_child();
    // SAFETY: follows `before_fork` on the thread that forked, which is the only one here.
    unsafe {
        Function::fork_done();
        FLIGHTS.fork_done(true);
        fork::done(true);
    }
    let mut lost = Vec::new();
    for instance in PREPARED.take() {
        instance.fork_child();
        if !instance.has(capability::FORK) {
            lost.push(instance.name().to_owned());
            // Closing it would touch what belongs to the parent's threads.
            std::mem::forget(instance);
        }
    }
    lost
}

/// At interpreter exit: plugins stop their threads, and what they release from now on leaks.
#[pyfunction]
pub fn at_exit(py: Python<'_>) {
    let instances = open_instances();
    py.detach(|| {
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
