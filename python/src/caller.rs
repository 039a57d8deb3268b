//! Python as the engine's language, and one synchronous call of a cached function.

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};
use retainit_core::abi::call::NEVER;
use retainit_core::flight::{Flight, Flights, Landing};
use retainit_core::format::Format;
use retainit_core::language::{Caller, Dumped, Language, Payload, Stamp};
use retainit_core::load::{Life, Load};
use retainit_core::{Error, ErrorKind};
use retainit_plugin_api::sdk::Value;

use crate::background;
use crate::data::{self, Bytes, Failure};
use crate::errors;
use crate::function::Cold;
use crate::handle;
use crate::invalidate::names;
use crate::once::Once;
use crate::outcall;

/// What a load hands to those who joined.
pub enum Shared {
    /// The function's result.
    Value(Py<PyAny>),
    /// What it raised.
    Raised(PyErr),
}

/// All loads under way in this process.
pub static FLIGHTS: LazyLock<Arc<Flights<Shared>>> = LazyLock::new(Default::default);

/// An error on its way through the engine.
pub struct Raised(pub PyErr);

impl From<Error> for Raised {
    fn from(error: Error) -> Self {
        Raised(errors::from_core(&error))
    }
}

/// Objects of one function, as the engine handles them.
pub struct Objects<'a, 'py> {
    /// The interpreter.
    pub py: Python<'py>,
    /// The function.
    pub cold: &'a Cold,
    /// What entries of this key have to keep alive.
    pub keep: Option<Bound<'py, PyAny>>,
    /// An exception that must not be taken for a failure of the cache, such as an interrupt.
    pub interrupt: RefCell<Option<PyErr>>,
    /// The load that they are read and stored for.
    pub flight: RefCell<Option<Arc<Flight<Shared>>>>,
    /// Tags of the result that `life` was last asked about.
    pub named: RefCell<Vec<Box<str>>>,
}

impl<'a, 'py> Objects<'a, 'py> {
    /// Of a function, for a key that keeps `keep` alive.
    pub fn new(py: Python<'py>, cold: &'a Cold, keep: Option<Bound<'py, PyAny>>) -> Self {
        Objects {
            py,
            cold,
            keep,
            interrupt: RefCell::new(None),
            flight: RefCell::new(None),
            named: RefCell::default(),
        }
    }

    /// Raises what was put aside.
    ///
    /// # Errors
    /// The interrupt.
    pub fn interrupted(&self) -> PyResult<()> {
        self.interrupt.borrow_mut().take().map_or(Ok(()), Err)
    }

    /// How long a result is kept, and with which tags: what the function's options say of it.
    ///
    /// # Errors
    /// They could not say.
    pub fn life(
        &self,
        result: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
        keywords: Option<&Bound<'py, PyDict>>,
    ) -> Result<Life, Error> {
        let Cold { life, result_tags, .. } = self.cold;
        if life.is_none() && result_tags.is_none() {
            return Ok(Life::Own);
        }
        let keywords = keywords.map_or_else(|| PyDict::new(self.py), Clone::clone);
        let ask = |what: &Py<PyAny>| outcall::call(what.bind(self.py), (result, arguments, &keywords), None);
        let life = match life {
            None => Life::Own,
            Some(life) => ask(life).and_then(|said| lifetime(&said)).map_err(|error| {
                self.failure("keep", "it cannot be said how long a result is kept", Failure::Raised(error))
            })?,
        };
        if let Some(tags) = result_tags.as_ref().filter(|_| life != Life::Unkept) {
            *self.named.borrow_mut() =
                ask(tags).and_then(|said| said.extract()).map(names).map_err(|error| {
                    self.failure("tag", "it cannot be said which tags a result has", Failure::Raised(error))
                })?;
        }
        Ok(life)
    }

    /// What is kept of an exception, and for how long.
    pub fn kept_error(&self, error: &PyErr) -> Option<(Bound<'py, PyAny>, Life)> {
        let errors = self.cold.errors.as_ref()?;
        if !error.is_instance_of::<PyException>(self.py) {
            return None;
        }
        let said = outcall::call(errors.bind(self.py), (error.value(self.py),), None);
        let kept = said.and_then(|said| {
            if said.is_none() {
                return Ok(None);
            }
            let (stripped, life): (Bound<'py, PyAny>, Bound<'py, PyAny>) = said.extract()?;
            let kept = Bound::new(self.py, KeptError { error: stripped.unbind() })?;
            Ok(Some((kept.into_any(), lifetime(&life)?)))
        });
        kept.unwrap_or_else(|error| {
            let what = "it cannot be said whether an exception is kept";
            self.cold.engine.note(&self.failure("keep", what, Failure::Raised(error)));
            None
        })
    }

