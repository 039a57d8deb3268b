//! `cargo xtask test`: everything that has to hold before a change goes in.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::shell::{announce, cargo, command, run as run_command, run_reading, succeeds, Outcome};
use crate::tally::Tally;
use crate::venv::Venv;
use crate::{explore, house, install};

/// The stages, in the order in which they run: what is quick and fails often comes first.
const STAGES: [(&str, Stage); 9] = [
    ("house", |_, tally| house::check(tally)),
    ("fmt", |_, _| {
        component("fmt", "rustfmt").and_then(|()| run_command(cargo().args(["fmt", "--all", "--check"])))
    }),
    ("clippy", clippy),
    ("cargo", cargo_tests),
    ("explore", |_, tally| explore::check(tally)),
    ("install", |venv, _| install::package(venv, "[dev]")),
    ("ruff", ruff),
    ("mypy", mypy),
    ("pytest", pytest),
];

type Stage = fn(&Venv, &mut Tally) -> Outcome;

/// Runs every stage, or those named; a failure does not keep the later ones from running.
pub fn run(arguments: &[String]) -> Outcome {
    let names = STAGES.map(|(name, _)| name);
    if let Some(unknown) = arguments.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("unknown stage `{unknown}`: expected one of `{}`", names.join("`, `")));
    }
    let started = Instant::now();
    let venv = Venv::ready()?;
    let mut total = Tally::default();
    let mut reports = Vec::new();
    for (name, stage) in STAGES {
        if !arguments.is_empty() && !arguments.iter().any(|wanted| wanted == name) {
            continue;
        }
        announce(name);
        let clock = Instant::now();
        let mut tally = Tally::default();
        let outcome = stage(&venv, &mut tally);
        // A stage that counts nothing itself is one check, and so is one that broke before it could count.
        match &outcome {
            Ok(()) if tally == Tally::default() => tally.passed = 1,
            Err(_) if tally.failed == 0 => tally.failed = 1,
            _ => {}
        }
        total.add(tally);
        reports.push((name, outcome, tally, clock.elapsed()));
    }
    conclude(&reports, total, started.elapsed())
}

fn conclude(reports: &[(&str, Outcome, Tally, Duration)], total: Tally, took: Duration) -> Outcome {
    println!("\nstages:");
    for (name, outcome, tally, took) in reports {
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{name:>10} ... {verdict:<6} {:>5} passed {:>7.1} s", tally.passed, took.as_secs_f64());
    }
    for (name, outcome, ..) in reports {
        if let Err(reason) = outcome {
            println!("\n{name}: {reason}");
        }
    }
    println!("\n{}", total.summary(took));
    match reports.iter().filter(|(_, outcome, ..)| outcome.is_err()).count() {
        0 => Ok(()),
        failures => Err(format!("{failures} of {} stages failed", reports.len())),
    }
}

fn clippy(venv: &Venv, _: &mut Tally) -> Outcome {
    component("clippy", "clippy")?;
    let mut clippy = cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    run_command(for_python(&mut clippy, venv))
}

fn cargo_tests(venv: &Venv, tally: &mut Tally) -> Outcome {
    // The tests of loaded plugins find the libraries where a build of the workspace leaves them.
    run_command(for_python(cargo().args(["build", "--workspace"]), venv))?;
    run_reading(for_python(cargo().args(["test", "--workspace", "--no-fail-fast"]), venv), |line| {
        tally.read(line)
    })
}

fn ruff(venv: &Venv, tally: &mut Tally) -> Outcome {
    let config = "--config=python/pyproject.toml";
    for arguments in [&["check", config][..], &["format", "--check", config]] {
        run_command(command(venv.program("ruff")).args(arguments).args(["python", "bench", "xtask"]))?;
        tally.passed += 1;
    }
    Ok(())
}

fn mypy(venv: &Venv, _: &mut Tally) -> Outcome {
    // With the tests, so that what decorated functions are to checkers is checked wherever one is used.
    let arguments = ["--strict", "--config-file=python/pyproject.toml", "python/retainit", "python/tests"];
    run_command(command(venv.program("mypy")).args(arguments))
}

fn pytest(venv: &Venv, tally: &mut Tally) -> Outcome {
    // Through its script, not `python -m`, which would put the source tree before the installed package.
    let mut pytest = command(venv.program("pytest"));
    pytest.args(["-c", "python/pyproject.toml", "--rootdir=python", "python/tests"]);
    run_reading(&mut pytest, |line| tally.read(line))
}

/// Makes pyo3 look at the interpreter that the package is installed for, and build once for all stages.
fn for_python<'c>(command: &'c mut Command, venv: &Venv) -> &'c mut Command {
    command.env("PYO3_PYTHON", venv.python())
}

/// A minimal toolchain has neither rustfmt nor clippy.
fn component(subcommand: &str, name: &str) -> Outcome {
    if succeeds(cargo().args([subcommand, "--version"])) {
        return Ok(());
    }
    announce(&format!("Adding {name} to the Rust toolchain"));
    run_command(command("rustup").args(["component", "add", name]))
        .map_err(|_| format!("`cargo {subcommand}` is missing: install the toolchain's `{name}` component"))
}
