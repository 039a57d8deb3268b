//! What a load knows of its tags.

use std::ops::Range;
use std::sync::Arc;

use super::tokens::{read, read_or_make, Token};
use super::{Tag, Tags, EPOCH};
use crate::clock;
use crate::entry;
use crate::error::Result;
use crate::function::Function;
use crate::tier::Tier;

/// Rounds of finding tags that nobody invalidates meanwhile.
const ROUNDS: usize = 4;

/// Tags, and the tokens that byte tiers had for them.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    tags: Tags,
    /// Those that any invalidation ends, where the load's tags are known only when it has a result.
    epochs: Vec<Arc<Tag>>,
    tokens: Vec<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    tag: Arc<Tag>,
    instance: usize,
    token: Token,
}

/// What is to be observed of a function's tiers.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// All of them, for their namespaces.
    pub tiers: &'a [Tier],
    /// Those whose tokens are read.
    pub range: Range<usize>,
    /// Whether tokens are made that are not there.
    pub make: bool,
}

/// Finds the tags of these names, with the tokens that tiers have for them; with `epochs` also what any
/// invalidation ends. May block where a tier may.
///
/// # Errors
/// A failure of the cache, where the function is strict.
pub fn observe(function: &Function, scope: &Scope<'_>, names: &[Box<str>], epochs: bool) -> Result<Observed> {
    let mut observed = Observed::default();
    for _ in 0..ROUNDS {
        observed = Observed::intern(scope.tiers, names, epochs);
        if observed.read_tokens(function, scope)? {
            break;
        }
    }
    // After the last round too: one that has ended keeps what is loaded from being stored.
    Ok(observed)
}

impl Observed {
    /// No tags.
    pub const NONE: &'static Observed =
        &Observed { tags: Tags::NONE, epochs: Vec::new(), tokens: Vec::new() };

    fn intern(tiers: &[Tier], names: &[Box<str>], epochs: bool) -> Self {
        let mut namespaces: Vec<&str> = tiers.iter().map(Tier::namespace).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let of = |namespace: &&str| names.iter().map(|name| Tag::intern(namespace, name)).collect::<Vec<_>>();
        let tags = namespaces.iter().flat_map(of).collect();
        let epochs = if epochs {
            namespaces.iter().map(|namespace| Tag::intern(namespace, EPOCH)).collect()
        } else {
            Vec::new()
        };
        Observed { tags: Tags::new(tags), epochs, tokens: Vec::new() }
    }

    /// Reads the tokens; `false` if one of the tags has been invalidated meanwhile.
    fn read_tokens(&mut self, function: &Function, scope: &Scope<'_>) -> Result<bool> {
        let mut alive = true;
        // The nearest tier first, while an invalidation begins with the farthest: a token that was read here
        // is no newer than those that entries of farther tiers are compared with.
        for tier in scope.tiers[scope.range.clone()].iter().filter(|tier| !tier.keeps_objects()) {
            let tags: Vec<&Arc<Tag>> = self.all().filter(|tag| tag.namespace() == tier.namespace()).collect();
            if tags.is_empty() {
                continue;
            }
            let keys: Vec<&[u8]> = tags.iter().map(|tag| tag.key()).collect();
            let seen = clock::monotonic();
            let instance = tier.instance();
            let found = if scope.make { read_or_make(instance, &keys) } else { read(instance, &keys) };
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    function.failed(error)?;
                    vec![None; keys.len()]
                }
            };
            let mut tokens = Vec::with_capacity(tags.len());
            for (tag, token) in tags.into_iter().zip(found) {
                // One that is not there, and is not made, says nothing of the tag: entries are misses.
                if scope.make || token.is_some() {
                    alive &= tag.learn(instance, token, seen);
                }
                let known = |token| Known { tag: tag.clone(), instance: instance.number(), token };
                tokens.extend(token.map(known));
            }
            self.tokens.extend(tokens);
        }
        Ok(alive)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Tag>> {
        self.tags.as_slice().iter().chain(&self.epochs)
    }

    /// What is known of these names alone.
    #[must_use]
    pub fn only(&self, names: &[Box<str>]) -> Self {
        let wanted = |tag: &Arc<Tag>| names.iter().any(|name| **name == *tag.name());
        let tags = self.tags.as_slice().iter().filter(|tag| wanted(tag)).cloned().collect();
        let of_epoch = |known: &&Known| known.tag.name() == EPOCH || wanted(&known.tag);
        let tokens = self.tokens.iter().filter(of_epoch).cloned().collect();
        Observed { tags: Tags::new(tags), epochs: self.epochs.clone(), tokens }
    }

    /// Of an entry of a tier of objects.
    pub fn of(tags: Tags) -> Self {
        Observed { tags, ..Observed::default() }
    }

    /// The tags that entries carry.
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// What the load ends with.
    pub fn fences(&self) -> Tags {
        Tags::new(self.all().cloned().collect())
    }

    /// What any invalidation ends.
    pub fn epochs(&self) -> &[Arc<Tag>] {
        &self.epochs
    }

    /// With the tags of `other`.
    #[must_use]
    pub fn with(&self, other: &Observed) -> Self {
        let mut tags = self.tags.as_slice().to_vec();
        let new = |tag: &&Arc<Tag>| tags.iter().all(|known| !Arc::ptr_eq(known, tag));
        let more: Vec<Arc<Tag>> = other.tags.as_slice().iter().filter(new).cloned().collect();
        tags.extend(more);
        let tokens = self.tokens.iter().chain(&other.tokens).cloned().collect();
        Observed { tags: Tags::new(tags), epochs: self.epochs.clone(), tokens }
    }

    /// What an entry in `tier` is to carry; `None` where a token is not known, so that there can be no entry.
    pub fn carried(&self, tier: &Tier) -> Option<Vec<entry::Tag<'_>>> {
        let own = self.tags.as_slice().iter().filter(|tag| tag.namespace() == tier.namespace());
        own.map(|tag| Some(entry::Tag { name: tag.name(), token: self.token(tier, tag.name())? })).collect()
    }

    /// Whether all `carried` by an entry that was read from `tier` are among the tags and have these tokens there;
    /// `None` if one is not among them.
    pub fn confirms(&self, tier: &Tier, carried: &[(Box<str>, Token)]) -> Option<bool> {
        let known = |(name, _): &(Box<str>, Token)| {
            let own = |tag: &Arc<Tag>| tag.namespace() == tier.namespace() && tag.name() == &**name;
            self.tags.as_slice().iter().any(own)
        };
        let same = |(name, token): &(Box<str>, Token)| self.token(tier, name) == Some(*token);
        carried.iter().all(known).then(|| carried.iter().all(same))
    }

    fn token(&self, tier: &Tier, name: &str) -> Option<Token> {
        let number = tier.instance().number();
        let of = |known: &&Known| {
            known.instance == number && known.tag.name() == name && known.tag.namespace() == tier.namespace()
        };
        self.tokens.iter().find(of).map(|known| known.token)
    }
}
