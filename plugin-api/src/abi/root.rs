//! The two doors. Both lead to the same component tables, in the order of the manifest's components
//! of that kind.

use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::RSlice;
use abi_stable::StableAbi;

use super::backend::BackendTableRef;
use super::codec::{CompressorTableRef, SerializerTableRef};
use super::sink::SinkTableRef;
use super::Prelude;

/// Symbol of the Rust door: a static `abi_stable::library::LibHeader` of [`PluginRoot`].
pub const RUST_DOOR: &[u8] = b"retainit_plugin_rust\0";
/// Symbol of the C door: a function `const retainit_root *retainit_plugin_root(void)`.
pub const C_DOOR: &[u8] = b"retainit_plugin_root\0";

/// The Rust door: abi_stable compares the layout of this and of the tables it names.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRootRef, prefix_fields = PluginRootPrefix)))]
#[sabi(missing_field(panic))]
pub struct PluginRoot {
    /// Size and version.
    pub prelude: Prelude,
    /// Backends.
    pub backends: RSlice<'static, BackendTableRef>,
    /// Serializers.
    pub serializers: RSlice<'static, SerializerTableRef>,
    /// Compressors.
    pub compressors: RSlice<'static, CompressorTableRef>,
    /// Event sinks.
    #[sabi(last_prefix_field)]
    pub sinks: RSlice<'static, SinkTableRef>,
}

impl RootModule for PluginRootRef {
    abi_stable::declare_root_module_statics! {PluginRootRef}
    const BASE_NAME: &'static str = "retainit_plugin";
    const NAME: &'static str = "retainit_plugin";
    // The ABI's version, not the crate's: abi_stable compares nothing else of it.
    const VERSION_STRINGS: VersionStrings = VersionStrings::new("1.0.0");
}

/// One component behind the C door.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CComponent {
    /// One of [`super::kind`].
    pub kind: u32,
    /// Zero.
    pub reserved: u32,
    /// The component's table, which begins with its prelude.
    pub table: *const Prelude,
}

/// The C door's root.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct CRoot {
    /// Size and version.
    pub prelude: Prelude,
    /// Components in the order of the manifest.
    pub components: *const CComponent,
    /// Their number.
    pub component_count: usize,
}

const _: () = {
    assert!(std::mem::size_of::<CComponent>() == 16);
    assert!(std::mem::size_of::<CRoot>() == 32);
};
