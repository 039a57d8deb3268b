//! What `retainit._function` is built on: making functions, and operations on their entries.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use retainit_core::abi::call::NEVER;
use retainit_core::freshness::{RefreshAhead, Rules};
use retainit_core::function::{Function as Engine, Identity, Policy};
use retainit_core::key::{storage_key, tag, KeyBuffer};
use retainit_core::pipeline::Mode;
use retainit_core::tier::Tier;
use retainit_core::{change, load};

use crate::backend::Backend;
use crate::caller::{self, Objects, PythonCall, FLIGHTS};
use crate::encode::Encoder;
use crate::errors;
use crate::function::{self, Cold, Function, Parts};
use crate::handle::{self, CellList};
use crate::intern::Interns;
use crate::invalidate;
use crate::miss::{self, Key};
use crate::signature::Signature;
use crate::storage::Format;

/// Makes a cached function. `options` is what `retainit._function` has checked.
#[pyfunction]
pub fn make<'py>(
    py: Python<'py>,
    wrapped: Py<PyAny>,
    options: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let option = |name: &str| -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(options.get_item(name)?.filter(|value| !value.is_none()))
    };
    let text =
        |name: &str| -> PyResult<String> { option(name)?.map_or(Ok(String::new()), |value| value.extract()) };
    let object = |name: &str| -> PyResult<Option<Py<PyAny>>> { Ok(option(name)?.map(Bound::unbind)) };
    let required =
        |name: &str| option(name)?.ok_or_else(|| pyo3::exceptions::PyKeyError::new_err(name.to_owned()));
    let parameters = required("parameters")?;
    let names: Vec<String> =
        parameters.try_iter()?.map(|parameter| parameter?.get_item(0)?.extract()).collect::<PyResult<_>>()?;
    let identity = Identity { name: text("name")?, parameters: names };
    let policy = Policy {
        jitter: option("jitter")?.map_or(Ok(0.0), |value| value.extract())?,
        strict: option("strict")?.map_or(Ok(false), |value| value.extract())?,
        rules: rules(&option)?,
        in_thread: option("run_in_thread")?.map_or(Ok(false), |value| value.extract())?,
        built: option("key_builder")?.is_some(),
        tagged: option("tags")?.is_some(),
        tagged_by_result: option("result_tags")?.is_some(),
        lease: option("lease")?.map(|value| value.extract()).transpose()?,
    };
    let errors = object("errors")?;
    let stamped = policy.rules.need_moments() || errors.is_some() || policy.has_tags();
    let drive = object("drive")?;
    function::new(
        py,
        Parts {
            signature: Signature::new(py, &parameters)?,
            asynchronous: drive.is_some(),
            cold: Cold {
                wrapped,
                engine: Engine::new(identity, policy),
                resolve: required("resolve")?.unbind(),
                drive,
                key_builder: object("key_builder")?,
                copy: object("copy")?,
                life: object("life")?,
                errors,
                tags: object("tags")?,
                result_tags: object("result_tags")?,
                stamped,
                by_equality: option("typed")?.map(|value| value.extract()).transpose()?,
                interns: Interns::new(py),
                local: true.into(),
                warned: false.into(),
                cells: CellList::new(),
            },
        },
    )
}

/// What the options say of time, in seconds.
fn rules<'py>(option: &dyn Fn(&str) -> PyResult<Option<Bound<'py, PyAny>>>) -> PyResult<Rules> {
    let duration = |name: &str, unset: i64| -> PyResult<i64> {
        option(name)?.map_or(Ok(unset), |value| Ok(caller::nanoseconds(value.extract()?)))
    };
    let refresh_ahead = match option("refresh_ahead")? {
        None => RefreshAhead::Off,
        Some(value) if value.is_instance_of::<PyString>() => RefreshAhead::Early,
        Some(value) => RefreshAhead::Share(value.extract()?),
    };
    Ok(Rules {
        refresh_ahead,
        stale_ttl: duration("stale_ttl", 0)?,
        stale_if_error: duration("stale_if_error", 0)?,
        soft_timeout: duration("soft_timeout", NEVER)?,
        hard_timeout: duration("hard_timeout", NEVER)?,
    })
}

/// Backend, format, seconds to live or `None`, namespace.
type TierOptions<'py> = (PyRef<'py, Backend>, PyRef<'py, Format>, Option<f64>, String);

