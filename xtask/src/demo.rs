//! `cargo xtask demo`: a cached function at work, in numbers.

use crate::install;
use crate::shell::{announce, command, no_arguments, root, run as run_command, Outcome};
use crate::venv::Venv;

/// Builds and installs the package, then runs `xtask/demo.py`.
pub fn run(arguments: &[String]) -> Outcome {
    no_arguments("demo", arguments)?;
    let venv = Venv::ready()?;
    install::package(&venv, "")?;
    announce("Demo");
    run_command(command(venv.python()).arg(root().join("xtask/demo.py")))
}
