//! Calls that the fast path did not answer.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use retainit_core::abi::call::NEVER;
use retainit_core::freshness::State;
use retainit_core::key::{self, tag, KeyBuffer};
use retainit_core::pipeline::{self, Mode};
use retainit_core::tier::{CallKey, Found, Reading};

use crate::caller::{KeptError, Objects, PythonCall, FLIGHTS};
use crate::encode::Encoder;
use crate::function::{self, Cold, Function};
use crate::once::Once;
use crate::{awaitable, errors, handle, loads, outcall, signature, state};

/// A call's key.
#[pyclass(module = "retainit._native", frozen)]
pub struct Key {
    /// Both spellings.
    pub call: CallKey,
    /// Tokens of interned objects, which the entry keeps.
    pub keep: Option<Py<PyAny>>,
}

#[pymethods]
impl Key {
    /// The encoding of the arguments.
    #[getter]
    fn encoding(&self) -> &[u8] {
        self.call.encoding()
    }

    fn __eq__(&self, other: &Self) -> bool {
        self.call == other.call
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.call.hash(&mut hasher);
        hasher.finish()
    }
}

/// The vectorcall's slow way.
///
/// # Safety
/// As a vectorcall of a [`Function`].
#[cold]
pub unsafe fn call(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // Attached already; this tells PyO3 so, which would otherwise put off dropping references. While
    // the interpreter shuts down PyO3 is not to be told.
    let answered = Python::try_attach(|py| {
        let answer = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: borrowed from the caller for the call.
            let (function, positional, keywords) = unsafe {
                let function = Bound::from_borrowed_ptr(py, callable);
                let positional = (0..count).map(|index| Bound::from_borrowed_ptr(py, *arguments.add(index)));
                let positional: Vec<_> = positional.collect();
                (function, PyTuple::new(py, positional)?, signature::keywords(py, arguments, count, names)?)
            };
            answer(&function, positional, keywords)
        }));
        let fault = "retainit panicked; this is a fault in retainit";
        match answer.unwrap_or_else(|_| Err(PyRuntimeError::new_err(fault))) {
            Ok(value) => value.into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    });
    // SAFETY: as promised by the caller.
    answered.unwrap_or_else(|| unsafe { call_uncached(callable, arguments, count, names) })
}

/// Runs the function itself, without anything of PyO3's.
///
/// # Safety
/// As [`call`].
#[cold]
unsafe fn call_uncached(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached; what runs may take the function apart, so its wrapped one is kept.
    unsafe {
        let Some(cold) = (*callable.cast::<Function>()).cold.as_ref() else {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"the cached function is being collected".as_ptr());
            return std::ptr::null_mut();
        };
        let wrapped = ffi::Py_NewRef(cold.wrapped.as_ptr());
        let result = outcall::vectorcall(wrapped, arguments, count, names);
        outcall::release(wrapped);
        result
    }
}

fn answer<'py>(
    function: &Bound<'py, PyAny>,
    arguments: Bound<'py, PyTuple>,
    keywords: Option<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = function.py();
    let this = function::of(function)?;
    let cold = this.cold()?;
    if is_disabled(py)? {
        return outcall::call(cold.wrapped.bind(py), &arguments, keywords.as_ref());
    }
    resolve(function, this)?;
    let Some(key) = key_or_warn(this, cold, &arguments, keywords.as_ref())? else {
        return outcall::call(cold.wrapped.bind(py), &arguments, keywords.as_ref());
    };
    let objects = Objects::new(py, cold, key.keep.as_ref().map(|keep| keep.bind(py).clone()));
    let mut found = look(&objects, &key.call);
    if this.is_asynchronous() {
        // What is kept of an exception is raised by awaiting.
        found = found.filter(|found| !found.object.is_instance_of::<KeptError>());
    }
    let is_fresh = found.as_ref().is_some_and(|found| found.state == State::Fresh);
    let call = PythonCall { objects, function: function.clone(), arguments, keywords };
    let key = match if is_fresh { Ok(key) } else { tagged(this, &call, key)? } {
        Ok(key) => key,
        // Nobody could invalidate what is kept of it.
        Err(error) => {
            cold.engine.failed(error).map_err(|error| errors::from_core(&error))?;
            call.objects.interrupted()?;
            return outcall::call(cold.wrapped.bind(py), &call.arguments, call.keywords.as_ref());
        }
    };
    let Some(Found { object, state, .. }) = found else {
        let PythonCall { arguments, keywords, objects, .. } = call;
        if let Some(drive) = &cold.drive {
            return outcall::call(drive.bind(py), (function, key, arguments, keywords), None);
        }
        let call = PythonCall { arguments, keywords, objects, function: function.clone() };
        return run(cold, call, &key.call, Mode::Read);
    };
    this.count_hit();
    if state == State::Stale {
        cold.engine.counters.stale.fetch_add(1, Ordering::Relaxed);
    }
    if state != State::Fresh {
        refresh(&call, &key)?;
    }
    let value = copied(cold, object)?;
    if this.is_asynchronous() {
        // SAFETY: attached; the value's reference passes over.
        return unsafe {
            Bound::from_owned_ptr_or_err(py, awaitable::ready(value.into_ptr(), function.as_ptr()))
        };
    }
    Ok(value)
}

