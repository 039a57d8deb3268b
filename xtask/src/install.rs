//! `cargo xtask install`: the package as a user gets it, built from this checkout into `.venv`.

use crate::shell::{announce, Outcome};
use crate::venv::Venv;

/// Plugins that are distributions of their own: the name, and where it lies.
const PLUGINS: [(&str, &str); 1] = [("retainit-arrow", "./plugins/arrow-serde")];

/// Builds and installs; `--dev` takes cargo's dev profile, which builds faster and runs slower.
pub fn run(arguments: &[String]) -> Outcome {
    let profile = match arguments {
        [] => "release",
        [only] if only == "--dev" => "dev",
        _ => return Err(format!("unknown arguments `{}`: expected `--dev`", arguments.join(" "))),
    };
    std::env::set_var("RETAINIT_BUILD_PROFILE", profile);
    package(&Venv::ready()?, "")
}

/// Installs the package with the given extras (`"[dev]"`), and the plugins beside it, into an environment.
pub fn package(venv: &Venv, extras: &str) -> Outcome {
    announce("Building retainit and its bundled plugins (a first build takes minutes)");
    // `-v` is what makes pip pass on the output of cargo; the first build is too long to be silent.
    venv.pip_install(&["-v", &format!("./python{extras}")])?;
    for (name, folder) in PLUGINS {
        announce(&format!("Building {name} (a first build takes minutes)"));
        venv.pip_install(&["-v", folder])?;
    }
    Ok(())
}
