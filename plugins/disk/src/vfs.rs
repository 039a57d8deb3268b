//! SQLite's own file layer, except that a transaction goes into the log in one write.
//!
//! SQLite writes each frame of the log in two calls, 24 bytes of header and a page; a small transaction
//! spends more time in them than in everything else. The frames of one commit lie one after the other,
//! so they are put together here and written when the last one, which its header marks, is complete:
//! before the call returns that SQLite waits for until it makes the commit visible. Whatever else is
//! asked of the log writes out first what has come together.

use std::ffi::{c_int, c_void, CStr};
use std::mem::size_of;
use std::sync::OnceLock;

use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};

/// What connections ask for.
pub const NAME: &CStr = c"retainit-disk";

/// Bytes of a frame's header.
const HEADER: usize = 24;
/// Bytes put together before they are written; one more frame of the largest page may come on top, and
/// SQLite's layer writes fewer than 2^17 bytes at once.
const LARGEST: usize = 60 << 10;
const _: () = assert!(LARGEST + HEADER + 65536 < 1 << 17);

struct Registered {
    base: *mut sqlite3_vfs,
    result: c_int,
}

// SAFETY: the pointer is to a layer of SQLite that lives for ever and is read only.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

static REGISTERED: OnceLock<Registered> = OnceLock::new();

/// Makes [`NAME`] known to SQLite; the result is SQLite's.
pub fn register() -> c_int {
    REGISTERED.get_or_init(registered).result
}

fn registered() -> Registered {
    // SAFETY: the default layer lives as long as the library, which is never unloaded; the copy does so too.
    unsafe {
        let base = ffi::sqlite3_vfs_find(std::ptr::null());
        if base.is_null() {
            return Registered { base, result: ffi::SQLITE_ERROR };
        }
        let own = Box::new(sqlite3_vfs {
            szOsFile: (*base).szOsFile + size_of::<Log>() as c_int,
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            ..*base
        });
        let result = ffi::sqlite3_vfs_register(Box::into_raw(own), 0);
        Registered { base, result }
    }
}

/// The open log: SQLite's head of a file, our buffer, and behind it SQLite's own file. SQLite aligns both to eight
/// bytes, which the two pointers keep to.
#[repr(C)]
struct Log {
    head: sqlite3_file,
    frames: *mut Frames,
}

/// Frames of one commit, as far as they have come.
#[derive(Debug, Default)]
struct Frames {
    /// Where in the log they begin.
    start: i64,
    bytes: Vec<u8>,
    /// The last part was a header: the page comes next.
    headed: bool,
    /// That header is the one of a commit's last frame.
    last: bool,
}

/// What is to be done with a part.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// It was taken, more comes.
    Wait,
    /// It was taken and completes the commit: write all.
    Write,
    /// It is no part of frames: write what is there, then this.
    Pass,
}

impl Frames {
    fn take(&mut self, part: &[u8], offset: i64) -> Next {
        let follows = offset == self.start + self.bytes.len() as i64;
        if part.len() == HEADER && (self.bytes.is_empty() || (follows && !self.headed)) {
            if self.bytes.is_empty() {
                self.start = offset;
            }
            self.headed = true;
            // The size of the database after the commit; zero in all frames but its last.
            self.last = part[4..8] != [0; 4];
        } else if self.headed && follows {
            self.headed = false;
        } else {
            return Next::Pass;
        }
        self.bytes.extend_from_slice(part);
        let complete = !self.headed && (self.last || self.bytes.len() >= LARGEST);
        if complete {
            Next::Write
        } else {
            Next::Wait
        }
    }
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let Some(Registered { base, .. }) = REGISTERED.get() else { return ffi::SQLITE_ERROR };
    // SAFETY: SQLite gives room for `szOsFile` bytes: a `Log` and a file of the default layer behind it.
    // Files other than the log are the default layer's alone.
    unsafe {
        let Some(base_open) = (**base).xOpen else { return ffi::SQLITE_ERROR };
        if flags & ffi::SQLITE_OPEN_WAL == 0 {
            return base_open(*base, name, file, flags, out);
        }
        (*file).pMethods = std::ptr::null();
        let result = base_open(*base, name, inner(file), flags, out);
        if result == ffi::SQLITE_OK {
            (*file.cast::<Log>()).frames = Box::into_raw(Box::default());
            (*file).pMethods = &METHODS;
        }
        result
    }
}

/// SQLite's own file behind ours.
unsafe fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: promised by `open`.
    unsafe { file.cast::<Log>().add(1).cast() }
}

