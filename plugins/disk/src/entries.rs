//! Reading and writing of entries: one statement each, in a transaction of its own.

use std::borrow::Cow;

use retainit_plugin_api::sdk::{Error, ErrorKind, Item, Token, Value, NEVER};
use rusqlite::{CachedStatement, OptionalExtension, Row};

use crate::connection::Connection;
use crate::damage;
use crate::database::{Added, Database};
use crate::failure::{Failure, Outcome};
use crate::files::{self, Written};
use crate::mapping::Unmappable;
use crate::token;
use crate::wait::Wait;

const SELECT: &str = "SELECT value, token, expires, used, size, file, id FROM entry WHERE key = ?1";

// An upsert, not a replacement: the row keeps its number, the index on keys stays untouched, and the
// trigger learns what the old row named.
macro_rules! upsert {
    ($condition:literal) => {
        concat!(
            "INSERT INTO entry (key, token, expires, used, size, file, hash, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (key) DO UPDATE SET token = excluded.token, expires = excluded.expires, used = excluded.used,
             size = excluded.size, file = excluded.file, hash = excluded.hash, value = excluded.value",
            $condition
        )
    };
}

/// When a write takes place.
#[derive(Debug, Clone, Copy)]
pub enum Condition {
    /// Always.
    Always,
    /// Where no live entry is.
    Absent,
    /// Where the live entry has this token.
    Token(Token),
}

/// A value on its way into a row.
#[derive(Debug)]
pub struct Draft<'a> {
    key: &'a [u8],
    value: &'a [u8],
    expires: Option<i64>,
    file: Option<Written<'a>>,
}

/// A row as it was read.
#[derive(Debug)]
struct Found {
    id: i64,
    token: Token,
    expires: Option<i64>,
    used: i64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Inline(Vec<u8>),
    File {
        name: String,
        size: u64,
    },
    /// What a row should not say, and why.
    Wrong(&'static str),
}

/// What became of a row.
enum Answer {
    /// The row is an answer.
    Item(Option<Item>),
    /// It, or the file it names, is not as it was written.
    Damaged { token: Token, name: String, reason: Cow<'static, str> },
}

/// Reads an entry. `now` is the host's monotonic clock.
pub fn get(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    now: i64,
    key: &[u8],
) -> Outcome<Option<Item>> {
    // Between reading the row and opening its file, a writer may replace both: then the next row counts.
    for _ in 0..8 {
        let Some(found) = connection.in_view(|sql| find(sql, key))? else { return Ok(None) };
        match resolve(database, now, found)? {
            Answer::Item(item) => return Ok(item),
            Answer::Damaged { token, name, reason } => {
                if remove_damaged(database, connection, wait, key, token, &name)? {
                    database.report_damaged(key, &reason);
                    return Ok(None);
                }
            }
        }
    }
    // Replaced eight times in a row between two reads: as good as absent.
    Ok(None)
}

/// Reads many in one transaction.
pub fn get_many(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    now: i64,
    keys: &[&[u8]],
) -> Outcome<Vec<Option<Item>>> {
    let found: Vec<_> =
        connection.in_view(|sql| keys.iter().map(|key| find(sql, key)).collect::<Outcome<_>>())?;
    let items = keys.iter().zip(found).map(|(key, found)| {
        let Some(found) = found else { return Ok(None) };
        match resolve(database, now, found)? {
            Answer::Item(item) => Ok(item),
            // Or replaced since.
            Answer::Damaged { .. } => get(database, connection, wait, now, key),
        }
    });
    items.collect()
}

fn resolve(database: &Database, now: i64, found: Found) -> Outcome<Answer> {
    let mut expires = NEVER;
    if found.expires.is_some() || database.options.bounded() {
        let unix_time = database.host.unix_time();
        if let Some(at) = found.expires {
            if at <= unix_time {
                return Ok(Answer::Item(None));
            }
            let now = if now == 0 { database.host.monotonic() } else { now };
            expires = now.saturating_add(at - unix_time);
        }
        if database.options.bounded() {
            database.recency.note(found.id, found.used, unix_time);
        }
    }
    let item = |value| Ok(Answer::Item(Some(Item { value, expires, token: found.token })));
    let damaged = |name: String, reason| Ok(Answer::Damaged { token: found.token, name, reason });
    match found.content {
        Content::Inline(bytes) => item(Value::from_vec(bytes)),
        Content::File { name, size } => match database.mappings.open(&database.directory, &name, size) {
            Ok(content) => item(content.into_value()),
            Err(Unmappable::Missing) => damaged(name, "its file is missing".into()),
            Err(Unmappable::Wrong(reason)) => damaged(name, reason.into()),
            Err(Unmappable::Failed(error)) => Err(Failure::io(
                &format!("map `{}`", files::path(&database.directory, &name).display()),
                &error,
            )),
        },
        Content::Wrong(reason) => damaged(String::new(), reason.into()),
    }
}

fn find(sql: &rusqlite::Connection, key: &[u8]) -> Outcome<Option<Found>> {
    let mut statement = sql.prepare_cached(SELECT)?;
    let mut rows = statement.query([key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let size: i64 = row.get(4)?;
    let content = match (row.get_ref(0)?.as_blob_or_null(), row.get_ref(5)?.as_str_or_null()) {
        (Ok(Some(bytes)), Ok(None)) if bytes.len() as i64 == size => Content::Inline(bytes.to_vec()),
        (Ok(None), Ok(Some(name))) if size > 0 => Content::File { name: name.to_owned(), size: size as u64 },
        (Ok(Some(_)), Ok(None)) => Content::Wrong("its value has not the length that the row says"),
        _ => Content::Wrong("its row has neither a value nor a file"),
    };
    Ok(Some(Found {
        id: row.get(6)?,
        token: read_token(row, 1)?,
        expires: row.get(2)?,
        used: row.get(3)?,
        content,
    }))
}

/// Removes the row if it is still the one with `token`, and sets its file aside.
fn remove_damaged(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    key: &[u8],
    token: Token,
    name: &str,
) -> Outcome<bool> {
    database.commit(connection, wait, |connection| {
        let removed = connection
            .sql()
            .prepare_cached("DELETE FROM entry WHERE key = ?1 AND token = ?2")?
            .execute((key, &token.bytes[..]))?;
        if removed == 1 {
            // Before the commit's own clean-up would unlink it.
            damage::set_aside_file(&database.directory, name, database.host.unix_time());
        }
        Ok((removed == 1, Added::default()))
    })
}

/// Prepares a value for writing: a large one goes to its file now, before anybody has to wait for it.
pub fn draft<'a>(database: &'a Database, key: &'a [u8], value: &'a Value, ttl: i64) -> Outcome<Draft<'a>> {
    let value = value
        .as_bytes()
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "the disk backend keeps bytes, not objects"))?;
    let unix_time = database.host.unix_time();
    let file = match value.len() as u64 > database.options.inline_limit {
        true => Some(files::write(&database.directory, value, database.options.durability, unix_time)?),
        false => None,
    };
    Ok(Draft { key, value, expires: (ttl != NEVER).then(|| unix_time.saturating_add(ttl)), file })
}

