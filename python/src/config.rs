//! Configuration for Python: files, units, and options against a plugin's schema.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDelta, PyDeltaAccess, PyDict, PyFloat, PyInt, PyList, PyString};
use retainit_core::config::{self, BackendEntry, Origin, PluginEntry, Source, Ttl};
use retainit_core::loader::Kind;
use retainit_core::units::{parse_duration_text, parse_seconds, parse_size_text, DURATION, SIZE};
use retainit_core::{nearest, Error};
use serde_json::{Map, Value};

use crate::backend::registry;
use crate::errors::{from_core, CONFIGURATION};
use crate::state;

/// What Python is told of an option's place: its line, and how its value is shown.
type Place = (usize, Option<String>);

/// Reads a configuration file. `named` says that the user named it rather than that it was found.
#[pyfunction]
fn read_config(py: Python<'_>, path: PathBuf, named: bool) -> PyResult<Bound<'_, PyDict>> {
    let config = py.detach(|| config::read(&path, named)).map_err(|error| from_core(&error))?;
    let plugins = PyList::empty(py);
    for plugin in &config.plugins {
        let entry = PyDict::new(py);
        match plugin {
            PluginEntry::Name(name) => entry.set_item("name", name)?,
            PluginEntry::Path(path, sha256) => {
                entry.set_item("path", path.as_os_str())?;
                entry.set_item("sha256", sha256)?;
            }
            PluginEntry::Directory(path) => entry.set_item("directory", path.as_os_str())?,
        }
        plugins.append(entry)?;
    }
    let backends = PyList::empty(py);
    for backend in &config.backends {
        backends.append(backend_entry(py, backend)?)?;
    }
    let said = PyDict::new(py);
    said.set_item("file", config.file.as_os_str())?;
    said.set_item("plugins", plugins)?;
    said.set_item("backends", backends)?;
    said.set_item("default_backend", config.default_backend)?;
    Ok(said)
}

fn backend_entry<'py>(py: Python<'py>, backend: &BackendEntry) -> PyResult<Bound<'py, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item("name", &backend.name)?;
    entry.set_item("type", &backend.kind)?;
    entry.set_item("options", Value::Object(backend.options.clone()).to_string())?;
    entry.set_item("namespace", &backend.namespace)?;
    entry.set_item("line", backend.line)?;
    let origins: BTreeMap<&String, Place> =
        backend.origins.iter().map(|(name, origin)| (name, (origin.line, origin.shown.clone()))).collect();
    entry.set_item("origins", origins)?;
    match backend.ttl {
        Ttl::Unset => {}
        Ttl::Forever => entry.set_item("ttl", py.None())?,
        Ttl::For(duration) => entry.set_item("ttl", duration.as_secs_f64())?,
    }
    Ok(entry)
}

/// The nearest configuration file from `directory` upwards.
#[pyfunction]
fn find_config(py: Python<'_>, directory: PathBuf) -> PyResult<Option<std::ffi::OsString>> {
    let found = py.detach(|| config::find(&directory)).map_err(|error| from_core(&error))?;
    Ok(found.map(PathBuf::into_os_string))
}

/// A duration (seconds, `timedelta`, text) in seconds.
#[pyfunction]
fn parse_duration(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let parsed = if let Ok(text) = value.cast::<PyString>() {
        parse_duration_text(text.to_cow()?.as_ref())
    } else if let Ok(delta) = value.cast::<PyDelta>() {
        let days = f64::from(delta.get_days()) * 86_400.0;
        parse_seconds(days + f64::from(delta.get_seconds()) + f64::from(delta.get_microseconds()) * 1e-6)
    } else if is_number(value) {
        value.extract().map_or_else(|_| Err(unfit(DURATION, value)), parse_seconds)
    } else {
        Err(unfit(DURATION, value))
    };
    parsed.map(|duration| duration.as_secs_f64()).map_err(|message| CONFIGURATION.error(message))
}

