//! A component of a plugin: what its manifest says, and instances of it.

use std::path::Path;
use std::sync::Arc;

use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::codec::{CompressorTable, SerializerTable};
use retainit_plugin_api::abi::kind;
use retainit_plugin_api::abi::manifest::ComponentManifest;
use serde_json::Value;

use super::candidate::{Origin, Plugin};
use super::options;
use super::tables::Table;
use super::LOAD;
use crate::codec::{Compressor, Serializer};
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::sink::Sink;

/// The four kinds of component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Keeps entries.
    Backend,
    /// Turns data into bytes and back.
    Serializer,
    /// Makes bytes smaller and back.
    Compressor,
    /// Takes events.
    Sink,
}

impl Kind {
    /// As manifests and messages name it.
    pub const fn name(self) -> &'static str {
        kind::name(match self {
            Kind::Backend => kind::BACKEND,
            Kind::Serializer => kind::SERIALIZER,
            Kind::Compressor => kind::COMPRESSOR,
            Kind::Sink => kind::SINK,
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A component whose library has been found and checked. The library is loaded when the first
/// instance is opened, after the options have been validated.
#[derive(Debug, Clone)]
pub struct Component {
    plugin: Arc<Plugin>,
    kind: Kind,
    index: usize,
}

impl Component {
    /// The component `name` of `kind` in `plugin`, if it has it.
    pub(super) fn find(plugin: &Arc<Plugin>, kind: Kind, name: &str) -> Option<Self> {
        let named = |each: &ComponentManifest| each.kind == kind.name() && each.name == name;
        let index = plugin.manifest.components.iter().position(named)?;
        Some(Component { plugin: Arc::clone(plugin), kind, index })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name, which is a backend's type in configurations.
    pub fn name(&self) -> &str {
        &self.manifest().name
    }

    /// Bits of [`capability`](retainit_plugin_api::abi::capability).
    pub fn capabilities(&self) -> u64 {
        self.manifest().capabilities
    }

    /// JSON Schema of its options.
    pub fn schema(&self) -> &Value {
        &self.manifest().schema
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.plugin.path
    }

    /// Where the library comes from.
    pub fn origin(&self) -> &Origin {
        &self.plugin.origin
    }

    /// Name and version of the plugin.
    pub fn plugin(&self) -> (&str, &str) {
        (&self.plugin.manifest.name, &self.plugin.manifest.version)
    }

    /// Checks options for the instance `name` against the schema. Loads nothing.
    pub fn validate(&self, name: &str, options: &Value) -> Result<()> {
        options::validate(self.schema(), options, &format!("{} `{name}`", self.kind))
            .map_err(|message| Error::configuration("read options", message))
    }

    /// Loads the library now, if it has not been loaded before.
    pub fn load(&self) -> Result<()> {
        self.table().map(drop)
    }

    /// The flat table of a backend, for whoever drives it without an instance around it.
    pub fn backend_table(&self) -> Result<BackendTable> {
        match self.table()? {
            Table::Backend(table) => Ok(table),
            _ => Err(self.wrong_kind(Kind::Backend)),
        }
    }

    /// Opens a backend that messages will call `name`.
    pub fn open_backend(&self, name: &str, options: &Value) -> Result<Arc<Instance>> {
        self.validate(name, options)?;
        Instance::open(name, self.clone(), self.backend_table()?, options)
    }

    /// The flat table of a serializer.
    pub fn serializer_table(&self) -> Result<SerializerTable> {
        match self.table()? {
            Table::Serializer(table) => Ok(table),
            _ => Err(self.wrong_kind(Kind::Serializer)),
        }
    }

    /// Opens a serializer.
    pub fn open_serializer(&self, options: &Value) -> Result<Serializer> {
        self.validate(self.name(), options)?;
        Serializer::open(self.clone(), self.serializer_table()?, options)
    }

    /// The flat table of a compressor.
    pub fn compressor_table(&self) -> Result<CompressorTable> {
        match self.table()? {
            Table::Compressor(table) => Ok(table),
            _ => Err(self.wrong_kind(Kind::Compressor)),
        }
    }

    /// Opens a compressor.
    pub fn open_compressor(&self, options: &Value) -> Result<Compressor> {
        self.validate(self.name(), options)?;
        Compressor::open(self.clone(), self.compressor_table()?, options)
    }

    /// Opens an event sink.
    pub fn open_sink(&self, options: &Value) -> Result<Sink> {
        self.validate(self.name(), options)?;
        match self.table()? {
            Table::Sink(table) => Sink::open(self.clone(), table, options),
            _ => Err(self.wrong_kind(Kind::Sink)),
        }
    }

    fn manifest(&self) -> &ComponentManifest {
        &self.plugin.manifest.components[self.index]
    }

    fn table(&self) -> Result<Table> {
        let tables = self.plugin.load().map_err(|refusal| {
            let message = format!(
                "{} `{}` cannot be used: its only library was refused\n  `{}` ({}): {refusal}",
                self.kind,
                self.name(),
                self.path().display(),
                self.origin(),
            );
            Error::configuration(LOAD, message)
        })?;
        Ok(tables[self.index])
    }

    fn wrong_kind(&self, wanted: Kind) -> Error {
        Error::configuration(LOAD, format!("`{}` is a {}, expected a {wanted}", self.name(), self.kind))
    }
}
