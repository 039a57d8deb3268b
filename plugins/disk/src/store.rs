//! The backend: from the trait's methods to the database.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::Arc;
use std::time::Duration;

use retainit_plugin_api::sdk::{
    capability, Backend, Call, Entry, Error, ErrorKind, Host, Item, Lease, Result, ScanPage, Token, Value,
};

use crate::config::{Options, SCHEMA};
use crate::connection::Connection;
use crate::content::Content;
use crate::database::{Added, Database};
use crate::entries::{self, Condition};
use crate::eviction;
use crate::failure::Outcome;
use crate::lease;
use crate::scan;
use crate::sweeper::Sweeper;
use crate::wait::Wait;

/// How long a fork waits for operations in flight, most of all for the disk in a checkpoint; a child
/// forked earlier could not use the cache.
const FORK_PATIENCE: Duration = Duration::from_secs(10);

/// A cache in a directory.
#[derive(Debug)]
pub struct DiskBackend {
    // One strong reference. Replaced in a forked child only, where no other thread lives.
    database: AtomicPtr<Database>,
}

impl DiskBackend {
    fn database(&self) -> &Database {
        // SAFETY: the reference is held until `drop`; `fork_child` leaks the one it replaces.
        unsafe { &*self.database.load(Ordering::Acquire) }
    }

    fn shared(&self) -> Arc<Database> {
        let raw = self.database.load(Ordering::Acquire).cast_const();
        // SAFETY: `raw` came from `Arc::into_raw`, and `self` holds a reference.
        unsafe {
            Arc::increment_strong_count(raw);
            Arc::from_raw(raw)
        }
    }

    fn read<T>(&self, call: &Call<'_>, body: impl FnMut(&Connection, &Wait) -> Outcome<T>) -> Result<T> {
        self.start();
        self.database().serve(call, body)
    }

    /// Sees to it that there is a background thread.
    fn start(&self) {
        if self.database().sweeper.is_due() {
            Sweeper::start(&self.shared());
        }
    }

    /// Runs a write, then whatever it makes due.
    fn write<T>(&self, call: &Call<'_>, mut body: impl FnMut(&Connection, &Wait) -> Outcome<T>) -> Result<T> {
        self.start();
        let database = self.database();
        database.serve(call, |connection, wait| {
            let result = body(connection, wait)?;
            eviction::enforce(database, connection, wait);
            Ok(result)
        })
    }
}

impl Backend for DiskBackend {
    const NAME: &'static str = "disk";
    const CAPABILITIES: u64 = capability::BLOCKING
        | capability::SHARED
        | capability::PERSISTENT
        | capability::TTL
        | capability::CAS
        | capability::COUNTER
        | capability::SCAN
        | capability::LEASE
        | capability::FORK
        | capability::EVICTS
        | capability::PRIVATE
        | capability::CLAIM;
    const SCHEMA: &'static str = SCHEMA;
    type Options = Options;

    fn open(options: Options, host: Host) -> Result<Self> {
        let database = Arc::new(Database::new(options.check()?, host));
        // Made at the first use only; but one that must not be used is said now, when somebody listens.
        database.directory.check()?;
        Ok(DiskBackend { database: AtomicPtr::new(Arc::into_raw(database).cast_mut()) })
    }

    fn get(&self, call: &Call<'_>, key: &[u8]) -> Result<Option<Item>> {
        let database = self.database();
        self.read(call, |connection, wait| entries::get(database, connection, wait, call.now(), key))
    }

    fn set(&self, call: &Call<'_>, entry: Entry<'_>) -> Result<()> {
        let database = self.database();
        self.write(call, |connection, wait| {
            let draft = entries::draft(database, entry.key, &entry.value, entry.ttl)?;
            entries::store(database, connection, wait, draft, Condition::Always).map(drop)
        })
    }

    fn delete(&self, call: &Call<'_>, key: &[u8]) -> Result<bool> {
        let database = self.database();
        self.write(call, |connection, wait| entries::delete(database, connection, wait, key))
    }

