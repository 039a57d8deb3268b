//! One connection to the database, and what its transactions leave behind.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use retainit_plugin_api::sdk::ErrorKind;
use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{ffi, OpenFlags};

use crate::config::Durability;
use crate::failure::{Failure, Outcome};
use crate::schema;
use crate::vfs;
use crate::view::View;
use crate::wait::{backoff, Wait};

/// Connections of this process that SQLite knows of: a child forked while there are any inherits
/// file locks that it only believes to hold, see [`crate::fork`].
pub static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A connection; used by one thread at a time.
#[derive(Debug)]
pub struct Connection {
    // Fields are dropped in this order: the view uses the connection, which is closed before it is
    // counted out.
    view: View,
    sql: rusqlite::Connection,
    _counted: Counted,
    gone: Arc<Mutex<Gone>>,
    patience: Arc<AtomicU64>,
    log: Arc<Log>,
    tick: Cell<u64>,
    generation: u64,
}

/// What SQLite tells of this connection's commits.
#[derive(Debug, Default)]
struct Log {
    /// Commits so far that put anything into the log.
    commits: AtomicUsize,
    /// Pages in the log after the last one.
    pages: AtomicUsize,
}

#[derive(Debug)]
struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a transaction removed or replaced.
#[derive(Debug, Default)]
pub struct Gone {
    /// Rows.
    pub entries: i64,
    /// Bytes of keys and values.
    pub bytes: i64,
    /// Value files that nothing refers to any more.
    pub files: Vec<String>,
}

/// How a connection is to be opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The database.
    pub path: &'a Path,
    /// What acknowledged writes survive.
    pub durability: Durability,
    /// Whether to make the tables where there are none.
    pub create: bool,
    /// The host's Unix time in nanoseconds.
    pub unix_time: i64,
    /// Which database this is, counted within the instance.
    pub generation: u64,
}

impl Connection {
    /// Opens the database and sets the connection up.
    pub fn open(opening: Opening<'_>, wait: &Wait) -> Outcome<Self> {
        configure()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        OPEN.fetch_add(1, Ordering::SeqCst);
        let counted = Counted;
        let mut sql = rusqlite::Connection::open_with_flags_and_vfs(opening.path, flags, vfs::NAME)?;
        let gone = Arc::new(Mutex::new(Gone::default()));
        let patience = Arc::new(AtomicU64::new(0));
        let log = Arc::new(Log::default());
        let set_up = (|| {
            let limit = Arc::clone(&patience);
            let mut started = Instant::now();
            sql.busy_handler(Some(move |attempt: i32| {
                if attempt == 0 {
                    started = Instant::now();
                }
                let left =
                    Duration::from_nanos(limit.load(Ordering::Relaxed)).saturating_sub(started.elapsed());
                std::thread::sleep(backoff(attempt as u32).min(left));
                !left.is_zero()
            }))?;
            let record = Arc::clone(&gone);
            sql.create_scalar_function("retainit_gone", 2, FunctionFlags::SQLITE_UTF8, move |context| {
                let mut gone = record.lock().unwrap_or_else(PoisonError::into_inner);
                gone.entries += 1;
                gone.bytes += context.get::<i64>(0)?;
                gone.files.extend(context.get::<Option<String>>(1)?);
                Ok(None::<i64>)
            })?;
            // The last connection to close would otherwise remove a log that a forked child, whose
            // locks nobody sees, could still be using.
            sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            sql.set_prepared_statement_cache_capacity(32);
            patience.store(u64::try_from(wait.left().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            schema::prepare(&sql, opening.durability, opening.create, opening.unix_time)?;
            let log = Arc::clone(&log);
            sql.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count: i32| {
                log.commits.fetch_add(1, Ordering::Relaxed);
                log.pages.store(count as usize, Ordering::Relaxed);
                Ok(())
            }))?;
            View::new(&sql)
        })();
        let view = set_up?;
        let tick = Cell::new(0);
        let generation = opening.generation;
        Ok(Connection { view, sql, _counted: counted, gone, patience, log, tick, generation })
    }

    /// The connection itself, outside any transaction: a view that was kept open ends.
    pub fn sql(&self) -> &rusqlite::Connection {
        self.view.end();
        &self.sql
    }

    /// Runs `body`, one statement or some that read, in a view that is kept open, and in which all
    /// reads see one state: the latest one.
    ///
    /// A write in it does not wait for other processes' writes: it fails as locked, without having done
    /// anything, and is to be done again outside.
    pub fn in_view<T>(&self, body: impl FnOnce(&rusqlite::Connection) -> Outcome<T>) -> Outcome<T> {
        self.view.renew(self.tick.get())?;
        let commits = self.log.commits.load(Ordering::Relaxed);
        let result = body(&self.sql);
        match &result {
            Ok(_) => self.view.advance(self.log.commits.load(Ordering::Relaxed).wrapping_sub(commits)),
            Err(_) => self.view.end(),
        }
        result
    }

    /// Says in which tick the connection is used; a view that `is_old` then ends.
    pub fn set_tick(&self, tick: u64, is_old: impl FnOnce(u64) -> bool) {
        self.tick.set(tick);
        if self.view.begun().is_some_and(is_old) {
            self.view.end();
        }
    }

    /// The tick in which the connection's view began, if it has one.
    pub fn view_begun(&self) -> Option<u64> {
        self.view.begun()
    }

    /// Ends the connection's view.
    pub fn end_view(&self) {
        self.view.end();
    }

    /// Which database it is connected to.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bounds waits for other processes' locks.
    pub fn be_patient(&self, wait: &Wait) {
        let left = u64::try_from(wait.left().as_nanos()).unwrap_or(u64::MAX);
        self.patience.store(left, Ordering::Relaxed);
    }

    /// Pages in the write-ahead log after this connection's last commit.
    pub fn log_pages(&self) -> usize {
        self.log.pages.load(Ordering::Relaxed)
    }

    /// What the last transaction removed, once.
    pub fn take_gone(&self) -> Gone {
        std::mem::take(&mut *self.gone.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `body` in a transaction that holds the write lock from its start.
    pub fn transaction<T>(&self, body: impl FnOnce(&rusqlite::Connection) -> Outcome<T>) -> Outcome<T> {
        self.sql().prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        // Also on a panic: the connection goes back to the pool and must not stay in a transaction.
        struct Rollback<'a>(&'a rusqlite::Connection);
        impl Drop for Rollback<'_> {
            fn drop(&mut self) {
                if !self.0.is_autocommit() {
                    let _ = self.0.execute_batch("ROLLBACK");
                }
            }
        }
        let rollback = Rollback(&self.sql);
        let result = body(&self.sql)?;
        self.sql.prepare_cached("COMMIT")?.execute([])?;
        drop(rollback);
        Ok(result)
    }
}

/// Settings of the SQLite library, which must come before its first use.
fn configure() -> Outcome<()> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Statistics of the allocator take a process-wide lock for each allocation.
        // SAFETY: called once, before the library is initialised; afterwards it would be refused.
        unsafe { ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, 0) };
    });
    match vfs::register() {
        ffi::SQLITE_OK => Ok(()),
        code => Err(Failure::refused(
            ErrorKind::Fatal,
            format!("SQLite has no file layer to build on (code {code})"),
        )),
    }
}
