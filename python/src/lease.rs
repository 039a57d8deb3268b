//! Leases, as locks are made of them (`retainit._cache`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use retainit_core::abi::call::NEVER;
use retainit_core::lease::{Backoff, Lease as CoreLease, Place, Wake};
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

/// An attempt to get a lease, to be repeated after pauses.
#[pyclass(module = "retainit._native", frozen)]
pub struct LeaseWait {
    backend: Py<Backend>,
    name: Vec<u8>,
    ttl: i64,
    /// Called, on any thread and perhaps more than once, when it is worth trying again.
    wake: Py<PyAny>,
    state: Mutex<State>,
}

struct State {
    backoff: Backoff,
    attempts: u32,
    place: Option<Place>,
}

fn deadline(timeout: Option<f64>) -> i64 {
    match timeout {
        None => NEVER,
        Some(0.0) => clock::monotonic(),
        Some(seconds) => clock::monotonic().saturating_add(nanoseconds(seconds)),
    }
}

impl LeaseWait {
    /// Only for as long as this thread stays attached.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl LeaseWait {
    #[new]
    #[pyo3(signature = (backend, name, ttl, timeout, wake))]
    fn new(backend: Py<Backend>, name: Vec<u8>, ttl: f64, timeout: Option<f64>, wake: Py<PyAny>) -> Self {
        let state = State { backoff: Backoff::until(deadline(timeout)), attempts: 0, place: None };
        LeaseWait { backend, name, ttl: nanoseconds(ttl), wake, state: Mutex::new(state) }
    }

    /// The lease, or `None` if somebody has it. May block where the backend does.
    fn attempt(&self, py: Python<'_>) -> PyResult<Option<Lease>> {
        let instance = self.backend.get().instance();
        let is_second = {
            let mut state = self.state();
            state.attempts += 1;
            state.attempts == 2
        };
        if is_second {
            // From now on releases in this process are heard of.
            let wake = self.wake.clone_ref(py);
            let call = move || {
                // At the end of the interpreter nobody waits any more.
                Python::try_attach(|py| {
                    if let Err(error) = outcall::call(wake.bind(py), (), None) {
                        error.write_unraisable(py, Some(wake.bind(py)));
                    }
                });
            };
            let place = Place::new(instance, &self.name, Wake::Call(Box::new(call)));
            self.state().place = Some(place);
        }
        let found = py.detach(|| CoreLease::try_acquire(instance, &self.name, self.ttl));
        let found = found.map_err(|error| errors::from_core(&error))?;
        if found.is_some() {
            let place = self.state().place.take();
            if let Some(place) = place {
                place.served();
            }
        }
        Ok(found.map(wrap))
    }

    /// Seconds to wait before the next attempt unless woken; `None` once the time is over.
    fn pause(&self) -> Option<f64> {
        self.state().backoff.pause().map(|pause| pause.as_secs_f64())
    }

    /// Waits no more.
    fn leave(&self) {
        let place = self.state().place.take();
        drop(place);
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
    let (instance, ttl) = (backend.get().instance(), nanoseconds(ttl));
    let mut backoff = Backoff::until(deadline(timeout));
    let attempt = || {
        let found = py.detach(|| CoreLease::try_acquire(instance, name, ttl));
        found.map_err(|error| errors::from_core(&error))
    };
    if let Some(lease) = attempt()? {
        return Ok(Some(wrap(lease)));
    }
    if timeout == Some(0.0) {
        return Ok(None);
    }
    let place = Place::new(instance, name, Wake::Thread(std::thread::current()));
    loop {
        // Again, now that a release would be heard of.
        if let Some(lease) = attempt()? {
            place.served();
            return Ok(Some(wrap(lease)));
        }
        let Some(pause) = backoff.pause() else { return Ok(None) };
        py.detach(|| std::thread::park_timeout(pause.min(SIGNALS)));
        py.check_signals()?;
    }
}

/// At exit: gives back what is still held.
pub fn release_all() {
    lease::release_all();
}
