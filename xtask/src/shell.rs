//! Child processes, with what they are doing on show.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A verb's outcome: a failure is one line for the person at the terminal.
pub type Outcome<T = ()> = Result<T, String>;

/// The repository's root, wherever the command was started.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Announces a stage; the output of its commands follows.
pub fn announce(stage: &str) {
    println!("\n==> {stage}");
    flush();
}

/// Refuses arguments to a verb that takes none.
pub fn no_arguments(verb: &str, arguments: &[String]) -> Outcome {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(format!("unknown argument `{argument}`: `{verb}` takes none")),
    }
}

/// A command that runs at the repository's root.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs us, so that a `+toolchain` on the command line holds for what we start.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs the command with its output on ours.
pub fn run(command: &mut Command) -> Outcome {
    let line = show(command);
    let status = command.status().map_err(|e| format!("`{line}` did not start: {e}"))?;
    finished(&line, status)
}

/// As `run`, and hands each line of standard output to `on_line` too.
pub fn run_reading(command: &mut Command, mut on_line: impl FnMut(&str)) -> Outcome {
    let line = show(command);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("`{line}` did not start: {e}"))?;
    let output = child.stdout.take().expect("standard output is piped");
    for text in BufReader::new(output).split(b'\n') {
        let text = text.map_err(|e| format!("the output of `{line}` broke off: {e}"))?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        on_line(&text);
    }
    let status = child.wait().map_err(|e| format!("`{line}` was lost: {e}"))?;
    finished(&line, status)
}

/// Whether the command runs and succeeds; nothing of it is shown.
pub fn succeeds(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// What the command prints, if it succeeds.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(text)
}

fn finished(line: &str, status: std::process::ExitStatus) -> Outcome {
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` failed: {status}"))
    }
}

fn show(command: &Command) -> String {
    let root = root();
    let short = |word: &OsStr| match Path::new(word).strip_prefix(&root) {
        Ok(inside) => inside.display().to_string(),
        Err(_) => word.to_string_lossy().into_owned(),
    };
    let mut words = vec![short(command.get_program())];
    // The full path of the toolchain's cargo says nothing to the reader.
    if command.get_program() == std::env::var_os("CARGO").unwrap_or_default() {
        words[0] = "cargo".into();
    }
    words.extend(command.get_args().map(short));
    let line = words.join(" ");
    println!("  $ {line}");
    flush();
    line
}

// The children write to the same terminal: what we said has to be there before what they say.
fn flush() {
    let _ = std::io::stdout().flush();
}
