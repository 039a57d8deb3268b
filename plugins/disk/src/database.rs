//! The database as the operations see it: a connection when they need one, one writer at a time, and
//! a new database where the old one was damaged or removed.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use retainit_plugin_api::sdk::{Call, ErrorKind, Evicted, Host, Level, Result};

use crate::config::Options;
use crate::connection::{Connection, Opening};
use crate::damage;
use crate::directory::{Directory, Identity, Share};
use crate::failure::{Failure, Outcome};
use crate::files;
use crate::fork;
use crate::gate::Gate;
use crate::mapping::Mappings;
use crate::pool::Pool;
use crate::recency::Recency;
use crate::scan::Cursors;
use crate::sweeper::Sweeper;
use crate::totals::Totals;
use crate::views::Views;
use crate::wait::Wait;

/// How long an instance may work on before it notices that its database was moved or removed.
const LOOK_EVERY: i64 = 100_000_000;
/// Pages of the log (16 MiB) after which the sweeper copies it into the database.
const LOG_PAGES: usize = 4096;

/// Everything one instance keeps; a forked child makes its own.
#[derive(Debug)]
pub struct Database {
    /// Options.
    pub options: Options,
    /// The host.
    pub host: Host,
    /// Where it is.
    pub directory: Directory,
    /// Entries and bytes.
    pub totals: Totals,
    /// Reads that wait to be written.
    pub recency: Recency,
    /// Value files in memory.
    pub mappings: Mappings,
    /// Scans under way.
    pub cursors: Cursors,
    /// The background thread.
    pub sweeper: Sweeper,
    /// One evictor at a time.
    pub evicting: Gate,
    /// Counts for `statistics`.
    pub counts: Counts,
    /// How long connections keep their views.
    pub views: Views,
    pool: Pool,
    writing: Gate,
    /// Grows whenever the database is another one; connections of an older one are closed.
    generation: AtomicU64,
    /// Which file the database of this generation is; none before the first use.
    identity: Mutex<Option<Identity>>,
    look_at: AtomicI64,
    checkpoint_at: AtomicUsize,
    /// Whether this process committed anything since its last checkpoint.
    logged: AtomicBool,
}

/// What happened without being asked for.
#[derive(Debug, Default)]
pub struct Counts {
    /// Entries that left because the store was full.
    pub evicted: AtomicU64,
    /// Entries that the sweeper found expired.
    pub expired: AtomicU64,
    /// Entries and databases that were set aside.
    pub damaged: AtomicU64,
}

/// What a transaction added.
#[derive(Debug, Clone, Copy, Default)]
pub struct Added {
    /// Rows.
    pub entries: i64,
    /// Bytes of keys and values.
    pub bytes: i64,
}

impl Database {
    /// Touches nothing yet.
    pub fn new(options: Options, host: Host) -> Self {
        Database {
            directory: Directory::new(&options),
            totals: Totals::new(&options),
            recency: Recency::default(),
            mappings: Mappings::default(),
            cursors: Cursors::default(),
            sweeper: Sweeper::default(),
            evicting: Gate::default(),
            counts: Counts::default(),
            views: Views::default(),
            pool: Pool::default(),
            writing: Gate::default(),
            generation: AtomicU64::new(1),
            identity: Mutex::new(None),
            look_at: AtomicI64::new(0),
            checkpoint_at: AtomicUsize::new(LOG_PAGES),
            logged: AtomicBool::new(false),
            options,
            host,
        }
    }