    pub(crate) fn failure(&self, operation: &'static str, what: &str, failure: Failure) -> Error {
        let error = match failure {
            Failure::Refused(error) => return error.with("function", self.cold.engine.name()),
            Failure::Raised(error) => error,
        };
        let text = error.to_string();
        if !error.is_instance_of::<PyException>(self.py) {
            *self.interrupt.borrow_mut() = Some(error);
        }
        Error::new(ErrorKind::Invalid, operation, format!("{what}: {text}"))
            .with("function", self.cold.engine.name())
    }
}

/// What `retainit._life` says: `False` for a result that is not kept, `True` for one that is kept as long
/// as tiers say, else seconds, or `None` for ever.
///
/// # Errors
/// It is none of these.
pub fn lifetime(said: &Bound<'_, PyAny>) -> PyResult<Life> {
    if let Ok(kept) = said.cast_exact::<PyBool>() {
        return Ok(if kept.is_true() { Life::Own } else { Life::Unkept });
    }
    let seconds: Option<f64> = said.extract()?;
    Ok(Life::For(seconds.map_or(NEVER, nanoseconds)))
}

/// Seconds as the engine has them, at least one nanosecond.
pub fn nanoseconds(seconds: f64) -> i64 {
    (seconds * 1e9).clamp(1.0, 9.2e18) as i64
}

impl<'py> Language for Objects<'_, 'py> {
    type Object = Bound<'py, PyAny>;
    type Bytes = Bytes;

    fn hold(&self, object: &Self::Object, stamp: &Stamp) -> Value {
        let keep = self.keep.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr);
        let stamp = self.cold.stamped.then(|| {
            // An exception is not returned but raised, which the fast path does not.
            let plain = !object.is_instance_of::<KeptError>();
            (stamp.clone(), if plain { stamp.moments.plain_until() } else { i64::MIN })
        });
        // SAFETY: attached; the result owns its one reference.
        unsafe { Value::from_raw(handle::hold(&self.cold.cells, object.as_ptr(), keep, stamp)) }
    }

    fn take(&self, value: Value) -> Option<(Self::Object, Option<Stamp>)> {
        // SAFETY: attached; `into_raw` gives up the reference that `take_whole` consumes.
        unsafe {
            let (object, stamp) = handle::take_whole(&value.into_raw());
            Some((Bound::from_owned_ptr_or_opt(self.py, object)?, stamp))
        }
    }

    fn dump(&self, object: &Self::Object, format: &Format) -> Result<Dumped<Bytes>, Error> {
        let flight = self.flight.borrow().clone();
        data::dump(object, format, Within(flight.as_ref())).map_err(|failure| {
            self.failure("serialize", "the result cannot be stored outside the process", failure)
        })
    }

    fn load(
        &self,
        codec: &str,
        version: u16,
        payload: Payload,
        format: &Format,
    ) -> Result<Self::Object, Error> {
        let flight = self.flight.borrow().clone();
        data::load(self.py, (codec, version), payload, format, Within(flight.as_ref()))
            .map_err(|failure| self.failure("deserialize", "a stored result cannot be read", failure))
    }

    fn tags(&self) -> Vec<Box<str>> {
        self.named.borrow().clone()
    }

    fn detached<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.py.detach(work)
    }
}

/// An exception that is kept in place of a result.
#[pyclass(module = "retainit._native", frozen)]
pub struct KeptError {
    /// It, without its traceback.
    #[pyo3(get)]
    pub error: Py<PyAny>,
}

#[pymethods]
impl KeptError {
    #[new]
    fn new(error: Py<PyAny>) -> Self {
        KeptError { error }
    }
}

/// Flights that the running code is part of: a linked list in a context variable.
#[pyclass(module = "retainit._native", frozen)]
pub struct Holding {
    flight: Arc<Flight<Shared>>,
    outer: Option<Py<PyAny>>,
}