/// Gives a function its tiers, `(backend, format, ttl in seconds or None, namespace)` each, nearest
/// first, and the version of what it stores there.
#[pyfunction]
pub fn set_tiers(function: &Bound<'_, PyAny>, tiers: Vec<TierOptions<'_>>, version: &str) -> PyResult<()> {
    let engine = &function::of(function)?.cold()?.engine;
    let tiers = tiers
        .into_iter()
        .map(|(backend, format, ttl, namespace)| {
            let ttl = ttl.map_or(NEVER, caller::nanoseconds);
            Tier::new(backend.instance().clone(), format.core().clone(), ttl, engine, &namespace, version)
        })
        .collect();
    engine.set_tiers(tiers);
    Ok(())
}

/// A function's tiers: `(backend name, type, plugin path)` each, nearest first.
#[pyfunction]
pub fn tiers(function: &Bound<'_, PyAny>) -> PyResult<Vec<(String, String, String)>> {
    let this = function::of(function)?;
    miss::resolve(function, this)?;
    let tiers = this.cold()?.engine.tiers();
    Ok(tiers
        .iter()
        .map(|tier| {
            let instance = tier.instance();
            (
                instance.name().to_owned(),
                instance.component().name().to_owned(),
                instance.path().display().to_string(),
            )
        })
        .collect())
}

/// A key as people read it: the function's name, and the encoding in hexadecimal digits or, where a
/// key builder made it, as it is.
#[pyfunction]
pub fn printable_key(
    function: &Bound<'_, PyAny>,
    key: &Bound<'_, Key>,
    namespace: &str,
    version: &str,
) -> PyResult<String> {
    let engine = &function::of(function)?.cold()?.engine;
    let prefix = engine.storage_prefix(namespace, version);
    let call = &key.get().call;
    let storage = storage_key(&prefix, call.encoding());
    let rest = &storage[prefix.len()..];
    let mut text = String::from_utf8_lossy(&prefix).into_owned();
    match rest.split_first() {
        Some((&tag::BUILT, built)) => text.push_str(&String::from_utf8_lossy(built)),
        _ => text.extend(rest.iter().map(|byte| format!("{byte:02x}"))),
    }
    Ok(text)
}

/// The key of a call, or `None` if the arguments do not fit the signature.
#[pyfunction]
#[pyo3(signature = (function, arguments, keywords=None))]
pub fn key<'py>(
    function: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Option<Key>> {
    let this = function::of(function)?;
    miss::resolve(function, this)?;
    let cold = this.cold()?;
    let Some(key) = miss::key(this, cold, arguments, keywords)? else { return Ok(None) };
    let call = PythonCall {
        objects: Objects::new(function.py(), cold, None),
        function: function.clone(),
        arguments: arguments.clone(),
        keywords: keywords.cloned(),
    };
    let key = miss::tagged(this, &call, key)?;
    call.objects.interrupted()?;
    key.map(Some).map_err(|error| errors::from_core(&error))
}

/// The canonical encoding of a value that has a meaning outside the process.
#[pyfunction]
pub fn encode<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut key = KeyBuffer::new();
    Encoder { key: &mut key, interns: None, keep: Vec::new() }.value(value)?;
    Ok(PyBytes::new(value.py(), key.as_slice()))
}

/// Whether caching is disabled here and now.
#[pyfunction]
pub fn is_disabled(py: Python<'_>) -> PyResult<bool> {
    miss::is_disabled(py)
}

/// Whether calls of the function are awaited.
#[pyfunction]
pub fn is_asynchronous(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(function::of(function)?.is_asynchronous())
}

/// Whether operations on the function's entries may block.
#[pyfunction]
pub fn may_block(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    let this = function::of(function)?;
    miss::resolve(function, this)?;
    Ok(this.cold()?.engine.tiers().iter().any(Tier::may_block))
}

fn objects<'a, 'py>(this: &'a Function, py: Python<'py>, key: Option<&Key>) -> PyResult<Objects<'a, 'py>> {
    let keep = key.and_then(|key| key.keep.as_ref()).map(|keep| keep.bind(py).clone());
    Ok(Objects::new(py, this.cold()?, keep))
}

fn finish<R>(objects: &Objects<'_, '_>, result: retainit_core::Result<R>) -> PyResult<R> {
    // SAFETY: attached, no lock held.
    unsafe { handle::drain() };
    objects.interrupted()?;
    result.map_err(|error| errors::from_core(&error))
}

