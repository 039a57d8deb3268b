//! Every developer command of the project, as `cargo xtask <verb>`.
//!
//! * `demo`, `test`, `bench`, `soak`, `fuzz`, `explore`, `install`: the verbs, a file each.
//! * `venv`: the Python environment that they share.
//! * `shell`: child processes, with what they are doing on show.
//! * `house`: the rules of this repository that no linter knows.
//! * `tally`: how many tests ran, read from the runners' own output.
//!
//! Only the standard library is used, so that the first command of a new contributor starts at once.

mod bench;
mod demo;
mod explore;
mod fuzz;
mod house;
mod install;
mod shell;
mod soak;
mod tally;
mod test;
mod venv;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <verb>

  demo                       cache an expensive function: cold, from memory, from disk in a new process
  test                       everything: cargo tests, pytest, typing, lints, house rules
  bench [--quick] [--only NAME] [--pythons]
                             measure against the peers, side by side; writes bench/results/
  soak [EVICTIONS] [EXITS]   evictions on plugin threads during hits, and exits with work in flight
  fuzz [TARGET...] [--seconds N] [--input FILE]
                             inputs nobody wrote for all that reads: entries, plugins, configurations, codecs
  explore [--iterations N] [--mutants]
                             loads and invalidations in schedules that a machine hardly ever takes
  install [--dev]            build the package and install it into .venv
  house                      only the house rules
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match arguments.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("", &[][..]),
    };
    let outcome = match verb {
        "demo" => demo::run(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "soak" => soak::run(rest),
        "fuzz" => fuzz::run(rest),
        "explore" => explore::run(rest),
        "install" => install::run(rest),
        "house" => house::run(rest),
        "" | "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return if verb.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
        unknown => {
            eprint!("unknown verb `{unknown}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("\nxtask {verb}: {reason}");
            ExitCode::FAILURE
        }
    }
}
