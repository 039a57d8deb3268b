//! The Rust door: a root module whose layout is compared with this host's. The only file of the
//! engine that knows abi_stable.

use abi_stable::abi_stability::abi_checking::{
    check_layout_compatibility_with_globals, AbiInstability, AbiInstabilityErrors, CheckingGlobals,
};
use abi_stable::library::{AbiHeaderRef, LibHeader, LibraryError};
use abi_stable::type_layout::{TLFieldOrFunction, TypeLayout};
use abi_stable::StableAbi;
use libloading::Library;
use retainit_plugin_api::abi::backend::{BackendTable, BackendTableRef};
use retainit_plugin_api::abi::codec::{
    CompressorTable, CompressorTableRef, SerializerTable, SerializerTableRef,
};
use retainit_plugin_api::abi::kind;
use retainit_plugin_api::abi::manifest::Manifest;
use retainit_plugin_api::abi::root::{PluginRootRef, RUST_DOOR};
use retainit_plugin_api::abi::sink::{SinkTable, SinkTableRef};
use retainit_plugin_api::abi::Prelude;

use super::tables::{check_prelude, Table};

/// A message says which item differs, not the whole tree around it.
const LONGEST_REASON: usize = 300;

/// The tables behind the Rust door, in the order of the manifest.
pub fn tables(library: &Library, manifest: &Manifest) -> Result<Vec<Table>, String> {
    // SAFETY: the symbol's name stands for this type; the library is never unloaded.
    let header: AbiHeaderRef =
        *unsafe { library.get(RUST_DOOR) }.map_err(|error| format!("its door cannot be found: {error}"))?;
    let header = header.upgrade().map_err(|error| match error {
        LibraryError::InvalidAbiHeader(_) => "built with another version of abi_stable".to_owned(),
        error => first_line(&error.to_string()),
    })?;
    check_layout(header)?;
    // SAFETY: the layout has just been compared.
    let root = unsafe { header.init_root_module_with_unchecked_layout::<PluginRootRef>() }
        .map_err(|error| format!("its root cannot be made: {}", first_line(&error.to_string())))?;
    check_prelude("root", &root.prelude(), std::mem::size_of::<Prelude>())?;
    in_order(root, manifest)
}

/// Compares both ways: abi_stable accepts an implementation that has *more* fields than the
/// interface, and which of the two is older is not known.
fn check_layout(header: &'static LibHeader) -> Result<(), String> {
    let host: &'static TypeLayout = <PluginRootRef as StableAbi>::LAYOUT;
    let plugin = header.layout().ok_or("it hides its layout")?;
    // The globals remember every table that was ever compared and hold one plugin against another,
    // of a different minor version; each is to be held against this host alone.
    let compare = |interface, implementation| {
        check_layout_compatibility_with_globals(interface, implementation, &CheckingGlobals::new())
    };
    let Err(newer) = compare(host, plugin) else { return Ok(()) };
    let Err(older) = compare(plugin, host) else { return Ok(()) };
    // The direction with fewer complaints is the one that was nearly right.
    let nearer = if older.errors.len() < newer.errors.len() { older } else { newer };
    Err(format!("its layout differs from this host's: {}", first_difference(&nearer)))
}

/// The first mismatching item on one line; abi_stable's own text shows the whole tree around it.
fn first_difference(errors: &AbiInstabilityErrors) -> String {
    // What is deepest is the cause, what is above it the consequence.
    let Some(error) = errors.errors.iter().max_by_key(|error| error.stack_trace.len()) else {
        return "abi_stable does not say where".to_owned();
    };
    let place = error.stack_trace.last().map_or_else(String::new, |place| match place.expected {
        TLFieldOrFunction::Field(field) => format!("in `{}`: ", field.full_type().name()),
        TLFieldOrFunction::Function(function) => format!("in function `{}`: ", function.name),
    });
    let what = match error.errs.first() {
        Some(AbiInstability::UnexpectedField(found)) => {
            format!("expected field `{}`, found `{}`", found.expected.name(), found.found.name())
        }
        Some(AbiInstability::FieldCountMismatch(found)) => {
            format!("expected at most {} fields, found {}", found.expected, found.found)
        }
        Some(AbiInstability::Size(found)) => {
            format!("expected {} bytes, found {}", found.expected, found.found)
        }
        Some(AbiInstability::Name(found)) => {
            format!("expected type `{}`, found `{}`", found.expected, found.found)
        }
        Some(AbiInstability::PackageVersion(found)) => {
            format!("expected crate version `{}`, found `{}`", found.expected, found.found)
        }
        Some(other) => format!("{other:?}"),
        None => String::new(),
    };
    one_line(&format!("{place}{what}"), LONGEST_REASON)
}

fn first_line(text: &str) -> String {
    one_line(text.trim().lines().next().unwrap_or_default(), LONGEST_REASON)
}

fn one_line(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= longest {
        return line;
    }
    line.chars().take(longest).chain(['…']).collect()
}

/// The root has one list for each kind; the manifest has one for all.
fn in_order(root: PluginRootRef, manifest: &Manifest) -> Result<Vec<Table>, String> {
    let mut backends = root.backends().into_iter().map(|table| Table::Backend(backend(*table)));
    let mut serializers = root.serializers().into_iter().map(|table| Table::Serializer(serializer(*table)));
    let mut compressors = root.compressors().into_iter().map(|table| Table::Compressor(compressor(*table)));
    let mut sinks = root.sinks().into_iter().map(|table| Table::Sink(sink(*table)));
    let mut tables = Vec::with_capacity(manifest.components.len());
    for component in &manifest.components {
        let next = match component.kind.as_str() {
            name if name == kind::name(kind::BACKEND) => backends.next(),
            name if name == kind::name(kind::SERIALIZER) => serializers.next(),
            name if name == kind::name(kind::COMPRESSOR) => compressors.next(),
            _ => sinks.next(),
        };
        tables.push(next.ok_or_else(|| {
            format!("its manifest names the {} `{}`, its library lacks it", component.kind, component.name)
        })?);
    }
    // What the manifest does not name still counts: `tables::check` compares the numbers.
    tables.extend(backends.chain(serializers).chain(compressors).chain(sinks));
    Ok(tables)
}

/// Copies a table field by field through accessors that know how large the plugin's table is. Functions
/// of 1.0 are there in every table; `later` ones are `None` where the plugin is older.
macro_rules! flat {
    ($name:ident($reference:ident) -> $table:ident { $($field:ident),* $(,)? } later { $($later:ident),* $(,)? }) => {
        fn $name(table: $reference) -> $table {
            let prelude = table.prelude();
            let fits = |offset: usize| offset + std::mem::size_of::<usize>() <= prelude.struct_size as usize;
            $table {
                prelude,
                $($field: if fits(std::mem::offset_of!($table, $field)) { table.$field() } else { None },)*
                $($later: if fits(std::mem::offset_of!($table, $later)) { table.$later().flatten() } else { None },)*
            }
        }
    };
}

flat!(backend(BackendTableRef) -> BackendTable {
    open, get, set, delete, clear, quiesce, close, get_many, set_many, delete_many, cancel, add, compare_and_set,
    increment, touch, ttl, scan, count, lease_acquire, lease_renew, lease_release, subscribe, ping, statistics,
    flush, fork_prepare, fork_parent, fork_child,
} later { claim });
flat!(serializer(SerializerTableRef) -> SerializerTable { open, serialize, deserialize, close } later {});
flat!(compressor(CompressorTableRef) -> CompressorTable { open, compress, decompress, train, close } later {});
flat!(sink(SinkTableRef) -> SinkTable { open, emit, flush, close } later {});
