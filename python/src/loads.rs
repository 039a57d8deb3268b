//! The steps of a load, for the driver of asynchronous calls (`retainit._drive`).

mod flight;
pub mod many;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use retainit_core::flight::Flight as CoreFlight;
use retainit_core::lease::Wake;
use retainit_core::load::{Answer, Life, Load as CoreLoad, Step};
use retainit_core::turn::Turn as CoreTurn;

use crate::caller::{self, Objects, Shared, FLIGHTS};
use crate::errors;
use crate::function;
use crate::handle;
use crate::miss::Key;

pub use flight::Flight;

/// A value that was found, which has been counted.
type Found = Arc<Mutex<Option<Py<PyAny>>>>;

/// The engine's load.
struct Inner {
    /// `None` while a step is taken, which may be in another thread.
    load: Option<CoreLoad<Shared>>,
    /// Whether no further step is to be taken.
    ended: bool,
}

/// A load that the holder leads. Letting it go frees those who wait.
#[pyclass(module = "retainit._native", frozen)]
pub struct Load {
    function: Py<PyAny>,
    keep: Option<Py<PyAny>>,
    flight: Arc<CoreFlight<Shared>>,
    inner: Mutex<Inner>,
    /// What is kept, and for how long.
    kept: Mutex<Option<(Py<PyAny>, Life)>>,
    /// The tags of what is kept that it tells itself.
    named: Mutex<Vec<Box<str>>>,
    /// What everybody is answered with instead of what tiers or the function gave.
    fallback: Mutex<Option<Arc<Shared>>>,
    /// What the caller is answered with where that was found.
    found: Found,
    /// Whether callers wait no longer than the function's rules allow.
    #[pyo3(get)]
    limits_waits: bool,
    /// Whether its function's entries carry tags.
    #[pyo3(get)]
    has_tags: bool,
}

/// A wait for the turn to run a function among processes: attempts, with pauses in between.
#[pyclass(module = "retainit._native", frozen)]
pub struct Turn(Mutex<Option<CoreTurn>>);

#[pymethods]
impl Turn {
    /// Whether the turn has come. May block where the backend does.
    fn attempt(&self, py: Python<'_>) -> PyResult<bool> {
        // Taken out meanwhile: the interpreter is released, and no lock of ours is held then.
        let Some(mut turn) = lock(&self.0).take() else { return Ok(true) };
        let mine = py.detach(|| turn.attempt());
        *lock(&self.0) = Some(turn);
        mine.map_err(|error| errors::from_core(&error))
    }

    /// Seconds to wait before the next attempt; `None` where the function is to run without a turn.
    fn pause(&self) -> Option<f64> {
        lock(&self.0).as_mut()?.pause().map(|pause| pause.as_secs_f64())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn value(object: Bound<'_, PyAny>) -> Arc<Shared> {
    Arc::new(Shared::Value(object.unbind()))
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
        let load = lock(&self.inner).load.take();
        let load = load.ok_or_else(|| PyRuntimeError::new_err("the load has ended"))?;
        let result = step(&load, &objects, py);
        let mut load = Some(load);
        let mut inner = lock(&self.inner);
        if !inner.ended {
            inner.load = load.take();
        }
        drop(inner);
        // Whoever led it has gone meanwhile: those who wait are freed here.
        drop(load);
        // SAFETY: attached, no lock held.
        unsafe { handle::drain() };
        objects.interrupted()?;
        Ok(result)
    }

    /// Ends it: the load, unless it has ended, or a thread uses it, which frees those who wait then.
    fn take(&self) -> Option<CoreLoad<Shared>> {
        let mut inner = lock(&self.inner);
        inner.ended = true;
        inner.load.take()
    }
}

#[pymethods]
impl Load {
    /// Whether reading or storing may block now.
    #[getter]
    fn may_block(&self) -> bool {
        // In use meanwhile, it is in a thread that was told to block.
        lock(&self.inner).load.as_ref().is_none_or(CoreLoad::may_block)
    }

    /// Reads the tiers: `(value, tier)` where that answers the caller, with the tier from which on a refresh is
    /// wanted, or `None`. Else `None`: the function is to run.
    fn read(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>, Option<usize>)>> {
        let answer = self.with(py, |load, objects, py| {
            let Some(hit) = load.read(objects)? else { return Ok(None) };
            if load.is_refresh() {
                // Nobody waits for it: a value that is not fresh is of no use.
                return Ok(load.satisfies(&hit).then(|| (hit.found.object.unbind(), None)));
            }
            Ok(match load.answer(hit, value) {
                Answer::Found(object, refresh) => Some((object.unbind(), refresh)),
                Answer::Fallback(shared) => self.fall(py, shared).map(|object| (object, None)),
                Answer::Nothing => None,
            })
        })?;
        answer.map_err(|error: retainit_core::Error| errors::from_core(&error))
    }

