//! The checks, one file a subject.

mod asynchronous;
mod batch;
mod cas;
mod concurrency;
mod core;
mod counter;
mod declared;
mod expiry;
mod lease;
mod lifecycle;
mod ownership;
mod scan;
mod shared;

use std::time::Duration;

use super::host::{eventually, TestHost};
use super::session::{Fault, Session};
use super::{Mode, Outcome};
use crate::abi::backend::BackendTable;

/// A second, in nanoseconds.
pub(super) const SECOND: i64 = 1_000_000_000;
/// What the test host's clocks show at first.
const MONOTONIC: i64 = 5_000 * SECOND;
const UNIX: i64 = 1_700_000_000 * SECOND;

/// What a check is about: one backend, opened with the options made for this check.
pub(super) struct Subject {
    pub(super) table: BackendTable,
    pub(super) options: String,
    pub(super) mode: Mode,
    pub(super) patience: Duration,
}

impl Subject {
    /// A fresh instance on a fresh host.
    pub(super) fn open(&self) -> Result<Session, Fault> {
        self.open_with(self.host(MONOTONIC, UNIX))
    }

    pub(super) fn open_with(&self, host: &'static TestHost) -> Result<Session, Fault> {
        Session::open(self.table, host, &self.options, self.mode)
    }

    pub(super) fn host(&self, monotonic: i64, unix: i64) -> &'static TestHost {
        TestHost::new(self.patience, monotonic, unix)
    }

    /// The same with other options.
    fn with(&self, options: &str) -> Subject {
        Subject { options: options.to_owned(), ..*self }
    }

    /// Polls until `condition` holds or patience ends.
    pub(super) fn eventually(&self, condition: impl FnMut() -> bool) -> bool {
        eventually(self.patience, condition)
    }

    pub(super) fn declares(&self, capabilities: u64) -> bool {
        self.table.prelude.capabilities & capabilities == capabilities
    }
}

/// One check.
pub(super) struct Check {
    pub(super) name: &'static str,
    /// Capabilities that must all be declared.
    needs: u64,
    /// Capabilities of which none may be declared.
    unless: u64,
    /// The mode it is for; both if none.
    mode: Option<Mode>,
    /// Whether it wants the options that bound the store.
    pub(super) bounded: bool,
    pub(super) run: fn(&Subject) -> Outcome,
}

impl Check {
    const fn new(name: &'static str, needs: u64, run: fn(&Subject) -> Outcome) -> Self {
        Check { name, needs, unless: 0, mode: None, bounded: false, run }
    }

    const fn unless(self, unless: u64) -> Self {
        Check { unless, ..self }
    }

    const fn only(self, mode: Mode) -> Self {
        Check { mode: Some(mode), ..self }
    }

    const fn bounded(self) -> Self {
        Check { bounded: true, ..self }
    }

    pub(super) fn applies(&self, capabilities: u64, mode: Mode) -> bool {
        capabilities & self.needs == self.needs
            && capabilities & self.unless == 0
            && self.mode.is_none_or(|wanted| wanted == mode)
    }
}

/// All checks, in the order they are run.
pub(super) fn all() -> impl Iterator<Item = Check> {
    declared::CHECKS
        .into_iter()
        .chain(core::CHECKS)
        .chain(ownership::CHECKS)
        .chain(expiry::CHECKS)
        .chain(batch::CHECKS)
        .chain(cas::CHECKS)
        .chain(counter::CHECKS)
        .chain(scan::CHECKS)
        .chain(lease::CHECKS)
        .chain(shared::CHECKS)
        .chain(lifecycle::CHECKS)
        .chain(concurrency::CHECKS)
        .chain(asynchronous::CHECKS)
}
