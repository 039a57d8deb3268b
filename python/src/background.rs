//! Loads that go on while nobody waits for them, or nobody has to.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use retainit_core::load::Load;
use retainit_core::pipeline;

use crate::caller::{Objects, PythonCall, Shared, FLIGHTS};
use crate::function;
use crate::handle;
use crate::once::Once;
use crate::outcall;

/// What a worker thread calls.
#[pyclass(module = "retainit._native", frozen)]
pub struct Background {
    function: Py<PyAny>,
    arguments: Py<PyTuple>,
    keywords: Option<Py<PyDict>>,
    keep: Option<Py<PyAny>>,
    load: Mutex<Option<Load<Shared>>>,
}

impl Background {
    fn take(&self) -> Option<Load<Shared>> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Background {
    /// Runs the load to its end. What the function of a refresh raised is raised.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let Some(load) = self.take() else { return Ok(()) };
        let function = self.function.bind(py).clone();
        let this = function::of(&function)?;
        let keep = self.keep.as_ref().map(|keep| keep.bind(py).clone());
        let call = PythonCall {
            objects: Objects::new(py, this.cold()?, keep),
            function: function.clone(),
            arguments: self.arguments.bind(py).clone(),
            keywords: self.keywords.as_ref().map(|keywords| keywords.bind(py).clone()),
        };
        let refreshes = load.is_refresh();
        let outcome = pipeline::carry_on(&FLIGHTS, &call, load);
        // SAFETY: attached, no lock held.
        unsafe { handle::drain() };
        call.objects.interrupted()?;
        match outcome {
            Err(raised) if refreshes => Err(raised.0),
            _ => Ok(()),
        }
    }

    /// The function's name.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        Ok(function::of(self.function.bind(py))?.cold()?.engine.name().to_owned())
    }
}

/// Carries a load of `call` on in a thread of its own. Given back where no thread can be started.
pub fn start(call: &PythonCall<'_, '_>, load: Load<Shared>) -> Option<Load<Shared>> {
    static START: Once<Py<PyAny>> = Once::new();
    let py = call.objects.py;
    let background = Background {
        function: call.function.clone().unbind(),
        arguments: call.arguments.clone().unbind(),
        keywords: call.keywords.as_ref().map(|keywords| keywords.clone().unbind()),
        keep: call.objects.keep.as_ref().map(|keep| keep.clone().unbind()),
        load: Mutex::new(Some(load)),
    };
    let background = match Bound::new(py, background) {
        Ok(background) => background,
        Err(_) => return None,
    };
    let started = START
        .import(py, "retainit._background", "start")
        .and_then(|start| outcall::call(start, (&background,), None))
        .and_then(|started| started.is_truthy());
    if started.unwrap_or(false) {
        return None;
    }
    background.get().take()
}
