//! The steps of a load, for the driver of asynchronous calls (`retainit._drive`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use retainit_core::flight::{Flight as CoreFlight, Landing};
use retainit_core::function::Function as Engine;
use retainit_core::load::{Life, Load as CoreLoad, Step};

use crate::caller::{self, Objects, Shared, FLIGHTS};
use crate::errors;
use crate::function;
use crate::handle;
use crate::miss::Key;
use crate::outcall;

/// A load that the holder leads. Letting it go frees those who wait.
#[pyclass(module = "retainit._native", frozen)]
pub struct Load {
    function: Py<PyAny>,
    keep: Option<Py<PyAny>>,
    flight: Arc<CoreFlight<Shared>>,
    inner: Mutex<Option<CoreLoad<Shared>>>,
    /// How long the result is kept.
    life: Mutex<Life>,
    /// Whether reading or storing may block.
    #[pyo3(get)]
    may_block: bool,
}

/// A load that somebody else leads.
#[pyclass(module = "retainit._native", frozen)]
pub struct Flight {
    engine: Arc<Engine>,
    flight: Arc<CoreFlight<Shared>>,
    /// Flights that were declared to wait for this one.
    holding: Mutex<Vec<Arc<CoreFlight<Shared>>>>,
}

impl Load {
    fn with<R>(
        &self,
        py: Python<'_>,
        step: impl for<'py> FnOnce(&CoreLoad<Shared>, &Objects<'_, 'py>, Python<'py>) -> R,
    ) -> PyResult<R> {
        let function = self.function.bind(py);
        let objects = Objects::new(
            py,
            function::of(function)?.cold()?,
            self.keep.as_ref().map(|keep| keep.bind(py).clone()),
        );
        *objects.flight.borrow_mut() = Some(self.flight.clone());
        // Taken out meanwhile: reading may release the interpreter, and no lock of ours is held then.
        let load = self.take().ok_or_else(|| PyRuntimeError::new_err("the load has ended"))?;
        let result = step(&load, &objects, py);
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner) = Some(load);
        // SAFETY: attached, no lock held.
        unsafe { handle::drain() };
        objects.interrupted()?;
        Ok(result)
    }

    fn take(&self) -> Option<CoreLoad<Shared>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Load {
    /// Reads the tiers: `(value,)` or `None`.
    fn read(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>,)>> {
        let found =
            self.with(py, |load, objects, _| load.read(objects).map(|found| found.map(Bound::unbind)))?;
        Ok(found.map_err(|error| errors::from_core(&error))?.map(|value| (value,)))
    }

    /// Finds out whether a result is to be stored, and for how long.
    fn keeps(
        &self,
        py: Python<'_>,
        value: Py<PyAny>,
        arguments: Py<PyTuple>,
        keywords: Py<PyDict>,
    ) -> PyResult<bool> {
        let life = self.with(py, |load, objects, py| {
            let said = objects.life(value.bind(py), arguments.bind(py), Some(keywords.bind(py)));
            said.or_else(|error| load.failed(error).map(|()| Life::Unkept))
        })?;
        let life = life.map_err(|error| errors::from_core(&error))?;
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = life;
        Ok(life != Life::Unkept)
    }

    /// Stores a result in every tier, unless it was invalidated meanwhile.
    fn store(&self, py: Python<'_>, value: Py<PyAny>) -> PyResult<()> {
        let life = *self.life.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(py, |load, objects, py| load.store(objects, value.bind(py), life))?
            .map_err(|error| errors::from_core(&error))
    }

    /// Counts a run of the function that did not read before.
    fn count_miss(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |load, _, _| load.count_miss())
    }

    /// Ends the load with a value that `read` gave.
    fn land_found(&self, value: Py<PyAny>) {
        if let Some(load) = self.take() {
            load.land_found(|| Some(Arc::new(Shared::Value(value))));
        }
    }

    /// Ends the load with a value for everybody who joined.
    fn land(&self, value: Py<PyAny>) {
        if let Some(load) = self.take() {
            load.land(Some(Arc::new(Shared::Value(value))));
        }
    }

    /// Ends the load with an exception: everybody who joined gets it, unless it concerns only the
    /// caller it hit (a cancellation, an interrupt); then they start again.
    fn fail(&self, py: Python<'_>, error: Bound<'_, PyAny>) {
        if let Some(load) = self.take() {
            load.land(caller::share(py, Err(&PyErr::from_value(error))));
        }
    }

    /// Makes what runs in this context part of the load; the token undoes it.
    fn enter<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        caller::enter(py, &self.flight)
    }

    /// Undoes `enter`.
    fn leave(&self, py: Python<'_>, token: &Bound<'_, PyAny>) -> PyResult<()> {
        caller::leave(py, token)
    }

    /// Identifies the flight while it lasts.
    #[getter]
    fn id(&self) -> usize {
        Arc::as_ptr(&self.flight) as usize
    }
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
        *self.holding.lock().unwrap_or_else(PoisonError::into_inner) = holding;
        true
    }

    /// Takes back what `may_wait` declared.
    fn waited(&self) {
        let holding = std::mem::take(&mut *self.holding.lock().unwrap_or_else(PoisonError::into_inner));
        FLIGHTS.waited(&holding, &self.flight);
    }

    /// Calls `callback()` once it has landed, on the thread that landed it; at once if it has.
    fn subscribe(&self, callback: Py<PyAny>) {
        self.flight.subscribe(Box::new(move || {
            // At the end of the interpreter nobody waits any more.
            Python::try_attach(|py| {
                if let Err(error) = outcall::call(callback.bind(py), (), None) {
                    error.write_unraisable(py, Some(callback.bind(py)));
                }
            });
        }));
    }

    /// What it landed with: `(value,)`, or `None` if those who waited have to start again.
    ///
    /// Raises what the function raised.
    fn landing(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>,)>> {
        match self.flight.landing() {
            Some(Landing::Shared(shared)) => {
                self.engine.counters.hits.fetch_add(1, Ordering::Relaxed);
                caller::unshare(py, &shared).map(|value| Some((value.unbind(),)))
            }
            Some(Landing::Found | Landing::Abandoned) | None => Ok(None),
        }
    }

    /// Whether it found a value that everybody who waited is to `reread`.
    #[getter]
    fn found(&self) -> bool {
        matches!(self.flight.landing(), Some(Landing::Found))
    }

    /// Identifies the flight while it lasts.
    #[getter]
    fn id(&self) -> usize {
        Arc::as_ptr(&self.flight) as usize
    }
}

/// Starts a load of `key` or finds the one under way: a `Load` or a `Flight`.
#[pyfunction]
pub fn begin<'py>(function: &Bound<'py, PyAny>, key: &Bound<'py, Key>) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let engine = &function::of(function)?.cold()?.engine;
    let key = key.get();
    match CoreLoad::begin(&FLIGHTS, engine, key.call.clone()) {
        Step::Wait(flight) => {
            Ok(Bound::new(py, Flight { engine: engine.clone(), flight, holding: Mutex::default() })?
                .into_any())
        }
        Step::Load(load) => {
            let load = Load {
                function: function.clone().unbind(),
                keep: key.keep.as_ref().map(|keep| keep.clone_ref(py)),
                flight: load.flight().clone(),
                may_block: load.may_block(),
                inner: Mutex::new(Some(load)),
                life: Mutex::new(Life::Own),
            };
            Ok(Bound::new(py, load)?.into_any())
        }
    }
}
