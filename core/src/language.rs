//! What the engine needs of the language it serves. It runs no code of that language by itself.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use retainit_plugin_api::sdk::Value;

use crate::access::Access;
use crate::error::Result;
use crate::flight::{Flight, Landing};
use crate::format::Format;
use crate::freshness::Moments;
use crate::load::{Life, Load};
use crate::tags::Tags;

/// The bytes of one stored object, kept alive by the value they lie in: a memory map, perhaps, that
/// can be read in place.
pub struct Payload {
    value: Value,
    range: Range<usize>,
    access: Access,
    trusted: bool,
}

impl Payload {
    /// The part `range` of a value of bytes, to which `access` lets somebody write; `trusted` says that
    /// this process has read all of them before.
    pub fn new(value: Value, range: Range<usize>, access: Access, trusted: bool) -> Self {
        Payload { value, range, access, trusted }
    }

    /// All of a value of bytes.
    pub fn of(value: Value, access: Access, trusted: bool) -> Self {
        let range = 0..value.as_bytes().unwrap_or_default().len();
        Payload { value, range, access, trusted }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.value.as_bytes().unwrap_or_default()[self.range.clone()]
    }

    /// Who may write to the bytes.
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether the holder may write to the bytes from now on. What is claimed is not used for the next
    /// reader, so who only reads does not ask.
    pub fn claim(&self) -> bool {
        self.access.claim(&self.value)
    }

    /// Whether this process has read all of these bytes before, and found them right.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// A second reference to the bytes.
    pub fn share(&self) -> Value {
        let value = self.value.share_bytes().unwrap_or_else(|| Value::from_vec(Vec::new()));
        if self.range == (0..value.as_bytes().unwrap_or_default().len()) {
            return value;
        }
        struct Part(Value, Range<usize>);
        impl AsRef<[u8]> for Part {
            fn as_ref(&self) -> &[u8] {
                &self.0.as_bytes().unwrap_or_default()[self.1.clone()]
            }
        }
        Value::from_owner(Arc::new(Part(value, self.range.clone())))
    }
}

/// Bytes that an object was dumped into.
pub trait Bytes: AsRef<[u8]> + Send + Sync {
    /// The value that has them, if one has.
    fn value(&self) -> Option<&Value>;
}

/// What an object was dumped into.
pub struct Dumped<B> {
    /// The codec that reads it.
    pub codec: Cow<'static, str>,
    /// Which version of the codec.
    pub version: u16,
    /// The bytes.
    pub bytes: B,
}

/// What an entry of a tier of objects says beside its value.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Its moments, on the monotonic clock.
    pub moments: Moments,
    /// Its tags.
    pub tags: Tags,
}

/// Objects of the language, and bytes made of them.
pub trait Language {
    /// An owned reference to an object.
    type Object;
    /// What an object was dumped into.
    type Bytes: Bytes;

    /// A handle that a backend with `OBJECTS` can keep. It carries the stamp, where the function's rules
    /// or tags need it.
    fn hold(&self, object: &Self::Object, stamp: &Stamp) -> Value;
    /// The object of a handle, and its stamp if it carries any; `None` if it has gone meanwhile.
    fn take(&self, handle: Value) -> Option<(Self::Object, Option<Stamp>)>;
    /// Tags of the result that [`Caller::life`] was last asked about, beside those that the arguments tell.
    fn tags(&self) -> Vec<Box<str>> {
        Vec::new()
    }
    /// Bytes of an object for a tier of this format.
    ///
    /// # Errors
    /// The object cannot be turned into bytes there.
    fn dump(&self, object: &Self::Object, format: &Format) -> Result<Dumped<Self::Bytes>>;
    /// The object of bytes that a tier of this format had.
    ///
    /// # Errors
    /// The bytes or their codec are not understood, or not allowed there.
    fn load(&self, codec: &str, version: u16, payload: Payload, format: &Format) -> Result<Self::Object>;
    /// Runs work that may block while others of the language go on.
    fn detached<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R;
}

/// One synchronous call of a cached function.
pub trait Caller: Language {
    /// What the function raises.
    type Error: From<crate::Error>;
    /// What flights carry to those who joined.
    type Shared: Send + Sync + 'static;

    /// Notes that what is read, run and stored from now on is part of `flight`.
    fn lead(&self, flight: &Arc<Flight<Self::Shared>>);
    /// Runs the function under `flight`.
    ///
    /// # Errors
    /// What the function raised.
    fn run(&self, flight: &Arc<Flight<Self::Shared>>) -> Result<Self::Object, Self::Error>;
    /// Runs the function outside of any flight.
    ///
    /// # Errors
    /// What the function raised.
    fn run_alone(&self) -> Result<Self::Object, Self::Error>;
    /// How long what the function returned is kept.
    ///
    /// # Errors
    /// That could not be found out; what the function returned is not kept then.
    fn life(&self, object: &Self::Object) -> Result<Life>;
    /// Whether what the function raised is a failure of it, rather than an end that was wanted: of the
    /// caller, or of the process.
    fn is_failure(&self, error: &Self::Error) -> bool;
    /// What is kept of what the function raised, and for how long; `None`: nothing.
    fn kept_error(&self, error: &Self::Error) -> Option<(Self::Object, Life)>;
    /// The error of a load that took too long, or of one that was `refused` because too many which did go on.
    fn timed_out(&self, refused: bool) -> Self::Error;
    /// Carries a load on in the background ([`pipeline::carry_on`](crate::pipeline::carry_on)), which is
    /// given back where there can be no background.
    fn background(&self, load: Load<Self::Shared>) -> Option<Load<Self::Shared>>;
    /// What those who joined get, or the leader of a load in the background.
    fn share(&self, outcome: &Result<Self::Object, Self::Error>) -> Arc<Self::Shared>;
    /// What a leader shared.
    ///
    /// # Errors
    /// What the function raised.
    fn unshare(&self, shared: &Self::Shared) -> Result<Self::Object, Self::Error>;
    /// Flights that the calling code runs under, innermost last.
    fn holding(&self) -> Vec<Arc<Flight<Self::Shared>>>;
    /// Whether this thread can be blocked at all (it drives no event loop).
    fn may_block(&self) -> bool;
    /// Waits for a while, or until the thread is unparked.
    ///
    /// # Errors
    /// The wait was interrupted.
    fn pause(&self, pause: Duration) -> Result<(), Self::Error>;
    /// Waits for a flight for about `limit`; `None` if it has not landed.
    ///
    /// # Errors
    /// The wait was interrupted.
    fn wait(
        &self,
        flight: &Flight<Self::Shared>,
        limit: Duration,
    ) -> Result<Option<Landing<Self::Shared>>, Self::Error>;
}
