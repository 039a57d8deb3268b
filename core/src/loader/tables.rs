//! The flat tables that the host calls through, and what has to be in them.

use retainit_plugin_api::abi::backend::BackendTable;
use retainit_plugin_api::abi::codec::{CompressorTable, SerializerTable};
use retainit_plugin_api::abi::manifest::{ComponentManifest, Manifest};
use retainit_plugin_api::abi::sink::SinkTable;
use retainit_plugin_api::abi::{capability, kind, Prelude, ABI_MAJOR};

/// The table of one component, as this host knows it; functions its author did not have are `None`.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::large_enum_variant)] // one for each component and process, and copied out at once
pub enum Table {
    /// A backend's.
    Backend(BackendTable),
    /// A serializer's.
    Serializer(SerializerTable),
    /// A compressor's.
    Compressor(CompressorTable),
    /// An event sink's.
    Sink(SinkTable),
}

impl Table {
    /// Copies a table that a plugin built against any minor version, newer or older.
    ///
    /// # Safety
    /// `table` must point to a table of `kind` with at least as many bytes as its prelude says.
    pub unsafe fn copy(kind: u32, table: *const Prelude) -> Result<Self, String> {
        // SAFETY: promised by the caller; all bytes zero is a valid table, its functions are `None`.
        unsafe {
            Ok(match kind {
                kind::BACKEND => Table::Backend(copy(table)?),
                kind::SERIALIZER => Table::Serializer(copy(table)?),
                kind::COMPRESSOR => Table::Compressor(copy(table)?),
                kind::SINK => Table::Sink(copy(table)?),
                other => return Err(format!("it has a component of the unknown kind `{other}`")),
            })
        }
    }

    fn kind(&self) -> u32 {
        match self {
            Table::Backend(_) => kind::BACKEND,
            Table::Serializer(_) => kind::SERIALIZER,
            Table::Compressor(_) => kind::COMPRESSOR,
            Table::Sink(_) => kind::SINK,
        }
    }

    fn prelude(&self) -> &Prelude {
        match self {
            Table::Backend(table) => &table.prelude,
            Table::Serializer(table) => &table.prelude,
            Table::Compressor(table) => &table.prelude,
            Table::Sink(table) => &table.prelude,
        }
    }

    /// The name of the first function that this component must have and has not.
    fn missing(&self, capabilities: u64) -> Option<&'static str> {
        macro_rules! required {
            ($table:expr; $($condition:expr => [$($field:ident),* $(,)?]),* $(,)?) => {{
                $($(if $condition && $table.$field.is_none() {
                    return Some(stringify!($field));
                })*)*
                None
            }};
        }
        let has = |bit: u64| capabilities & bit != 0;
        match self {
            Table::Backend(table) => required!(table;
                true => [open, get, set, delete, clear, quiesce, close],
                has(capability::ASYNC) => [cancel],
                has(capability::TTL) => [touch, ttl],
                has(capability::CAS) => [add, compare_and_set],
                has(capability::COUNTER) => [increment],
                has(capability::SCAN) => [scan, count],
                has(capability::LEASE) => [lease_acquire, lease_renew, lease_release],
                has(capability::SUBSCRIBE) => [subscribe],
                has(capability::FORK) => [fork_prepare, fork_parent, fork_child],
                has(capability::CLAIM) => [claim],
            ),
            Table::Serializer(table) => required!(table; true => [open, serialize, deserialize, close]),
            Table::Compressor(table) => required!(table;
                true => [open, compress, decompress, close],
                has(capability::DICTIONARY) => [train],
            ),
            Table::Sink(table) => required!(table; true => [open, emit, close]),
        }
    }
}

/// Checks that `tables` are what `manifest` promises, in its order. The error says what is not.
pub fn check(manifest: &Manifest, tables: &[Table]) -> Result<(), String> {
    if manifest.components.len() != tables.len() {
        return Err(format!(
            "its manifest has `{}` components, its library `{}`",
            manifest.components.len(),
            tables.len()
        ));
    }
    manifest.components.iter().zip(tables).try_for_each(|(component, table)| check_one(component, table))
}

fn check_one(component: &ComponentManifest, table: &Table) -> Result<(), String> {
    let ComponentManifest { kind, name, capabilities, .. } = component;
    if kind::name(table.kind()) != kind {
        return Err(format!(
            "component `{name}`: its manifest says `{kind}`, its library `{}`",
            kind::name(table.kind())
        ));
    }
    let prelude = table.prelude();
    if prelude.capabilities != *capabilities {
        return Err(format!(
            "component `{name}`: its manifest says capabilities `{capabilities:#x}`, its library `{:#x}`",
            prelude.capabilities
        ));
    }
    let modes = capability::INLINE | capability::BLOCKING | capability::ASYNC;
    if table.kind() == kind::BACKEND && capabilities & modes == 0 {
        return Err(format!(
            "component `{name}`: expected one of the capabilities `inline`, `blocking`, `async`"
        ));
    }
    match table.missing(*capabilities) {
        Some(function) => Err(format!("component `{name}`: function `{function}` is missing")),
        None => Ok(()),
    }
}

/// Checks a prelude before anything behind it is read.
pub fn check_prelude(what: &str, prelude: &Prelude, least: usize) -> Result<(), String> {
    if prelude.abi_major != ABI_MAJOR {
        return Err(format!(
            "its {what} is of ABI `{}.{}`, expected `{ABI_MAJOR}.*`",
            prelude.abi_major, prelude.abi_minor
        ));
    }
    if (prelude.struct_size as usize) < least {
        return Err(format!("its {what} has {} bytes, expected at least {least}", prelude.struct_size));
    }
    Ok(())
}

/// # Safety
/// `table` must point to as many bytes as its prelude says; all-zero bytes must be a valid `T`,
/// which must begin with a prelude.
unsafe fn copy<T: Copy>(table: *const Prelude) -> Result<T, String> {
    if table.is_null() {
        return Err("a component's table is null".to_owned());
    }
    // SAFETY: the prelude is the frozen head of every table.
    let prelude = unsafe { table.read() };
    check_prelude("component's table", &prelude, std::mem::size_of::<Prelude>())?;
    let size = (prelude.struct_size as usize).min(std::mem::size_of::<T>());
    let mut flat = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `size` bytes are there on both sides; what is not copied stays zero, a valid `None`.
    unsafe {
        std::ptr::copy_nonoverlapping(table.cast::<u8>(), flat.as_mut_ptr().cast::<u8>(), size);
        Ok(flat.assume_init())
    }
}
