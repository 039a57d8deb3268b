//! The C door: one function that returns the root.

use libloading::Library;
use retainit_plugin_api::abi::root::{CRoot, C_DOOR};

use super::tables::{check_prelude, Table};

/// More components than this are a damaged root.
const MOST_COMPONENTS: usize = 1024;

/// The tables behind the C door, in the order of the manifest.
pub fn tables(library: &Library) -> Result<Vec<Table>, String> {
    type Door = unsafe extern "C" fn() -> *const CRoot;
    // SAFETY: the symbol's name stands for this type in every version of the ABI.
    let door = unsafe { library.get::<Door>(C_DOOR) }
        .map_err(|error| format!("its door cannot be found: {error}"))?;
    // SAFETY: as above; the function has no preconditions.
    let root = unsafe { door() };
    if root.is_null() {
        return Err("its root is null".to_owned());
    }
    // SAFETY: a root begins with a prelude and is static.
    let prelude = unsafe { (*root).prelude };
    check_prelude("root", &prelude, std::mem::size_of::<CRoot>())?;
    // SAFETY: the root is as large as this host's, at least.
    let root = unsafe { &*root };
    if root.component_count > MOST_COMPONENTS || (root.component_count > 0 && root.components.is_null()) {
        return Err(format!(
            "its root has {} components, expected at most {MOST_COMPONENTS}",
            root.component_count
        ));
    }
    (0..root.component_count)
        .map(|index| {
            // SAFETY: the root says that so many components are there, with a static table each.
            unsafe {
                let component = &*root.components.add(index);
                Table::copy(component.kind, component.table)
            }
        })
        .collect()
}
