//! Leases: who alone may do something for a while, across processes.

use retainit_plugin_api::sdk::{Lease, Token};
use rusqlite::OptionalExtension;

use crate::connection::Connection;
use crate::database::{Added, Database};
use crate::failure::Outcome;
use crate::token;
use crate::wait::Wait;

/// Takes the lease unless somebody holds it.
pub fn acquire(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    name: &[u8],
    ttl: i64,
) -> Outcome<Option<Lease>> {
    let now = database.host.unix_time();
    // Whoever waits asks time and again: a look writes nothing, and keeps nobody from writing.
    let is_held = connection.in_view(|sql| {
        Ok(sql.prepare_cached("SELECT 1 FROM lease WHERE name = ?1 AND expires > ?2")?.exists((name, now))?)
    })?;
    if is_held {
        return Ok(None);
    }
    let holder = token::fresh();
    database.commit(connection, wait, |connection| {
        connection.transaction(|sql| {
            // One counter for all names, so that a fence never falls back when a lease's row is removed. And at
            // least the time: a loss of power may take the last commits back, and numbers that were given with them.
            let fence: i64 = sql
                .prepare_cached("UPDATE fence SET last = max(last + 1, ?1) WHERE id = 1 RETURNING last")?
                .query_row([now / 1_000], |row| row.get(0))?;
            let taken = sql
                .prepare_cached(
                    "INSERT INTO lease (name, holder, expires, fence) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires = excluded.expires, fence = excluded.fence
                     WHERE lease.expires <= ?5",
                )?
                .execute((name, &holder.bytes[..], now.saturating_add(ttl), fence, now))?;
            Ok(((taken == 1).then_some(Lease { holder, fence: fence as u64 }), Added::default()))
        })
    })
}

/// Prolongs the lease if it is still held.
pub fn renew(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    name: &[u8],
    ttl: i64,
    lease: &Lease,
) -> Outcome<bool> {
    let now = database.host.unix_time();
    let Lease { holder: Token { bytes }, fence } = lease;
    database.commit(connection, wait, |connection| {
        let renewed = connection
            .sql()
            .prepare_cached("UPDATE lease SET expires = ?4 WHERE name = ?1 AND holder = ?2 AND fence = ?3 AND expires > ?5")?
            .execute((name, &bytes[..], *fence as i64, now.saturating_add(ttl), now))?;
        Ok((renewed == 1, Added::default()))
    })
}

/// Gives the lease back if it is still held.
pub fn release(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    name: &[u8],
    lease: &Lease,
) -> Outcome<bool> {
    let now = database.host.unix_time();
    database.commit(connection, wait, |connection| {
        let expires: Option<i64> = connection
            .sql()
            .prepare_cached(
                "DELETE FROM lease WHERE name = ?1 AND holder = ?2 AND fence = ?3 RETURNING expires",
            )?
            .query_row((name, &lease.holder.bytes[..], lease.fence as i64), |row| row.get(0))
            .optional()?;
        Ok((expires.is_some_and(|expires| expires > now), Added::default()))
    })
}

/// Removes leases that ended.
pub fn remove_old(database: &Database, connection: &Connection, wait: &Wait) -> Outcome<()> {
    let now = database.host.unix_time();
    database.commit(connection, wait, |connection| {
        connection.sql().execute("DELETE FROM lease WHERE expires <= ?1", [now])?;
        Ok(((), Added::default()))
    })
}
