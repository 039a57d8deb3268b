//! `cargo xtask explore`: single-flight and fencing in schedules that a machine hardly ever takes.
//!
//! The scenarios are `core/tests/explore`, which are built with the core's feature `explore`, apart from all
//! other builds. With `--mutants` the same is done to copies of the engine with one mistake each, to see that
//! the scenarios find it.

mod mutants;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shell::{announce, cargo, root, run_reading, Outcome};
use crate::tally::Tally;
use mutants::{Mutant, MUTANTS};

/// Schedules of each scenario, unless the command line says otherwise.
const ITERATIONS: u64 = 20_000;
/// The same for the stage of `cargo xtask test`, and for each mutant.
const FEW: u64 = 2_000;
/// Members of the workspace that a mutant needs.
const PARTS: [&str; 2] = ["core", "plugin-api"];

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Request {
    iterations: Option<u64>,
    mutants: bool,
}

/// What the scenarios came to.
#[derive(Debug, Default, PartialEq)]
struct Sum {
    scenarios: u64,
    schedules: u64,
    decisions: u64,
}

/// Explores the engine, or shows that its mutants are found.
pub fn run(arguments: &[String]) -> Outcome {
    let request = parse(arguments)?;
    if request.mutants {
        return mutants(request.iterations.unwrap_or(FEW));
    }
    explore(request.iterations.unwrap_or(ITERATIONS), &mut Tally::default())
}

/// The stage of `cargo xtask test`.
pub fn check(tally: &mut Tally) -> Outcome {
    explore(FEW, tally)
}

fn parse(arguments: &[String]) -> Outcome<Request> {
    let mut request = Request { iterations: None, mutants: false };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--iterations" => {
                let text = rest.next().ok_or("`--iterations` needs a number of schedules")?;
                // Half of them are random, the other half are not.
                let iterations = text.parse().ok().filter(|iterations| *iterations > 1);
                request.iterations = Some(iterations.ok_or_else(|| {
                    format!("`--iterations {text}`: expected a whole number of schedules above `1`")
                })?);
            }
            "--mutants" => request.mutants = true,
            unknown => {
                return Err(format!("unknown argument `{unknown}`: expected `--iterations N` or `--mutants`"))
            }
        }
    }
    Ok(request)
}

fn explore(iterations: u64, tally: &mut Tally) -> Outcome {
    announce(&format!("Exploring {iterations} schedules of each scenario"));
    let mut sum = Sum::default();
    let outcome = run_reading(&mut scenarios(&root(), iterations), |line| {
        sum.read(line);
        tally.read(line);
    });
    println!("\n{sum}");
    outcome
}

/// The command that runs the scenarios of the engine in `folder`.
fn scenarios(folder: &Path, iterations: u64) -> Command {
    let mut test = cargo();
    test.current_dir(folder)
        .args(["test", "--quiet", "-p", "retainit-core", "--features", "explore", "--test", "explore"])
        .args(["--", "--show-output"])
        .env("CARGO_TARGET_DIR", root().join("target/explore"))
        .env("RETAINIT_EXPLORE_ITERATIONS", iterations.to_string());
    test
}

fn mutants(iterations: u64) -> Outcome {
    let folder = copy()?;
    let mut survivors = Vec::new();
    println!("{:>52}   found by", "mistake");
    for mutant in &MUTANTS {
        let found = found(&folder, mutant, iterations)?;
        println!("{:>52}   {}", mutant.name, summary(&found));
        if found.is_empty() {
            survivors.push(mutant.name);
        }
    }
    match survivors[..] {
        [] => {
            println!("\nall {} mistakes were found", MUTANTS.len());
            Ok(())
        }
        _ => Err(format!("mistakes that no scenario finds:\n  {}", survivors.join("\n  "))),
    }
}

fn summary(found: &[String]) -> String {
    match found {
        [] => "NOTHING".into(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first}, and {} more", more.len()),
    }
}

/// A workspace of the engine alone, in which mistakes can be made.
fn copy() -> Outcome<PathBuf> {
    let (root, folder) = (root(), root().join("target/explore/mutant"));
    // What an older version had and this one has not would be built too.
    let _ = fs::remove_dir_all(&folder);
    for part in PARTS {
        copy_folder(&root.join(part), &folder.join(part))?;
    }
    copy_file(&root.join("Cargo.lock"), &folder.join("Cargo.lock"))?;
    let manifest = root.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| format!("`{}`: {error}", manifest.display()))?;
    let members = format!("members = {PARTS:?}");
    let lines = text.lines().map(|line| if line.starts_with("members = ") { &members } else { line });
    write(&folder.join("Cargo.toml"), &lines.collect::<Vec<_>>().join("\n"))?;
    Ok(folder)
}

