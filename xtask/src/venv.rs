//! The Python environment that the verbs share: `.venv` at the repository's root.

use std::path::{Path, PathBuf};

use crate::shell::{announce, command, output, root, run, succeeds, Outcome};

/// The oldest Python that the package supports.
const OLDEST: (u32, u32) = (3, 10);
/// Tried in this order where `RETAINIT_PYTHON` names none.
const CANDIDATES: [&str; 6] = ["python3", "python", "python3.13", "python3.12", "python3.11", "python3.10"];

/// A virtual environment that exists.
pub struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment of everyday work, made if it is not there or not usable.
    pub fn ready() -> Outcome<Self> {
        let venv = Self { folder: root().join(".venv") };
        if venv.usable() {
            return Ok(venv);
        }
        announce("Making .venv");
        venv.make(&interpreter()?)?;
        Ok(venv)
    }

    /// A further environment, `.venv-<suffix>`, for one more interpreter.
    pub fn beside(suffix: &str, python: &Path) -> Outcome<Self> {
        let venv = Self { folder: root().join(format!(".venv-{suffix}")) };
        if !venv.usable() {
            announce(&format!("Making .venv-{suffix}"));
            venv.make(&python.to_string_lossy())?;
        }
        Ok(venv)
    }

    /// A program of this environment.
    pub fn program(&self, name: &str) -> PathBuf {
        let programs = if cfg!(windows) { "Scripts" } else { "bin" };
        self.folder.join(programs).join(name).with_extension(std::env::consts::EXE_EXTENSION)
    }

    /// The environment's interpreter.
    pub fn python(&self) -> PathBuf {
        self.program("python")
    }

    /// `pip install <arguments>`, with progress shown.
    pub fn pip_install(&self, arguments: &[&str]) -> Outcome {
        let mut pip = command(self.python());
        pip.args(["-m", "pip", "install", "--disable-pip-version-check"]).args(arguments);
        // Cargo's and pyo3's caches are kept per interpreter path: the same one must be named everywhere.
        run(pip.env("PYO3_PYTHON", self.python()))
    }

    fn usable(&self) -> bool {
        succeeds(command(self.python()).args(["-c", "import pip"]))
            && version(&self.python().to_string_lossy()).is_some_and(|found| found >= OLDEST)
    }

    fn make(&self, python: &str) -> Outcome {
        let make = || {
            // A half-made folder of an earlier attempt would be taken for a whole one.
            run(command(python).args(["-m", "venv", "--clear"]).arg(&self.folder))
        };
        if make().is_ok() {
            return Ok(());
        }
        let (major, minor) = version(python).unwrap_or(OLDEST);
        let packages = ["python3-venv".to_owned(), format!("python{major}.{minor}-venv")];
        if output(command("id").arg("-u")).as_deref() != Some("0") {
            return Err(missing_venv(python, &packages[1]));
        }
        announce("Installing python3-venv, which Debian packs apart from Python");
        let apt = |arguments: &[&str]| {
            run(command("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
        };
        apt(&["update", "-qq"])
            .and_then(|()| {
                apt(&["install", "-y", "-qq", "--no-install-recommends", &packages[0]])
                    .or_else(|_| apt(&["install", "-y", "-qq", "--no-install-recommends", &packages[1]]))
            })
            .and_then(|()| make())
            .map_err(|_| missing_venv(python, &packages[1]))
    }
}

fn missing_venv(python: &str, package: &str) -> String {
    format!(
        "`{python} -m venv` does not work: install Python's venv module \
         (on Debian and Ubuntu: `apt-get install python3-venv` or `{package}`)"
    )
}

/// The Python to build with: `RETAINIT_PYTHON`, or the first that is new enough.
fn interpreter() -> Outcome<String> {
    if let Some(named) = std::env::var_os("RETAINIT_PYTHON") {
        let named = named.to_string_lossy().into_owned();
        return match version(&named) {
            Some(found) if found >= OLDEST => Ok(named),
            Some((major, minor)) => {
                Err(format!("RETAINIT_PYTHON `{named}` is Python {major}.{minor}: expected 3.10 or later"))
            }
            None => Err(format!("RETAINIT_PYTHON `{named}` does not run")),
        };
    }
    let mut refused = Vec::new();
    for candidate in CANDIDATES {
        match version(candidate) {
            Some(found) if found >= OLDEST => return Ok(candidate.to_owned()),
            Some((major, minor)) => refused.push(format!("`{candidate}` is {major}.{minor}")),
            None => refused.push(format!("`{candidate}` does not run")),
        }
    }
    Err(format!(
        "no Python 3.10 or later found ({}): install python3, or name one in RETAINIT_PYTHON",
        refused.join(", ")
    ))
}

/// Major and minor version of a CPython; `None` for what does not run.
fn version(python: &str) -> Option<(u32, u32)> {
    let text = output(command(python).args(["-c", "import sys; print(*sys.version_info[:2])"]))?;
    let (major, minor) = text.split_once(' ')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