/// The kept value as `(value,)`, or `None`. Fills no tier and runs no function.
#[pyfunction]
pub fn peek<'py>(
    function: &Bound<'py, PyAny>,
    key: &Bound<'py, Key>,
) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
    let this = function::of(function)?;
    let key = key.get();
    let objects = objects(this, function.py(), Some(key))?;
    let engine = &this.cold()?.engine;
    let found = load::peek(engine, &objects, &key.call);
    finish(&objects, found)?.map(|found| Ok((miss::copied(this.cold()?, found)?,))).transpose()
}

/// What a caller gets of a kept value.
#[pyfunction]
pub fn copied<'py>(function: &Bound<'py, PyAny>, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    miss::copied(function::of(function)?.cold()?, value)
}

/// Keeps a value, as long as `life` says (see [`caller::lifetime`]), with the tags that its arguments tell and `tags`.
#[pyfunction]
pub fn put<'py>(
    function: &Bound<'py, PyAny>,
    key: &Bound<'py, Key>,
    value: &Bound<'py, PyAny>,
    life: &Bound<'py, PyAny>,
    tags: Vec<String>,
) -> PyResult<()> {
    let this = function::of(function)?;
    let key = key.get();
    let objects = objects(this, function.py(), Some(key))?;
    let life = caller::lifetime(life)?;
    let result = change::put(
        &FLIGHTS,
        &this.cold()?.engine,
        &objects,
        &key.call,
        value,
        life,
        &invalidate::names(tags),
    );
    finish(&objects, result)
}

/// Removes a value; whether there was one.
#[pyfunction]
pub fn delete<'py>(function: &Bound<'py, PyAny>, key: &Bound<'py, Key>) -> PyResult<bool> {
    let this = function::of(function)?;
    let objects = objects(this, function.py(), None)?;
    let result = change::delete(&FLIGHTS, &this.cold()?.engine, &objects, &key.get().call);
    finish(&objects, result)
}

/// Removes all values of a function; the counters start anew.
#[pyfunction]
pub fn clear(function: &Bound<'_, PyAny>) -> PyResult<()> {
    let this = function::of(function)?;
    miss::resolve(function, this)?;
    let objects = objects(this, function.py(), None)?;
    let cold = this.cold()?;
    let result = change::clear(&FLIGHTS, &cold.engine, &objects);
    this.reset_hits();
    let counters = &cold.engine.counters;
    let all = [&counters.hits, &counters.misses, &counters.stale, &counters.errors, &counters.evictions];
    for counter in all {
        counter.store(0, Ordering::Relaxed);
    }
    finish(&objects, result)
}

/// Runs the function of a synchronous call and keeps what it returns.
#[pyfunction]
#[pyo3(signature = (function, key, arguments, keywords=None))]
pub fn refresh<'py>(
    function: &Bound<'py, PyAny>,
    key: &Bound<'py, Key>,
    arguments: Bound<'py, PyTuple>,
    keywords: Option<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let this = function::of(function)?;
    let key = key.get();
    let objects = objects(this, function.py(), Some(key))?;
    let call = PythonCall { objects, function: function.clone(), arguments, keywords };
    miss::run(this.cold()?, call, &key.call, Mode::Refresh)
}

/// `(hits, misses, errors, evictions, entries, stale)`.
#[pyfunction]
pub fn info(function: &Bound<'_, PyAny>) -> PyResult<(u64, u64, u64, u64, u64, u64)> {
    let this = function::of(function)?;
    miss::resolve(function, this)?;
    let engine = &this.cold()?.engine;
    let counters = &engine.counters;
    let entries = match engine.tiers().first() {
        Some(first) => {
            let (instance, prefix) = (first.instance().clone(), first.prefix().to_vec());
            function.py().detach(move || instance.count(&prefix)).unwrap_or(0)
        }
        None => 0,
    };
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Ok((
        this.hits() + count(&counters.hits),
        count(&counters.misses),
        count(&counters.errors),
        count(&counters.evictions),
        entries,
        count(&counters.stale),
    ))
}

/// How many threads and tasks wait for the load of `key` that is under way.
#[pyfunction]
pub fn waiting(key: &Bound<'_, Key>) -> usize {
    FLIGHTS.waiting(key.get().call.local())
}