/// The scenarios that a mutant fails.
fn found(folder: &Path, mutant: &Mutant, iterations: u64) -> Outcome<Vec<String>> {
    let file = folder.join(mutant.file);
    let text = fs::read_to_string(&file).map_err(|error| format!("`{}`: {error}", file.display()))?;
    if text.matches(mutant.right).count() != 1 {
        return Err(format!(
            "mutant `{}` does not fit: expected its place in `{}` once, found it {} times",
            mutant.name,
            mutant.file,
            text.matches(mutant.right).count()
        ));
    }
    write(&file, &text.replace(mutant.right, mutant.wrong))?;
    let outcome = failures(&mut scenarios(folder, iterations));
    write(&file, &text)?;
    outcome.map_err(|error| format!("mutant `{}`: {error}", mutant.name))
}

/// The names of the tests that fail.
fn failures(test: &mut Command) -> Outcome<Vec<String>> {
    // A schedule in which nobody can go on may leave threads' stacks behind: the report is not wanted.
    let mut child = test
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("the tests did not start: {error}"))?;
    let report = child.stdout.take().expect("standard output is piped");
    let (mut names, mut ran) = (Vec::new(), false);
    for line in BufReader::new(report).split(b'\n') {
        let line = line.map_err(|error| format!("the report of the tests broke off: {error}"))?;
        let line = String::from_utf8_lossy(&line);
        ran |= line.starts_with("running ");
        if let Some(name) = line.strip_suffix(" --- FAILED") {
            names.push(name.rsplit("::").next().unwrap_or(name).to_owned());
        }
    }
    let status = child.wait().map_err(|error| format!("the tests were lost: {error}"))?;
    match (ran, status.success(), names.is_empty()) {
        (false, ..) => Err("it does not compile".into()),
        (true, false, true) => Ok(vec![format!("an end of all tests: {status}")]),
        _ => Ok(names),
    }
}

impl Sum {
    /// One line of the scenarios' report: `explored: NAME: 1000 schedules, 900 of them distinct, 70000 decisions`.
    fn read(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("explored: ").and_then(|rest| rest.split(": ").nth(1)) else {
            return;
        };
        let number = |part: Option<&str>| {
            part.and_then(|part| part.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
        };
        let mut parts = counts.split(',');
        self.scenarios += 1;
        self.schedules += number(parts.next());
        self.decisions += number(parts.nth(1));
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scenarios, schedules, decisions } = self;
        write!(f, "explored: {scenarios} scenarios, {schedules} schedules, {decisions} decisions")
    }
}

fn copy_folder(from: &Path, to: &Path) -> Outcome {
    let said = |error| format!("`{}`: {error}", from.display());
    fs::create_dir_all(to).map_err(|error| format!("`{}`: {error}", to.display()))?;
    for entry in fs::read_dir(from).map_err(said)? {
        let entry = entry.map_err(said)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            copy_file(&path, &target)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Outcome {
    fs::copy(from, to).map(drop).map_err(|error| format!("`{}`: {error}", from.display()))
}

fn write(file: &Path, text: &str) -> Outcome {
    fs::write(file, text).map_err(|error| format!("`{}`: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Outcome<Request> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read() {
        assert_eq!(request("").unwrap(), Request { iterations: None, mutants: false });
        let both = Request { iterations: Some(50), mutants: true };
        assert_eq!(request("--mutants --iterations 50").unwrap(), both);
    }

    #[test]
    fn wrong_arguments_are_refused() {
        assert_eq!(
            request("--seconds").unwrap_err(),
            "unknown argument `--seconds`: expected `--iterations N` or `--mutants`"
        );
        assert_eq!(
            request("--iterations 1").unwrap_err(),
            "`--iterations 1`: expected a whole number of schedules above `1`"
        );
    }

    #[test]
    fn a_report_is_read() {
        let mut sum = Sum::default();
        sum.read("explored: hard timeout, fence: 1000 schedules, 900 of them distinct, 70000 decisions");
        sum.read("running 16 tests");
        sum.read("explored: strays: 500 schedules, 499 of them distinct, 20 decisions");
        assert_eq!(sum, Sum { scenarios: 2, schedules: 1500, decisions: 70_020 });
    }

    #[test]
    fn every_mutant_has_its_place() {
        for mutant in &MUTANTS {
            let text = fs::read_to_string(root().join(mutant.file)).unwrap();
            assert_eq!(text.matches(mutant.right).count(), 1, "{}", mutant.name);
        }
    }
}