fn variable(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static VARIABLE: Once<Py<PyAny>> = Once::new();
    VARIABLE
        .get_or_make(py, || {
            Ok(outcall::import(py, "contextvars")?
                .getattr("ContextVar")?
                .call1(("retainit_loads",))?
                .unbind())
        })
        .map(|variable| variable.bind(py))
}

fn current(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let mut value = std::ptr::null_mut();
    // SAFETY: attached; the result is a new reference or null.
    unsafe {
        if ffi::PyContextVar_Get(variable(py)?.as_ptr(), std::ptr::null_mut(), &mut value) < 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(Bound::from_owned_ptr_or_opt(py, value))
    }
}

/// Makes `flight` part of what the running context holds; the token undoes it.
///
/// # Errors
/// Out of memory.
pub fn enter<'py>(py: Python<'py>, flight: &Arc<Flight<Shared>>) -> PyResult<Bound<'py, PyAny>> {
    let outer = current(py)?.map(Bound::unbind);
    let holding = Bound::new(py, Holding { flight: flight.clone(), outer })?;
    // SAFETY: attached; the result is a new reference or null.
    unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyContextVar_Set(variable(py)?.as_ptr(), holding.as_ptr()))
    }
}

/// Undoes [`enter`].
///
/// # Errors
/// The token is of another context.
pub fn leave(py: Python<'_>, token: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: attached.
    if unsafe { ffi::PyContextVar_Reset(variable(py)?.as_ptr(), token.as_ptr()) } < 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(())
}

/// The load that code runs for which turns objects into bytes and back: it may call the cached function,
/// and must not wait for itself then.
#[derive(Clone, Copy)]
pub struct Within<'a>(pub Option<&'a Arc<Flight<Shared>>>);

impl Within<'_> {
    /// Calls an object as part of the load.
    ///
    /// # Errors
    /// What it raised.
    pub fn call<'py, A>(self, callable: &Bound<'py, PyAny>, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple>,
        A::Error: Into<PyErr>,
    {
        let py = callable.py();
        let token = self.0.map(|flight| enter(py, flight)).transpose()?;
        let outcome = outcall::call(callable, arguments, None);
        if let Some(token) = token {
            leave(py, &token)?;
        }
        outcome
    }
}

/// Flights that the running context holds.
pub fn holding(py: Python<'_>) -> Vec<Arc<Flight<Shared>>> {
    let mut flights = Vec::new();
    let mut next = current(py).ok().flatten();
    while let Some(holding) = next.as_ref().and_then(|next| next.cast::<Holding>().ok()) {
        let holding = holding.get();
        flights.push(holding.flight.clone());
        next = holding.outer.as_ref().map(|outer| outer.bind(py).clone());
    }
    flights.reverse();
    flights
}

/// Whether this thread drives an event loop of asyncio.
pub fn drives_a_loop(py: Python<'_>) -> bool {
    static RUNNING: Once<Py<PyAny>> = Once::new();
    let Ok(modules) = outcall::import(py, "sys").and_then(|sys| sys.getattr("modules")) else { return false };
    // Nobody has a loop who has not imported asyncio, and importing it is not for us to do.
    if !modules.contains("asyncio.events").unwrap_or(false) {
        return false;
    }
    RUNNING
        .import(py, "asyncio.events", "_get_running_loop")
        .and_then(|running| running.call0())
        .is_ok_and(|running| !running.is_none())
}

/// One synchronous call.
pub struct PythonCall<'a, 'py> {
    /// The cached function.
    pub function: Bound<'py, PyAny>,
    /// The function's objects.
    pub objects: Objects<'a, 'py>,
    /// Positional arguments.
    pub arguments: Bound<'py, PyTuple>,
    /// Keyword arguments.
    pub keywords: Option<Bound<'py, PyDict>>,
}

impl<'py> Language for PythonCall<'_, 'py> {
    type Object = Bound<'py, PyAny>;
    type Bytes = Bytes;

    fn hold(&self, object: &Self::Object, stamp: &Stamp) -> Value {
        self.objects.hold(object, stamp)
    }
    fn take(&self, value: Value) -> Option<(Self::Object, Option<Stamp>)> {
        self.objects.take(value)
    }
    fn tags(&self) -> Vec<Box<str>> {
        self.objects.tags()
    }
    fn dump(&self, object: &Self::Object, format: &Format) -> Result<Dumped<Bytes>, Error> {
        self.objects.dump(object, format)
    }
    fn load(
        &self,
        codec: &str,
        version: u16,
        payload: Payload,
        format: &Format,
    ) -> Result<Self::Object, Error> {
        self.objects.load(codec, version, payload, format)
    }
    fn detached<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.objects.detached(work)
    }
}

