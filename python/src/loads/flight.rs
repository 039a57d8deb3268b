//! A load as those see it who wait for it.

use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use retainit_core::abi::call::NEVER;
use retainit_core::clock;
use retainit_core::flight::{Flight as CoreFlight, Landing};
use retainit_core::freshness::later;
use retainit_core::function::Function as Engine;
use retainit_core::load::{self, Given};

use super::{lock, value, Found};
use crate::caller::{self, Objects, Shared, FLIGHTS};
use crate::miss::Key;
use crate::{errors, function, handle, outcall};

/// A load that somebody else leads, or that goes on while its caller waits no longer than it has to.
#[pyclass(module = "retainit._native", frozen)]
pub struct Flight {
    pub(super) function: Py<PyAny>,
    pub(super) engine: Arc<Engine>,
    pub(super) flight: Arc<CoreFlight<Shared>>,
    /// Whether it is the caller's own.
    #[pyo3(get)]
    pub(super) own: bool,
    /// Whether the caller takes what tiers have.
    pub(super) reads: bool,
    /// When the caller's call began, on the monotonic clock.
    pub(super) entered: i64,
    /// What its leader found, where it is the caller's own.
    pub(super) led: Found,
    /// Whether the caller has waited long enough, and falls back.
    pub(super) impatient: Mutex<Option<Arc<Shared>>>,
    /// The number of the caller's subscription.
    pub(super) subscribed: Mutex<Option<u64>>,
    /// Flights that were declared to wait for this one.
    pub(super) holding: Mutex<Vec<Arc<CoreFlight<Shared>>>>,
}

#[pymethods]
impl Flight {
    /// Whether this context may wait for it: waiting must not close a circle. What is declared here is
    /// taken back by `waited`.
    fn may_wait(&self, py: Python<'_>) -> bool {
        let holding = caller::holding(py);
        if !FLIGHTS.may_wait(&holding, &self.flight) {
            return false;
        }
        *lock(&self.holding) = holding;
        true
    }

    /// The caller waits no more: takes back what `may_wait` declared, and the subscription.
    fn waited(&self) {
        if let Some(number) = lock(&self.subscribed).take() {
            self.flight.unsubscribe(number);
        }
        let holding = std::mem::take(&mut *lock(&self.holding));
        FLIGHTS.waited(&holding, &self.flight);
    }

    /// Calls `callback()` once it has landed, on the thread that landed it; at once if it has.
    fn subscribe(&self, callback: Py<PyAny>) {
        let number = self.flight.subscribe(Box::new(move || {
            // At the end of the interpreter nobody waits any more.
            Python::try_attach(|py| {
                if let Err(error) = outcall::call(callback.bind(py), (), None) {
                    error.write_unraisable(py, Some(callback.bind(py)));
                }
            });
        }));
        *lock(&self.subscribed) = Some(number);
    }

    /// How long to wait in seconds before `expire` is to be asked; `None`: until it lands.
    fn patience(&self) -> Option<f64> {
        let rules = &self.engine.policy().rules;
        rules.limit_waits().then(|| {
            let now = clock::monotonic();
            let soft = if self.reads { later(self.entered, rules.soft_timeout) } else { NEVER };
            let hard = later(self.flight.started(), rules.hard_timeout);
            clock::glance(if now < soft { soft.min(hard) } else { hard }).as_secs_f64()
        })
    }

    /// Whether the caller need not wait any more, because the function's rules say so.
    fn expire(&self) -> bool {
        let rules = &self.engine.policy().rules;
        if load::is_overdue(&self.engine, &self.flight) {
            load::give_up(&FLIGHTS, &self.engine, &self.flight);
            return true;
        }
        if !self.reads || clock::monotonic() < later(self.entered, rules.soft_timeout) {
            return false;
        }
        let fallback = self.flight.fallback();
        let expired = fallback.is_some();
        *lock(&self.impatient) = fallback;
        expired
    }

    /// What the caller gets: `(value,)`, or `None` if it has to start again.
    ///
    /// Raises what the function raised, and `LoadTimeoutError`.
    fn landing(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>,)>> {
        if let Some(found) = lock(&self.led).take() {
            return Ok(Some((found,)));
        }
        let impatient = lock(&self.impatient).take().map(|value| Landing::FellBack(value, None));
        let Some(landing) = self.flight.landing().or(impatient) else { return Ok(None) };
        match load::given(&self.engine, &self.flight, landing, self.own, self.reads) {
            Given::Shared(shared) => caller::unshare(py, &shared).map(|value| Some((value.unbind(),))),
            Given::TimedOut => Err(caller::timed_out(function::of(self.function.bind(py))?.cold()?, false)),
            Given::Found | Given::Nothing => Ok(None),
        }
    }

    /// Whether it found a value that everybody who waited is to `reread`.
    #[getter]
    fn found(&self) -> bool {
        self.reads && !self.own && matches!(self.flight.landing(), Some(Landing::Found))
    }

    /// Whether there may be an answer beside it, so that the caller is to `reread` before it waits.
    #[getter]
    fn replaces(&self) -> bool {
        self.reads && self.flight.replaces()
    }

    /// Reads what the load found, or has not replaced yet, as `(value,)`; `None` if there is no answer.
    fn reread(&self, py: Python<'_>, key: &Bound<'_, Key>) -> PyResult<Option<(Py<PyAny>,)>> {
        let key = key.get();
        let cold = function::of(self.function.bind(py))?.cold()?;
        let objects = Objects::new(py, cold, key.keep.as_ref().map(|keep| keep.bind(py).clone()));
        let found = load::reread(&self.engine, &objects, &key.call, &self.flight, value);
        // SAFETY: attached, no lock held.
        unsafe { handle::drain() };
        objects.interrupted()?;
        Ok(found.map_err(|error| errors::from_core(&error))?.map(|found| (found.unbind(),)))
    }

    /// Identifies the flight while it lasts.
    #[getter]
    fn id(&self) -> usize {
        Arc::as_ptr(&self.flight) as usize
    }
}
