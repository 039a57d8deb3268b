//! How a function's tier stores values, as `retainit._storage` says it.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use pyo3::prelude::*;
use retainit_core::codecs::Codecs;
use retainit_core::entry::{Keyring as CoreKeyring, Seal, Secret};
use retainit_core::format::{Compression, Format as CoreFormat};
use retainit_core::Error;

use crate::backend::registry;
use crate::data::Choice;
use crate::errors::{from_core, CONFIGURATION};
use crate::once::Once;
use crate::pickle::{Mode, Policy};

/// The open serializers and compressors of this process.
///
/// # Errors
/// Python's side could not say where plugins are.
pub fn codecs(py: Python<'_>) -> PyResult<&Arc<Codecs>> {
    static CODECS: Once<Arc<Codecs>> = Once::new();
    CODECS.get_or_make(py, || Ok(Arc::new(Codecs::new(registry(py)?))))
}

/// Keys that entries are sealed with: the first seals, any opens.
#[pyclass(module = "retainit._native", frozen, weakref)]
pub struct Keyring(Arc<CoreKeyring>);

#[pymethods]
impl Keyring {
    /// Keys as bytes, or as text that begins with `hex:` or `base64:`.
    #[new]
    fn new(keys: Vec<Bound<'_, PyAny>>) -> PyResult<Self> {
        let secrets = keys.iter().map(|key| match key.extract::<&str>() {
            Ok(text) => Secret::parse(text),
            Err(_) => Secret::from_bytes(key.extract::<&[u8]>().unwrap_or_default()),
        });
        let secrets = secrets.collect::<Result<Vec<_>, _>>();
        let keyring = secrets.and_then(CoreKeyring::new).map_err(|error| from_core(&error))?;
        Ok(Keyring(Arc::new(keyring)))
    }
}

/// How one tier of a function stores values.
#[pyclass(module = "retainit._native", frozen, weakref)]
pub struct Format(Arc<CoreFormat>);

impl Format {
    /// The engine's side.
    pub fn core(&self) -> &Arc<CoreFormat> {
        &self.0
    }
}

#[pymethods]
impl Format {
    /// `compression` is the name of a compressor, its options as a JSON object, the bytes below which
    /// values stay as they are, and whether it is trained with what is written; `seal` one of `open`,
    /// `checksum`, `signed`, `encrypted`; `pickle` a mode, the names it may refer to, and the most bytes.
    #[new]
    #[pyo3(signature = (serializer, compression, seal, keyring, pickle, private))]
    fn new(
        py: Python<'_>,
        serializer: String,
        compression: Option<(String, String, u64, bool)>,
        seal: &str,
        keyring: Option<PyRef<'_, Keyring>>,
        pickle: (String, Option<Vec<String>>, Option<u64>),
        private: bool,
    ) -> PyResult<Self> {
        let keyring = keyring.map(|keyring| keyring.0.clone());
        let seal = match (seal, keyring) {
            ("open", None) => Seal::Open,
            ("checksum", None) => Seal::Checksum,
            ("signed", Some(keyring)) => Seal::Signed(keyring),
            ("encrypted", Some(keyring)) => Seal::Encrypted(keyring),
            _ => return Err(CONFIGURATION.error(format!("`{seal}` does not go with these keys"))),
        };
        let codecs = codecs(py)?.clone();
        let compression = compression.map(|(name, options, threshold, dictionary)| {
            let options = serde_json::from_str(&options).unwrap_or_default();
            let compressor = py.detach(|| codecs.compressor(&name, &options))?;
            Ok(Compression { name, compressor, options, threshold, dictionary })
        });
        let compression = compression.transpose().map_err(|error: Error| from_core(&error))?;
        let (mode, allow, max_bytes) = pickle;
        let mode = match &*mode {
            "never" => Mode::Never,
            "signed" => Mode::Signed,
            "local" => Mode::Local,
            "always" => Mode::Always,
            _ => return Err(CONFIGURATION.error(format!("unknown pickle policy `{mode}`"))),
        };
        let authenticated = matches!(seal, Seal::Signed(_) | Seal::Encrypted(_));
        // Compressed or encrypted entries are not read in place.
        let mapped = private && compression.is_none() && !matches!(seal, Seal::Encrypted(_));
        let policy = Policy { mode, allow, max_bytes, private, authenticated };
        let choice = shared(Choice { serializer, pickle: policy, mapped });
        Ok(Format(Arc::new(CoreFormat { codecs, compression, seal, choice })))
    }

    /// Whether large values can be read where they lie.
    #[getter]
    fn mapped(&self) -> bool {
        crate::data::choice(&self.0).mapped
    }
}

/// The same choice for all tiers that make the same: tiers share what was dumped once.
fn shared(choice: Choice) -> Arc<dyn Any + Send + Sync> {
    static CHOICES: Mutex<Vec<Weak<Choice>>> = Mutex::new(Vec::new());
    let mut known = CHOICES.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|known| known.strong_count() > 0);
    if let Some(found) = known.iter().filter_map(Weak::upgrade).find(|known| **known == choice) {
        return found;
    }
    let choice = Arc::new(choice);
    known.push(Arc::downgrade(&choice));
    choice
}

/// Forms that the serializer `name` takes, such as `tree`, or `None` if no plugin supplies it. Loads
/// nothing.
#[pyfunction]
pub fn serializer_forms(py: Python<'_>, name: &str) -> PyResult<Option<Vec<&'static str>>> {
    use retainit_core::abi::capability;
    let Ok(component) = codecs(py)?.describe(name) else { return Ok(None) };
    let bits = component.capabilities();
    let forms = [
        (capability::FORM_BYTES, "bytes"),
        (capability::FORM_TREE, "tree"),
        (capability::FORM_TENSOR, "tensor"),
        (capability::FORM_ARROW, "arrow"),
    ];
    Ok(Some(forms.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()))
}
