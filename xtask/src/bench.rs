//! `cargo xtask bench`: the package against its peers, side by side in one run.

use std::path::PathBuf;

use crate::install;
use crate::shell::{announce, command, output, root, run as run_command, Outcome};
use crate::venv::Venv;

/// Interpreters whose `await` costs differently, measured with `--pythons` where they are installed.
const FURTHER_PYTHONS: [&str; 4] = ["3.10", "3.11", "3.12", "3.13"];

/// Installs the package and the peers, then runs `bench/run.py` with the arguments as they are.
pub fn run(arguments: &[String]) -> Outcome {
    let venv = Venv::ready()?;
    let own = python_version(&venv).unwrap_or_default();
    prepare(&venv, "peers.txt")?;
    let mut bench = command(venv.python());
    bench.arg(root().join("bench/run.py"));
    for argument in arguments {
        if argument != "--pythons" {
            bench.arg(argument);
            continue;
        }
        for version in FURTHER_PYTHONS.into_iter().filter(|version| *version != own) {
            match find_python(version) {
                None => println!("Python {version} is not installed: its awaits are not measured"),
                Some(python) => {
                    let further = Venv::beside(version, &python)?;
                    prepare(&further, "peers.txt")?;
                    bench.arg("--also").arg(further.python());
                }
            }
        }
    }
    announce("Bench");
    run_command(&mut bench)
}

fn prepare(venv: &Venv, peers: &str) -> Outcome {
    install::package(venv, "")?;
    announce("Installing the peers");
    let list = root().join("bench").join(peers);
    if venv.pip_install(&["-q", "-r", &list.to_string_lossy()]).is_ok() {
        return Ok(());
    }
    // One peer without a build for this interpreter must not take the others with it.
    let text = std::fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    for peer in text.lines().filter_map(|line| line.split('#').next()).map(str::trim) {
        if !peer.is_empty() && venv.pip_install(&["-q", peer]).is_err() {
            println!("skipped peer `{peer}`: pip could not install it (its reason is above)");
        }
    }
    Ok(())
}

fn python_version(venv: &Venv) -> Option<String> {
    let ask = "import sys; print('%d.%d' % sys.version_info[:2])";
    output(command(venv.python()).args(["-c", ask]))
}

/// A further interpreter: from the path, or from pyenv.
fn find_python(version: &str) -> Option<PathBuf> {
    let name = format!("python{version}");
    let ask = ["-c", "import sys; print(sys.executable)"];
    if let Some(found) = output(command(&name).args(ask)) {
        return Some(found.into());
    }
    let home = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")))?;
    let installed = std::fs::read_dir(home.join("versions")).ok()?.flatten().map(|entry| entry.path());
    let wanted = format!("{version}.");
    let of_version =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&wanted));
    installed.filter(of_version).map(|path| path.join("bin/python")).find(|python| python.is_file())
}
