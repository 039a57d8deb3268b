//! `cargo xtask soak`: what takes too long for every change.

use crate::install;
use crate::shell::{announce, command, root, run as run_command, Outcome};
use crate::venv::Venv;

/// Builds and installs the package, then runs `python/tests/soak/exit_soak.py` with `arguments`.
pub fn run(arguments: &[String]) -> Outcome {
    let venv = Venv::ready()?;
    install::package(&venv, "")?;
    announce("Evictions during hits, and interpreters that end with work in flight");
    run_command(command(venv.python()).arg(root().join("python/tests/soak/exit_soak.py")).args(arguments))
}
