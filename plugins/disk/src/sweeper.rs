//! The background thread: removes what expired, copies the log into the database, ends views that are
//! idle, and now and then counts the table and removes files that no row names.

use std::collections::HashSet;
use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use retainit_plugin_api::sdk::{Evicted, Level, Result};

use crate::connection::Connection;
use crate::database::{Added, Database};
use crate::eviction;
use crate::failure::Outcome;
use crate::files;
use crate::lease;
use crate::views::{Views, TICK};
use crate::wait::Wait;

/// Rows looked at in one read.
const CHUNK: i64 = 4096;
/// Chunks looked at in one round, unless a tenth of what was seen had expired.
const CHUNKS: usize = 8;
/// Rows removed in one transaction.
const BATCH: usize = 256;
/// Time between two rounds that look at everything, in nanoseconds.
const THOROUGH: i64 = 3600 * 1_000_000_000;

/// The thread's handle and its orders.
#[derive(Debug, Default)]
pub struct Sweeper {
    /// Whether it was started or must not be: one load for each call.
    settled: AtomicBool,
    orders: Mutex<Orders>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    stop: bool,
    checkpoint: bool,
    running: bool,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Starts the thread at the first call that uses the database.
    pub fn start(database: &Arc<Database>) {
        let sweeper = &database.sweeper;
        if sweeper.settled.load(Ordering::Relaxed) {
            return;
        }
        let mut orders = sweeper.orders();
        if sweeper.settled.swap(true, Ordering::Relaxed) || orders.stop {
            return;
        }
        let own = Arc::clone(database);
        match std::thread::Builder::new().name("retainit-disk".into()).spawn(move || run(&own)) {
            Ok(thread) => {
                orders.running = true;
                orders.thread = Some(thread);
            }
            Err(error) => {
                drop(orders);
                let message =
                    format!("no background thread for the disk cache, writers do its work: {error}");
                database.host.log(Level::Warn, &message);
            }
        }
    }

    /// Whether [`Sweeper::start`] has something to do.
    pub fn is_due(&self) -> bool {
        !self.settled.load(Ordering::Relaxed)
    }

    /// Keeps the thread from being started.
    pub fn forbid(&self) {
        self.orders().stop = true;
        self.settled.store(true, Ordering::Relaxed);
    }

    /// [`Sweeper::stopped`] for a forked child, where a thread of the parent may have held the lock.
    pub fn was_stopped(&self) -> bool {
        self.orders.try_lock().is_ok_and(|orders| orders.stop)
    }

    /// Wakes the thread, as the log has grown; `false` if there is no thread.
    pub fn wake(&self) -> bool {
        let mut orders = self.orders();
        if !orders.running {
            return false;
        }
        orders.checkpoint = true;
        drop(orders);
        self.changed.notify_all();
        true
    }

    /// Makes the thread look after views every [`TICK`]; `false` if there is no thread.
    pub fn look(&self, views: &Views) -> bool {
        let orders = self.orders();
        if !orders.running || orders.stop {
            return false;
        }
        views.begin();
        drop(orders);
        self.changed.notify_all();
        true
    }

    /// Stops the thread for good, waiting for what it is doing.
    pub fn stop(&self, wait: &Wait) -> Result<()> {
        let mut orders = self.orders();
        orders.stop = true;
        self.settled.store(true, Ordering::Relaxed);
        self.changed.notify_all();
        wait.pause_begins();
        while orders.running && !wait.left().is_zero() {
            orders = self.changed.wait_timeout(orders, wait.left()).unwrap_or_else(PoisonError::into_inner).0;
        }
        if orders.running {
            return Err(wait.over("the background thread"));
        }
        let thread = orders.thread.take();
        drop(orders);
        // It has said its last word: this returns at once.
        thread.map(JoinHandle::join);
        Ok(())
    }

    /// Whether it was told to stop.
    pub fn stopped(&self) -> bool {
        self.orders().stop
    }

    fn orders(&self) -> std::sync::MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next thing to do.
    fn next(&self, views: &Views, interval: Duration, last: Instant) -> Next {
        let mut orders = self.orders();
        loop {
            if orders.stop {
                return Next::End;
            }
            if std::mem::take(&mut orders.checkpoint) {
                return Next::Checkpoint;
            }
            let left = interval.saturating_sub(last.elapsed());
            if left.is_zero() {
                return Next::Round;
            }
            // Decided under the lock that whoever wants it to look takes as well.
            let looks = !views.rest() && TICK < left;
            let timeout = if looks { TICK } else { left };
            let (again, waited) =
                self.changed.wait_timeout(orders, timeout).unwrap_or_else(PoisonError::into_inner);
            orders = again;
            if looks && waited.timed_out() && !orders.stop {
                return Next::Look;
            }
        }
    }
}

/// What the thread does next.
#[derive(Debug)]
enum Next {
    /// Look after views.
    Look,
    /// Copy the log.
    Checkpoint,
    /// All there is to do.
    Round,
    /// Nothing any more.
    End,
}

/// What a thread remembers from round to round.
#[derive(Debug)]
struct Progress {
    /// The last row looked at.
    row: i64,
    /// When everything is to be looked at again, on the host's monotonic clock.
    thorough_at: i64,
}

