//! The call's clock and deadline, and the host's services.

use std::marker::PhantomData;
use std::time::Duration;

use super::value::Value;
use crate::abi::call as raw;
use crate::abi::host::{evict, HostRef};
use crate::abi::value::{Slice, BYTES};

/// What a call carries. Exists only while the host is calling on this thread.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    raw: &'a raw::Call,
    // Object references may be added only on the calling thread.
    _thread: PhantomData<*const ()>,
}

impl<'a> Call<'a> {
    /// Wraps a raw call.
    pub const fn new(raw: &'a raw::Call) -> Self {
        Call { raw, _thread: PhantomData }
    }

    /// The operation id; zero if the answer must be ready on return.
    pub const fn op(&self) -> u64 {
        self.raw.op
    }

    /// The host's monotonic clock in nanoseconds, read just before the call; zero where no expiry is
    /// to be looked at.
    #[inline]
    pub const fn now(&self) -> i64 {
        self.raw.now
    }

    /// When the call must be over, on the same clock; [`raw::NEVER`] for no bound.
    pub const fn deadline(&self) -> i64 {
        self.raw.deadline
    }

    /// Time left until the deadline, `None` for no bound.
    pub fn remaining(&self) -> Option<Duration> {
        (self.raw.deadline != raw::NEVER)
            .then(|| Duration::from_nanos(self.raw.deadline.saturating_sub(self.raw.now).max(0) as u64))
    }
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something is off.
    Warn = 2,
    /// Something happened.
    Info = 3,
    /// For whoever looks for a fault.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// Why an entry left without being asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evicted {
    /// The backend was full.
    Capacity,
    /// The entry had expired.
    Expired,
    /// The entry was damaged.
    Corrupt,
}

/// The host, as an instance sees it. Valid until the instance is dropped.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub struct Host(HostRef);

// SAFETY: the contract lets all host functions be called from any thread.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// Wraps a raw host.
    ///
    /// # Safety
    /// `raw` must stay valid for as long as the result and its copies are used.
    pub const unsafe fn new(raw: HostRef) -> Self {
        Host(raw)
    }

    /// The host's monotonic clock in nanoseconds.
    pub fn monotonic(&self) -> i64 {
        // SAFETY: the host is valid while the instance lives.
        unsafe { ((*self.0.table).clock)(self.0.context, 0) }
    }

    /// Unix time in nanoseconds, from the host's clock.
    pub fn unix_time(&self) -> i64 {
        // SAFETY: as above.
        unsafe { ((*self.0.table).clock)(self.0.context, 1) }
    }

    /// Writes a log line.
    pub fn log(&self, level: Level, message: &str) {
        // SAFETY: as above; the message is borrowed for the call.
        unsafe { ((*self.0.table).log)(self.0.context, level as u32, Slice::new(message.as_bytes())) }
    }

    /// Reports entries that left without being asked to. Call it outside locks.
    pub fn evicted<'k>(&self, entries: impl IntoIterator<Item = (&'k [u8], Evicted)>) {
        let (keys, reasons): (Vec<Slice>, Vec<u32>) = entries
            .into_iter()
            .map(|(key, reason)| {
                let reason = match reason {
                    Evicted::Capacity => evict::CAPACITY,
                    Evicted::Expired => evict::EXPIRED,
                    Evicted::Corrupt => evict::CORRUPT,
                };
                (Slice::new(key), reason)
            })
            .unzip();
        if !keys.is_empty() {
            // SAFETY: both arrays are valid for the call and of the same length.
            unsafe { ((*self.0.table).evicted)(self.0.context, keys.as_ptr(), reasons.as_ptr(), keys.len()) }
        }
    }

    /// Reports keys that something else changed; none means "anything may have changed".
    pub fn invalidated(&self, keys: &[&[u8]]) {
        let keys: Vec<Slice> = keys.iter().map(|key| Slice::new(key)).collect();
        // SAFETY: the array is valid for the call.
        unsafe { ((*self.0.table).invalidated)(self.0.context, keys.as_ptr(), keys.len()) }
    }

    /// A buffer of the host, filled by `fill`; one of the plugin's own where the host has none to give.
    pub fn allocate(&self, len: usize, fill: impl FnOnce(&mut [u8])) -> Value {
        // SAFETY: the host is valid; the result owns its reference.
        let value = unsafe { Value::from_raw(((*self.0.table).allocate)(self.0.context, len)) };
        if value.as_raw().kind != BYTES {
            let mut bytes = vec![0; len];
            fill(&mut bytes);
            return Value::from_vec(bytes);
        }
        // SAFETY: a fresh buffer has `len` writable bytes that nobody else sees yet.
        fill(unsafe { std::slice::from_raw_parts_mut(value.as_raw().ptr.cast_mut(), len) });
        value
    }

    pub(super) fn complete(&self, op: u64, outcome: &raw::Outcome) {
        // SAFETY: the outcome is valid for the call; its references pass to the host.
        unsafe { ((*self.0.table).complete)(self.0.context, op, outcome) }
    }
}
