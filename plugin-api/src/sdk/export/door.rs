//! The Rust door, and the macro that opens it.

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::RSlice;

use crate::abi::backend::BackendTable;
use crate::abi::codec::{CompressorTable, SerializerTable};
use crate::abi::root::{PluginRoot, PluginRootRef};
use crate::abi::sink::SinkTable;
use crate::abi::Prelude;

/// Makes the root module. Called once for each library; what it leaks lives as long as the library,
/// which is never unloaded.
#[doc(hidden)]
pub fn root(
    backends: &[BackendTable],
    serializers: &[SerializerTable],
    compressors: &[CompressorTable],
    sinks: &[SinkTable],
) -> PluginRootRef {
    PluginRoot {
        prelude: Prelude::of::<PluginRoot>(0),
        backends: leak(backends),
        serializers: leak(serializers),
        compressors: leak(compressors),
        sinks: leak(sinks),
    }
    .leak_into_prefix()
}

fn leak<T: PrefixTypeTrait + Copy>(tables: &[T]) -> RSlice<'static, T::PrefixRef> {
    let refs: Vec<T::PrefixRef> = tables.iter().map(|table| table.leak_into_prefix()).collect();
    RSlice::from_slice(Vec::leak(refs))
}

/// Makes a library a plugin: its manifest and its door, for the components that it names.
///
/// All four lists are named, empty ones too; the module [`sdk`](crate::sdk) has an example. The plugin's
/// version is that of its crate. Once in a library, at its root.
#[macro_export]
macro_rules! export_plugin {
    (
        name: $name:expr,
        backends: [$($backend:ty),* $(,)?],
        serializers: [$($serializer:ty),* $(,)?],
        compressors: [$($compressor:ty),* $(,)?],
        sinks: [$($sink:ty),* $(,)?] $(,)?
    ) => {
        const _: () = {
            use $crate::sdk::export;

            const COMPONENTS: &[export::Component] = &[
                $(export::Component::backend::<$backend>(),)*
                $(export::Component::serializer::<$serializer>(),)*
                $(export::Component::compressor::<$compressor>(),)*
                $(export::Component::sink::<$sink>(),)*
            ];
            const VERSION: &str = env!("CARGO_PKG_VERSION");

            #[used]
            #[cfg_attr(target_os = "macos", link_section = "__DATA,__retainit")]
            #[cfg_attr(windows, link_section = ".retain")]
            #[cfg_attr(not(any(target_os = "macos", windows)), link_section = ".retainit")]
            static MANIFEST: [u8; export::manifest_len($name, VERSION, COMPONENTS)] =
                export::manifest_bytes($name, VERSION, COMPONENTS);

            fn root() -> $crate::abi::root::PluginRootRef {
                // Keeps the manifest with the door, whatever the linker thinks of unreferenced data.
                ::std::hint::black_box(&MANIFEST);
                export::root(
                    &[$(export::BackendExport::<$backend>::TABLE),*],
                    &[$(export::SerializerExport::<$serializer>::TABLE),*],
                    &[$(export::CompressorExport::<$compressor>::TABLE),*],
                    &[$(export::SinkExport::<$sink>::TABLE),*],
                )
            }

            extern "C" fn construct() -> $crate::abi_stable::library::RootModuleResult {
                $crate::abi_stable::library::__call_root_module_loader(root)
            }

            #[doc(hidden)]
            #[no_mangle]
            #[allow(non_upper_case_globals)]
            pub static retainit_plugin_rust: $crate::abi_stable::library::LibHeader =
                // SAFETY: `construct` gives a reference to the root module named here.
                unsafe {
                    $crate::abi_stable::library::LibHeader::from_constructor::<$crate::abi::root::PluginRootRef>(
                        construct,
                        $crate::abi_stable::library::CheckTypeLayout::Yes,
                    )
                };
        };
    };
}
