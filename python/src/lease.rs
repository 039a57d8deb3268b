//! Leases, as locks are made of them (`retainit._cache`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use retainit_core::abi::call::NEVER;
use retainit_core::lease::{Lease as CoreLease, Wait, Wake};
use retainit_core::{clock, lease};

use crate::backend::Backend;
use crate::caller::nanoseconds;
use crate::{errors, outcall};

/// Who waits looks for a signal at least so often.
const SIGNALS: Duration = Duration::from_millis(100);

/// A lease that this process holds, renewed until it is released or nobody refers to it any more.
#[pyclass(module = "retainit._native", frozen, weakref)]
pub struct Lease {
    lease: Mutex<Option<CoreLease>>,
    fence: u64,
}

impl Lease {
    fn take(&self) -> Option<CoreLease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Lease {
    /// Greater than that of every earlier holder.
    #[getter]
    fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether it is not held any more.
    #[getter]
    fn lost(&self) -> bool {
        let lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        lease.as_ref().is_none_or(CoreLease::is_lost)
    }

    /// Gives it back; whether it was held until now. May block where the backend does.
    ///
    /// A backend that fails is no reason to think that it was lost: its time will run out.
    fn release(&self, py: Python<'_>) -> bool {
        let Some(lease) = self.take() else { return false };
        py.detach(|| lease.give_back())
    }

    /// Gives it back without waiting for that.
    fn let_go(&self) {
        if let Some(lease) = self.take() {
            lease.let_go();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A wait for a lease, for tasks: attempts, with pauses in between.
#[pyclass(module = "retainit._native", frozen)]
pub struct LeaseWait {
    wait: Mutex<Option<Wait>>,
    /// Said by a task that was cancelled, while an attempt may be under way in a thread.
    left: AtomicBool,
}

fn deadline(timeout: Option<f64>) -> i64 {
    match timeout {
        None => NEVER,
        Some(0.0) => clock::monotonic(),
        Some(seconds) => clock::monotonic().saturating_add(nanoseconds(seconds)),
    }
}

impl LeaseWait {
    fn put(&self, wait: Option<Wait>) -> Option<Wait> {
        let mut place = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, wait)
    }
}

#[pymethods]
impl LeaseWait {
    /// `wake()` is called, on any thread and perhaps more than once, when it is worth trying again.
    #[new]
    #[pyo3(signature = (backend, name, ttl, timeout, wake))]
    fn new(
        backend: &Bound<'_, Backend>,
        name: &[u8],
        ttl: f64,
        timeout: Option<f64>,
        wake: Py<PyAny>,
    ) -> Self {
        let wake = Arc::new(wake);
        let instance = backend.get().instance();
        let wait = Wait::new(instance, name, nanoseconds(ttl), deadline(timeout), move || {
            let wake = Arc::clone(&wake);
            Wake::Call(Box::new(move || {
                // At the end of the interpreter nobody waits any more.
                Python::try_attach(|py| {
                    if let Err(error) = outcall::call(wake.bind(py), (), None) {
                        error.write_unraisable(py, Some(wake.bind(py)));
                    }
                });
            }))
        });
        LeaseWait { wait: Mutex::new(Some(wait)), left: AtomicBool::new(false) }
    }

    /// The lease, or `None` if somebody has it. May block where the backend does.
    fn attempt(&self, py: Python<'_>) -> PyResult<Option<Lease>> {
        // Taken out meanwhile: the interpreter is released, and no lock of ours is held then.
        let Some(mut wait) = self.put(None) else { return Ok(None) };
        let found = py.detach(|| wait.attempt());
        if !self.left.load(Ordering::SeqCst) {
            self.put(Some(wait));
        }
        found.map(|found| found.map(wrap)).map_err(|error| errors::from_core(&error))
    }

    /// Seconds to wait before the next attempt unless woken; `None` once the time is over.
    fn pause(&self) -> Option<f64> {
        let mut wait = self.wait.lock().unwrap_or_else(PoisonError::into_inner);
        wait.as_mut()?.pause().map(|pause| pause.as_secs_f64())
    }

    /// Waits no more.
    fn leave(&self) {
        self.left.store(true, Ordering::SeqCst);
        drop(self.put(None));
    }
}

fn wrap(lease: CoreLease) -> Lease {
    Lease { fence: lease.fence(), lease: Mutex::new(Some(lease)) }
}

/// The lease `name` for `ttl` seconds, waited for on this thread for at most `timeout` seconds (zero: one
/// attempt; `None`: however long it takes); `None` if somebody has it.
///
/// # Errors
/// The backend failed; a signal's handler raised.
#[pyfunction]
#[pyo3(signature = (backend, name, ttl, timeout))]
pub fn acquire_lease(
    py: Python<'_>,
    backend: &Bound<'_, Backend>,
    name: &[u8],
    ttl: f64,
    timeout: Option<f64>,
) -> PyResult<Option<Lease>> {
    let this = std::thread::current();
    let wake = move || Wake::Thread(this.clone());
    let mut wait = Wait::new(backend.get().instance(), name, nanoseconds(ttl), deadline(timeout), wake);
    loop {
        if let Some(lease) = py.detach(|| wait.attempt()).map_err(|error| errors::from_core(&error))? {
            return Ok(Some(wrap(lease)));
        }
        let Some(pause) = wait.pause() else { return Ok(None) };
        py.detach(|| std::thread::park_timeout(pause.min(SIGNALS)));
        py.check_signals()?;
    }
}

/// At exit: gives back what is still held.
pub fn release_all(limit: Duration) {
    lease::release_all(limit);
}
