//! How many entries and bytes there are: counted in memory, written now and then to the table `total`,
//! where the processes of one directory add up what each of them did.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::config::Options;
use crate::connection::Connection;
use crate::failure::Outcome;

/// The running totals of one instance.
///
/// Relaxed throughout: the numbers bound the store, nothing is published through them. A process that
/// is killed takes what it had not written yet along; the next count of the table mends that.
#[derive(Debug)]
pub struct Totals {
    entries: Total,
    bytes: Total,
}

#[derive(Debug, Default)]
struct Total {
    /// As the table said last.
    written: AtomicI64,
    /// What this process did since.
    pending: AtomicI64,
    /// Pending change that is worth a write.
    step: i64,
}

impl Total {
    fn new(limit: Option<u64>, step: i64) -> Self {
        // With a bound, so small a step that other processes' view is off by some percent at most.
        let step = limit.map_or(step, |limit| step.min((limit / 64).max(1) as i64));
        Total { step, ..Total::default() }
    }

    fn now(&self) -> i64 {
        self.written.load(Ordering::Relaxed) + self.pending.load(Ordering::Relaxed)
    }
}

impl Totals {
    /// Totals that know nothing yet.
    pub fn new(options: &Options) -> Self {
        Totals { entries: Total::new(options.max_size, 4096), bytes: Total::new(options.max_bytes, 4 << 20) }
    }

    /// Adds a committed change; says whether enough has come together to be written.
    pub fn add(&self, entries: i64, bytes: i64) -> bool {
        let mut due = false;
        for (total, change) in [(&self.entries, entries), (&self.bytes, bytes)] {
            if change != 0 {
                let pending = total.pending.fetch_add(change, Ordering::Relaxed) + change;
                due |= pending.abs() >= total.step;
            }
        }
        due
    }

    /// Number of entries, as far as known.
    pub fn entries(&self) -> i64 {
        self.entries.now()
    }

    /// Bytes of keys and values, as far as known.
    pub fn bytes(&self) -> i64 {
        self.bytes.now()
    }

    /// Whether a bound is exceeded.
    pub fn over(&self, options: &Options) -> bool {
        options.max_size.is_some_and(|limit| self.entries() > limit as i64)
            || options.max_bytes.is_some_and(|limit| self.bytes() > limit as i64)
    }

    /// Adds what is pending to the table and learns what the others added. In a transaction of its own.
    pub fn write(&self, connection: &Connection) -> Outcome<()> {
        let entries = self.entries.pending.swap(0, Ordering::Relaxed);
        let bytes = self.bytes.pending.swap(0, Ordering::Relaxed);
        let written = (|| {
            let mut statement = connection.sql().prepare_cached(
                "UPDATE total SET entries = entries + ?1, bytes = bytes + ?2 WHERE id = 1 RETURNING entries, bytes",
            )?;
            Ok(statement.query_row([entries, bytes], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })();
        match written {
            Ok((entries, bytes)) => {
                self.entries.written.store(entries, Ordering::Relaxed);
                self.bytes.written.store(bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(failure) => {
                self.entries.pending.fetch_add(entries, Ordering::Relaxed);
                self.bytes.pending.fetch_add(bytes, Ordering::Relaxed);
                Err(failure)
            }
        }
    }

    /// Learns what the table says, on a new database.
    pub fn read(&self, connection: &Connection) -> Outcome<()> {
        let (entries, bytes) =
            connection.sql().query_row("SELECT entries, bytes FROM total WHERE id = 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        self.entries.written.store(entries, Ordering::Relaxed);
        self.bytes.written.store(bytes, Ordering::Relaxed);
        self.entries.pending.store(0, Ordering::Relaxed);
        self.bytes.pending.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// What this process has not written yet, to be given to [`Totals::correct`].
    pub fn pending(&self) -> (i64, i64) {
        (self.entries.pending.load(Ordering::Relaxed), self.bytes.pending.load(Ordering::Relaxed))
    }

    /// Puts a true count into the table: one that began when `seen` was pending. What other writers
    /// changed meanwhile is off until the next count.
    pub fn correct(&self, connection: &Connection, counted: (i64, i64), seen: (i64, i64)) -> Outcome<()> {
        connection
            .sql()
            .prepare_cached("UPDATE total SET entries = ?1, bytes = ?2 WHERE id = 1")?
            .execute([counted.0, counted.1])?;
        for (total, counted, seen) in [(&self.entries, counted.0, seen.0), (&self.bytes, counted.1, seen.1)] {
            total.pending.fetch_sub(seen, Ordering::Relaxed);
            total.written.store(counted, Ordering::Relaxed);
        }
        Ok(())
    }
}
