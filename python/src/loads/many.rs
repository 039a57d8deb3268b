//! Many calls at once, for `retainit._many`.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use retainit_core::load::many::{self, Read};
use retainit_core::load::{Answer, Load as CoreLoad, Step};
use retainit_core::tier::CallKey;

use super::{led, lock, value, Load};
use crate::caller::{self, KeptError, Objects, PythonCall, Shared, FLIGHTS};
use crate::function;
use crate::miss::{self, Key};
use crate::once::Once;
use crate::{errors, handle};

/// Positional and keyword arguments of a call.
type Spelled<'py> = (Bound<'py, PyTuple>, Option<Bound<'py, PyDict>>);

/// The arguments of each call: a tuple has the positional ones, a dict the keyword ones, an
/// `inspect.BoundArguments` both; anything else is the only argument.
#[pyfunction]
pub fn spell_calls<'py>(calls: &Bound<'py, PyList>) -> PyResult<Vec<Spelled<'py>>> {
    calls.iter().map(spelled).collect()
}

fn spelled(call: Bound<'_, PyAny>) -> PyResult<Spelled<'_>> {
    static BOUND: Once<Py<PyAny>> = Once::new();
    let py = call.py();
    // Of these types exactly: named tuples and the like are values.
    if let Ok(positional) = call.cast_exact::<PyTuple>() {
        return Ok((positional.clone(), None));
    }
    if let Ok(keywords) = call.cast_exact::<PyDict>() {
        for name in keywords.keys() {
            if name.cast::<PyString>().is_err() {
                let found = name.repr()?;
                return Err(PyTypeError::new_err(format!(
                    "the names of a call's keywords: expected text, found `{found}`"
                )));
            }
        }
        return Ok((PyTuple::empty(py), Some(keywords.clone())));
    }
    // Nobody has one who has not imported what makes them, which is not for every call to do.
    if call.get_type().name()? == "BoundArguments"
        && call.get_type().is(BOUND.import(py, "inspect", "BoundArguments")?)
    {
        return Ok((
            call.getattr("args")?.cast_into::<PyTuple>()?,
            Some(call.getattr("kwargs")?.cast_into::<PyDict>()?),
        ));
    }
    Ok((PyTuple::new(py, [call])?, None))
}

/// A call that is to be answered otherwise: its index, its arguments, its key if it has one.
type Missing<'py> = (usize, Spelled<'py>, Option<Key>);

/// The answer of each call, where there is one.
type Answers<'py> = Vec<Option<Bound<'py, PyAny>>>;

/// What the nearest tier has for each call, where that is only a look; and what it has not, where the
/// results have `None`.
#[pyfunction]
pub fn look_many<'py>(
    function: &Bound<'py, PyAny>,
    calls: &Bound<'py, PyList>,
) -> PyResult<(Answers<'py>, Vec<Missing<'py>>)> {
    let py = function.py();
    let this = function::of(function)?;
    miss::resolve(function, this)?;
    let cold = this.cold()?;
    let strict = cold.engine.policy().strict;
    let mut asked = Vec::with_capacity(calls.len());
    for call in calls {
        let (arguments, keywords) = spelled(call)?;
        let key = match miss::key(this, cold, &arguments, keywords.as_ref()) {
            // Whoever makes the call says why.
            Err(error) if errors::UNKEYABLE.matches(py, &error) && !strict => None,
            key => key?,
        };
        asked.push(((arguments, keywords), key));
    }
    let objects = Objects::new(py, cold, None);
    let keys: Vec<&CallKey> = asked.iter().filter_map(|(_, key)| Some(&key.as_ref()?.call)).collect();
    let found = many::look(&cold.engine, &objects, &keys, is_plain);
    // SAFETY: attached, no lock held.
    unsafe { handle::drain() };
    objects.interrupted()?;
    let mut found = found.into_iter();
    let mut values = Vec::with_capacity(asked.len());
    let mut missing = Vec::new();
    for (index, (spelled, key)) in asked.into_iter().enumerate() {
        let value = key.as_ref().and_then(|_| found.next().flatten());
        if value.is_none() {
            let key = key.map(|key| tagged(function, &spelled, key)).transpose()?.flatten();
            missing.push((index, spelled, key));
        }
        values.push(value);
    }
    Ok((values, missing))
}

/// The key with the tags that the arguments tell; `None` where they cannot be told: whoever makes the call says why.
fn tagged<'py>(
    function: &Bound<'py, PyAny>,
    (arguments, keywords): &Spelled<'py>,
    key: Key,
) -> PyResult<Option<Key>> {
    let this = function::of(function)?;
    let call = PythonCall {
        objects: Objects::new(function.py(), this.cold()?, None),
        function: function.clone(),
        arguments: arguments.clone(),
        keywords: keywords.clone(),
    };
    let key = miss::tagged(this, &call, key)?;
    call.objects.interrupted()?;
    Ok(key.ok())
}

/// Counts calls that were answered without running the function.
#[pyfunction]
pub fn count_hits(function: &Bound<'_, PyAny>, hits: u64) -> PyResult<()> {
    let counters = &function::of(function)?.cold()?.engine.counters;
    counters.hits.fetch_add(hits, Ordering::Relaxed);
    Ok(())
}

