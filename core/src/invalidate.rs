//! Invalidation of what has something in common: a tag, a key that a key builder gave, a pattern of such keys.
//! All of it fences loads under way, and goes from the farthest tier to the nearest.

use std::sync::Arc;

use retainit_plugin_api::abi::capability;
use retainit_plugin_api::sdk::glob;

use crate::error::{Error, ErrorKind, Result};
use crate::flight::{Flights, Scope};
use crate::function::Function;
use crate::instance::Instance;
use crate::key::{self, tag::BUILT};
use crate::tags;
use crate::tier::{CallKey, Tier};

/// Keys of one page of a scan.
const PAGE: u64 = 1000;

/// Where an invalidation goes: backends, with the namespaces that are used in them.
#[derive(Debug, Default)]
pub struct Places {
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    instance: Arc<Instance>,
    namespace: String,
    /// How far from the caller, at most.
    depth: usize,
}

/// What an invalidation came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What it ended: entries, or tags that something carried.
    pub found: u64,
    /// What backends could not do. They are told again when they can be, where they can be told at all.
    pub failures: Vec<Error>,
}

impl Places {
    /// The backends `named`, nearest first, with a namespace for each, and all tiers of functions that use one of
    /// them, or of all functions with `everywhere`. Of other namespaces than `namespace`, if it is given, there are none.
    pub fn new(named: Vec<(Arc<Instance>, String)>, everywhere: bool, namespace: Option<&str>) -> Self {
        let mut places = Places::default();
        for (depth, (instance, namespace)) in named.into_iter().enumerate() {
            places.add(&instance, &namespace, depth);
        }
        let backends: Vec<Arc<Instance>> = places.places.iter().map(|place| place.instance.clone()).collect();
        for function in &Function::all() {
            let tiers = function.tiers();
            let uses = |tier: &Tier| backends.iter().any(|backend| Arc::ptr_eq(backend, tier.instance()));
            // Its other tiers too: what they have comes from here.
            if everywhere || tiers.iter().any(uses) {
                for (depth, tier) in tiers.iter().enumerate() {
                    places.add(tier.instance(), tier.namespace(), depth);
                }
            }
        }
        if let Some(namespace) = namespace {
            // Others may use it where this process does not.
            let all: Vec<(Arc<Instance>, usize)> =
                places.places.iter().map(|place| (place.instance.clone(), place.depth)).collect();
            all.iter().for_each(|(instance, depth)| places.add(instance, namespace, *depth));
            places.places.retain(|place| place.namespace == namespace);
        }
        // The farthest first: who reads in between must not find there what is gone here.
        places.places.sort_by_key(|place| std::cmp::Reverse((is_outside(&place.instance), place.depth)));
        places
    }

    fn add(&mut self, instance: &Arc<Instance>, namespace: &str, depth: usize) {
        let same =
            |place: &&mut Place| Arc::ptr_eq(&place.instance, instance) && place.namespace == namespace;
        match self.places.iter_mut().find(same) {
            Some(known) => known.depth = known.depth.max(depth),
            None => {
                self.places.push(Place { instance: instance.clone(), namespace: namespace.to_owned(), depth })
            }
        }
    }

    fn covers(&self, tier: &Tier) -> bool {
        let here = |place: &Place| {
            Arc::ptr_eq(&place.instance, tier.instance()) && place.namespace == tier.namespace()
        };
        self.places.iter().any(here)
    }

    /// Functions with a tier among them.
    fn functions(&self) -> Vec<Arc<Function>> {
        let mut functions = Function::all();
        functions.retain(|function| {
            function.policy().built && function.tiers().iter().any(|tier| self.covers(tier))
        });
        functions
    }
}

impl Outcome {
    fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.failures.push(error)).ok()
    }
}

/// Invalidates the entries that carry any of these tags, however many there are. `found` is how many of the tags
/// something carried.
///
/// # Errors
/// One is no name of a tag.
pub fn tags(places: &Places, names: Vec<Box<str>>) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    for name in &names {
        tags::check_name(name)?;
    }
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let mut found = vec![false; names.len()];
    let bytes = places.places.iter().filter(|place| !place.instance.has(capability::OBJECTS));
    for Place { instance, namespace, .. } in bytes {
        let (were_there, failure) = tags::remove(instance, namespace, &names);
        found.iter_mut().zip(were_there).for_each(|(found, there)| *found |= there);
        outcome.failures.extend(failure);
    }
    let mut namespaces: Vec<&str> = places.places.iter().map(|place| &*place.namespace).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    for namespace in namespaces {
        let were_there = tags::end(namespace, &names);
        found.iter_mut().zip(were_there).for_each(|(found, there)| *found |= there);
    }
    outcome.found = found.into_iter().filter(|found| *found).count() as u64;
    Ok(outcome)
}

/// Removes the entries of this key, which a key builder gave, of every function that has been called here.
pub fn key<S: Send + Sync>(flights: &Flights<S>, places: &Places, text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let encoding = [&[BUILT], text.as_bytes()].concat();
    for function in places.functions() {
        let key = CallKey::new(&function, &encoding, true);
        function.pauses.end(key.local());
        let _fence = flights.fence(&Scope::Key(key.local().to_vec()));
        for tier in function.tiers().iter().rev() {
            let Some(key) = tier.key(&key) else { continue };
            outcome.found += u64::from(outcome.take(tier.instance().delete(&key)) == Some(true));
        }
    }
    outcome
}

