//! Where to look for plugins, in which order, and which of them a name means.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::candidate::{Candidate, Origin, Plugin};
use super::component::{Component, Kind};
use super::file::Identity;
use super::LOAD;
use crate::error::{Error, Result};
use crate::fork;
use crate::nearest::{hint, listed};

/// A refused file that is no plugin at all is not worth a line each in a directory full of them.
const MOST_LINES: usize = 20;

/// The places where plugins may be. Nothing is looked at before a name is asked for.
///
/// Precedence: named files, listed directories, distributions, bundled ones. Within a level two
/// libraries must not supply the same name; across levels the earlier one wins, and a refused library
/// that was meant to supply a name is an error rather than a reason to look further down.
#[derive(Default)]
pub struct Registry {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sources: Vec<Source>,
    /// What was found out about a file, for as long as it does not change.
    examined: HashMap<(Source, PathBuf), (Identity, Candidate)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Source {
    path: PathBuf,
    origin: Origin,
    sha256: Option<String>,
    directory: bool,
}

impl Registry {
    /// A registry that looks nowhere yet.
    pub fn new() -> Self {
        Registry::default()
    }

    /// Looks at the shared libraries in `path`, not below it.
    pub fn add_directory(&self, path: impl Into<PathBuf>, origin: Origin) -> Result<()> {
        self.add(path.into(), origin, None, true)
    }

    /// Looks at the file at `path`, whose SHA-256 (64 hexadecimal digits) must be `sha256` where given.
    pub fn add_file(&self, path: impl Into<PathBuf>, sha256: Option<&str>) -> Result<()> {
        self.add(path.into(), Origin::File, sha256.map(str::to_owned), false)
    }

    /// Looks at the files and directories that the installed distribution `name` declares.
    pub fn add_distribution(&self, name: &str, paths: impl IntoIterator<Item = PathBuf>) -> Result<()> {
        paths.into_iter().try_for_each(|path| {
            let directory = path.is_dir();
            self.add(path, Origin::Distribution(Arc::from(name)), None, directory)
        })
    }

    /// Every candidate, in order of precedence. Loads nothing.
    pub fn list(&self) -> Vec<Candidate> {
        let _gate = fork::enter();
        self.state.lock().candidates()
    }

    /// The component `name` of `kind`. Its library is loaded when the first instance is opened.
    pub fn component(&self, kind: Kind, name: &str) -> Result<Component> {
        let candidates = self.list();
        let what = format!("{kind} `{name}`");
        let found = resolve(&candidates, &what, name, |plugin| Component::find(plugin, kind, name))?;
        found.ok_or_else(|| {
            let supplied = supplied(&candidates, |plugin| {
                let of_kind =
                    plugin.manifest.components.iter().filter(|component| component.kind == kind.name());
                of_kind.map(|component| component.name.clone()).collect()
            });
            unknown(&candidates, kind.name(), name, &supplied)
        })
    }

    /// The candidate of the plugin `name`, which may supply components of other names.
    pub fn plugin(&self, name: &str) -> Result<Candidate> {
        let candidates = self.list();
        let named = |plugin: &Arc<Plugin>| (plugin.manifest.name == name).then(|| plugin.path.clone());
        let path = resolve(&candidates, &format!("plugin `{name}`"), name, named)?;
        let found = path.and_then(|path| {
            let is =
                |candidate: &&Candidate| candidate.verdict.as_ref().is_ok_and(|plugin| plugin.path == path);
            candidates.iter().find(is).cloned()
        });
        found.ok_or_else(|| {
            let supplied = supplied(&candidates, |plugin| vec![plugin.manifest.name.clone()]);
            unknown(&candidates, "plugin", name, &supplied)
        })
    }

    fn add(&self, path: PathBuf, origin: Origin, sha256: Option<String>, directory: bool) -> Result<()> {
        // A relative path would mean the working directory, which nothing here may depend on.
        if !path.is_absolute() {
            return Err(Error::configuration(
                LOAD,
                format!("plugin path `{}`: expected an absolute path, found a relative one", path.display()),
            ));
        }
        let source = Source { path, origin, sha256, directory };
        let _gate = fork::enter();
        let mut state = self.state.lock();
        if !state.sources.contains(&source) {
            state.sources.push(source);
            // Stable, so that within a level the order is the order of adding.
            state.sources.sort_by_key(|source| source.origin.level());
        }
        Ok(())
    }
}

impl State {
    fn candidates(&mut self) -> Vec<Candidate> {
        let sources = self.sources.clone();
        sources.iter().flat_map(|source| self.of_source(source)).collect()
    }

