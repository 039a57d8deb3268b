//! `cargo xtask fuzz`: inputs that nobody wrote, for everything that reads what others wrote.
//!
//! The targets are in `fuzz/`, all in one program. It is built here the way `cargo fuzz` would, with
//! libFuzzer and the address sanitizer; both come with the stable toolchain, once it is told that their
//! flags may be used. C code (zstd) gets the sanitizer too, but does not lead the search.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::{announce, cargo, command, output, root, run as run_command, Outcome};

/// All targets together, unless the command line says otherwise.
const SECONDS: u64 = 60;
/// What tells libFuzzer which way an input takes, and what it is compared with.
const INSTRUMENTS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
];
/// No input of a few kilobytes has a reason to ask for more at once.
const LARGEST_ALLOCATION_MB: u32 = 256;
const LARGEST_PROCESS_MB: u32 = 2048;
/// Far beyond what an input takes, even on a busy machine: the way it looks when it takes for ever.
const SLOWEST_INPUT_SECONDS: u32 = 25;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// Lines of a report that are shown with a finding.
const LAST_LINES: usize = 40;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
struct Request {
    targets: Vec<String>,
    seconds: u64,
    input: Option<PathBuf>,
}

/// What one target came to.
#[derive(Debug, Default)]
struct Run {
    executions: u64,
    covered: u64,
    peak_mb: u64,
    finding: Option<String>,
    last_lines: VecDeque<String>,
}

/// Builds the targets and runs each for its share of the time; or one, with one input.
pub fn run(arguments: &[String]) -> Outcome {
    let request = parse(arguments)?;
    let program = build()?;
    let known = targets(&program)?;
    if let Some(unknown) = request.targets.iter().find(|name| known.iter().all(|(known, _)| known != *name)) {
        let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        return Err(format!("unknown target `{unknown}`: expected one of `{}`", names.join("`, `")));
    }
    if let Some(input) = &request.input {
        let [target] = &request.targets[..] else {
            return Err("`--input` goes with exactly one target".into());
        };
        announce(&format!("{target} with {}", input.display()));
        return run_command(limited(&program, target).arg(input));
    }
    let chosen: Vec<_> = known
        .into_iter()
        .filter(|(name, _)| request.targets.is_empty() || request.targets.contains(name))
        .collect();
    let share = (request.seconds / chosen.len() as u64).max(1);
    let mut runs = Vec::new();
    for (name, longest) in chosen {
        announce(&format!("{name}, for {share} s"));
        let run = fuzz(&program, &name, &longest, share)?;
        if let Some(finding) = &run.finding {
            run.last_lines.iter().for_each(|line| println!("  {line}"));
            println!("found by {name}: {finding}\n  again: cargo xtask fuzz {name} --input {finding}");
        }
        runs.push((name, run));
    }
    conclude(&runs)
}

fn parse(arguments: &[String]) -> Outcome<Request> {
    let mut request = Request { targets: Vec::new(), seconds: SECONDS, input: None };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let text = rest.next().ok_or("`--seconds` needs a number of seconds")?;
                request.seconds = text.parse().ok().filter(|seconds| *seconds > 0).ok_or_else(|| {
                    format!("`--seconds {text}`: expected a whole number of seconds above `0`")
                })?;
            }
            "--input" => request.input = Some(rest.next().ok_or("`--input` needs a file")?.into()),
            option if option.starts_with('-') => {
                return Err(format!("unknown option `{option}`: expected `--seconds N` or `--input FILE`"))
            }
            target => request.targets.push(target.to_owned()),
        }
    }
    Ok(request)
}

/// Builds the program with instruments, apart from all other builds; its path.
fn build() -> Outcome<PathBuf> {
    announce("Building the fuzz targets (a first build takes minutes)");
    let host = output(command("rustc").arg("-vV"))
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned))
        .ok_or("`rustc -vV` does not say what this machine is")?;
    let folder = folder("build");
    let mut build = cargo();
    // With a target named, build scripts and macros are built without instruments.
    build.args([
        "build",
        "--release",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        &host,
        "--target-dir",
    ]);
    // GCC marks some static tables as gone with their scope, where there is nothing to be marked.
    build.env(format!("CFLAGS_{}", host.replace('-', "_")), "-fno-sanitize-address-use-after-scope");
    build.arg(&folder).env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTS.join("\x1f"));
    run_command(&mut build).map_err(|error| {
        format!("{error}\nhint: libFuzzer needs a C++ compiler (on Debian and Ubuntu: `apt-get install g++`)")
    })?;
    Ok(folder.join(host).join("release/retainit-fuzz").with_extension(std::env::consts::EXE_EXTENSION))
}

/// Names of the targets, and the length of the longest input for each.
fn targets(program: &Path) -> Outcome<Vec<(String, String)>> {
    let list =
        output(command(program).env("RETAINIT_FUZZ_LIST", "1")).ok_or("the fuzz targets do not start")?;
    let pairs = list.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(name, longest)| (name.to_owned(), longest.to_owned())).collect())
}

/// The program, with what an input may cost.
fn limited(program: &Path, target: &str) -> Command {
    let mut fuzz = command(program);
    fuzz.env("RETAINIT_FUZZ_TARGET", target)
        // What is freed is watched for a while, which by default is 256 MB of it.
        .env("ASAN_OPTIONS", "quarantine_size_mb=16:allocator_may_return_null=1")
        .env("RUST_BACKTRACE", "1")
        .arg(format!("-malloc_limit_mb={LARGEST_ALLOCATION_MB}"))
        .arg(format!("-rss_limit_mb={LARGEST_PROCESS_MB}"))
        .arg(format!("-timeout={SLOWEST_INPUT_SECONDS}"));
    fuzz
}