/// An exception that is kept is not returned but raised: that is for a call of its own.
fn is_plain(object: &Bound<'_, PyAny>) -> bool {
    !object.is_instance_of::<KeptError>()
}

/// Reads the tiers for all keys together, but for those that somebody loads already. Gives for each key
/// `(value,)`; or, where `lead` is said, the `Load` of one that no tier has an answer for; or `None`.
#[pyfunction]
pub fn read_many<'py>(
    function: &Bound<'py, PyAny>,
    keys: Vec<Bound<'py, Key>>,
    lead: bool,
) -> PyResult<Vec<Option<Bound<'py, PyAny>>>> {
    let py = function.py();
    let engine = &function::of(function)?.cold()?.engine;
    let mut begun = Vec::with_capacity(keys.len());
    let mut loads = Vec::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let key = key.get();
        if let Step::Load(load) = CoreLoad::begin(&FLIGHTS, engine, key.call.clone(), false) {
            begun.push(index);
            loads.push((load, key.keep.as_ref().map(|keep| keep.bind(py).clone()), Vec::new()));
        }
    }
    let (loads, read) = together(function, loads, |each| many::read(each, is_plain))?;
    let mut answers: Vec<_> = keys.iter().map(|_| None).collect();
    for ((index, load), read) in begun.into_iter().zip(loads).zip(read) {
        let object = match read {
            Read::Fresh(object) => {
                load.land_found(|| value(object.clone()));
                object
            }
            Read::Nothing(hit) if lead => match load.answer_many(hit, value) {
                Answer::Fallback(shared) => {
                    load.land_fallback(shared.clone(), None);
                    caller::unshare(py, &shared)?
                }
                _ => {
                    answers[index] = Some(Bound::new(py, led(function, keys[index].get(), load))?.into_any());
                    continue;
                }
            },
            // A call of its own does what there is to do.
            Read::Nothing(_) | Read::Other => continue,
        };
        answers[index] = Some(PyTuple::new(py, [object])?.into_any());
    }
    Ok(answers)
}

/// Stores a result of each load, as its `keeps` said, and ends the loads with them.
#[pyfunction]
pub fn store_many<'py>(function: &Bound<'py, PyAny>, loads: Vec<Bound<'py, Load>>) -> PyResult<()> {
    let py = function.py();
    let ended = || PyRuntimeError::new_err("the load has ended");
    let mut results = Vec::with_capacity(loads.len());
    let mut taken = Vec::with_capacity(loads.len());
    for load in &loads {
        let load = load.get();
        let (object, life) = lock(&load.kept).take().ok_or_else(ended)?;
        results.push((object.into_bound(py), life));
        let (keep, named) = (load.keep.as_ref(), std::mem::take(&mut *lock(&load.named)));
        taken.push((load.take().ok_or_else(ended)?, keep.map(|keep| keep.bind(py).clone()), named));
    }
    let (loads, stored) = together(function, taken, |each| Ok(many::store(&FLIGHTS, each, &results)))?;
    for (load, (object, _)) in loads.into_iter().zip(results) {
        load.land(value(object));
    }
    stored.map_err(|error| errors::from_core(&error))
}

/// Lets those start again who wait for these loads, as far as they have not ended.
#[pyfunction]
pub fn abandon_many(loads: Vec<Bound<'_, Load>>) {
    loads.iter().for_each(|load| drop(load.get().take()));
}

/// A load, what its key keeps alive, the tags that its result tells.
type Taken<'py> = (CoreLoad<Shared>, Option<Bound<'py, PyAny>>, Vec<Box<str>>);

/// Takes a step with loads, as part of all of them.
fn together<'py, R>(
    function: &Bound<'py, PyAny>,
    loads: Vec<Taken<'py>>,
    step: impl FnOnce(&[(&CoreLoad<Shared>, &Objects<'_, 'py>)]) -> retainit_core::Result<R>,
) -> PyResult<(Vec<CoreLoad<Shared>>, R)> {
    let py = function.py();
    let cold = function::of(function)?.cold()?;
    let with_objects = |(load, keep, named): Taken<'py>| {
        let objects = Objects::new(py, cold, keep);
        *objects.named.borrow_mut() = named;
        (load, objects)
    };
    let (loads, objects): (Vec<_>, Vec<_>) = loads.into_iter().map(with_objects).unzip();
    // What turns objects into bytes and back may call the function, and must not wait for any of them then.
    let mut entered = None;
    for load in &loads {
        let token = caller::enter(py, load.flight())?;
        entered.get_or_insert(token);
    }
    let each: Vec<_> = loads.iter().zip(&objects).collect();
    let result = step(&each);
    if let Some(token) = entered {
        // The first one brings back what was before all of them.
        caller::leave(py, &token)?;
    }
    // SAFETY: attached, no lock held.
    unsafe { handle::drain() };
    objects.iter().try_for_each(Objects::interrupted)?;
    Ok((loads, result.map_err(|error| errors::from_core(&error))?))
}
