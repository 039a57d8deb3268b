//! The database's tables, and the statements that make and check them.

use rusqlite::Connection;

use retainit_plugin_api::sdk::ErrorKind;

use crate::config::Durability;
use crate::failure::{Failure, Outcome};

/// `RTNT`: says in the file's header whose it is.
pub const APPLICATION_ID: i64 = 0x5254_4E54;
/// Version of the tables below.
pub const VERSION: i64 = 1;

/// Bytes of a page. With 4096, a write of a small value puts one or two pages into the log.
const PAGE_SIZE: u32 = 4096;

// A rowid table with an index on the key, not `WITHOUT ROWID`: there a value beyond a quarter of a
// page would go to overflow pages, which costs 1 KB values a factor of five on reading.
// No index on `expires` or `used`: each would add a page to every write; the sweeper and the evictor
// read the table instead, outside any writer's way.
const TABLES: &str = "
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    token BLOB NOT NULL,
    expires INTEGER,
    used INTEGER NOT NULL,
    size INTEGER NOT NULL,
    file TEXT,
    hash INTEGER,
    value BLOB
) STRICT;
CREATE TABLE total (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE lease (
    name BLOB PRIMARY KEY,
    holder BLOB NOT NULL,
    expires INTEGER NOT NULL,
    fence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE fence (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
) STRICT;
";

// What leaves the table is told to this process through a function of the connection, so that files
// can be unlinked and totals kept without a second statement for each write.
const TRIGGERS: &str = "
CREATE TEMP TRIGGER replaced AFTER UPDATE OF token ON main.entry
BEGIN SELECT retainit_gone(old.size + length(old.key), old.file); END;
CREATE TEMP TRIGGER removed AFTER DELETE ON main.entry
BEGIN SELECT retainit_gone(old.size + length(old.key), old.file); END;
";

/// Sets up a connection; `create` lets it make the tables in an empty database.
pub fn prepare(connection: &Connection, durability: Durability, create: bool, unix_time: i64) -> Outcome<()> {
    if create {
        connection.execute_batch(&format!("PRAGMA page_size = {PAGE_SIZE}"))?;
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::refused(
            ErrorKind::Configuration,
            format!("the database's journal is in mode `{mode}`: expected `wal`; hint: choose a `base_path` on a local file system"),
        ));
    }
    let synchronous = match durability {
        Durability::Process => "NORMAL",
        Durability::Full => "FULL",
    };
    // No memory map of the database: a file that somebody shortens would end the process (SIGBUS),
    // where a read reports damage. Checkpoints are the sweeper's, see there.
    connection.execute_batch(&format!(
        "PRAGMA synchronous = {synchronous};
         PRAGMA mmap_size = 0;
         PRAGMA cache_size = -8192;
         PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = OFF;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 67108864;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;"
    ))?;
    check(connection, create, unix_time)?;
    connection.execute_batch(TRIGGERS)?;
    Ok(())
}

fn check(connection: &Connection, create: bool, unix_time: i64) -> Outcome<()> {
    let pragma = |name: &str| connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application == APPLICATION_ID && version > VERSION {
        return Err(Failure::refused(
            ErrorKind::Configuration,
            format!("the cache was written by a newer version (format {version}, expected {VERSION}); hint: choose another `base_path`"),
        ));
    }
    if application == APPLICATION_ID && version == VERSION {
        // Preparing a statement checks that the tables have the columns; a header alone proves little.
        for statement in [
            "SELECT id, key, token, expires, used, size, file, hash, value FROM entry",
            "SELECT id, entries, bytes FROM total",
            "SELECT name, holder, expires, fence FROM lease",
            "SELECT id, last FROM fence",
        ] {
            connection.prepare(statement)?;
        }
        return Ok(());
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if !create || tables != 0 || application != 0 {
        return Err(Failure::Damaged(format!(
            "the tables are not this program's (application {application:#x}, format {version})"
        )));
    }
    // One transaction: after a crash there is either everything or nothing. Fences go on growing over
    // a rebuilt database because they start from the time of its making.
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         {TABLES}
         INSERT INTO total VALUES (1, 0, 0);
         INSERT INTO fence VALUES (1, {});
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {VERSION};
         COMMIT;",
        unix_time / 1000
    ))?;
    Ok(())
}