    fn of_source(&mut self, source: &Source) -> Vec<Candidate> {
        if !source.directory {
            return vec![self.examine(source, &source.path)];
        }
        match libraries(&source.path) {
            Ok(files) => files.iter().map(|file| self.examine(source, file)).collect(),
            Err(error) => {
                let text = error.to_string().to_lowercase();
                let reason = text.split(" (os error").next().unwrap_or_default();
                vec![Candidate::refused(
                    &source.path,
                    source.origin.clone(),
                    format!("cannot be looked into: {reason}"),
                )]
            }
        }
    }

    fn examine(&mut self, source: &Source, path: &Path) -> Candidate {
        let key = (source.clone(), path.to_owned());
        let now = Identity::at(path).ok();
        if let (Some(now), Some((then, candidate))) = (now, self.examined.get(&key)) {
            // A refusal may be about the directory, whose mending leaves the file as it was.
            if now == *then && candidate.verdict.is_ok() {
                return candidate.clone();
            }
        }
        let candidate = Candidate::examine(path, source.origin.clone(), source.sha256.as_deref());
        if let Some(now) = now {
            self.examined.insert(key, (now, candidate.clone()));
        }
        candidate
    }
}

/// The shared libraries in a directory, by name, so that messages do not depend on its order.
fn libraries(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if extension == Some(std::env::consts::DLL_EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The one match of the highest level that has any, `None` where none has.
fn resolve<T>(
    candidates: &[Candidate],
    what: &str,
    name: &str,
    supplies: impl Fn(&Arc<Plugin>) -> Option<T>,
) -> Result<Option<T>> {
    for level in candidates.chunk_by(|one, other| one.origin.level() == other.origin.level()) {
        let mut matches: Vec<(&Candidate, &Path, T)> = Vec::new();
        let mut refused: Vec<&Candidate> = Vec::new();
        for candidate in level {
            match &candidate.verdict {
                Ok(plugin) => {
                    // One file reached by two ways is one library.
                    let known = matches.iter().any(|(_, path, _)| *path == plugin.path);
                    if let (false, Some(found)) = (known, supplies(plugin)) {
                        matches.push((candidate, &plugin.path, found));
                    }
                }
                Err(_) if candidate.seems_to_be(name) => refused.push(candidate),
                Err(_) => {}
            }
        }
        if !refused.is_empty() {
            let usable = matches.iter().map(|(candidate, ..)| (*candidate, "could be used".to_owned()));
            let refused = refused.into_iter().map(|candidate| (candidate, reason(candidate)));
            return Err(Error::configuration(
                LOAD,
                format!(
                    "{what} cannot be used: a library of that name was refused{}",
                    lines(refused.chain(usable))
                ),
            ));
        }
        if matches.len() > 1 {
            let all = matches.iter().map(|(candidate, ..)| (*candidate, format!("supplies {what}")));
            return Err(Error::configuration(
                LOAD,
                format!("{what} is supplied by {} libraries, expected one{}", matches.len(), lines(all)),
            ));
        }
        if let Some((_, _, found)) = matches.pop() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn supplied(candidates: &[Candidate], names: impl Fn(&Plugin) -> Vec<String>) -> BTreeSet<String> {
    candidates
        .iter()
        .filter_map(|candidate| candidate.verdict.as_ref().ok())
        .flat_map(|plugin| names(plugin))
        .collect()
}

fn unknown(candidates: &[Candidate], kind: &str, name: &str, supplied: &BTreeSet<String>) -> Error {
    let mut message = format!("unknown {kind} `{name}`: ");
    if supplied.is_empty() {
        message.push_str("no plugin supplies any");
    } else {
        let names = || supplied.iter().map(String::as_str);
        message.push_str(&format!("expected one of {}{}", listed(names()), hint(name, names())));
    }
    let refused = candidates.iter().filter(|candidate| candidate.verdict.is_err());
    message.push_str(&lines(refused.map(|candidate| (candidate, reason(candidate)))));
    Error::configuration(LOAD, message)
}

fn reason(candidate: &Candidate) -> String {
    candidate.verdict.as_ref().err().map_or_else(String::new, ToString::to_string)
}

fn lines<'c>(candidates: impl Iterator<Item = (&'c Candidate, String)>) -> String {
    let mut text = String::new();
    let mut more = 0;
    for (index, (candidate, reason)) in candidates.enumerate() {
        if index < MOST_LINES {
            text.push_str(&format!("\n  `{}` ({}): {reason}", candidate.path.display(), candidate.origin));
        } else {
            more += 1;
        }
    }
    if more > 0 {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}