    /// The connections.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Whether the database has been opened.
    pub fn is_open(&self) -> bool {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Runs `body` for a call, see [`Database::work`].
    pub fn serve<T>(&self, call: &Call<'_>, body: impl FnMut(&Connection, &Wait) -> Outcome<T>) -> Result<T> {
        let now = if call.now() == 0 { self.host.monotonic() } else { call.now() };
        self.look(now);
        self.views.note_call(now);
        self.work(&Wait::of(call, self.options.busy_timeout()), body)
    }

    /// Runs `body` on a connection. On a damaged database it runs again, on a new one.
    pub fn work<T>(&self, wait: &Wait, mut body: impl FnMut(&Connection, &Wait) -> Outcome<T>) -> Result<T> {
        let mut reason = String::new();
        for _ in 0..4 {
            fork::check()?;
            let generation = self.generation.load(Ordering::Acquire);
            let fits = |connection: &Connection| connection.generation() == generation;
            let failure = match self.pool.take(wait, fits, || self.open(wait)) {
                Ok(connection) => {
                    connection.be_patient(wait);
                    connection.set_tick(self.views.tick(), |begun| self.views.is_old(begun));
                    let result = body(&connection, wait);
                    if connection.view_begun().is_some()
                        && !self.views.may_stay(|| self.sweeper.look(&self.views))
                    {
                        connection.end_view();
                    }
                    match result {
                        Ok(result) => return Ok(result),
                        Err(failure @ (Failure::Damaged(_) | Failure::Moved)) => {
                            connection.close();
                            failure
                        }
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            match failure {
                Failure::Refused(error) => return Err(error),
                Failure::Locked => return Err(wait.over("another process that writes to the cache")),
                Failure::Moved => self.abandon(generation),
                Failure::Damaged(found) => {
                    self.rebuild(generation, &found, wait)?;
                    reason = found;
                }
            }
        }
        let error = retainit_plugin_api::sdk::Error::new(
            ErrorKind::Corrupt,
            format!("the database is damaged time and again: {reason}"),
        );
        Err(error)
    }

    /// Runs one transaction of `body` as the only writer of this process, and accounts for it.
    pub fn commit<T>(
        &self,
        connection: &Connection,
        wait: &Wait,
        body: impl FnOnce(&Connection) -> Outcome<(T, Added)>,
    ) -> Outcome<T> {
        // Whoever waits must not keep others waiting for its view: they may hold SQLite's lock meanwhile.
        let passage = self.writing.pass(wait, || connection.end_view())?;
        connection.be_patient(wait);
        let result = body(connection);
        let gone = connection.take_gone();
        let pages = connection.log_pages();
        drop(passage);
        // A failed transaction removed nothing.
        let (result, added) = result?;
        if self.totals.add(added.entries - gone.entries, added.bytes - gone.bytes) {
            let _passage = self.writing.pass(wait, || connection.end_view())?;
            self.totals.write(connection)?;
        }
        for name in &gone.files {
            self.mappings.forget(name);
            files::remove(&self.directory, name);
        }
        self.consider_checkpoint(connection, wait, pages);
        Ok(result)
    }

    /// Copies the log into the database, so that the next write begins it anew, over pages that are there
    /// already: growing a file costs a write more than all the rest of it.
    pub fn checkpoint(&self, connection: &Connection, wait: &Wait) -> Outcome<()> {
        self.views.pause(&self.pool);
        let pass = |mode: &str| -> Outcome<(i64, i64)> {
            let statement = format!("PRAGMA wal_checkpoint({mode})");
            Ok(connection.sql().query_row(&statement, [], |row| Ok((row.get(1)?, row.get(2)?)))?)
        };
        // Most of it beside the writers, then the little that they added meanwhile while they wait: else a
        // writer that never rests would keep the log from ever beginning anew.
        let (pages, copied) = pass("PASSIVE")?;
        if copied == pages {
            return Ok(());
        }
        let _passage = self.writing.pass(wait, || connection.end_view())?;
        // A log that readers keep from beginning anew must not grow for ever: the last one waits for them.
        pass(if pages > 16 * LOG_PAGES as i64 { "TRUNCATE" } else { "PASSIVE" }).map(drop)
    }

    /// Reports an entry that was found damaged and has been removed.
    pub fn report_damaged(&self, key: &[u8], reason: &str) {
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        self.host.log(Level::Error, &format!("a damaged cache entry was set aside: {reason}"));
        self.host.evicted([(key, Evicted::Corrupt)]);
    }

    /// [`Database::checkpoint`], unless there is nothing new.
    pub fn checkpoint_new(&self, connection: &Connection, wait: &Wait) -> Outcome<()> {
        if self.logged.swap(false, Ordering::Relaxed) {
            self.checkpoint(connection, wait)?;
        }
        Ok(())
    }

    fn consider_checkpoint(&self, connection: &Connection, wait: &Wait, pages: usize) {
        self.logged.store(true, Ordering::Relaxed);
        let at = self.checkpoint_at.load(Ordering::Relaxed);
        if pages + LOG_PAGES < at {
            // The log has started anew.
            self.checkpoint_at.store(LOG_PAGES, Ordering::Relaxed);
        } else if pages >= at {
            self.checkpoint_at.store(pages + LOG_PAGES, Ordering::Relaxed);
            if !self.sweeper.wake() && self.checkpoint(connection, wait).is_err() {
                self.host.log(Level::Warn, "the write-ahead log could not be copied into the database yet");
            }
        }
    }

    fn open(&self, wait: &Wait) -> Outcome<Connection> {
        fork::watch();
        fork::check()?;
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.generation.load(Ordering::Acquire);
        let path = self.directory.database();
        let opening = Opening {
            path: &path,
            durability: self.options.durability,
            create: false,
            unix_time: self.host.unix_time(),
            generation,
        };
        if let Some(expected) = *identity {
            drop(identity);
            let _lock = self.directory.lock(Share::Opening, wait)?;
            if self.directory.identity() != Some(expected) {
                return Err(Failure::Moved);
            }
            return Connection::open(opening, wait);
        }
        self.directory.prepare()?;
        let lock = self.directory.lock(Share::Alone, wait)?;
        let mut set_aside = None;
        let connection = loop {
            self.create_database()?;
            let opened = Connection::open(Opening { create: true, ..opening }, wait);
            match opened.and_then(|connection| self.totals.read(&connection).map(|()| connection)) {
                Err(Failure::Damaged(reason)) if set_aside.is_none() => {
                    self.set_aside()?;
                    set_aside = Some(reason);
                }
                other => break other?,
            }
        };
        *identity = self.directory.identity();
        drop(lock);
        drop(identity);
        if let Some(reason) = set_aside {
            self.report_rebuilt(&reason);
        }
        Ok(connection)
    }

    /// An empty file where there is no database, with the right mode: the log and its index take theirs
    /// from it. Nobody can have it open, as opening needs the lock that is held here; closing the
    /// descriptor of an open database would drop all its locks.
    fn create_database(&self) -> Outcome<()> {
        self.directory.create(&self.directory.database_dir())?;
        self.directory.create(&self.directory.values())?;
        let path = self.directory.database();
        match self.directory.create_file(&path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check_database(),
            Err(_) if path.exists() => self.check_database(),
            Err(error) => Err(Failure::io(&format!("create `{}`", path.display()), &error)),
        }
    }

    fn check_database(&self) -> Outcome<()> {
        let path = self.directory.database();
        let found = fs::symlink_metadata(&path)
            .map_err(|error| Failure::io(&format!("look at `{}`", path.display()), &error))?;
        if found.is_file() && !self.directory.trusts(&found) {
            return Err(Failure::refused(
                ErrorKind::Configuration,
                format!("`{}` could have been written by somebody else; hint: remove it, or choose another `base_path`", path.display()),
            ));
        }
        if !found.is_file() {
            self.set_aside()?;
            return self.create_database();
        }
        Ok(())
    }

    /// Looks now and then whether the database is still the one that is open: somebody may have
    /// removed the directory, and another process may have set a damaged database aside.
    fn look(&self, now: i64) {
        let at = self.look_at.load(Ordering::Relaxed);
        // Also when the clock was set back.
        if now < at && at - now <= LOOK_EVERY {
            return;
        }
        self.look_at.store(now.saturating_add(LOOK_EVERY), Ordering::Relaxed);
        let generation = self.generation.load(Ordering::Acquire);
        let expected = *self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.is_some() && self.directory.identity() != expected {
            self.abandon(generation);
            self.host.invalidated(&[]);
        }
    }

    /// Makes the next call open the database anew, unless that has happened since `generation`.
    fn abandon(&self, generation: u64) {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) == generation {
            self.generation.store(generation + 1, Ordering::Release);
            *identity = None;
        }
    }

    /// Sets the database of `generation` aside, unless that has happened by now, here or elsewhere.
    fn rebuild(&self, generation: u64, reason: &str, wait: &Wait) -> Result<()> {
        let expected = *self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if self.generation.load(Ordering::Acquire) != generation {
            return Ok(());
        }
        let rebuilt = (|| {
            let _lock = self.directory.lock(Share::Alone, wait)?;
            // Another process may have been first: what is there now is not what was found damaged.
            let ours = expected.is_some() && self.directory.identity() == expected;
            if ours && self.generation.load(Ordering::Acquire) == generation {
                self.set_aside()?;
                return Ok(true);
            }
            Ok(false)
        })();
        match rebuilt {
            Ok(true) => {
                self.abandon(generation);
                self.report_rebuilt(reason);
                Ok(())
            }
            Ok(false) | Err(Failure::Moved) => {
                self.abandon(generation);
                Ok(())
            }
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Locked | Failure::Damaged(_)) => {
                Err(wait.over("another process that rebuilds the cache"))
            }
        }
    }

    fn set_aside(&self) -> Outcome<()> {
        damage::set_aside_database(&self.directory, self.host.unix_time()).map(drop).map_err(|error| {
            Failure::io(&format!("set aside `{}`", self.directory.database_dir().display()), &error)
        })
    }

    fn report_rebuilt(&self, reason: &str) {
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        self.mappings.clear();
        let base = self.directory.base().display();
        self.host.log(
            Level::Error,
            &format!(
                "the cache database in `{base}` was damaged ({reason}); it was set aside and a new one made"
            ),
        );
        self.host.invalidated(&[]);
    }
}