/// Stores one value; the new token, or `None` where the condition does not hold.
pub fn store(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    draft: Draft<'_>,
    condition: Condition,
) -> Outcome<Option<Token>> {
    let token = database.commit(connection, wait, |connection| {
        match connection.in_view(|sql| write(database, sql, &draft, condition)) {
            // Another process writes: outside the view, SQLite waits for it.
            Err(Failure::Locked) => write(database, connection.sql(), &draft, condition),
            other => other,
        }
    })?;
    if token.is_some() {
        draft.file.into_iter().for_each(Written::keep);
    }
    Ok(token)
}

/// Stores many values in one transaction.
pub fn store_many(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    drafts: Vec<Draft<'_>>,
) -> Outcome<()> {
    database.commit(connection, wait, |connection| {
        connection.transaction(|sql| {
            let mut sum = Added::default();
            for draft in &drafts {
                let (_, added) = write(database, sql, draft, Condition::Always)?;
                sum.entries += added.entries;
                sum.bytes += added.bytes;
            }
            Ok(((), sum))
        })
    })?;
    drafts.into_iter().filter_map(|draft| draft.file).for_each(Written::keep);
    Ok(())
}

fn write(
    database: &Database,
    sql: &rusqlite::Connection,
    draft: &Draft<'_>,
    condition: Condition,
) -> Outcome<(Option<Token>, Added)> {
    let now = database.host.unix_time();
    let token = token::fresh();
    let bind = |statement: &mut CachedStatement<'_>| -> rusqlite::Result<()> {
        statement.raw_bind_parameter(1, draft.key)?;
        statement.raw_bind_parameter(2, &token.bytes[..])?;
        statement.raw_bind_parameter(3, draft.expires)?;
        statement.raw_bind_parameter(4, now)?;
        statement.raw_bind_parameter(5, draft.value.len() as i64)?;
        statement.raw_bind_parameter(6, draft.file.as_ref().map(Written::name))?;
        statement.raw_bind_parameter(7, draft.file.as_ref().map(Written::hash))?;
        statement.raw_bind_parameter(8, draft.file.is_none().then_some(draft.value))
    };
    let written = match condition {
        Condition::Always => {
            let mut statement = sql.prepare_cached(upsert!(""))?;
            bind(&mut statement)?;
            statement.raw_execute()?
        }
        Condition::Absent => {
            let mut statement = sql.prepare_cached(upsert!(" WHERE entry.expires <= ?9"))?;
            bind(&mut statement)?;
            statement.raw_bind_parameter(9, now)?;
            statement.raw_execute()?
        }
        Condition::Token(expected) => {
            let mut statement = sql.prepare_cached(
                "UPDATE entry SET token = ?2, expires = ?3, used = ?4, size = ?5, file = ?6, hash = ?7, value = ?8
                 WHERE key = ?1 AND token = ?9 AND (expires IS NULL OR expires > ?10)",
            )?;
            bind(&mut statement)?;
            statement.raw_bind_parameter(9, &expected.bytes[..])?;
            statement.raw_bind_parameter(10, now)?;
            statement.raw_execute()?
        }
    };
    if written == 0 {
        return Ok((None, Added::default()));
    }
    Ok((Some(token), Added { entries: 1, bytes: (draft.key.len() + draft.value.len()) as i64 }))
}

