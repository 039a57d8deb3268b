//! A turn: one process at a time runs a function for a key.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::function::Function;
use crate::lease::{Lease, Wait, Wake};
use crate::lock::Mutex;
use crate::tier::{CallKey, Tier};
use retainit_plugin_api::abi::capability;

/// The lease of a load, once it has it. Dropping it gives the lease back without waiting for that.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<Option<Lease>>>);

impl Held {
    /// Whether there was a lease, and somebody else may have had it since.
    pub fn is_lost(&self) -> bool {
        self.0.lock().as_ref().is_some_and(Lease::is_lost)
    }

    /// Gives the lease back, if there is one.
    pub fn let_go(&self) {
        let lease = self.0.lock().take();
        if let Some(lease) = lease {
            lease.let_go();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) == 1 {
            self.let_go();
        }
    }
}

/// A wait for a turn, for threads and tasks: attempts, with pauses in between, in each of which a result may come
/// from the process whose turn it is.
pub struct Turn {
    wait: Wait,
    held: Held,
    function: Arc<Function>,
}

impl Turn {
    /// The wait of a load until `deadline` on the monotonic clock; `None` where it needs no turn. `wake` is called
    /// when this process gives the lease back.
    pub(crate) fn of(
        function: &Arc<Function>,
        tiers: &[Tier],
        key: &CallKey,
        held: &Held,
        deadline: i64,
        wake: impl Fn() -> Wake + Send + Sync + 'static,
    ) -> Option<Self> {
        let wanted = match function.policy().lease {
            Some(wanted) => wanted,
            None => tiers.iter().any(|tier| {
                tier.instance().has(capability::LEASE | capability::SHARED)
                    && !tier.instance().has(capability::PRIVATE)
            }),
        };
        // One that is not asked gives no leases either.
        let wanted = wanted && !tiers.iter().any(|tier| tier.instance().refuses());
        let wait = wanted.then(|| Wait::of_load(tiers, key, deadline, wake)).flatten()?;
        Some(Turn { wait, held: held.clone(), function: function.clone() })
    }

    /// Whether it is this load's turn. So it is where the backend fails: better to work twice.
    ///
    /// # Errors
    /// The failure, where the function is strict.
    pub fn attempt(&mut self) -> Result<bool> {
        match self.wait.attempt() {
            Ok(Some(lease)) => {
                let before = self.held.0.lock().replace(lease);
                drop(before);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => self.function.failed(error).map(|()| true),
        }
    }

    /// How long to wait before the next attempt; `None` where the hard timeout has passed, so that the function
    /// runs without a turn.
    pub fn pause(&mut self) -> Option<Duration> {
        self.wait.pause()
    }
}
