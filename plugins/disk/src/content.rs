//! The bytes of a value file in memory, for one reader alone, who may write to them once it has claimed
//! them.
//!
//! Small files are copied: that costs less than the faults of a map that is read once. Large ones are
//! mapped privately and read-only. A map that nobody claims goes back to the shelf, for the next reader to
//! have without faults: nothing can have been written to it. One that is claimed becomes writable, and
//! what its reader writes goes to pages of its own, never to the file; it is unmapped in the end.

use std::alloc::{self, Layout};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};
use retainit_plugin_api::sdk::{OwnerTable, Value};

use crate::fault::Guard;
use crate::mapping::{Identity, Shelf};

/// Files up to this many bytes are copied. Beyond it the allocator returns memory to the system at each
/// release and takes it anew, page by page, and a map costs less than that.
const COPIED: u64 = 64 * 1024;
/// What the first byte's address is a multiple of: what vector instructions and Arrow ask for. Maps
/// begin with a page.
pub const ALIGNMENT: usize = 64;

/// By which the values made here are known again.
static OWNERS: OwnerTable<Content> = OwnerTable::new();

/// Bytes of a value file.
#[derive(Debug)]
pub enum Content {
    /// In memory of their own.
    Copied(Copied),
    /// Mapped.
    Mapped(Mapped),
}

impl Content {
    /// The `size` bytes of `file`, whose identity has been checked; a map goes back to `shelf`.
    pub fn read(
        file: &File,
        name: &str,
        identity: Identity,
        size: u64,
        shelf: &Arc<Shelf>,
    ) -> io::Result<Self> {
        let copy = || Copied::read(file, size as usize).map(Content::Copied);
        if size <= COPIED {
            return copy();
        }
        let map = match shelf.take(name) {
            Some(map) => map,
            None => match Map::of(file, size) {
                Ok(Some(map)) => map,
                Ok(None) => return copy(),
                Err(error) => return Err(error),
            },
        };
        Ok(Content::Mapped(Mapped {
            map: Some(map),
            claimed: AtomicBool::new(false),
            name: name.to_owned(),
            identity,
            shelf: Arc::clone(shelf),
        }))
    }

    /// A value that keeps the bytes.
    pub fn into_value(self) -> Value {
        Value::from_owner_in(Arc::new(self), &OWNERS)
    }

    /// Makes the bytes of `value` its holder's. All but maps belong to one value alone anyway.
    pub fn claim(value: &Value) -> io::Result<()> {
        match value.owner(&OWNERS) {
            Some(Content::Mapped(mapped)) => mapped.claim(),
            _ => Ok(()),
        }
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        match self {
            Content::Copied(copied) => copied.as_ref(),
            Content::Mapped(mapped) => mapped.map.as_ref().map_or(&[], |map| &map.bytes),
        }
    }
}

/// A private map that nobody can write to, and the guard that must be dropped before it.
#[derive(Debug)]
pub struct Map {
    guard: Guard,
    bytes: Mmap,
}

impl Map {
    /// Maps `file`; nothing if there are too many maps, for us or for the system.
    fn of(file: &File, size: u64) -> io::Result<Option<Self>> {
        let Some(guard) = Guard::reserve() else { return Ok(None) };
        // Not populated: that costs more than the faults of a reader who goes through it once. No swap is
        // reserved for pages that hardly anybody writes to.
        let mut options = MmapOptions::new();
        options.len(size as usize).no_reserve_swap();
        // SAFETY: a private map of a regular file in a directory that only trusted users write to. This
        // program never changes or shortens such a file; where somebody else does, the guard mends it.
        match unsafe { options.map_copy_read_only(file) } {
            Ok(bytes) => {
                guard.watch(&bytes);
                Ok(Some(Map { guard, bytes }))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A map in use.
#[derive(Debug)]
pub struct Mapped {
    // There until it is dropped.
    map: Option<Map>,
    /// Whether its pages are, or are about to be, writable.
    claimed: AtomicBool,
    name: String,
    identity: Identity,
    shelf: Arc<Shelf>,
}

impl Mapped {
    fn claim(&self) -> io::Result<()> {
        let Some(map) = &self.map else { return Ok(()) };
        // First of all: whatever comes of it, nobody else gets the map.
        self.claimed.store(true, Ordering::Relaxed);
        let (start, rights) = (map.bytes.as_ptr().cast_mut().cast(), libc::PROT_READ | libc::PROT_WRITE);
        // Each time anew, as another thread that has claimed them may not be done with it.
        // SAFETY: whole pages of a map of our own, which everybody may still read.
        match unsafe { libc::mprotect(start, map.len(), rights) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let Some(map) = self.map.take() else { return };
        if map.guard.is_lost() {
            self.shelf.lose(&self.name);
        } else if !*self.claimed.get_mut() {
            self.shelf.put_back(&self.name, self.identity, map);
        }
    }
}

/// Bytes in memory of their own.
#[derive(Debug)]
pub struct Copied {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to this value alone.
unsafe impl Send for Copied {}
// SAFETY: as above; sharing gives access to bytes that nobody changes meanwhile.
unsafe impl Sync for Copied {}

impl Copied {
    fn layout(len: usize) -> io::Result<Layout> {
        Layout::from_size_align(len.max(1), ALIGNMENT).map_err(|_| io::ErrorKind::OutOfMemory.into())
    }

    fn read(file: &File, len: usize) -> io::Result<Self> {
        let layout = Self::layout(len)?;
        // SAFETY: the layout has a size above zero.
        let start = NonNull::new(unsafe { alloc::alloc(layout) }).ok_or(io::ErrorKind::OutOfMemory)?;
        let copied = Copied { start, len };
        let mut at = 0;
        while at < len {
            // SAFETY: the rest of the allocation is writable, and the descriptor is open.
            let got = unsafe {
                libc::pread(file.as_raw_fd(), start.as_ptr().add(at).cast(), len - at, at as libc::off_t)
            };
            match got {
                0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short")),
                1.. => at += got as usize,
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(copied)
    }
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: all `len` bytes were written when the value was made.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if let Ok(layout) = Self::layout(self.len) {
            // SAFETY: allocated with the same layout, and not used any more.
            unsafe { alloc::dealloc(self.start.as_ptr(), layout) };
        }
    }
}