/// Runs one target; inputs that led somewhere new are kept for the next time.
fn fuzz(program: &Path, target: &str, longest: &str, seconds: u64) -> Outcome<Run> {
    let (corpus, seeds, findings) =
        (folder("corpus").join(target), folder("seeds").join(target), folder("findings"));
    // The seeds of an older version of the target say nothing.
    let _ = fs::remove_dir_all(&seeds);
    for folder in [&corpus, &seeds, &findings] {
        fs::create_dir_all(folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
    }
    let mut fuzz = limited(program, target);
    fuzz.env("RETAINIT_FUZZ_SEEDS", &seeds)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={longest}"))
        .arg(format!("-artifact_prefix={}/{target}-", findings.display()))
        .arg("-print_final_stats=1")
        .args([&corpus, &seeds])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = fuzz.spawn().map_err(|error| format!("target `{target}` did not start: {error}"))?;
    let report = child.stderr.take().expect("standard error is piped");
    let (mut run, started, mut shown) = (Run::default(), Instant::now(), Instant::now());
    for line in BufReader::new(report).split(b'\n') {
        let line = line.map_err(|error| format!("the report of target `{target}` broke off: {error}"))?;
        run.read(&String::from_utf8_lossy(&line));
        if shown.elapsed() >= PROGRESS {
            shown = Instant::now();
            println!(
                "{:>6} s {:>12} executions {:>7} edges",
                started.elapsed().as_secs(),
                run.executions,
                run.covered
            );
        }
    }
    let status = child.wait().map_err(|error| format!("target `{target}` was lost: {error}"))?;
    if !status.success() && run.finding.is_none() {
        run.last_lines.iter().for_each(|line| println!("  {line}"));
        return Err(format!("target `{target}` ended without naming an input: {status}"));
    }
    Ok(run)
}

impl Run {
    /// One line of libFuzzer's report.
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix('#') {
            let mut words = rest.split_whitespace();
            if let Some(count) = words.next().and_then(|word| word.parse().ok()) {
                self.executions = count;
                while let Some(word) = words.next() {
                    if word == "cov:" {
                        self.covered =
                            words.next().and_then(|word| word.parse().ok()).unwrap_or(self.covered);
                    }
                }
                return;
            }
        }
        if let Some((name, value)) = line.strip_prefix("stat::").and_then(|stat| stat.split_once(':')) {
            let value = value.trim().parse().unwrap_or(0);
            match name {
                "number_of_executed_units" => self.executions = value,
                "peak_rss_mb" => self.peak_mb = value,
                _ => {}
            }
            return;
        }
        if let Some((_, path)) = line.split_once("Test unit written to ") {
            self.finding = Some(path.trim().to_owned());
        }
        if self.last_lines.len() == LAST_LINES {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line.to_owned());
    }
}

fn conclude(runs: &[(String, Run)]) -> Outcome {
    println!("\n{:>12}   executions     edges   peak MB", "target");
    for (name, run) in runs {
        let verdict = run.finding.as_deref().unwrap_or("");
        println!("{name:>12} {:>12} {:>9} {:>9}   {verdict}", run.executions, run.covered, run.peak_mb);
    }
    let found: Vec<&str> = runs.iter().filter_map(|(_, run)| run.finding.as_deref()).collect();
    match found[..] {
        [] => Ok(()),
        _ => Err(format!("inputs were found that must not be:\n  {}", found.join("\n  "))),
    }
}

/// A place for what fuzzing makes.
fn folder(name: &str) -> PathBuf {
    root().join("target/fuzz").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Outcome<Request> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read() {
        assert_eq!(request("").unwrap(), Request { targets: vec![], seconds: SECONDS, input: None });
        let targets = vec!["zstd".to_owned(), "entry".to_owned()];
        assert_eq!(request("zstd --seconds 5 entry").unwrap(), Request { targets, seconds: 5, input: None });
        assert_eq!(request("zstd --input some/file").unwrap().input, Some("some/file".into()));
    }

    #[test]
    fn wrong_arguments_are_refused() {
        assert_eq!(
            request("--second 5").unwrap_err(),
            "unknown option `--second`: expected `--seconds N` or `--input FILE`"
        );
        assert_eq!(
            request("--seconds 0").unwrap_err(),
            "`--seconds 0`: expected a whole number of seconds above `0`"
        );
        assert_eq!(request("--seconds").unwrap_err(), "`--seconds` needs a number of seconds");
    }

    #[test]
    fn a_report_is_read() {
        let mut run = Run::default();
        run.read("INFO: Seed: 1");
        run.read("#2048\tpulse  cov: 311 ft: 900 corp: 40/2Kb lim: 40 exec/s: 1024 rss: 80Mb");
        assert_eq!((run.executions, run.covered, run.finding.is_some()), (2048, 311, false));
        run.read("artifact_prefix='x/zstd-'; Test unit written to x/zstd-crash-12");
        run.read("stat::number_of_executed_units: 5000");
        run.read("stat::peak_rss_mb:              77");
        assert_eq!((run.executions, run.peak_mb), (5000, 77));
        assert_eq!(run.finding.as_deref(), Some("x/zstd-crash-12"));
        (0..100).for_each(|number| run.read(&format!("line {number}")));
        assert_eq!(run.last_lines.len(), LAST_LINES);
    }
}