    fn clear(&self, call: &Call<'_>, prefix: &[u8]) -> Result<u64> {
        let database = self.database();
        self.write(call, |connection, wait| scan::clear(database, connection, wait, prefix))
    }

    fn quiesce(&self, call: &Call<'_>) -> Result<()> {
        let database = self.database();
        let wait = Wait::of(call, Duration::from_secs(60));
        database.sweeper.stop(&wait)?;
        database.mappings.clear();
        // There is nothing to settle in a directory that was removed.
        if database.is_open() && !database.directory.is_gone() {
            database.work(&wait, |connection, wait| settle(database, connection, wait))?;
        }
        Ok(())
    }

    fn get_many(&self, call: &Call<'_>, keys: &[&[u8]]) -> Vec<Result<Option<Item>>> {
        let database = self.database();
        let items = self
            .read(call, |connection, wait| entries::get_many(database, connection, wait, call.now(), keys));
        spread(items, keys.len())
    }

    fn set_many(&self, call: &Call<'_>, all: Vec<Entry<'_>>) -> Vec<Result<()>> {
        let database = self.database();
        let result = self.write(call, |connection, wait| {
            let drafts = all
                .iter()
                .map(|entry| entries::draft(database, entry.key, &entry.value, entry.ttl))
                .collect::<Outcome<_>>()?;
            entries::store_many(database, connection, wait, drafts)
        });
        all.iter().map(|_| result.clone()).collect()
    }

    fn delete_many(&self, call: &Call<'_>, keys: &[&[u8]]) -> Vec<Result<bool>> {
        let database = self.database();
        let removed =
            self.write(call, |connection, wait| entries::delete_many(database, connection, wait, keys));
        spread(removed, keys.len())
    }

    fn add(&self, call: &Call<'_>, entry: Entry<'_>) -> Result<Option<Token>> {
        let database = self.database();
        self.write(call, |connection, wait| {
            let draft = entries::draft(database, entry.key, &entry.value, entry.ttl)?;
            entries::store(database, connection, wait, draft, Condition::Absent)
        })
    }

    fn compare_and_set(&self, call: &Call<'_>, entry: Entry<'_>, token: Token) -> Result<Option<Token>> {
        let database = self.database();
        let condition = if token == Token::default() { Condition::Absent } else { Condition::Token(token) };
        self.write(call, |connection, wait| {
            let draft = entries::draft(database, entry.key, &entry.value, entry.ttl)?;
            entries::store(database, connection, wait, draft, condition)
        })
    }

    fn increment(&self, call: &Call<'_>, key: &[u8], delta: i64, ttl: i64) -> Result<i64> {
        let database = self.database();
        self.write(call, |connection, wait| entries::increment(database, connection, wait, key, delta, ttl))
    }

    fn touch(&self, call: &Call<'_>, key: &[u8], ttl: i64) -> Result<bool> {
        let database = self.database();
        self.write(call, |connection, wait| entries::touch(database, connection, wait, key, ttl))
    }

    fn ttl(&self, call: &Call<'_>, key: &[u8]) -> Result<Option<i64>> {
        let database = self.database();
        self.read(call, |connection, _| entries::ttl(database, connection, key))
    }

    fn scan(
        &self,
        call: &Call<'_>,
        prefix: &[u8],
        pattern: &[u8],
        cursor: u64,
        limit: u64,
    ) -> Result<ScanPage> {
        let database = self.database();
        self.read(call, |connection, _| scan::scan(database, connection, prefix, pattern, cursor, limit))
    }

    fn count(&self, call: &Call<'_>, prefix: &[u8]) -> Result<u64> {
        let database = self.database();
        self.read(call, |connection, _| scan::count(database, connection, prefix))
    }

    fn lease_acquire(&self, call: &Call<'_>, name: &[u8], ttl: i64) -> Result<Option<Lease>> {
        let database = self.database();
        self.write(call, |connection, wait| lease::acquire(database, connection, wait, name, ttl))
    }