    /// Finds its tags, where it reads nothing before the function runs.
    fn observe(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |load, objects, _| load.observe(objects))?.map_err(|error| errors::from_core(&error))
    }

    /// The wait for its turn among processes; `None` where it needs none.
    fn turn(&self, py: Python<'_>) -> PyResult<Option<Turn>> {
        // Nobody in this process waits for the same turn, so there is nobody to be woken by.
        let turn = self.with(py, |load, _, _| load.turn(|| Wake::Call(Box::new(|| ()))))?;
        Ok(turn.map(|turn| Turn(Mutex::new(Some(turn)))))
    }

    /// Reads the tiers once more: `(value,)` where another process has stored a result meanwhile.
    fn look_again(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>,)>> {
        let found = self.with(py, |load, objects, _| {
            let hit = load.read(objects)?.filter(|hit| load.satisfies(hit));
            Ok(hit.map(|hit| {
                if !load.is_refresh() {
                    load.function().count_hit(hit.found.state);
                }
                (hit.found.object.unbind(),)
            }))
        })?;
        found.map_err(|error: retainit_core::Error| errors::from_core(&error))
    }

    /// Before the function runs: `(value,)` where it must not, because too many runs of it that have been given
    /// up go on, and there is something to fall back on.
    ///
    /// Raises `LoadTimeoutError` where there is not.
    fn refused(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>,)>> {
        let refused = self.with(py, |load, _, _| load.refused())?;
        match refused {
            None => Ok(None),
            Some(Some(shared)) => Ok(self.fall(py, shared).map(|object| (object,))),
            Some(None) => Err(caller::timed_out(function::of(self.function.bind(py))?.cold()?, true)),
        }
    }

    /// Finds out whether a result is to be stored, and for how long; whether storing it may block.
    fn keeps(
        &self,
        py: Python<'_>,
        value: Py<PyAny>,
        arguments: Py<PyTuple>,
        keywords: Py<PyDict>,
    ) -> PyResult<bool> {
        let life = self.with(py, |load, objects, py| {
            let said = objects.life(value.bind(py), arguments.bind(py), Some(keywords.bind(py)));
            *lock(&self.named) = objects.named.take();
            said.or_else(|error| load.failed(error).map(|()| Life::Unkept))
        })?;
        let life = life.map_err(|error| errors::from_core(&error))?;
        *lock(&self.kept) = Some((value, life));
        // One that is not kept may have to replace one that was.
        let met = self.with(py, |load, _, _| load.has_met())?;
        Ok(self.may_block() && (life != Life::Unkept || met))
    }

    /// The same for what the function raised.
    fn keeps_error(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<bool> {
        let raised = PyErr::from_value(error.clone());
        let kept = self.with(py, |_, objects, _| {
            objects.kept_error(&raised).map(|(object, life)| (object.unbind(), life))
        })?;
        let keeps = kept.is_some();
        *lock(&self.kept) = kept;
        Ok(keeps)
    }

    /// Stores what is kept in every tier, unless it was invalidated meanwhile.
    fn store(&self, py: Python<'_>) -> PyResult<()> {
        let Some((value, life)) = lock(&self.kept).take() else { return Ok(()) };
        let named = std::mem::take(&mut *lock(&self.named));
        self.with(py, |load, objects, py| {
            *objects.named.borrow_mut() = named;
            load.store(&FLIGHTS, objects, value.bind(py), life)
        })?
        .map_err(|error| errors::from_core(&error))
    }

    /// The function begins to run.
    fn runs(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |load, _, _| {
            load.runs();
        })
    }

    /// Ends the load with a value that `read` or `refused` gave.
    fn land_found(&self, object: Bound<'_, PyAny>) {
        let Some(load) = self.take() else { return };
        if self.limits_waits {
            *lock(&self.found) = Some(object.clone().unbind());
        }
        match lock(&self.fallback).take() {
            Some(fallback) => load.land_fallback(fallback, None),
            None => load.land_found(|| value(object)),
        }
    }

    /// Ends the load with a value for everybody who joined.
    fn land(&self, object: Bound<'_, PyAny>) {
        if let Some(load) = self.take() {
            load.land(value(object));
        }
    }

