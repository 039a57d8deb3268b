//! One cached function as the engine sees it: its name, its tiers, what it has counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};

use crate::error::Result;
use crate::freshness::{Rules, State};
use crate::key;
use crate::lock::Mutex;
use crate::pause::Pauses;
use crate::sync::atomic::AtomicI64;
use crate::tier::Tier;
use crate::{throttle, verified};

/// What a function is called in keys and messages.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Module and qualified name.
    pub name: String,
    /// Parameter names in order: another signature is another function.
    pub parameters: Vec<String>,
}

/// How a function's results are kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policy {
    /// Share of the time to live by which it is randomly shortened or lengthened, from 0 to 1.
    pub jitter: f64,
    /// Whether a failure of the cache is the caller's to handle.
    pub strict: bool,
    /// How long results are fresh, and what becomes of them after.
    pub rules: Rules,
    /// Whether the function may run on another thread than the caller's, so that the caller need not
    /// wait for it.
    pub in_thread: bool,
    /// Whether its keys are texts that a key builder gave.
    pub built: bool,
    /// Whether its entries carry tags that are known from the arguments.
    pub tagged: bool,
    /// Whether they carry tags that are known from the result.
    pub tagged_by_result: bool,
    /// Whether one process at a time runs the function for a key, where a backend can tell; `None`: where that
    /// is shared by machines or users.
    pub lease: Option<bool>,
}

impl Policy {
    /// Whether its entries carry tags.
    pub fn has_tags(&self) -> bool {
        self.tagged || self.tagged_by_result
    }
}

/// What a function has counted. Hits in the first tier are counted by the caller's own fast path.
#[derive(Debug, Default)]
pub struct Counters {
    /// Values found in any tier by the engine.
    pub hits: AtomicU64,
    /// Runs of the function.
    pub misses: AtomicU64,
    /// Calls answered by an expired value.
    pub stale: AtomicU64,
    /// Failures of the cache.
    pub errors: AtomicU64,
    /// Entries a backend evicted or reclaimed.
    pub evictions: AtomicU64,
}

/// A cached function.
#[derive(Debug)]
pub struct Function {
    id: u32,
    identity: Identity,
    policy: Policy,
    tiers: Mutex<Arc<[Tier]>>,
    /// Nanoseconds that a run takes: an exponential average.
    run_time: AtomicI64,
    /// Runs that have been given up and go on.
    strays: AtomicI64,
    pub(crate) pauses: Pauses,
    /// Counts.
    pub counters: Counters,
}

/// Numbers are never reused, so that no key of a function that is gone meets a new one.
static NEXT_ID: AtomicU32 = AtomicU32::new(1);
/// For reports that come back by key.
static ALL: LazyLock<Mutex<HashMap<u32, Weak<Function>>>> = LazyLock::new(Default::default);

impl Function {
    /// A function that has no tiers yet.
    ///
    /// # Panics
    /// After 2^32 functions in one process.
    pub fn new(identity: Identity, policy: Policy) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        assert!(id != u32::MAX, "more than 2^32 cached functions in one process");
        let function = Arc::new(Function {
            id,
            identity,
            policy,
            tiers: Mutex::new(Arc::new([])),
            run_time: AtomicI64::new(0),
            strays: AtomicI64::new(0),
            pauses: Pauses::default(),
            counters: Counters::default(),
        });
        ALL.lock().insert(id, Arc::downgrade(&function));
        function
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// How its results are kept.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Bytes of [`Function::local_prefix`].
    pub const LOCAL_PREFIX: usize = 4;

    /// First bytes of its keys in tiers inside the process.
    pub fn local_prefix(&self) -> [u8; Self::LOCAL_PREFIX] {
        self.id.to_le_bytes()
    }

    /// First bytes of its keys in tiers that others can see. `version` parts what has the same name.
    pub fn storage_prefix(&self, namespace: &str, version: &str) -> Vec<u8> {
        let parameters: Vec<&str> = self.identity.parameters.iter().map(String::as_str).collect();
        key::storage_prefix(namespace, &self.identity.name, &parameters, version)
    }

    /// Its tiers, nearest first.
    pub fn tiers(&self) -> Arc<[Tier]> {
        self.tiers.lock().clone()
    }

    /// Nanoseconds that a run takes, on average over the last ones; zero before the first.
    pub fn run_time(&self) -> i64 {
        self.run_time.load(Ordering::Relaxed)
    }

    /// Takes a run into the average, with weight 1/8.
    pub(crate) fn ran(&self, took: i64) {
        let before = self.run_time();
        let after = if before == 0 { took } else { before + (took - before) / 8 };
        self.run_time.store(after, Ordering::Relaxed);
    }

    /// Counts an answer from a tier.
    pub fn count_hit(&self, state: State) {
        self.counters.hits.fetch_add(1, Ordering::Relaxed);
        if matches!(state, State::Stale | State::Fallback) {
            self.counters.stale.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs that have been given up and go on.
    pub fn strays(&self) -> i64 {
        self.strays.load(Ordering::Relaxed)
    }

    /// Counts one more of them, or one less.
    pub(crate) fn count_strays(&self, change: i64) {
        self.strays.fetch_add(change, Ordering::Relaxed);
    }

    /// Every function of the process.
    pub(crate) fn all() -> Vec<Arc<Function>> {
        ALL.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// In a forked child: no run of the parent's threads goes on here.
    pub(crate) fn forget_strays() {
        Self::all().iter().for_each(|function| function.strays.store(0, Ordering::Relaxed));
    }

    /// Replaces its tiers.
    pub fn set_tiers(&self, tiers: Vec<Tier>) {
        let old = std::mem::replace(&mut *self.tiers.lock(), tiers.into());
        drop(old);
    }

    /// Notes a failure of the cache, which is not the caller's.
    ///
    /// # Errors
    /// The failure itself, for a function that is `strict`.
    pub fn failed(&self, error: crate::Error) -> Result<()> {
        if self.policy.strict {
            self.counters.errors.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        self.note(&error);
        Ok(())
    }

    /// Counts and logs a failure of the cache that concerns nobody's call.
    pub fn note(&self, error: &crate::Error) {
        self.counters.errors.fetch_add(1, Ordering::Relaxed);
        // That its circuit is open was said when it opened.
        if !error.is_refusal() && throttle::allows(&self.identity.name) {
            tracing::warn!(
                function = self.identity.name,
                operation = error.operation(),
                "the cache failed, the call goes on: {error}"
            );
        }
    }

    /// Counts evicted keys for the functions they belong to.
    pub fn count_evictions(keys: &[&[u8]]) {
        // Counted after the lock is gone: one of these references may turn out to be the last.
        let functions: Vec<Arc<Function>> = {
            let all = ALL.lock();
            let ids = keys.iter().filter_map(|key| key.first_chunk().map(|id| u32::from_le_bytes(*id)));
            ids.filter_map(|id| all.get(&id).and_then(Weak::upgrade)).collect()
        };
        for function in functions {
            function.counters.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Around `fork`: the locks of what all functions share.
    pub fn fork_prepare() {
        std::mem::forget(ALL.lock());
        verified::fork_prepare();
        throttle::fork_prepare();
    }

    /// # Safety
    /// Must follow [`Function::fork_prepare`] on the same thread.
    pub unsafe fn fork_done() {
        // SAFETY: promised by the caller.
        unsafe {
            throttle::fork_done();
            verified::fork_done();
            drop(ALL.make_guard_unchecked());
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        ALL.lock().remove(&self.id);
    }
}
