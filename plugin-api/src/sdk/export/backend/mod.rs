//! The table of a backend.
//!
//! | file | what it holds |
//! |---|---|
//! | `call` | how one raw call reaches the backend |
//! | `entry`, `batch`, `keyspace` | operations on one key, on many, on all that begin alike |
//! | `lease` | operations on leases |
//! | `lifecycle` | opening, quiescing, cancelling, health, forks |

mod batch;
mod call;
mod entry;
mod keyspace;
mod lease;
mod lifecycle;

use std::marker::PhantomData;

use crate::abi::backend::BackendTable;
use crate::abi::{capability, Prelude};
use crate::sdk::backend::Backend;

/// The table of backend `T`, as [`export_plugin!`](crate::export_plugin) exports it and as tests call
/// it without a library in between.
#[derive(Debug)]
pub struct BackendExport<T>(PhantomData<T>);

/// `$function` where the backend declares `$bit`, else nothing.
macro_rules! when {
    ($bit:ident, $function:expr) => {
        if T::CAPABILITIES & capability::$bit != 0 {
            Some($function)
        } else {
            None
        }
    };
}

impl<T: Backend> BackendExport<T> {
    /// The functions; those of capabilities that `T` does not declare are `None`.
    pub const TABLE: BackendTable = BackendTable {
        prelude: Prelude::of::<BackendTable>(T::CAPABILITIES),
        open: Some(lifecycle::open::<T>),
        get: Some(entry::get::<T>),
        set: Some(entry::set::<T>),
        delete: Some(entry::delete::<T>),
        clear: Some(keyspace::clear::<T>),
        quiesce: Some(lifecycle::quiesce::<T>),
        close: Some(super::close::<T>),
        get_many: Some(batch::get_many::<T>),
        set_many: Some(batch::set_many::<T>),
        delete_many: Some(batch::delete_many::<T>),
        cancel: when!(ASYNC, lifecycle::cancel::<T>),
        add: when!(CAS, entry::add::<T>),
        compare_and_set: when!(CAS, entry::compare_and_set::<T>),
        increment: when!(COUNTER, entry::increment::<T>),
        touch: when!(TTL, entry::touch::<T>),
        ttl: when!(TTL, entry::ttl::<T>),
        scan: when!(SCAN, keyspace::scan::<T>),
        count: when!(SCAN, keyspace::count::<T>),
        lease_acquire: when!(LEASE, lease::lease_acquire::<T>),
        lease_renew: when!(LEASE, lease::lease_renew::<T>),
        lease_release: when!(LEASE, lease::lease_release::<T>),
        subscribe: when!(SUBSCRIBE, keyspace::subscribe::<T>),
        ping: Some(lifecycle::ping::<T>),
        statistics: Some(lifecycle::statistics::<T>),
        flush: Some(lifecycle::flush::<T>),
        fork_prepare: when!(FORK, lifecycle::fork_prepare::<T>),
        fork_parent: when!(FORK, lifecycle::fork_parent::<T>),
        fork_child: when!(FORK, lifecycle::fork_child::<T>),
        claim: when!(CLAIM, entry::claim::<T>),
    };
}
