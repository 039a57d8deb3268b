//! What leaves when the store is full: first what has expired, then what was not used for longest.
//!
//! Uses are ordered by the times in the table, so by what all processes noted there; there is no index
//! on them, which each write would pay for. One pass over the table, in a read transaction that no
//! writer waits for, chooses a tenth of the bound at once.

use std::sync::atomic::Ordering;

use retainit_plugin_api::sdk::{Evicted, Level, NEVER};

use crate::connection::Connection;
use crate::database::{Added, Database};
use crate::failure::Outcome;
use crate::wait::Wait;

/// Rows removed in one transaction: writers wait for no longer than that.
const BATCH: usize = 256;

/// A row that may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    used: i64,
    id: i64,
    size: i64,
}

/// Brings the store within its bounds, if it is not.
///
/// The write that made it too large has been acknowledged by its commit: a failure here is logged and
/// left to the next write.
pub fn enforce(database: &Database, connection: &Connection, wait: &Wait) {
    if !database.totals.over(&database.options) {
        return;
    }
    let result = (|| {
        let _alone = database.evicting.pass(wait, || connection.end_view())?;
        // Twice at most: rows that were used or replaced since they were chosen stay.
        for _ in 0..2 {
            if database.totals.over(&database.options) {
                evict(database, connection, wait)?;
            }
        }
        Ok(())
    })();
    let result: Outcome<()> = result;
    if let Err(failure) = result {
        database
            .host
            .log(Level::Warn, &format!("the cache could not be brought within its bounds yet: {failure:?}"));
    }
}

fn evict(database: &Database, connection: &Connection, wait: &Wait) -> Outcome<()> {
    note_uses(database, connection, wait)?;
    let now = database.host.unix_time();
    let seen = database.totals.pending();
    let mut candidates = Vec::new();
    let mut bytes = 0;
    {
        let mut statement =
            connection.sql().prepare_cached("SELECT id, used, size + length(key), expires FROM entry")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let expired = row.get::<_, Option<i64>>(3)?.is_some_and(|expires| expires <= now);
            let used = if expired { i64::MIN } else { row.get(1)? };
            let candidate = Candidate { used, id: row.get(0)?, size: row.get(2)? };
            bytes += candidate.size;
            candidates.push(candidate);
        }
    }
    let entries = candidates.len() as i64;
    database.commit(connection, wait, |connection| {
        database.totals.correct(connection, (entries, bytes), seen)?;
        Ok(((), Added::default()))
    })?;
    let excess = |limit: Option<u64>, found: i64| {
        let limit = limit.unwrap_or(u64::MAX).min(i64::MAX as u64) as i64;
        // Room for a tenth at once, so that the pass over the table is shared by that many writes.
        if found > limit {
            found - (limit - limit / 10)
        } else {
            0
        }
    };
    let mut surplus_entries = excess(database.options.max_size, entries);
    let mut surplus_bytes = excess(database.options.max_bytes, bytes);
    candidates.sort_unstable();
    let victims: Vec<Candidate> = candidates
        .into_iter()
        .take_while(|candidate| {
            let needed = surplus_entries > 0 || surplus_bytes > 0;
            surplus_entries -= 1;
            surplus_bytes -= candidate.size;
            needed
        })
        .collect();
    for batch in victims.chunks(BATCH) {
        let mut removed: Vec<(Vec<u8>, Evicted)> = Vec::new();
        database.commit(connection, wait, |connection| {
            connection.transaction(|sql| {
                let mut statement = sql.prepare_cached(
                    "DELETE FROM entry WHERE id = ?1 AND (used = ?2 OR expires <= ?3) RETURNING key, expires",
                )?;
                for victim in batch {
                    let mut rows = statement.query([victim.id, victim.used, now])?;
                    while let Some(row) = rows.next()? {
                        let expired = row.get::<_, Option<i64>>(1)?.unwrap_or(NEVER) <= now;
                        removed
                            .push((row.get(0)?, if expired { Evicted::Expired } else { Evicted::Capacity }));
                    }
                }
                Ok(((), Added::default()))
            })
        })?;
        database.counts.evicted.fetch_add(removed.len() as u64, Ordering::Relaxed);
        database.host.evicted(removed.iter().map(|(key, reason)| (&key[..], *reason)));
    }
    Ok(())
}

/// Writes the reads noted in memory to the table.
pub fn note_uses(database: &Database, connection: &Connection, wait: &Wait) -> Outcome<()> {
    for batch in database.recency.take().chunks(BATCH) {
        database.commit(connection, wait, |connection| {
            connection.transaction(|sql| {
                let mut statement =
                    sql.prepare_cached("UPDATE entry SET used = ?2 WHERE id = ?1 AND used < ?2")?;
                for (id, used) in batch {
                    statement.execute([id, used])?;
                }
                Ok(((), Added::default()))
            })
        })?;
    }
    Ok(())
}