/// The key of a call with the tags that its arguments tell.
///
/// # Errors
/// The arguments do not fit, or, inside, the tags cannot be told.
pub fn tagged(
    this: &Function,
    call: &PythonCall<'_, '_>,
    key: Key,
) -> PyResult<Result<Key, retainit_core::Error>> {
    let Some(tags) = &call.objects.cold.tags else { return Ok(Ok(key)) };
    let Some((by_position, by_name)) =
        this.signature().normal_form(&call.arguments, call.keywords.as_ref())?
    else {
        return Ok(Ok(key));
    };
    let by_position = PyTuple::new(call.objects.py, by_position)?;
    let names = call.objects.tags_of(tags, by_position, &by_name);
    Ok(names.map(|names| Key { call: key.call.tagged(names), keep: key.keep }))
}

/// Starts a refresh of what was found in the first tier, unless there is a reason not to.
fn refresh(call: &PythonCall<'_, '_>, key: &Key) -> PyResult<()> {
    let engine = &call.objects.cold.engine;
    if call.objects.cold.drive.is_none() {
        pipeline::refresh(&FLIGHTS, engine, call, &key.call, 1);
        return Ok(());
    }
    static REFRESH: Once<Py<PyAny>> = Once::new();
    if let Some(load) = loads::begin_refresh(&call.function, key, 1)? {
        let start = REFRESH.import(call.function.py(), "retainit._drive", "refresh")?;
        outcall::call(start, (load, &call.function, &call.arguments, &call.keywords), None)?;
    }
    Ok(())
}

/// Answers a synchronous call through the engine.
///
/// # Errors
/// What the function raised.
pub fn run<'py>(
    cold: &Cold,
    call: PythonCall<'_, 'py>,
    key: &CallKey,
    mode: Mode,
) -> PyResult<Bound<'py, PyAny>> {
    let outcome = pipeline::call(&FLIGHTS, &cold.engine, &call, key, mode);
    // SAFETY: attached, no lock held.
    unsafe { handle::drain() };
    call.objects.interrupted()?;
    copied(cold, outcome.map_err(|raised| raised.0)?)
}

/// What a caller gets of a kept value.
///
/// # Errors
/// The exception that is kept in place of a value, and what copying raised.
pub fn copied<'py>(cold: &Cold, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if let Ok(kept) = value.cast_exact::<KeptError>() {
        static RAISED: Once<Py<PyAny>> = Once::new();
        // Everybody raises one of their own, which gets a traceback.
        let raised = RAISED.import(value.py(), "retainit._exceptions", "raised")?;
        return Err(PyErr::from_value(outcall::call(raised, (kept.get().error.bind(value.py()),), None)?));
    }
    match &cold.copy {
        None => Ok(value),
        Some(copy) => outcall::call(copy.bind(value.py()), (value,), None),
    }
}

/// Asks the first tier for an answer, where that is only a look.
fn look<'py>(objects: &Objects<'_, 'py>, key: &CallKey) -> Option<Found<Bound<'py, PyAny>>> {
    let engine = &objects.cold.engine;
    let tiers = engine.tiers();
    let first = tiers.first().filter(|tier| !tier.may_block())?;
    // The engine will meet the same failure, and count it.
    let reading = Reading { may_check: false, ..Reading::alone(&tiers, 0) };
    let found = first.read(engine, objects, key, &reading, |error| engine.note(&error)).ok()??;
    found.state.is_answer().then_some(found)
}

/// Whether caching is disabled here and now. Drains what was released on the way.
///
/// # Errors
/// What Python's side raised.
pub fn is_disabled(py: Python<'_>) -> PyResult<bool> {
    static ASK: Once<Py<PyAny>> = Once::new();
    let state = state::load();
    if state & state::RELEASES != 0 {
        // SAFETY: attached, no lock held.
        unsafe { handle::drain() };
    }
    Ok(state & state::DISABLED != 0
        && outcall::call(ASK.import(py, "retainit._registry", "is_disabled")?, (), None)?.is_truthy()?)
}