/// A size (bytes, text) in bytes.
#[pyfunction]
fn parse_size(value: &Bound<'_, PyAny>) -> PyResult<u64> {
    let parsed = if let Ok(text) = value.cast::<PyString>() {
        parse_size_text(text.to_cow()?.as_ref())
    } else if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() {
        let bytes = value.extract::<i64>().ok().filter(|bytes| *bytes > 0);
        bytes.map(|bytes| bytes as u64).ok_or_else(|| unfit(SIZE, value))
    } else {
        Err(unfit(SIZE, value))
    };
    parsed.map_err(|message| CONFIGURATION.error(message))
}

/// Whether a value is a number to people: `True` is not.
fn is_number(value: &Bound<'_, PyAny>) -> bool {
    let number = value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>();
    // NumPy's and Decimal's numbers convert without being subclasses.
    let converts =
        || value.hasattr("__float__").unwrap_or(false) || value.hasattr("__index__").unwrap_or(false);
    !value.is_instance_of::<PyBool>() && (number || converts())
}

fn unfit(expected: &str, value: &Bound<'_, PyAny>) -> String {
    let shown = value.repr().map_or_else(|_| value.get_type().to_string(), |text| text.to_string());
    format!("expected {expected}, found `{shown}`")
}

/// The candidate that `name` was most likely meant to be.
#[pyfunction(name = "nearest")]
fn nearest_name(name: &str, candidates: Vec<String>) -> Option<String> {
    nearest::nearest(name, candidates.iter().map(String::as_str)).map(str::to_owned)
}

/// Names of all backend types that plugins supply. Loads none of them.
#[pyfunction]
fn backend_types(py: Python<'_>) -> PyResult<Vec<String>> {
    let registry = registry(py)?;
    let candidates = py.detach(|| registry.list());
    let mut names: Vec<String> = candidates
        .iter()
        .filter_map(|candidate| candidate.manifest().ok())
        .flat_map(|manifest| &manifest.components)
        .filter(|component| component.kind == Kind::Backend.name())
        .map(|component| component.name.clone())
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Why no plugin supplies the backend type `kind`, with every file that was refused; `None` if one does.
#[pyfunction]
fn missing_backend_type(py: Python<'_>, kind: &str) -> PyResult<Option<String>> {
    let registry = registry(py)?;
    Ok(py.detach(|| registry.component(Kind::Backend, kind)).err().map(|error| error.to_string()))
}

/// Checks the options of the backend `name` against the schema of `kind`, before anything is loaded,
/// and returns them as the plugin reads them. `origins` says where in `file` they stand.
#[pyfunction]
fn prepare_options(
    py: Python<'_>,
    name: &str,
    kind: &str,
    options: &str,
    file: Option<PathBuf>,
    line: usize,
    origins: BTreeMap<String, Place>,
) -> PyResult<String> {
    let registry = registry(py)?;
    let prepared = py.detach(|| {
        let options: Map<String, Value> = serde_json::from_str(options).map_err(|error| {
            Error::configuration("check options", format!("options of backend `{name}`: {error}"))
        })?;
        let origins =
            origins.into_iter().map(|(name, (line, shown))| (name, Origin { line, shown })).collect();
        let component = registry.component(Kind::Backend, kind)?;
        let source = Source { backend: name, file: file.as_deref(), line, origins: &origins };
        config::prepare(source, &options, component.schema())
    });
    prepared.map(|options| Value::Object(options).to_string()).map_err(|error| from_core(&error))
}

/// Makes every function resolve its backends again.
#[pyfunction]
fn advance_generation() {
    state::advance_generation();
}

/// Adds this module's functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ATTENTION_DISABLED", state::DISABLED)?;
    module.add_function(wrap_pyfunction!(read_config, module)?)?;
    module.add_function(wrap_pyfunction!(find_config, module)?)?;
    module.add_function(wrap_pyfunction!(parse_duration, module)?)?;
    module.add_function(wrap_pyfunction!(parse_size, module)?)?;
    module.add_function(wrap_pyfunction!(nearest_name, module)?)?;
    module.add_function(wrap_pyfunction!(backend_types, module)?)?;
    module.add_function(wrap_pyfunction!(missing_backend_type, module)?)?;
    module.add_function(wrap_pyfunction!(prepare_options, module)?)?;
    module.add_function(wrap_pyfunction!(advance_generation, module)?)
}
