//! Waiting that ends with the call's deadline.

use std::cell::Cell;
use std::time::{Duration, Instant};

use retainit_plugin_api::sdk::{Call, Error, ErrorKind};

/// How long one call may wait, all its waits together.
///
/// Real time is read at the first wait only: most calls never wait, and the host's clock may stand
/// still in tests.
#[derive(Debug)]
pub struct Wait {
    limit: Duration,
    by_deadline: bool,
    started: Cell<Option<Instant>>,
}

impl Wait {
    /// The shorter of the call's remaining time and `longest`.
    pub fn of(call: &Call<'_>, longest: Duration) -> Self {
        // A call without a clock reading has a deadline that cannot be compared with anything.
        let remaining = if call.now() == 0 { None } else { call.remaining() };
        match remaining {
            Some(remaining) if remaining < longest => Wait { by_deadline: true, ..Wait::at_most(remaining) },
            _ => Wait::at_most(longest),
        }
    }

    /// At most `limit`.
    pub fn at_most(limit: Duration) -> Self {
        Wait { limit, by_deadline: false, started: Cell::new(None) }
    }

    /// What is left.
    pub fn left(&self) -> Duration {
        self.started.get().map_or(self.limit, |started| self.limit.saturating_sub(started.elapsed()))
    }

    /// Sleeps, longer the more attempts there were; `false` if the time is over.
    pub fn pause(&self, attempt: u32) -> bool {
        if !self.pause_begins() {
            return false;
        }
        std::thread::sleep(backoff(attempt).min(self.left()));
        true
    }

    /// Starts the clock, for who waits by other means; `false` if the time is over.
    pub fn pause_begins(&self) -> bool {
        if self.started.get().is_none() {
            self.started.set(Some(Instant::now()));
        }
        !self.left().is_zero()
    }

    /// The error for a wait that was in vain.
    pub fn over(&self, what: &str) -> Error {
        if self.by_deadline {
            Error::new(ErrorKind::Timeout, format!("the deadline passed while waiting for {what}"))
        } else {
            Error::new(ErrorKind::Busy, format!("waited {:?} for {what}", self.limit))
        }
    }
}

/// From 20 µs, about the time of one write, doubled up to 2 ms.
pub fn backoff(attempt: u32) -> Duration {
    Duration::from_micros((20u64 << attempt.min(7)).min(2000))
}
