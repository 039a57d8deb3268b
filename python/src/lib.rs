//! `retainit._native`: the border between Python and the engine.
//!
//! | file | what it holds |
//! |---|---|
//! | `function` | the type of cached functions, the way of a hit |
//! | `miss` | everything a call may need beyond that |
//! | `caller` | Python as the engine's language |
//! | `signature`, `encode`, `intern`, `content`, `arrow` | from arguments to key bytes |
//! | `handle` | Python objects as backends hold them |
//! | `background` | loads that nobody has to wait for |
//! | `awaitable` | what a hit of an asynchronous function returns |
//! | `loads`, `operations`, `backend`, `config` | what the Python layer is built on |
//! | `lease` | what locks are built on |
//! | `invalidate` | what invalidations are built on |
//! | `data`, `pickle` | from objects to stored bytes and back |
//! | `tree` | objects as MessagePack trees, and back |
//! | `storage` | how a tier stores values: serializer, compression, seal |
//! | `view`, `stream` | stored bytes, and streams of Arrow data, as Python reads them |
//! | `outcall`, `once` | calls that may run Python code; what is made once |
//! | `state`, `process` | attention bits; fork and exit |
//!
//! `unsafe` here is CPython's C API; each use says why it holds.

mod arrow;
mod awaitable;
mod backend;
mod background;
mod caller;
mod config;
mod content;
mod data;
mod encode;
mod errors;
mod function;
mod handle;
mod intern;
mod invalidate;
mod lease;
mod loads;
mod miss;
mod once;
mod operations;
mod outcall;
mod pickle;
mod process;
mod signature;
mod state;
mod storage;
mod stream;
mod tree;
mod view;

use pyo3::prelude::*;

/// Sets or clears an attention bit.
#[pyfunction]
fn set_attention(bit: u64, on: bool) {
    if on {
        state::raise(bit);
    } else {
        state::lower(bit);
    }
}

/// Stops the process's clocks; from here on only `advance_clock` moves them.
#[pyfunction]
fn freeze_clock() {
    retainit_core::clock::freeze();
}

/// Moves the process's clocks forward by seconds.
#[pyfunction]
fn advance_clock(seconds: f64) {
    retainit_core::clock::advance(std::time::Duration::from_secs_f64(seconds));
}

/// Lets the process's clocks run again.
#[pyfunction]
fn thaw_clock() {
    retainit_core::clock::thaw();
}

/// The process's monotonic clock, in nanoseconds.
#[pyfunction]
fn monotonic() -> i64 {
    retainit_core::clock::monotonic()
}

/// The native module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    function::register(module)?;
    awaitable::register(module)?;
    config::register(module)?;
    module.add_class::<backend::Backend>()?;
    module.add_class::<miss::Key>()?;
    module.add_class::<content::Content>()?;
    module.add_class::<lease::Lease>()?;
    module.add_class::<lease::LeaseWait>()?;
    module.add_class::<loads::Load>()?;
    module.add_class::<loads::Flight>()?;
    module.add_class::<loads::Turn>()?;
    module.add_class::<background::Background>()?;
    module.add_class::<caller::KeptError>()?;
    module.add_class::<storage::Format>()?;
    module.add_class::<storage::Keyring>()?;
    module.add_class::<stream::Stream>()?;
    macro_rules! functions {
        ($($path:path),* $(,)?) => { $( module.add_function(wrap_pyfunction!($path, module)?)?; )* };
    }
    functions![
        set_attention,
        freeze_clock,
        advance_clock,
        thaw_clock,
        monotonic,
        backend::open_backend,
        backend::add_plugin,
        backend::add_plugin_directory,
        backend::load_plugin,
        invalidate::count_tags,
        invalidate::invalidate_key,
        invalidate::invalidate_pattern,
        invalidate::invalidate_tags,
        invalidate::resolve,
        invalidate::set_tag_interval,
        lease::acquire_lease,
        loads::begin,
        loads::many::abandon_many,
        loads::many::count_hits,
        loads::many::look_many,
        loads::many::read_many,
        loads::many::spell_calls,
        loads::many::store_many,
        loads::refresh_load,
        operations::make,
        operations::set_tiers,
        operations::tiers,
        operations::printable_key,
        operations::key,
        operations::encode,
        arrow::arrow_content,
        arrow::arrow_schema,
        operations::is_disabled,
        operations::is_asynchronous,
        operations::may_block,
        operations::peek,
        operations::copied,
        operations::put,
        operations::delete,
        operations::clear,
        operations::refresh,
        operations::info,
        operations::waiting,
        storage::serializer_forms,
        tree::dump_tree,
        tree::why_no_tree,
        tree::load_tree,
        process::before_fork,
        process::after_fork_in_parent,
        process::after_fork_in_child,
        process::at_exit,
    ];
    Ok(())
}