    /// Ends the load with what the function raised: `(value,)` where everybody falls back on that. Else
    /// everybody who joined gets the exception, unless it concerns only the caller it hit (a cancellation, an
    /// interrupt); then they start again.
    fn fail(&self, py: Python<'_>, error: Bound<'_, PyAny>, kept: bool) -> Option<(Py<PyAny>,)> {
        let load = self.take()?;
        let failed = !kept && (error.is_instance_of::<PyException>() || load.is_refresh());
        let cause = caller::share(py, Err(&PyErr::from_value(error.clone())));
        if let Some(fallback) = failed.then(|| load.fall_back()).flatten() {
            let replaces = load.flight().replaces();
            if !self.limits_waits && !replaces {
                load.function().counters.stale.fetch_add(1, Ordering::Relaxed);
            }
            let fell = self.fall(py, fallback.clone()).filter(|_| !replaces);
            load.land_fallback(fallback, Some(cause));
            return fell.map(|object| (object,));
        }
        if error.is_instance_of::<PyException>() && !load.is_refresh() {
            load.land(cause);
        } else {
            load.land_ended(cause);
        }
        None
    }

    /// Its flight, for a caller that waits no longer than it has to.
    fn followed(&self, py: Python<'_>, read: bool, entered: i64) -> PyResult<Flight> {
        Ok(Flight {
            function: self.function.clone_ref(py),
            engine: function::of(self.function.bind(py))?.cold()?.engine.clone(),
            flight: self.flight.clone(),
            own: true,
            reads: read,
            entered,
            led: self.found.clone(),
            impatient: Mutex::default(),
            subscribed: Mutex::default(),
            holding: Mutex::default(),
        })
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

impl Load {
    /// Notes what everybody is answered with, which the caller gets too.
    fn fall(&self, py: Python<'_>, shared: Arc<Shared>) -> Option<Py<PyAny>> {
        let object = caller::unshare(py, &shared).ok()?.unbind();
        *lock(&self.fallback) = Some(shared);
        Some(object)
    }
}

fn led(function: &Bound<'_, PyAny>, key: &Key, load: CoreLoad<Shared>) -> Load {
    Load {
        function: function.clone().unbind(),
        keep: key.keep.as_ref().map(|keep| keep.clone_ref(function.py())),
        flight: load.flight().clone(),
        limits_waits: load.function().policy().rules.limit_waits(),
        has_tags: load.function().policy().has_tags(),
        inner: Mutex::new(Inner { load: Some(load), ended: false }),
        kept: Mutex::default(),
        named: Mutex::default(),
        fallback: Mutex::default(),
        found: Found::default(),
    }
}

/// Starts a load of `key` or finds the one under way: a `Load` or a `Flight`. The call began at `entered` (see
/// `monotonic`), and takes what tiers have if it reads.
#[pyfunction]
pub fn begin<'py>(
    function: &Bound<'py, PyAny>,
    key: &Bound<'py, Key>,
    read: bool,
    entered: i64,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let engine = &function::of(function)?.cold()?.engine;
    let key = key.get();
    match CoreLoad::begin(&FLIGHTS, engine, key.call.clone(), !read) {
        Step::Wait(flight) => {
            let flight = Flight {
                function: function.clone().unbind(),
                engine: engine.clone(),
                flight,
                own: false,
                reads: read,
                entered,
                led: Found::default(),
                impatient: Mutex::default(),
                subscribed: Mutex::default(),
                holding: Mutex::default(),
            };
            Ok(Bound::new(py, flight)?.into_any())
        }
        Step::Load(load) => Ok(Bound::new(py, led(function, key, load))?.into_any()),
    }
}

/// Starts a load of `key` for the background, which reads the tiers from `first` on; `None` where there is a
/// reason not to.
///
/// # Errors
/// Out of memory.
pub fn begin_refresh<'py>(
    function: &Bound<'py, PyAny>,
    key: &Key,
    first: usize,
) -> PyResult<Option<Bound<'py, Load>>> {
    let engine = &function::of(function)?.cold()?.engine;
    let load = CoreLoad::begin_refresh(&FLIGHTS, engine, &key.call, first);
    load.map(|load| Bound::new(function.py(), led(function, key, load))).transpose()
}

/// As the engine's `begin_refresh`, for the driver.
#[pyfunction]
pub fn refresh_load<'py>(
    function: &Bound<'py, PyAny>,
    key: &Bound<'py, Key>,
    first: usize,
) -> PyResult<Option<Bound<'py, Load>>> {
    begin_refresh(function, key.get(), first)
}
