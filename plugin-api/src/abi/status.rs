//! Results of calls. Zero and above: the call did what it says; below zero: an error class, with an
//! owned message in [`Call::error`](super::call::Call) where the plugin gave one.

/// Done; the result is written and no completion will ever come.
pub const OK: i32 = 0;
/// Exactly one completion follows, from any thread, possibly before the call returns.
pub const PENDING: i32 = 1;
/// Done; there is no such entry.
pub const NOT_FOUND: i32 = 2;
/// Done; the condition did not hold (add of a present key, compare-and-set of another token,
/// lease held by somebody else), and nothing was changed.
pub const CONFLICT: i32 = 3;

/// Too much work is in flight; try again later.
pub const BUSY: i32 = -1;
/// A passing failure; trying again may succeed.
pub const RETRYABLE: i32 = -2;
/// The deadline passed.
pub const TIMEOUT: i32 = -3;
/// Options are wrong; trying again will not help.
pub const CONFIGURATION: i32 = -4;
/// The component does not have this operation.
pub const UNSUPPORTED: i32 = -5;
/// Stored data could not be understood.
pub const CORRUPT: i32 = -6;
/// The plugin panicked inside this call; the panic was contained.
pub const PANIC: i32 = -7;
/// The instance is beyond use.
pub const FATAL: i32 = -8;
/// The operation was cancelled.
pub const CANCELLED: i32 = -9;
/// An argument breaks the contract.
pub const INVALID: i32 = -10;

/// The name used in messages.
pub const fn name(status: i32) -> &'static str {
    match status {
        OK => "ok",
        PENDING => "pending",
        NOT_FOUND => "not found",
        CONFLICT => "conflict",
        BUSY => "busy",
        RETRYABLE => "retryable",
        TIMEOUT => "timeout",
        CONFIGURATION => "configuration",
        UNSUPPORTED => "unsupported",
        CORRUPT => "corrupt",
        PANIC => "panic",
        FATAL => "fatal",
        CANCELLED => "cancelled",
        INVALID => "invalid",
        _ => "unknown status",
    }
}
