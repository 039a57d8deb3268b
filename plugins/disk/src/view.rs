//! The read transaction that a connection keeps open from call to call.
//!
//! SQLite takes and gives back a lock of the log's index for each read transaction: two system calls
//! for a read, and four of the six of a small write. A transaction that stays open needs none of them.
//! It sees the database as it was when it began, so it is used only as long as nobody else has
//! committed, which the head of the index says: 48 bytes of shared memory that change with each commit.
//! Our own commits go on from it; SQLite itself refuses a write from a view that is not the latest.
//!
//! A view keeps the log from beginning anew. [`Views`](crate::views::Views) says for how long.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{fence, AtomicU32, Ordering};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_stmt};
use rusqlite::Connection;

use crate::failure::Outcome;

/// Words of the head of the log's index, of which there are two copies, one after the other.
const WORDS: usize = 12;
/// The word that grows by one with each commit.
const CHANGE: usize = 2;
/// Bytes of the index's first part, as SQLite maps it.
const PART: i32 = 32 * 1024;

type Head = [u32; WORDS];

/// The view of one connection.
#[derive(Debug)]
pub struct View {
    /// A `SELECT` that has given its row and has not ended: it holds the transaction.
    statement: *mut sqlite3_stmt,
    /// Both copies of the head, mapped for as long as the connection is open.
    index: *const AtomicU32,
    begun: Cell<Option<u64>>,
    /// The head as of which the view is the latest; none if that could not be told.
    head: RefCell<Option<Head>>,
}

// SAFETY: a connection and its view are used by one thread at a time, and SQLite, like the atomic
// words, does not care which one.
unsafe impl Send for View {}

impl View {
    /// The view of `sql`, not begun; it must be dropped before `sql`.
    pub fn new(sql: &Connection) -> Outcome<Self> {
        let mut view = View {
            statement: ptr::null_mut(),
            index: ptr::null(),
            begun: Cell::new(None),
            head: RefCell::new(None),
        };
        // SAFETY: the connection is open; the text ends with a zero byte; the results are written to
        // locals and to `view`, which finalises the statement.
        unsafe {
            // A table that always has a row, and that no write of an entry touches.
            let text = c"SELECT last FROM fence";
            let prepared = ffi::sqlite3_prepare_v2(
                sql.handle(),
                text.as_ptr(),
                -1,
                &mut view.statement,
                ptr::null_mut(),
            );
            check(prepared)?;
            let mut file: *mut sqlite3_file = ptr::null_mut();
            check(ffi::sqlite3_file_control(
                sql.handle(),
                c"main".as_ptr(),
                ffi::SQLITE_FCNTL_FILE_POINTER,
                ptr::from_mut(&mut file).cast(),
            ))?;
            let mut index: *mut c_void = ptr::null_mut();
            if let Some(map) = (*(*file).pMethods).xShmMap {
                check(map(file, 0, PART, 0, ptr::from_mut(&mut index).cast()))?;
            }
            view.index = index.cast();
        }
        Ok(view)
    }

    /// Makes sure that there is a view and that it is the latest. `tick` is remembered as its beginning.
    pub fn renew(&self, tick: u64) -> Outcome<()> {
        if self.begun.get().is_some() {
            if self.is_latest() {
                return Ok(());
            }
            self.end();
        }
        let before = self.read_head();
        // SAFETY: the statement lives as long as `self`, and its connection is this thread's for now.
        let stepped = unsafe { ffi::sqlite3_step(self.statement) };
        if stepped != ffi::SQLITE_ROW {
            self.reset();
            // Without a row there is no view, and the work goes on in transactions of its own.
            return if stepped == ffi::SQLITE_DONE { Ok(()) } else { check(stepped) };
        }
        self.begun.set(Some(tick));
        // What was committed while the view began may be in it or not.
        *self.head.borrow_mut() = before.filter(|before| Some(*before) == self.read_head());
        Ok(())
    }

    /// Follows this connection's own `commits` in the view.
    pub fn advance(&self, commits: usize) {
        let mut head = self.head.borrow_mut();
        let Some(before) = *head else { return };
        if commits != 0 {
            // Between our commit and this look somebody else may have committed. The count tells.
            let ours = before[CHANGE].wrapping_add(commits as u32);
            *head = self.read_head().filter(|after| after[CHANGE] == ours);
        }
    }

    /// Ends the view, if there is one.
    pub fn end(&self) {
        if self.begun.take().is_some() {
            self.reset();
        }
    }

    /// The tick in which it began, if there is one.
    pub fn begun(&self) -> Option<u64> {
        self.begun.get()
    }