/// Removes the entries whose key, which a key builder gave, matches the glob `pattern`; in backends outside the
/// process those of functions that have not been called here too.
///
/// # Errors
/// A backend cannot list its entries; nothing has been done then.
pub fn pattern<S: Send + Sync>(flights: &Flights<S>, places: &Places, pattern: &str) -> Result<Outcome> {
    let functions = places.functions();
    let mut instances: Vec<Arc<Instance>> = Vec::new();
    let all_tiers: Vec<Arc<[Tier]>> = functions.iter().map(|function| function.tiers()).collect();
    let behind = all_tiers.iter().flat_map(|tiers| tiers.iter()).map(Tier::instance);
    let mut outside: Vec<&Arc<Instance>> = places.places.iter().map(|place| &place.instance).collect();
    outside.retain(|instance| is_outside(instance));
    for instance in outside.into_iter().chain(behind) {
        if !instances.iter().any(|known| Arc::ptr_eq(known, instance)) {
            instances.push(instance.clone());
        }
    }
    let depth = |instance: &Arc<Instance>| {
        let of = |tiers: &Arc<[Tier]>| tiers.iter().position(|tier| Arc::ptr_eq(tier.instance(), instance));
        (is_outside(instance), all_tiers.iter().filter_map(of).max())
    };
    instances.sort_by_key(|instance| std::cmp::Reverse(depth(instance)));
    let mute: Vec<&str> = instances
        .iter()
        .filter(|instance| !instance.has(capability::SCAN))
        .map(|instance| instance.name())
        .collect();
    if !mute.is_empty() {
        let message = format!(
            "pattern `{pattern}`: expected backends that can list their entries (capability `scan`), found \
             `{}`; hint: invalidate by tag, which every backend can",
            mute.join("`, `")
        );
        return Err(Error::new(ErrorKind::Configuration, "invalidate", message));
    }
    let mut outcome = Outcome::default();
    functions.iter().for_each(|function| function.pauses.end_all());
    let glob_of_flights = pattern.as_bytes().to_vec();
    let _fence =
        flights.fence_where(move |key| local_text(key).is_some_and(|text| glob(&glob_of_flights, text)));
    for instance in &instances {
        let namespaces: Vec<Vec<u8>> = places
            .places
            .iter()
            .filter(|place| Arc::ptr_eq(&place.instance, instance))
            .map(|place| {
                key::storage_prefix(&place.namespace, "", &[], "")
                    .split(|b| *b == b':')
                    .next()
                    .unwrap_or_default()
                    .to_vec()
            })
            .collect();
        let wanted = |key: &[u8]| {
            if !is_outside(instance) {
                return local_text(key).is_some_and(|text| glob(pattern.as_bytes(), text));
            }
            let namespace = key.split(|byte| *byte == b':').next().unwrap_or_default();
            // One that only other tiers of the same functions are in: whatever they have.
            let here = namespaces.is_empty() || namespaces.iter().any(|known| known == namespace);
            here && key::built_text(key).is_some_and(|text| glob(pattern.as_bytes(), text))
        };
        let removed = remove(instance, pattern, &wanted);
        if outcome.take(removed).map(|removed| outcome.found += removed).is_none() {
            // It could not be found out what is to go: then everything, now or as soon as it can be told.
            let tiers = all_tiers.iter().flat_map(|tiers| tiers.iter());
            for tier in tiers.filter(|tier| Arc::ptr_eq(tier.instance(), instance)) {
                outcome.take(instance.clear(tier.prefix()));
            }
        }
    }
    Ok(outcome)
}

/// Removes what matches, page by page: how many there were.
fn remove(instance: &Instance, pattern: &str, wanted: &dyn Fn(&[u8]) -> bool) -> Result<u64> {
    let before: &[u8] = if is_outside(instance) { b"*" } else { b"????" };
    let pattern = [before, &[BUILT], pattern.as_bytes()].concat();
    let (mut removed, mut cursor) = (0, 0);
    loop {
        let page = instance.scan(b"", &pattern, cursor, PAGE)?;
        // The backend's own pattern may match elsewhere in the key.
        let keys: Vec<&[u8]> = page.keys.iter().map(Vec::as_slice).filter(|key| wanted(key)).collect();
        if !keys.is_empty() {
            for deleted in instance.delete_many(&keys)? {
                removed += u64::from(deleted?);
            }
        }
        match page.next {
            Some(next) => cursor = next.get(),
            None => return Ok(removed),
        }
    }
}

fn is_outside(instance: &Instance) -> bool {
    instance.capabilities() & (capability::SHARED | capability::PERSISTENT) != 0
}

/// The text that a key builder gave for the call of this local key.
fn local_text(key: &[u8]) -> Option<&[u8]> {
    key.get(Function::LOCAL_PREFIX..)?.strip_prefix(&[BUILT])
}
