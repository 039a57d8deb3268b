//! Serializers and compressors of the process: each opened at its first use, and kept.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{json, Value};

use crate::codec::{Compressor, Serializer};
use crate::error::Result;
use crate::fork;
use crate::loader::{Component, Kind, Registry};

/// Opens by name, once.
pub struct Codecs {
    registry: &'static Registry,
    // Taken inside the gate of forks only.
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    serializers: Vec<(String, bool, Serializer)>,
    compressors: Vec<(String, Value, Arc<Compressor>)>,
}

impl Codecs {
    /// Of the plugins that `registry` knows.
    pub fn new(registry: &'static Registry) -> Self {
        Codecs { registry, open: Mutex::default() }
    }

    /// The serializer `name`. One for bytes that are `trusted`, because this process has read them in
    /// full before, is spared what its option `validate` does, if it has one.
    ///
    /// # Errors
    /// No plugin supplies it, or its library was refused.
    pub fn serializer(&self, name: &str, trusted: bool) -> Result<Serializer> {
        let known = |open: &Open| {
            let found =
                open.serializers.iter().find(|(known, trusts, _)| known == name && *trusts == trusted);
            found.map(|(_, _, serializer)| serializer.clone())
        };
        self.get(known, || {
            let component = self.registry.component(Kind::Serializer, name)?;
            let options = if trusted && may_skip_validation(&component) {
                json!({"validate": false})
            } else {
                json!({})
            };
            let opened = component.open_serializer(&options)?;
            Ok((opened.clone(), move |open: &mut Open| {
                open.serializers.push((name.to_owned(), trusted, opened));
            }))
        })
    }

    /// The compressor `name` with `options` (a JSON object).
    ///
    /// # Errors
    /// No plugin supplies it, its library was refused, or the options are wrong.
    pub fn compressor(&self, name: &str, options: &Value) -> Result<Arc<Compressor>> {
        let known = |open: &Open| {
            let found = open.compressors.iter().find(|(known, with, _)| known == name && with == options);
            found.map(|(_, _, compressor)| compressor.clone())
        };
        self.get(known, || {
            let opened = Arc::new(self.open_compressor(name, options)?);
            Ok((opened.clone(), move |open: &mut Open| {
                open.compressors.push((name.to_owned(), options.clone(), opened));
            }))
        })
    }

    /// A compressor of the caller's own.
    ///
    /// # Errors
    /// As [`Codecs::compressor`].
    pub fn open_compressor(&self, name: &str, options: &Value) -> Result<Compressor> {
        self.registry.component(Kind::Compressor, name)?.open_compressor(options)
    }

    /// The component of a serializer, which is not opened.
    ///
    /// # Errors
    /// No plugin supplies it.
    pub fn describe(&self, name: &str) -> Result<Component> {
        self.registry.component(Kind::Serializer, name)
    }

    /// What is known, or else what `make` opens outside the lock. Two threads may open the same: both
    /// work, and the later one is not found any more.
    fn get<T, K: FnOnce(&mut Open)>(
        &self,
        known: impl Fn(&Open) -> Option<T>,
        make: impl FnOnce() -> Result<(T, K)>,
    ) -> Result<T> {
        {
            let _gate = fork::enter();
            if let Some(found) = known(&self.open.lock()) {
                return Ok(found);
            }
        }
        let (made, keep) = make()?;
        let _gate = fork::enter();
        keep(&mut self.open.lock());
        Ok(made)
    }
}

fn may_skip_validation(component: &Component) -> bool {
    component.schema().pointer("/properties/validate").is_some()
}