    fn reset(&self) {
        // SAFETY: as in `renew`. What it returns is the last step's result, which has been looked at.
        unsafe { ffi::sqlite3_reset(self.statement) };
    }

    fn is_latest(&self) -> bool {
        match &*self.head.borrow() {
            // The first copy is written last: who saw a commit return sees it here.
            Some(head) => self.words(0).eq(head.iter().copied()),
            None => false,
        }
    }

    /// The head, if no writer is in the middle of it.
    fn read_head(&self) -> Option<Head> {
        if self.index.is_null() {
            return None;
        }
        let mut head = [0; WORDS];
        head.iter_mut().zip(self.words(0)).for_each(|(to, word)| *to = word);
        // A writer fills the second copy first: both are read the other way round.
        fence(Ordering::Acquire);
        (head[0] != 0 && self.words(WORDS).eq(head)).then_some(head)
    }

    fn words(&self, from: usize) -> impl Iterator<Item = u32> + '_ {
        // SAFETY: the index is mapped for as long as the connection is open, and `PART` bytes long.
        (from..from + WORDS).map(|at| unsafe { (*self.index.add(at)).load(Ordering::Relaxed) })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: the last use of the statement, and its connection is still open.
        unsafe { ffi::sqlite3_finalize(self.statement) };
    }
}

fn check(code: i32) -> Outcome<()> {
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two {
        one: Connection,
        other: Connection,
        path: std::path::PathBuf,
    }

    impl Two {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("retainit-view-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir(&path).unwrap();
            let open = || Connection::open(path.join("database")).unwrap();
            let one = open();
            let text = "PRAGMA journal_mode = WAL; CREATE TABLE fence (last); INSERT INTO fence VALUES (1);
                        CREATE TABLE number (value); INSERT INTO number VALUES (0)";
            one.execute_batch(text).unwrap();
            Two { other: open(), one, path }
        }
    }

    impl Drop for Two {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }

    fn write(sql: &Connection) -> usize {
        sql.execute("UPDATE number SET value = value + 1", []).unwrap()
    }

    fn read(sql: &Connection) -> i64 {
        sql.query_row("SELECT value FROM number", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_view_is_renewed_after_others_commits_and_kept_after_its_own() {
        let two = Two::new("kept");
        let view = View::new(&two.one).unwrap();
        view.renew(1).unwrap();
        for round in 2..10 {
            view.advance(write(&two.one));
            view.renew(round).unwrap();
            assert_eq!(view.begun(), Some(1), "renewed although nobody else wrote");
        }
        write(&two.other);
        assert_eq!(read(&two.one), 8, "the view is of before");
        view.renew(10).unwrap();
        assert_eq!((view.begun(), read(&two.one)), (Some(10), 9));
    }

    #[test]
    fn a_commit_of_another_right_after_ones_own_is_not_taken_for_it() {
        let two = Two::new("after");
        let view = View::new(&two.one).unwrap();
        view.renew(1).unwrap();
        let commits = write(&two.one);
        write(&two.other);
        view.advance(commits);
        view.renew(2).unwrap();
        assert_eq!((view.begun(), read(&two.one)), (Some(2), 2));
        // Nor one of another while this one committed nothing.
        write(&two.other);
        view.advance(0);
        view.renew(3).unwrap();
        assert_eq!((view.begun(), read(&two.one)), (Some(3), 3));
    }

    #[test]
    fn a_write_from_an_old_view_fails_and_does_nothing() {
        let two = Two::new("old");
        let view = View::new(&two.one).unwrap();
        view.renew(1).unwrap();
        write(&two.other);
        let error = two.one.execute("UPDATE number SET value = 100", []).unwrap_err();
        assert_eq!(error.sqlite_error().unwrap().extended_code, ffi::SQLITE_BUSY_SNAPSHOT);
        view.end();
        assert_eq!(read(&two.one), 1);
        assert_eq!(write(&two.one), 1);
    }

    #[test]
    fn a_log_that_begins_anew_is_another_state() {
        let two = Two::new("anew");
        let view = View::new(&two.one).unwrap();
        view.renew(1).unwrap();
        view.end();
        two.other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        view.renew(2).unwrap();
        write(&two.other);
        assert_eq!(read(&two.one), 0);
        view.renew(3).unwrap();
        assert_eq!((view.begun(), read(&two.one)), (Some(3), 1));
        // A view without a log, whose first write begins one.
        view.end();
        two.other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        view.renew(4).unwrap();
        view.advance(write(&two.one));
        view.renew(5).unwrap();
        assert_eq!((view.begun(), read(&two.one), read(&two.other)), (Some(4), 2, 2));
    }
}
