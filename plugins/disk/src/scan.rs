//! Ranges of keys: scanning, counting and clearing by prefix.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};

use retainit_plugin_api::sdk::{glob, ErrorKind, ScanPage};

use crate::connection::Connection;
use crate::database::{Added, Database};
use crate::failure::{Failure, Outcome};
use crate::wait::Wait;

/// Keys on a page at most.
const PAGE: u64 = 10_000;
/// Rows removed in one transaction.
const BATCH: i64 = 1000;
/// Scans under way at most; the oldest is forgotten.
const CURSORS: usize = 256;

/// Scans that have not come to their end: a cursor's number, and the key it stands at.
#[derive(Debug, Default)]
pub struct Cursors {
    state: Mutex<(u64, BTreeMap<u64, Vec<u8>>)>,
}

impl Cursors {
    fn take(&self, cursor: u64) -> Option<Vec<u8>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.get(&cursor).cloned()
    }

    fn add(&self, key: Vec<u8>) -> Option<NonZeroU64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += 1;
        let cursor = state.0;
        state.1.insert(cursor, key);
        if state.1.len() > CURSORS {
            state.1.pop_first();
        }
        NonZeroU64::new(cursor)
    }
}

/// A page of keys that start with `prefix` and match `pattern`, in their order.
pub fn scan(
    database: &Database,
    connection: &Connection,
    prefix: &[u8],
    pattern: &[u8],
    cursor: u64,
    limit: u64,
) -> Outcome<ScanPage> {
    let limit = limit.clamp(1, PAGE) as usize;
    let after = match cursor {
        0 => None,
        cursor => Some(database.cursors.take(cursor).ok_or_else(|| {
            Failure::refused(
                ErrorKind::Invalid,
                format!("cursor `{cursor}` is unknown: expected 0 or one that the last page gave"),
            )
        })?),
    };
    let prefix = longer(prefix, literal_start(pattern));
    let Some(prefix) = prefix else { return Ok(ScanPage::default()) };
    let now = database.host.unix_time();
    let end = upper_bound(&prefix);
    let mut page = ScanPage::default();
    let sql = match (&after, &end) {
        (None, Some(_)) => "SELECT key FROM entry WHERE key >= ?1 AND key < ?2 AND (expires IS NULL OR expires > ?3) ORDER BY key",
        (None, None) => "SELECT key FROM entry WHERE key >= ?1 AND (?2 IS NULL) AND (expires IS NULL OR expires > ?3) ORDER BY key",
        (Some(_), Some(_)) => "SELECT key FROM entry WHERE key > ?1 AND key < ?2 AND (expires IS NULL OR expires > ?3) ORDER BY key",
        (Some(_), None) => "SELECT key FROM entry WHERE key > ?1 AND (?2 IS NULL) AND (expires IS NULL OR expires > ?3) ORDER BY key",
    };
    let mut statement = connection.sql().prepare_cached(sql)?;
    let mut rows = statement.query((after.as_deref().unwrap_or(&prefix), end.as_deref(), now))?;
    while let Some(row) = rows.next()? {
        let key: Vec<u8> = row.get(0)?;
        if !glob(pattern, &key) {
            continue;
        }
        if page.keys.len() == limit {
            // There is more: the next page goes on after the last key of this one.
            page.next = database.cursors.add(page.keys[limit - 1].clone());
            break;
        }
        page.keys.push(key);
    }
    Ok(page)
}

/// Number of entries whose key starts with `prefix`.
pub fn count(database: &Database, connection: &Connection, prefix: &[u8]) -> Outcome<u64> {
    let end = upper_bound(prefix);
    let sql = match end {
        Some(_) => "SELECT count(*) FROM entry WHERE key >= ?1 AND key < ?2 AND (expires IS NULL OR expires > ?3)",
        None => "SELECT count(*) FROM entry WHERE key >= ?1 AND (?2 IS NULL) AND (expires IS NULL OR expires > ?3)",
    };
    let now = database.host.unix_time();
    let number: i64 =
        connection.sql().prepare_cached(sql)?.query_row((prefix, end, now), |row| row.get(0))?;
    Ok(number as u64)
}

/// Removes all entries whose key starts with `prefix` and that are there at the beginning, in several
/// transactions, so that other writers get their turn.
pub fn clear(database: &Database, connection: &Connection, wait: &Wait, prefix: &[u8]) -> Outcome<u64> {
    let end = upper_bound(prefix);
    let last: Option<i64> =
        connection.sql().prepare_cached("SELECT max(id) FROM entry")?.query_row([], |row| row.get(0))?;
    let Some(last) = last else { return Ok(0) };
    let sql = match end {
        Some(_) => {
            "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE key >= ?1 AND key < ?2 AND id <= ?3 LIMIT ?4)
             RETURNING expires IS NULL OR expires > ?5"
        }
        None => {
            "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE key >= ?1 AND (?2 IS NULL) AND id <= ?3 LIMIT ?4)
             RETURNING expires IS NULL OR expires > ?5"
        }
    };
    let mut removed = 0;
    loop {
        let now = database.host.unix_time();
        let batch = database.commit(connection, wait, |connection| {
            let mut statement = connection.sql().prepare_cached(sql)?;
            let mut rows = statement.query((prefix, end.as_deref(), last, BATCH, now))?;
            let mut batch = 0;
            while let Some(row) = rows.next()? {
                batch += 1;
                removed += u64::from(row.get::<_, bool>(0)?);
            }
            Ok((batch, Added::default()))
        })?;
        if batch < BATCH {
            return Ok(removed);
        }
    }
}

/// The smallest key beyond all that start with `prefix`; none if there is no such.
fn upper_bound(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|&byte| byte != u8::MAX)?;
    let mut bound = prefix[..=at].to_vec();
    bound[at] += 1;
    Some(bound)
}

/// What every match of the pattern starts with.
fn literal_start(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| b"*?[\\".contains(byte)).unwrap_or(pattern.len());
    &pattern[..end]
}

/// The longer of two prefixes that a key must both have; `None` if no key can.
fn longer(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    long.starts_with(short).then(|| long.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_prefix_is_the_next_key_without_it() {
        assert_eq!(upper_bound(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(upper_bound(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(upper_bound(b"\xff"), None);
        assert_eq!(upper_bound(b""), None);
    }

    #[test]
    fn a_pattern_narrows_the_range() {
        assert_eq!(literal_start(b"user:*"), b"user:");
        assert_eq!(literal_start(b"a\\*"), b"a");
        assert_eq!(longer(b"user", b"user:"), Some(b"user:".to_vec()));
        assert_eq!(longer(b"user:1", b"user:"), Some(b"user:1".to_vec()));
        assert_eq!(longer(b"user", b"item"), None);
    }

    #[test]
    fn old_cursors_are_forgotten() {
        let cursors = Cursors::default();
        let first = cursors.add(b"a".to_vec()).unwrap().get();
        for _ in 0..CURSORS {
            cursors.add(b"b".to_vec());
        }
        assert_eq!(cursors.take(first), None);
    }
}