/// Makes the tiers those of the present configuration.
///
/// # Errors
/// A mistake in the configuration.
pub fn resolve(function: &Bound<'_, PyAny>, this: &Function) -> PyResult<()> {
    // At the end of the interpreter the tiers stay what they were: resolving takes a lock of Python's.
    if this.is_resolved() || handle::is_closed() {
        return Ok(());
    }
    let expected = state::calm();
    let cold = this.cold()?;
    outcall::call(cold.resolve.bind(function.py()), (function,), None)?;
    let tiers = cold.engine.tiers();
    cold.local.set(!tiers.iter().any(retainit_core::tier::Tier::is_outside));
    let first = tiers.first().filter(|tier| tier.keeps_objects() && !tier.may_block());
    // What comes from a farther tier brings its own expiry, and so may a result.
    let expires = tiers.len() > 1 || cold.life.is_some() || tiers.iter().any(|tier| tier.ttl() != NEVER);
    this.arm(first.map(|tier| (&**tier.instance(), expires)), expected);
    Ok(())
}

/// The key of a call; `None` if the call is to run uncached, after one warning for each function.
fn key_or_warn<'py>(
    this: &Function,
    cold: &Cold,
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Option<Key>> {
    let py = arguments.py();
    match key(this, cold, arguments, keywords) {
        Ok(key) => Ok(key),
        Err(error) if errors::UNKEYABLE.matches(py, &error) && !cold.engine.policy().strict => {
            cold.engine.counters.misses.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if !cold.warned.replace(true) {
                let text = format!("`{}` runs uncached: {}", cold.engine.name(), error.value(py));
                let category = outcall::import(py, "retainit.errors")?.getattr("UnkeyableWarning")?;
                outcall::call(&outcall::import(py, "warnings")?.getattr("warn")?, (text, category, 1), None)?;
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The key of a call; `None` if the arguments do not fit the signature.
///
/// # Errors
/// `UnkeyableError`, and what the key builder raised.
pub fn key<'py>(
    this: &Function,
    cold: &Cold,
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Option<Key>> {
    let py = arguments.py();
    let mut buffer = KeyBuffer::new();
    let interns = cold.local.get().then_some(&cold.interns);
    let mut encoder = Encoder { key: &mut buffer, interns, keep: Vec::new() };
    if let Some(typed) = cold.by_equality {
        let whole = equality_key(arguments, keywords, typed)?;
        let Some((number, token)) = cold.interns.number(&whole)? else {
            // functools' own error: hashing the arguments fails.
            outcall::hash(&whole)?;
            return Ok(None);
        };
        encoder.key.interned(number);
        encoder.keep.push(token);
    } else if let Some(builder) = &cold.key_builder {
        let Some((by_position, by_name)) = this.signature().normal_form(arguments, keywords)? else {
            return Ok(None);
        };
        let mut all = vec![cold.wrapped.bind(py).clone()];
        all.extend(by_position);
        let built = outcall::call(builder.bind(py), PyTuple::new(py, all)?, Some(&by_name))?;
        let text = built.cast::<PyString>().map_err(|_| signature::not_text(&built))?.to_str()?;
        key::check_built(text).map_err(|error| errors::from_core(&error))?;
        encoder.key.push(tag::BUILT);
        encoder.key.extend(text.as_bytes());
    } else if !this.signature().encode(&mut encoder, arguments, keywords)? {
        return Ok(None);
    }
    let keep = encoder.keep;
    let portable = keep.is_empty();
    let keep = if keep.is_empty() { None } else { Some(PyTuple::new(py, keep)?.into_any().unbind()) };
    Ok(Some(Key { call: CallKey::new(&cold.engine, buffer.as_slice(), portable), keep }))
}

/// What functools would look a call up by: equal for `1`, `1.0` and `True` unless `typed`. Calls
/// without keywords are looked up by the tuple of their arguments, as the fast path does; the others
/// by a list-like object, which no tuple equals.
fn equality_key<'py>(
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
    typed: bool,
) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: Once<Py<PyAny>> = Once::new();
    if keywords.is_none_or(|keywords| keywords.is_empty()) && !typed {
        let only = if arguments.len() == 1 { Some(arguments.get_item(0)?) } else { None };
        // SAFETY: attached and valid.
        let only = only.filter(|only| unsafe { stands_for_itself(only.as_ptr()) });
        return Ok(only.unwrap_or_else(|| arguments.clone().into_any()));
    }
    let py = arguments.py();
    let none = PyDict::new(py);
    let make = MAKE.import(py, "functools", "_make_key")?;
    outcall::call(make, (arguments, keywords.unwrap_or(&none), typed), None)
}

/// Whether functools looks a call up by its only argument itself.
///
/// # Safety
/// Attached; `object` is valid.
pub unsafe fn stands_for_itself(object: *mut ffi::PyObject) -> bool {
    // SAFETY: as promised.
    unsafe { ffi::PyLong_CheckExact(object) != 0 || ffi::PyUnicode_CheckExact(object) != 0 }
}
