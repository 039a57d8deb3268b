//! The tags of a load: known before it reads anything, and looked at again before its result is stored.

use super::Load;
use crate::error::Result;
use crate::language::Language;
use crate::tags::{self, Observed};

impl<S: Send + Sync> Load<S> {
    /// Finds its tags. Belongs before everything that is read or run for it: what is invalidated from here on is
    /// not stored.
    ///
    /// # Errors
    /// A failure of the cache, where the function is strict.
    pub fn observe<L: Language>(&self, language: &L) -> Result<()> {
        let policy = self.function.policy();
        if !policy.has_tags() || self.observed.get().is_some() {
            return Ok(());
        }
        self.carry(self.observe_tags(language, self.key.tags(), policy.tagged_by_result)?);
        Ok(())
    }

    /// The same for many loads of one function, which asks each tier once.
    pub(super) fn observe_many<L: Language>(loads: &[(&Self, &L)]) -> Result<()> {
        let Some(((one, language), _)) = loads.split_first() else { return Ok(()) };
        let policy = one.function.policy();
        if !policy.has_tags() {
            return Ok(());
        }
        let mut names: Vec<Box<str>> = Vec::new();
        for name in loads.iter().flat_map(|(load, _)| load.key.tags()) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let observed = one.observe_tags(*language, &names, policy.tagged_by_result)?;
        loads.iter().for_each(|(load, _)| load.carry(observed.only(load.key.tags())));
        Ok(())
    }

    fn carry(&self, observed: Observed) {
        self.flight.carry(observed.fences());
        // Once, by who leads it.
        let _ = self.observed.set(observed);
    }

    /// What it knows of its tags.
    pub(super) fn known(&self) -> &Observed {
        self.observed.get().unwrap_or(Observed::NONE)
    }

    fn observe_tags<L: Language>(&self, language: &L, names: &[Box<str>], epochs: bool) -> Result<Observed> {
        let scope = tags::Scope { tiers: &self.tiers, range: 0..self.tiers.len(), make: true };
        let observe = || tags::observe(&self.function, &scope, names, epochs);
        if self.may_block() {
            language.detached(observe)
        } else {
            observe()
        }
    }

    /// The tags of a result; `None` where it cannot be stored, because it is not known what has been
    /// invalidated since the load began.
    pub(super) fn tags_of_result<L: Language>(&self, language: &L) -> Result<Option<Observed>> {
        if !self.function.policy().has_tags() {
            return Ok(Some(Observed::default()));
        }
        let Some(observed) = self.observed.get() else { return Ok(None) };
        let names = tags::checked(language.tags());
        let names = match names {
            Ok(names) => names,
            Err(error) => {
                self.function.failed(error)?;
                return Ok(None);
            }
        };
        if names.is_empty() {
            return Ok(Some(observed.clone()));
        }
        let observed = observed.with(&self.observe_tags(language, &names, false)?);
        // Tokens may be newer than the load: it has to be as new as they are.
        language.detached(|| tags::check(observed.epochs(), true));
        Ok(Some(observed))
    }
}
