//! The trait of event sinks, and the events they take.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::call::{Call, Host};
use super::error::Result;
use crate::abi::sink as raw;
use crate::abi::value::Slice;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A value was found.
    Hit,
    /// No value was found.
    Miss,
    /// A value was stored.
    Set,
    /// A value was removed.
    Delete,
    /// Many values were removed.
    Clear,
    /// The cache failed; the call did not.
    Error,
    /// Values were evicted.
    Evict,
    /// A stale value was served.
    Stale,
    /// Values were invalidated.
    Invalidate,
    /// The function starts.
    CallStart,
    /// The function returned.
    CallEnd,
    /// The function raised.
    CallError,
    /// A backend was opened.
    BackendInit,
    /// A backend was closed.
    BackendClose,
    /// A circuit breaker opened.
    CircuitOpen,
    /// A circuit breaker closed.
    CircuitClose,
    /// Something that this version of the kit does not know, by its number.
    Other(u32),
}

impl EventKind {
    const fn from_raw(number: u32) -> Self {
        use raw::event;
        match number {
            event::HIT => EventKind::Hit,
            event::MISS => EventKind::Miss,
            event::SET => EventKind::Set,
            event::DELETE => EventKind::Delete,
            event::CLEAR => EventKind::Clear,
            event::ERROR => EventKind::Error,
            event::EVICT => EventKind::Evict,
            event::STALE => EventKind::Stale,
            event::INVALIDATE => EventKind::Invalidate,
            event::CALL_START => EventKind::CallStart,
            event::CALL_END => EventKind::CallEnd,
            event::CALL_ERROR => EventKind::CallError,
            event::BACKEND_INIT => EventKind::BackendInit,
            event::BACKEND_CLOSE => EventKind::BackendClose,
            event::CIRCUIT_OPEN => EventKind::CircuitOpen,
            event::CIRCUIT_CLOSE => EventKind::CircuitClose,
            other => EventKind::Other(other),
        }
    }
}

/// One event, borrowed for the call. Texts are empty, and numbers `None`, where they do not apply.
#[repr(transparent)]
pub struct Event<'a>(raw::Event, PhantomData<&'a [u8]>);

impl<'a> Event<'a> {
    /// Wraps the host's events.
    ///
    /// # Safety
    /// The events and their texts must be valid for `'a`.
    pub(super) unsafe fn wrap(events: &'a [raw::Event]) -> &'a [Event<'a>] {
        // SAFETY: `Event` is transparent over the raw event.
        unsafe { std::slice::from_raw_parts(events.as_ptr().cast(), events.len()) }
    }

    /// What happened.
    pub fn kind(&self) -> EventKind {
        EventKind::from_raw(self.0.kind)
    }
    /// Number of the tier, from 0.
    pub fn tier(&self) -> Option<u32> {
        (self.0.tier != u32::MAX).then_some(self.0.tier)
    }
    /// Unix time in nanoseconds.
    pub fn time(&self) -> i64 {
        self.0.time
    }
    /// Duration in nanoseconds.
    pub fn duration(&self) -> Option<u64> {
        u64::try_from(self.0.duration).ok()
    }
    /// Size in bytes.
    pub fn size(&self) -> Option<u64> {
        u64::try_from(self.0.size).ok()
    }
    /// How many entries it is about.
    pub fn count(&self) -> Option<u64> {
        u64::try_from(self.0.count).ok()
    }
    /// Identifies the call.
    pub fn call_id(&self) -> u64 {
        self.0.call_id
    }
    /// Qualified name of the function.
    pub fn function(&self) -> Cow<'a, str> {
        self.text(self.0.function)
    }
    /// The key's printable form.
    pub fn key(&self) -> Cow<'a, str> {
        self.text(self.0.key)
    }
    /// Name of the backend.
    pub fn backend(&self) -> Cow<'a, str> {
        self.text(self.0.backend)
    }
    /// Tags.
    pub fn tags(&self) -> impl Iterator<Item = String> + use<'a> {
        let joined = self.text(self.0.tags).into_owned();
        let tags: Vec<String> =
            if joined.is_empty() { Vec::new() } else { joined.split('\u{1f}').map(str::to_owned).collect() };
        tags.into_iter()
    }
    /// The error.
    pub fn error(&self) -> Cow<'a, str> {
        self.text(self.0.error)
    }

    fn text(&self, slice: Slice) -> Cow<'a, str> {
        // SAFETY: texts are valid for `'a`, see `wrap`.
        String::from_utf8_lossy(unsafe { slice.as_bytes() })
    }
}

impl std::fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("kind", &self.kind())
            .field("function", &self.function())
            .field("key", &self.key())
            .field("backend", &self.backend())
            .finish_non_exhaustive()
    }
}

/// Takes events. One instance serves many threads.
pub trait Sink: Send + Sync + Sized + 'static {
    /// The name that configurations use.
    const NAME: &'static str;
    /// Zero: sinks have no capabilities yet.
    const CAPABILITIES: u64 = 0;
    /// JSON Schema of [`Sink::Options`], an object with `properties`.
    const SCHEMA: &'static str;
    /// Options, read from the JSON object that the host gives.
    type Options: DeserializeOwned;

    /// Makes an instance.
    fn open(options: Self::Options, host: Host) -> Result<Self>;
    /// Takes events, in order. Must not block: `Busy` means that it drops them.
    fn emit(&self, call: &Call<'_>, events: &[Event<'_>]) -> Result<()>;
    /// Delivers what is buffered before the call's deadline.
    fn flush(&self, call: &Call<'_>) -> Result<()>;
}
