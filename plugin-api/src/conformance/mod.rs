//! The behaviour every backend must show, native or loaded, chosen by the capabilities it declares; likewise
//! for serializers and compressors.
//!
//! ```no_run
//! use retainit_plugin_api::{conformance::Suite, sdk::export::BackendExport, sdk::Backend};
//!
//! /// A plugin's `tests/conformance.rs` does this with its own backend.
//! fn conforms<Mine: Backend>(directory: &str) {
//!     Suite::new(BackendExport::<Mine>::TABLE, |check| format!(r#"{{"path": "{directory}/{check}"}}"#))
//!         .bounded(|check| format!(r#"{{"path": "{directory}/{check}", "max_bytes": 65536}}"#))
//!         .run()
//!         .assert();
//! }
//! ```
//!
//! The suite makes raw calls through a flat table, with a host of its own: a fake clock, values whose
//! references are counted, and a record of everything the plugin reports. A backend with `ASYNC` is
//! checked twice: with calls that must be answered on return, and with calls that may be pending.
//!
//! | file | what it holds |
//! |---|---|
//! | `host` | the host: clock, completions, reports |
//! | `handle` | values with counted references |
//! | `session` | one open instance, and its calls in either mode, one file a subject |
//! | `checks` | the checks, one file a subject |
//! | `codec` | [`serializer`] and [`compressor`]: the same for these kinds of component |

mod checks;
mod codec;
mod handle;
mod host;
mod session;

use std::error::Error;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

use crate::abi::backend::BackendTable;
use crate::abi::capability;
use checks::Check;
pub use codec::{compressor, serializer};
pub(crate) use session::Mode;

/// Ends a check with a message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+).into());
        }
    };
}
pub(crate) use ensure;

/// What a check returns.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// Makes the options of a check, as JSON, from the check's name.
type Options<'a> = Box<dyn Fn(&str) -> String + 'a>;

/// One backend, and how to open it.
pub struct Suite<'a> {
    table: BackendTable,
    options: Options<'a>,
    bounded: Option<Options<'a>>,
    only: Option<String>,
    patience: Duration,
}

impl<'a> Suite<'a> {
    /// A suite for the backend behind `table`. `options` makes the JSON options for a check out of its
    /// name; a persistent or shared backend must get an empty store of its own for each name (names
    /// are of letters, digits, `_` and `-`), and the same one for the same name.
    pub fn new(table: BackendTable, options: impl Fn(&str) -> String + 'a) -> Self {
        Suite {
            table,
            options: Box::new(options),
            bounded: None,
            only: None,
            patience: Duration::from_secs(20),
        }
    }

    /// Options under which at most 64 KiB of values are kept; needed where `EVICTS` is declared.
    pub fn bounded(mut self, options: impl Fn(&str) -> String + 'a) -> Self {
        self.bounded = Some(Box::new(options));
        self
    }

    /// Runs only checks whose name contains `text`.
    pub fn only(mut self, text: impl Into<String>) -> Self {
        self.only = Some(text.into());
        self
    }

    /// How long to wait for what a plugin does on threads of its own before a check fails: 20 seconds of
    /// real time unless told.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs all checks that the declared capabilities call for.
    pub fn run(&self) -> Report {
        let capabilities = self.table.prelude.capabilities;
        let mut report = Report::default();
        let modes: &[Mode] = if capabilities & capability::ASYNC != 0 {
            &[Mode::Ready, Mode::Pending]
        } else {
            &[Mode::Ready]
        };
        for mode in modes {
            for check in checks::all() {
                let name = match mode {
                    Mode::Ready => check.name.to_owned(),
                    Mode::Pending => format!("{}-async", check.name),
                };
                if !check.applies(capabilities, *mode)
                    || self.only.as_ref().is_some_and(|text| !name.contains(text))
                {
                    continue;
                }
                let failure = self.run_one(&check, *mode, &name).err();
                report.results.push(CheckResult { name, failure });
            }
        }
        report
    }

    fn run_one(&self, check: &Check, mode: Mode, name: &str) -> Result<(), String> {
        let options = match (check.bounded, &self.bounded) {
            (false, _) => (self.options)(name),
            (true, Some(bounded)) => bounded(name),
            (true, None) => {
                return Err("`EVICTS` is declared, but the suite was given no bounded options".to_owned());
            }
        };
        let subject = checks::Subject { table: self.table, options, mode, patience: self.patience };
        match catch_unwind(AssertUnwindSafe(|| (check.run)(&subject))) {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err("the check panicked, see above".to_owned()),
        }
    }
}

impl fmt::Debug for Suite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("table", &self.table.prelude).finish_non_exhaustive()
    }
}

/// What became of one check.
#[derive(Debug, Clone)]
pub struct CheckResult {
    /// The check.
    pub name: String,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// The checks that were run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order they were run.
    pub results: Vec<CheckResult>,
}

impl Report {
    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CheckResult> {
        self.results.iter().filter(|result| result.failure.is_some())
    }

    /// Panics, naming every failure, unless at least one check was run and all passed.
    #[track_caller]
    pub fn assert(&self) {
        assert!(!self.results.is_empty(), "no conformance check was run");
        let failures = self.failures().count();
        assert!(failures == 0, "{failures} of {} conformance checks failed\n{self}", self.results.len());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            match &result.failure {
                None => writeln!(f, "ok      {}", result.name)?,
                Some(why) => writeln!(f, "FAILED  {}: {why}", result.name)?,
            }
        }
        Ok(())
    }
}