    fn lease_renew(&self, call: &Call<'_>, name: &[u8], ttl: i64, lease: &Lease) -> Result<bool> {
        let database = self.database();
        self.write(call, |connection, wait| lease::renew(database, connection, wait, name, ttl, lease))
    }

    fn lease_release(&self, call: &Call<'_>, name: &[u8], lease: &Lease) -> Result<bool> {
        let database = self.database();
        self.write(call, |connection, wait| lease::release(database, connection, wait, name, lease))
    }

    fn ping(&self, call: &Call<'_>) -> Result<()> {
        self.read(call, |connection, _| {
            Ok(connection.sql().query_row("SELECT last FROM fence", [], |_| Ok(()))?)
        })
    }

    fn statistics(&self, call: &Call<'_>) -> Result<serde_json::Value> {
        let database = self.database();
        self.write(call, |connection, wait| settle(database, connection, wait))?;
        let counts = &database.counts;
        Ok(serde_json::json!({
            "entries": database.totals.entries(),
            "bytes": database.totals.bytes(),
            "evictions": counts.evicted.load(Ordering::Relaxed),
            "expirations": counts.expired.load(Ordering::Relaxed),
            "damaged": counts.damaged.load(Ordering::Relaxed),
        }))
    }

    fn flush(&self, call: &Call<'_>) -> Result<()> {
        let database = self.database();
        if !database.is_open() || database.directory.is_gone() {
            return Ok(());
        }
        self.write(call, |connection, wait| {
            settle(database, connection, wait)?;
            // The value files first: a row on the disk must not name a file that is not there yet.
            database.directory.synchronise()?;
            database.views.pause(database.pool());
            connection.sql().query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))?;
            Ok(())
        })
    }

    fn fork_prepare(&self) {
        self.database().pool().freeze(&Wait::at_most(FORK_PATIENCE));
    }

    fn fork_parent(&self) {
        self.database().pool().thaw();
    }

    fn fork_child(&self) {
        let old = self.database();
        let fresh = Database::new(old.options.clone(), old.host);
        if old.sweeper.was_stopped() {
            fresh.sweeper.forbid();
        }
        // The old one is leaked: its locks may be held by threads that are not here, and its
        // connections, if any are left, must not be closed by this process.
        self.database.store(Arc::into_raw(Arc::new(fresh)).cast_mut(), Ordering::Release);
    }

    fn claim(value: &Value) -> Result<()> {
        Content::claim(value).map_err(|error| Error::new(ErrorKind::Retryable, format!("claim: {error}")))
    }
}

impl Drop for DiskBackend {
    fn drop(&mut self) {
        // The thread holds a reference of its own, so it must be gone first. Its rounds are short.
        let _ = self.database().sweeper.stop(&Wait::at_most(Duration::from_secs(60)));
        // SAFETY: this is the reference that `open` or `fork_child` made, and the last use of it.
        let database = unsafe { Arc::from_raw(self.database.load(Ordering::Acquire).cast_const()) };
        if database.is_open() {
            // What was only counted in memory; a cache that cannot be written has nothing to add.
            let wait = Wait::at_most(Duration::from_secs(1));
            let _ = database.work(&wait, |connection, wait| settle(&database, connection, wait));
        }
    }
}

/// Writes what is kept in memory for later: totals and uses.
fn settle(database: &Database, connection: &Connection, wait: &Wait) -> Outcome<()> {
    if database.options.bounded() {
        eviction::note_uses(database, connection, wait)?;
    }
    database.commit(connection, wait, |connection| {
        database.totals.write(connection)?;
        Ok(((), Added::default()))
    })
}

/// One result for all as one for each.
fn spread<T>(all: Result<Vec<T>>, count: usize) -> Vec<Result<T>> {
    match all {
        Ok(all) => all.into_iter().map(Ok).collect(),
        Err(error) => (0..count).map(|_| Err::<T, Error>(error.clone())).collect(),
    }
}
