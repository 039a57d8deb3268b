//! Open backends, and the registry of plugins they come from.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet};
use retainit_core::abi::capability;
use retainit_core::instance::{BreakerSettings, State};
use retainit_core::loader::{Kind, Origin, Registry};
use retainit_core::{Function, Instance};

use crate::once::Once;
use crate::{errors, handle};

/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// An open backend.
#[pyclass(module = "retainit._native", frozen, weakref)]
pub struct Backend {
    instance: Arc<Instance>,
    kind: String,
}

/// All open backends of the process, for fork and exit.
static OPEN: Mutex<Vec<Weak<Instance>>> = Mutex::new(Vec::new());

/// Open backends.
pub fn open_instances() -> Vec<Arc<Instance>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}

impl Backend {
    /// The engine's side.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }
}

#[pymethods]
impl Backend {
    /// The name that configurations gave it.
    #[getter]
    fn name(&self) -> &str {
        self.instance.name()
    }

    /// The name of its component.
    #[getter]
    fn r#type(&self) -> &str {
        &self.kind
    }

    /// Whether others can see its entries, now or later.
    #[getter]
    fn is_outside(&self) -> bool {
        self.instance.capabilities() & (capability::SHARED | capability::PERSISTENT) != 0
    }

    /// The plugin's file.
    #[getter]
    fn path(&self) -> String {
        self.instance.path().display().to_string()
    }

    /// What it can do.
    #[getter]
    fn capabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyFrozenSet>> {
        let bits = self.instance.capabilities();
        let names = capability::NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name);
        PyFrozenSet::new(py, names)
    }

    /// Removes every entry whose key starts with `prefix`; says how many there were.
    fn clear(&self, py: Python<'_>, prefix: &[u8]) -> PyResult<u64> {
        let removed = py.detach(|| self.instance.clear(prefix));
        // SAFETY: attached, no lock held.
        unsafe { handle::drain() };
        removed.map_err(|error| errors::from_core(&error))
    }

    /// Numbers of the plugin's: `entries`, `bytes`, `evictions` and others.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let numbers = py.detach(|| self.instance.statistics()).map_err(|error| errors::from_core(&error))?;
        py.import("json")?.getattr("loads")?.call1((numbers.to_string(),))
    }

    /// Bounds its calls to `timeout` seconds, sets the threshold of its breaker and the seconds that it stays
    /// open (`None`: no breaker), and how many entries may wait to be written.
    fn protect(&self, timeout: Option<f64>, breaker: Option<(u16, f64)>, waiting: usize) {
        // Longer than a clock can say is as good as no bound.
        let duration = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.instance.set_timeout(timeout.map(duration));
        self.instance.set_breaker(
            breaker.map(|(threshold, open_for)| BreakerSettings { threshold, open_for: duration(open_for) }),
        );
        self.instance.set_write_behind(waiting);
    }

    /// How it is: the state of its breaker, counts, and how long its answers are waited for.
    fn health<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let health = self.instance.health();
        let said = PyDict::new(py);
        let state = match health.state {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        };
        said.set_item("state", state)?;
        said.set_item("failures", health.failures)?;
        said.set_item("refused", health.refused)?;
        said.set_item("retried", health.retried)?;
        said.set_item("queued", health.queued)?;
        said.set_item("lost", health.lost)?;
        said.set_item("missed", health.missed)?;
        said.set_item("read_timeout", health.read_timeout.map(|timeout| timeout.as_secs_f64()))?;
        said.set_item("write_timeout", health.write_timeout.map(|timeout| timeout.as_secs_f64()))?;
        Ok(said)
    }

    /// Answers as soon as the store can be reached.
    fn ping(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.instance.ping()).map_err(|error| errors::from_core(&error))
    }

    /// Finishes work in flight and makes writes durable. Whoever still uses it may go on.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closed = py.detach(|| self.instance.flush().and_then(|()| self.instance.quiesce(CLOSING)));
        // SAFETY: attached, no lock held.
        unsafe { handle::drain() };
        closed.map_err(|error| errors::from_core(&error))
    }

    fn __repr__(&self) -> String {
        format!("<backend `{}` of type `{}`>", self.instance.name(), self.kind)
    }
}

/// The plugins this process knows: the bundled ones and those of installed distributions, until the
/// configuration adds others.
///
/// # Errors
/// Python's side could not say where they are.
pub fn registry(py: Python<'_>) -> PyResult<&'static Registry> {
    static REGISTRY: Once<&'static Registry> = Once::new();
    REGISTRY
        .get_or_make(py, || {
            let (bundled, distributions): (PathBuf, Vec<(String, Vec<PathBuf>)>) =
                py.import("retainit._discovery")?.call_method0("locations")?.extract()?;
            let registry = Registry::new();
            registry.add_directory(bundled, Origin::Bundled).map_err(|error| errors::from_core(&error))?;
            for (name, paths) in distributions {
                registry.add_distribution(&name, paths).map_err(|error| errors::from_core(&error))?;
            }
            Ok(&*Box::leak(Box::new(registry)))
        })
        .copied()
}

/// Opens a backend of component `kind` with `options` (a JSON object), loading its plugin if need be.
#[pyfunction]
pub fn open_backend(py: Python<'_>, name: &str, kind: &str, options: &str) -> PyResult<Backend> {
    let registry = registry(py)?;
    let instance = py
        .detach(|| {
            let options = serde_json::from_str(options).unwrap_or_default();
            registry.component(Kind::Backend, kind)?.open_backend(name, &options)
        })
        .map_err(|error| errors::from_core(&error))?;
    if instance.capabilities() & (capability::SHARED | capability::PERSISTENT) == 0 {
        // Keys inside the process begin with the function's number.
        instance.on_evicted(Some(Arc::new(|keys: &[&[u8]], _: &[_]| Function::count_evictions(keys))));
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|instance| instance.strong_count() > 0);
    open.push(Arc::downgrade(&instance));
    Ok(Backend { instance, kind: kind.to_owned() })
}

/// Adds a plugin: a file by `path`, with a `sha256` it must have; or checks that the one called `name`
/// is there.
#[pyfunction]
#[pyo3(signature = (name, path=None, sha256=None))]
pub fn add_plugin(
    py: Python<'_>,
    name: Option<&str>,
    path: Option<PathBuf>,
    sha256: Option<&str>,
) -> PyResult<()> {
    let registry = registry(py)?;
    let added = py.detach(|| match (path, name) {
        (Some(path), _) => registry.add_file(path, sha256),
        (None, Some(name)) => registry.plugin(name).map(drop),
        (None, None) => Ok(()),
    });
    added.map_err(|error| errors::from_core(&error))
}

/// Adds a directory whose libraries may be plugins.
#[pyfunction]
pub fn add_plugin_directory(py: Python<'_>, path: PathBuf) -> PyResult<()> {
    registry(py)?.add_directory(path, Origin::Configured).map_err(|error| errors::from_core(&error))
}

/// Loads a backend's plugin and says from where; for tools that show plugins.
#[pyfunction]
pub fn load_plugin(py: Python<'_>, kind: &str) -> PyResult<String> {
    let registry = registry(py)?;
    py.detach(|| {
        let component = registry.component(Kind::Backend, kind)?;
        component.load()?;
        Ok(component.path().display().to_string())
    })
    .map_err(|error: retainit_core::Error| errors::from_core(&error))
}
