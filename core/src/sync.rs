//! What threads meet on, of the standard library. Under the feature `explore` it is shuttle's, which decides at
//! each step who goes next, so that `tests/explore` sees schedules that a machine hardly ever takes.

#[cfg(feature = "explore")]
pub(crate) use shuttle::{sync::atomic, thread};
#[cfg(not(feature = "explore"))]
pub(crate) use std::{sync::atomic, thread};

/// Hashes keys of the table of loads. A schedule that is run again must find them in the same places.
#[cfg(feature = "explore")]
pub(crate) type Hasher = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;
/// Hashes keys of the table of loads.
#[cfg(not(feature = "explore"))]
pub(crate) type Hasher = rapidhash::quality::RandomState;
