//! Who may write to the bytes of a value that a backend gave.

use retainit_plugin_api::abi::{capability, status};
use retainit_plugin_api::sdk::Value;

use crate::instance::Instance;

/// The backend table's function of that name.
type Claim = unsafe extern "C" fn(*const retainit_plugin_api::abi::value::Value) -> i32;

/// Who may write to bytes.
#[derive(Debug, Clone, Copy)]
pub enum Access {
    /// Nobody: they are, or may be, somebody else's too.
    Nobody,
    /// Their holder, to whom alone they belong.
    Holder,
    /// Their holder, once it has asked the plugin. Plugins are never unloaded, so it can be asked at any
    /// time.
    Claimant(Claim),
}

impl Access {
    /// To the values of `instance`.
    pub fn of(instance: &Instance) -> Self {
        if instance.has(capability::EXCLUSIVE) {
            return Access::Holder;
        }
        let claim = instance.table().claim.filter(|_| instance.has(capability::CLAIM));
        claim.map_or(Access::Nobody, Access::Claimant)
    }

    /// Whether the holder of `value` may write to its bytes from now on.
    pub fn claim(self, value: &Value) -> bool {
        match self {
            Access::Nobody => false,
            Access::Holder => true,
            // SAFETY: the table was checked, and the value, which is held, is one that its `get` gave.
            Access::Claimant(claim) => unsafe { claim(value.as_raw()) == status::OK },
        }
    }
}