fn run(database: &Arc<Database>) {
    let interval = database.options.sweep_interval();
    // A killed process leaves its totals uncounted; they matter only where there is a bound.
    let first = if database.options.bounded() { 0 } else { THOROUGH };
    let mut progress = Progress { row: 0, thorough_at: database.host.monotonic() + first };
    let mut last = Instant::now();
    loop {
        let next = database.sweeper.next(&database.views, interval, last);
        let work = |body: &mut dyn FnMut(&Connection, &Wait) -> Outcome<()>| {
            database.work(&Wait::at_most(database.options.busy_timeout()), body)
        };
        let done = catch_unwind(AssertUnwindSafe(|| match next {
            Next::Look => {
                database.views.look(database.pool());
                Ok(())
            }
            Next::Checkpoint => work(&mut |connection, wait| database.checkpoint(connection, wait)),
            Next::Round => {
                // It may take long, and nobody looks meanwhile.
                database.views.pause(database.pool());
                work(&mut |connection, wait| sweep(database, connection, wait, &mut progress))
            }
            Next::End => Ok(()),
        }));
        match next {
            Next::Round => last = Instant::now(),
            Next::End => break,
            Next::Look | Next::Checkpoint => {}
        }
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => database
                .host
                .log(Level::Warn, &format!("a background round of the disk cache failed: {error}")),
            Err(_) => database.host.log(Level::Error, "a background round of the disk cache panicked"),
        }
    }
    // It was told to stop, so no call can make it look any more.
    database.views.close(database.pool());
    let mut orders = database.sweeper.orders();
    orders.running = false;
    database.sweeper.changed.notify_all();
}

fn sweep(database: &Database, connection: &Connection, wait: &Wait, progress: &mut Progress) -> Outcome<()> {
    expire(database, connection, wait, progress)?;
    if database.options.bounded() {
        eviction::note_uses(database, connection, wait)?;
    }
    let now = database.host.monotonic();
    if now >= progress.thorough_at {
        progress.thorough_at = now + THOROUGH;
        count(database, connection, wait)?;
        remove_orphans(database, connection)?;
        lease::remove_old(database, connection, wait)?;
    } else if database.totals.pending() != (0, 0) {
        database.commit(connection, wait, |connection| {
            database.totals.write(connection)?;
            Ok(((), Added::default()))
        })?;
    }
    database.mappings.age();
    eviction::enforce(database, connection, wait);
    database.checkpoint_new(connection, wait)
}

fn expire(database: &Database, connection: &Connection, wait: &Wait, progress: &mut Progress) -> Outcome<()> {
    let (mut seen, mut expired) = (0usize, 0usize);
    for chunk in 0.. {
        if database.sweeper.stopped() || (chunk >= CHUNKS && expired * 10 < seen) {
            break;
        }
        let now = database.host.unix_time();
        let mut found = Vec::new();
        let mut last = None;
        {
            let mut statement = connection
                .sql()
                .prepare_cached("SELECT id, expires FROM entry WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            let mut rows = statement.query([progress.row, CHUNK])?;
            while let Some(row) = rows.next()? {
                seen += 1;
                last = Some(row.get(0)?);
                if row.get::<_, Option<i64>>(1)?.is_some_and(|expires| expires <= now) {
                    found.push(row.get::<_, i64>(0)?);
                }
            }
        }
        expired += found.len();
        for batch in found.chunks(BATCH) {
            remove_expired(database, connection, wait, batch, now)?;
        }
        match last {
            Some(row) => progress.row = row,
            None => {
                progress.row = 0;
                break;
            }
        }
    }
    Ok(())
}

fn remove_expired(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    rows: &[i64],
    now: i64,
) -> Outcome<()> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    database.commit(connection, wait, |connection| {
        connection.transaction(|sql| {
            let mut statement =
                sql.prepare_cached("DELETE FROM entry WHERE id = ?1 AND expires <= ?2 RETURNING key")?;
            for id in rows {
                let mut removed = statement.query([id, &now])?;
                while let Some(row) = removed.next()? {
                    keys.push(row.get(0)?);
                }
            }
            Ok(((), Added::default()))
        })
    })?;
    database.counts.expired.fetch_add(keys.len() as u64, Ordering::Relaxed);
    database.host.evicted(keys.iter().map(|key| (&key[..], Evicted::Expired)));
    Ok(())
}

/// Counts the table: processes that were killed took the last of what they did along.
fn count(database: &Database, connection: &Connection, wait: &Wait) -> Outcome<()> {
    let seen = database.totals.pending();
    let counted = connection.sql().query_row(
        "SELECT count(*), coalesce(sum(size + length(key)), 0) FROM entry",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    database.commit(connection, wait, |connection| {
        database.totals.correct(connection, counted, seen)?;
        Ok(((), Added::default()))
    })
}

/// Removes files that were written and never named by a row, or no longer: a process ended between
/// the two steps, or the database was rebuilt.
fn remove_orphans(database: &Database, connection: &Connection) -> Outcome<()> {
    // The files are listed before the rows are read: a row that came in between is seen, and a file
    // that came in between is too young.
    let old = files::old(&database.directory, database.host.unix_time());
    if old.is_empty() {
        return Ok(());
    }
    let mut named = HashSet::new();
    let mut statement = connection.sql().prepare("SELECT file FROM entry WHERE file IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        named.insert(row.get::<_, String>(0)?);
    }
    for path in old {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !named.contains(name) {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}