/// Calls a method of SQLite's own file.
macro_rules! base {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        let inner = inner($file);
        match (*(*inner).pMethods).$method {
            Some(method) => method(inner $(, $argument)*),
            None => ffi::SQLITE_ERROR,
        }
    }};
}

/// Writes what has come together; also on failure nothing stays, as SQLite gives the transaction up.
unsafe fn write_out(file: *mut sqlite3_file) -> c_int {
    // SAFETY: an open log has its frames, and one thread at a time uses a connection's files.
    unsafe {
        let frames = &mut *(*file.cast::<Log>()).frames;
        if frames.bytes.is_empty() {
            return ffi::SQLITE_OK;
        }
        let result =
            base!(file, xWrite, frames.bytes.as_ptr().cast(), frames.bytes.len() as c_int, frames.start);
        frames.bytes.clear();
        frames.headed = false;
        result
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, part: *const c_void, len: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite gives `len` readable bytes; as for `write_out`.
    unsafe {
        let bytes = std::slice::from_raw_parts(part.cast::<u8>(), len as usize);
        match (*(*file.cast::<Log>()).frames).take(bytes, offset) {
            Next::Wait => ffi::SQLITE_OK,
            Next::Write => write_out(file),
            Next::Pass => match write_out(file) {
                ffi::SQLITE_OK => base!(file, xWrite, part, len, offset),
                failure => failure,
            },
        }
    }
}

/// A method that first writes out what has come together.
macro_rules! after_writing {
    ($name:ident, $method:ident $(, $argument:ident: $kind:ty)*) => {
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $kind)*) -> c_int {
            // SAFETY: the arguments are SQLite's, for its own file.
            unsafe {
                match write_out(file) {
                    ffi::SQLITE_OK => base!(file, $method $(, $argument)*),
                    failure => failure,
                }
            }
        }
    };
}

/// A method that has nothing to do with the content.
macro_rules! passed_on {
    ($name:ident, $method:ident $(, $argument:ident: $kind:ty)*) => {
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $kind)*) -> c_int {
            // SAFETY: as above.
            unsafe { base!(file, $method $(, $argument)*) }
        }
    };
}

after_writing!(read, xRead, to: *mut c_void, len: c_int, offset: i64);
after_writing!(truncate, xTruncate, size: i64);
after_writing!(sync, xSync, flags: c_int);
after_writing!(file_size, xFileSize, size: *mut i64);
passed_on!(lock, xLock, level: c_int);
passed_on!(unlock, xUnlock, level: c_int);
passed_on!(check_reserved_lock, xCheckReservedLock, result: *mut c_int);
passed_on!(file_control, xFileControl, operation: c_int, argument: *mut c_void);
passed_on!(sector_size, xSectorSize);
passed_on!(device_characteristics, xDeviceCharacteristics);

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: the last use of the file; what had come together belongs to no commit.
    unsafe {
        drop(Box::from_raw((*file.cast::<Log>()).frames));
        base!(file, xClose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size_after: u8) -> [u8; HEADER] {
        let mut header = [7; HEADER];
        header[4..8].copy_from_slice(&[0, 0, 0, size_after]);
        header
    }

    #[test]
    fn a_commit_is_written_with_its_last_page() {
        let (mut frames, page) = (Frames::default(), [1; 4096]);
        assert_eq!(frames.take(&header(0), 32), Next::Wait);
        assert_eq!(frames.take(&page, 56), Next::Wait);
        assert_eq!(frames.take(&header(9), 4152), Next::Wait);
        assert_eq!(frames.take(&page, 4176), Next::Write);
        assert_eq!((frames.start, frames.bytes.len()), (32, 2 * 4120));
    }

    #[test]
    fn what_does_not_follow_is_passed_on() {
        let (mut frames, page) = (Frames::default(), [1; 4096]);
        assert_eq!(frames.take(&[0; 32], 0), Next::Pass, "the log's own header");
        assert_eq!(frames.take(&page, 56), Next::Pass, "a page without a header");
        assert_eq!(frames.take(&header(0), 32), Next::Wait);
        assert_eq!(frames.take(&page, 5000), Next::Pass, "a page elsewhere");
        assert_eq!(frames.take(&header(0), 32), Next::Pass, "a second header at the same place");
    }

    #[test]
    fn a_large_transaction_is_written_in_parts() {
        let (mut frames, page) = (Frames::default(), [1; 4096]);
        let mut offset = 32;
        let taken = (0..1000).find(|_| {
            assert_eq!(frames.take(&header(0), offset), Next::Wait);
            let next = frames.take(&page, offset + HEADER as i64);
            offset += 4120;
            next == Next::Write
        });
        assert_eq!(taken, Some(LARGEST / 4120));
    }
}
