//! The behaviour every serializer and every compressor must show, chosen by what it declares.
//!
//! | file | what it holds |
//! |---|---|
//! | `instance` | one open instance, and calls with their error slot |
//! | `serializer`, `compressor` | the checks of each kind |
//! | `calls` | `serialize` and `deserialize` |
//! | `sample` | data that is put in and compared with what comes out |
//! | `tree`, `tensor`, `table`, `stream` | data of these forms, written and read |
//! | `hostile` | bytes that nobody wrote |

mod calls;
mod compressor;
mod hostile;
mod instance;
mod sample;
mod serializer;
mod stream;
mod table;
mod tensor;
mod tree;

use std::panic::{catch_unwind, AssertUnwindSafe};

use super::{CheckResult, Outcome, Report};
use crate::abi::codec::{CompressorTable, SerializerTable};
use instance::Codec;

/// What a check is about: one table, and the options to open it with.
struct Subject<T> {
    table: T,
    options: String,
}

/// One check, by name.
type Check<T> = (&'static str, fn(&Subject<T>) -> Outcome);

/// Runs all checks that the serializer's declared forms call for: data of each form comes back exactly or is
/// refused, whatever bytes come in end in data or `CORRUPT`, and every reference is released once. `options` is
/// a JSON object.
pub fn serializer(table: &SerializerTable, options: &str) -> Report {
    run(*table, options, &serializer::CHECKS)
}

/// As [`serializer`], for compressors: what went in comes out, and never more than the limit.
pub fn compressor(table: &CompressorTable, options: &str) -> Report {
    run(*table, options, &compressor::CHECKS)
}

fn run<T: Codec>(table: T, options: &str, checks: &[Check<T>]) -> Report {
    let subject = Subject { table, options: options.to_owned() };
    let mut report = Report::default();
    for (name, check) in checks.iter().chain(&instance::checks()) {
        let failure = match catch_unwind(AssertUnwindSafe(|| check(&subject))) {
            Ok(outcome) => outcome.err().map(|error| error.to_string()),
            Err(_) => Some("the check panicked, see above".to_owned()),
        };
        report.results.push(CheckResult { name: (*name).to_owned(), failure });
    }
    report
}