impl<'py> Caller for PythonCall<'_, 'py> {
    type Error = Raised;
    type Shared = Shared;

    fn lead(&self, flight: &Arc<Flight<Shared>>) {
        *self.objects.flight.borrow_mut() = Some(flight.clone());
    }

    fn run(&self, flight: &Arc<Flight<Shared>>) -> Result<Self::Object, Raised> {
        let py = self.objects.py;
        let token = enter(py, flight).map_err(Raised)?;
        let outcome = self.run_alone();
        leave(py, &token).map_err(Raised)?;
        outcome
    }

    fn run_alone(&self) -> Result<Self::Object, Raised> {
        // Reading may have been interrupted: then nothing is to run any more.
        self.objects.interrupted().map_err(Raised)?;
        let wrapped = self.objects.cold.wrapped.bind(self.objects.py);
        outcall::call(wrapped, &self.arguments, self.keywords.as_ref()).map_err(Raised)
    }

    fn life(&self, object: &Self::Object) -> Result<Life, Error> {
        self.objects.life(object, &self.arguments, self.keywords.as_ref())
    }

    /// An interrupt, an exit or a cancellation concerns only the one it hit.
    fn is_failure(&self, error: &Raised) -> bool {
        error.0.is_instance_of::<PyException>(self.objects.py)
    }

    fn kept_error(&self, error: &Raised) -> Option<(Self::Object, Life)> {
        self.objects.kept_error(&error.0)
    }

    fn timed_out(&self, refused: bool) -> Raised {
        Raised(timed_out(self.objects.cold, refused))
    }

    fn background(&self, load: Load<Shared>) -> Option<Load<Shared>> {
        background::start(self, load)
    }

    fn share(&self, outcome: &Result<Self::Object, Raised>) -> Arc<Shared> {
        share(self.objects.py, outcome.as_ref().map_err(|raised| &raised.0))
    }

    fn unshare(&self, shared: &Shared) -> Result<Self::Object, Raised> {
        unshare(self.objects.py, shared).map_err(Raised)
    }

    fn holding(&self) -> Vec<Arc<Flight<Shared>>> {
        holding(self.objects.py)
    }

    fn may_block(&self) -> bool {
        // At the end of the interpreter the one to wait for may never come back.
        !drives_a_loop(self.objects.py) && !handle::is_closed()
    }

    fn pause(&self, pause: Duration) -> Result<(), Raised> {
        self.objects.py.detach(|| std::thread::park_timeout(pause));
        self.objects.py.check_signals().map_err(Raised)
    }

    fn wait(&self, flight: &Flight<Shared>, limit: Duration) -> Result<Option<Landing<Shared>>, Raised> {
        let landing = self.objects.py.detach(|| flight.wait(limit));
        if landing.is_none() {
            self.objects.py.check_signals().map_err(Raised)?;
        }
        Ok(landing)
    }
}

/// The error of a load that took too long, or of one that was `refused` because too many which did go on.
pub fn timed_out(cold: &Cold, refused: bool) -> PyErr {
    let limit = cold.engine.policy().rules.hard_timeout as f64 / 1e9;
    let (name, strays) = (cold.engine.name(), cold.engine.strays());
    errors::TIMEOUT.error(if refused {
        format!("`{name}` was not run: {strays} runs of it that took longer than its `hard_timeout` of {limit} s go on")
    } else {
        format!("`{name}` took longer than its `hard_timeout` of {limit} s")
    })
}

/// What those who joined get.
pub fn share(py: Python<'_>, outcome: Result<&Bound<'_, PyAny>, &PyErr>) -> Arc<Shared> {
    Arc::new(match outcome {
        Ok(value) => Shared::Value(value.clone().unbind()),
        Err(error) => Shared::Raised(error.clone_ref(py)),
    })
}

/// What a leader shared.
///
/// # Errors
/// What the function raised.
pub fn unshare<'py>(py: Python<'py>, shared: &Shared) -> PyResult<Bound<'py, PyAny>> {
    match shared {
        Shared::Value(value) => Ok(value.bind(py).clone()),
        Shared::Raised(error) => Err(error.clone_ref(py)),
    }
}