/// Removes an entry; whether there was a live one.
pub fn delete(database: &Database, connection: &Connection, wait: &Wait, key: &[u8]) -> Outcome<bool> {
    database
        .commit(connection, wait, |connection| Ok((delete_row(database, connection, key)?, Added::default())))
}

/// Removes many in one transaction.
pub fn delete_many(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    keys: &[&[u8]],
) -> Outcome<Vec<bool>> {
    database.commit(connection, wait, |connection| {
        connection.transaction(|_| {
            let removed =
                keys.iter().map(|key| delete_row(database, connection, key)).collect::<Outcome<_>>()?;
            Ok((removed, Added::default()))
        })
    })
}

fn delete_row(database: &Database, connection: &Connection, key: &[u8]) -> Outcome<bool> {
    let expires: Option<Option<i64>> = connection
        .sql()
        .prepare_cached("DELETE FROM entry WHERE key = ?1 RETURNING expires")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    Ok(expires.is_some_and(|expires| expires.is_none_or(|at| at > database.host.unix_time())))
}

/// Adds to a decimal integer.
pub fn increment(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    key: &[u8],
    delta: i64,
    ttl: i64,
) -> Outcome<i64> {
    database.commit(connection, wait, |connection| {
        connection.transaction(|sql| {
            let now = database.host.unix_time();
            let found = find(sql, key)?.filter(|found| found.expires.is_none_or(|at| at > now));
            let expires = match &found {
                Some(found) => found.expires,
                None => (ttl != NEVER).then(|| now.saturating_add(ttl)),
            };
            let before = match found.map(|found| resolve(database, 0, found)).transpose()? {
                Some(Answer::Item(Some(item))) => number(item.value.as_bytes().unwrap_or_default())?,
                Some(Answer::Damaged { .. }) => return Err(not_a_number()),
                Some(Answer::Item(None)) | None => 0,
            };
            let after = before.checked_add(delta).ok_or_else(|| {
                Failure::refused(ErrorKind::Invalid, format!("`{before}` plus `{delta}` is beyond 64 bits"))
            })?;
            let text = after.to_string();
            // Short enough for its row, whatever the limit.
            let draft = Draft { key, value: text.as_bytes(), expires, file: None };
            let (_, added) = write(database, sql, &draft, Condition::Always)?;
            Ok((after, added))
        })
    })
}

fn number(text: &[u8]) -> Outcome<i64> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(not_a_number)
}

fn not_a_number() -> Failure {
    Failure::refused(ErrorKind::Invalid, "the value under this key is not a decimal integer")
}

/// Gives a live entry a new time to live.
pub fn touch(
    database: &Database,
    connection: &Connection,
    wait: &Wait,
    key: &[u8],
    ttl: i64,
) -> Outcome<bool> {
    let now = database.host.unix_time();
    let expires = (ttl != NEVER).then(|| now.saturating_add(ttl));
    database.commit(connection, wait, |connection| {
        let touched = connection
            .sql()
            .prepare_cached("UPDATE entry SET expires = ?2, used = ?3 WHERE key = ?1 AND (expires IS NULL OR expires > ?3)")?
            .execute((key, expires, now))?;
        Ok((touched == 1, Added::default()))
    })
}

/// What is left of an entry's time to live.
pub fn ttl(database: &Database, connection: &Connection, key: &[u8]) -> Outcome<Option<i64>> {
    let expires: Option<Option<i64>> = connection
        .sql()
        .prepare_cached("SELECT expires FROM entry WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    let now = database.host.unix_time();
    Ok(match expires {
        None => None,
        Some(None) => Some(NEVER),
        Some(Some(at)) => (at > now).then(|| at - now),
    })
}

fn read_token(row: &Row<'_>, column: usize) -> Outcome<Token> {
    let bytes = row.get_ref(column)?.as_blob().ok().and_then(|bytes| bytes.try_into().ok());
    Ok(Token { bytes: bytes.ok_or_else(|| Failure::Damaged("a token has not 16 bytes".into()))? })
}
