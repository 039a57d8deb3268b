//! Python objects as backends hold them.
//!
//! A plain object (one that can be part of no reference cycle) crosses as its own pointer. A
//! GC-tracked one crosses as a [`Cell`] on its function's list, so that `tp_traverse` can visit it
//! without a lock, and cycles through cached values are collected.
//!
//! Backends release handles from any thread. A release never touches Python: it goes to a lock-free
//! queue, which attached threads drain ([`drain`]). From interpreter exit on the queue is closed, and
//! handles leak.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::LazyLock;

use crossbeam_queue::SegQueue;
use pyo3::ffi;
use retainit_core::language::Stamp;
use retainit_plugin_api::abi::value::{RefTable, Value as RawValue, OBJECT};

use crate::{outcall, state};

/// References to plain objects.
pub static PLAIN: RefTable = RefTable { retain: plain_retain, release: plain_release };
/// References to cells.
pub static CELL: RefTable = RefTable { retain: cell_retain, release: cell_release };
/// References to cells that are the first part of a [`Stamped`] one.
pub static STAMPED: RefTable = RefTable { retain: cell_retain, release: cell_release };

/// A GC-tracked value that a backend keeps, or one whose key needs objects to stay alive.
///
/// All fields are read and written by attached threads only.
pub struct Cell {
    value: *mut ffi::PyObject,
    /// What the entry's key refers to, or null.
    keep: *mut ffi::PyObject,
    previous: *mut Cell,
    next: *mut Cell,
    references: u32,
    /// Whether it is the first part of a [`Stamped`] one.
    stamped: bool,
}

/// A value with its stamp, of a function whose rules or tags need it.
#[repr(C)]
struct Stamped {
    cell: Cell,
    /// Until when the value is to be had without a further look.
    plain_until: i64,
    stamp: Stamp,
}

/// The cells of one function: an intrusive list with a sentinel that does not move.
pub struct CellList(Box<Cell>);

impl CellList {
    /// An empty list.
    pub fn new() -> Self {
        let mut sentinel = Box::new(Cell {
            value: ptr::null_mut(),
            keep: ptr::null_mut(),
            previous: ptr::null_mut(),
            next: ptr::null_mut(),
            references: 1,
            stamped: false,
        });
        let address: *mut Cell = &mut *sentinel;
        sentinel.previous = address;
        sentinel.next = address;
        CellList(sentinel)
    }

    fn sentinel(&self) -> *mut Cell {
        ptr::from_ref(&*self.0).cast_mut()
    }

    /// Visits the objects for the garbage collector.
    ///
    /// # Safety
    /// Only from `tp_traverse`.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, argument: *mut c_void) -> c_int {
        let end = self.sentinel();
        // SAFETY: the list changes only under the interpreter's lock, which the collector holds.
        unsafe {
            let mut cell = (*end).next;
            while cell != end {
                for object in [(*cell).value, (*cell).keep] {
                    if !object.is_null() {
                        let result = visit(object, argument);
                        if result != 0 {
                            return result;
                        }
                    }
                }
                cell = (*cell).next;
            }
        }
        0
    }

    /// Takes all cells off the list and drops what they hold. Backends may keep the empty cells.
    ///
    /// # Safety
    /// The calling thread must be attached.
    pub unsafe fn clear(&self) {
        let end = self.sentinel();
        // SAFETY: attached, so nobody else changes the list; dropping objects runs code that may, and
        // so the walk starts anew after each.
        unsafe {
            loop {
                let cell = (*end).next;
                if cell == end {
                    return;
                }
                unlink(cell);
                let objects = [
                    std::mem::replace(&mut (*cell).value, ptr::null_mut()),
                    std::mem::replace(&mut (*cell).keep, ptr::null_mut()),
                ];
                for object in objects {
                    outcall::release(object);
                }
            }
        }
    }
}

/// # Safety
/// Attached; `cell` is valid.
unsafe fn unlink(cell: *mut Cell) {
    // SAFETY: neighbours of a linked cell are valid; an unlinked one has none.
    unsafe {
        if !(*cell).next.is_null() {
            (*(*cell).previous).next = (*cell).next;
            (*(*cell).next).previous = (*cell).previous;
            (*cell).next = ptr::null_mut();
            (*cell).previous = ptr::null_mut();
        }
    }
}

/// A handle of `object`, with `keep` (or null) kept alive beside it. With a `stamp` it carries that, and the fast
/// path takes it until then.
///
/// # Safety
/// Attached; both are borrowed and valid.
pub unsafe fn hold(
    list: &CellList,
    object: *mut ffi::PyObject,
    keep: *mut ffi::PyObject,
    stamp: Option<(Stamp, i64)>,
) -> RawValue {
    // SAFETY: as promised; the new cell is linked between valid neighbours.
    unsafe {
        ffi::Py_INCREF(object);
        let weight = weight(object);
        if stamp.is_none() && keep.is_null() && ffi::PyObject_IS_GC(object) == 0 {
            return value(object.cast(), weight, &PLAIN);
        }
        ffi::Py_XINCREF(keep);
        let end = list.sentinel();
        let stamped = stamp.is_some();
        let cell = Cell { value: object, keep, previous: end, next: (*end).next, references: 1, stamped };
        let (cell, table) = match stamp {
            None => (Box::into_raw(Box::new(cell)), &CELL),
            Some((stamp, plain_until)) => {
                (Box::into_raw(Box::new(Stamped { cell, plain_until, stamp })).cast(), &STAMPED)
            }
        };
        (*(*end).next).previous = cell;
        (*end).next = cell;
        value(cell.cast(), weight, table)
    }
}

fn value(owner: *mut c_void, weight: u64, table: &'static RefTable) -> RawValue {
    RawValue { ptr: ptr::null(), len: weight, owner, table, kind: OBJECT, reserved: 0 }
}

/// The object's own size in bytes, as far as its type tells without running code: what it refers to
/// is not counted.
///
/// # Safety
/// Attached; `object` is valid.
unsafe fn weight(object: *mut ffi::PyObject) -> u64 {
    // SAFETY: the layouts of the exact built-in types are fixed.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let basic = (*kind).tp_basicsize.max(0) as u64;
        let item = (*kind).tp_itemsize.max(0) as u64;
        if kind == &raw mut ffi::PyUnicode_Type {
            return basic + ffi::PyUnicode_GetLength(object).max(0) as u64;
        }
        if kind == &raw mut ffi::PyList_Type {
            return basic + 8 * ffi::PyList_Size(object).max(0) as u64;
        }
        if kind == &raw mut ffi::PyDict_Type {
            return basic + 48 * ffi::PyDict_Size(object).max(0) as u64;
        }
        if kind == &raw mut ffi::PyByteArray_Type {
            return basic + ffi::PyByteArray_Size(object).max(0) as u64;
        }
        if item == 0 {
            return basic;
        }
        basic + item * (*object.cast::<ffi::PyVarObject>()).ob_size.unsigned_abs() as u64
    }
}

/// The object of a handle that this host made, as a new reference; null if the object has gone or the
/// handle is not ours. Consumes the handle.
///
/// # Safety
/// Attached; the caller owns the handle's reference.
#[inline(always)]
pub unsafe fn take(handle: &RawValue) -> *mut ffi::PyObject {
    if ptr::eq(handle.table, &PLAIN) {
        return handle.owner.cast();
    }
    // SAFETY: as promised.
    unsafe { take_cell(handle) }
}

#[inline(always)]
unsafe fn take_cell(handle: &RawValue) -> *mut ffi::PyObject {
    if !ptr::eq(handle.table, &CELL) {
        // SAFETY: whatever it is, the caller owns its reference.
        unsafe { (*handle).clone().release() };
        return ptr::null_mut();
    }
    let cell: *mut Cell = handle.owner.cast();
    // SAFETY: the handle's reference keeps the cell alive.
    unsafe {
        let object = (*cell).value;
        ffi::Py_XINCREF(object);
        drop_cell(cell);
        object
    }
}

/// As [`take`], of a handle that carries a stamp: null where a further look is needed at `now`. Tags are to be good
/// at `moment`: the earliest of all, where only this process invalidates them.
///
/// # Safety
/// As [`take`].
#[inline(always)]
pub unsafe fn take_stamped(handle: &RawValue, now: i64, moment: i64) -> *mut ffi::PyObject {
    // SAFETY: as promised; the table says what the owner is.
    unsafe {
        if !ptr::eq(handle.table, &STAMPED) {
            (*handle).clone().release();
            return ptr::null_mut();
        }
        let cell: *mut Stamped = handle.owner.cast();
        let good = now < (*cell).plain_until && (*cell).stamp.tags.are_good(moment);
        let object = if good { (*cell).cell.value } else { ptr::null_mut() };
        ffi::Py_XINCREF(object);
        drop_cell(cell.cast());
        object
    }
}

/// The object of a handle that this host made, as a new reference, and its stamp if it carries one; null if
/// the object has gone or the handle is not ours. Consumes the handle.
///
/// # Safety
/// As [`take`].
pub unsafe fn take_whole(handle: &RawValue) -> (*mut ffi::PyObject, Option<Stamp>) {
    // SAFETY: as promised; the table says what the owner is.
    unsafe {
        if !ptr::eq(handle.table, &STAMPED) {
            return (take(handle), None);
        }
        let cell: *mut Stamped = handle.owner.cast();
        let stamp = (*cell).stamp.clone();
        let object = (*cell).cell.value;
        ffi::Py_XINCREF(object);
        drop_cell(cell.cast());
        (object, Some(stamp))
    }
}

/// # Safety
/// Attached; the caller gives one reference up.
#[inline(always)]
unsafe fn drop_cell(cell: *mut Cell) {
    // SAFETY: as promised.
    unsafe {
        (*cell).references -= 1;
        if (*cell).references == 0 {
            free_cell(cell);
        }
    }
}

#[cold]
unsafe fn free_cell(cell: *mut Cell) {
    // SAFETY: the last reference has gone, and nothing else points to an unlinked cell.
    unsafe {
        unlink(cell);
        let (value, keep) = ((*cell).value, (*cell).keep);
        if (*cell).stamped {
            drop(Box::<Stamped>::from_raw(cell.cast()));
        } else {
            drop(Box::from_raw(cell));
        }
        // Dropping objects runs code, so the cell is out of every structure by now.
        outcall::release(value);
        outcall::release(keep);
    }
}

unsafe extern "C" fn plain_retain(owner: *mut c_void) {
    // SAFETY: the contract lets references to objects be added only in calls of an attached thread.
    unsafe { ffi::Py_INCREF(owner.cast()) }
}

unsafe extern "C" fn cell_retain(owner: *mut c_void) {
    // SAFETY: as above.
    unsafe { (*owner.cast::<Cell>()).references += 1 }
}

unsafe extern "C" fn plain_release(owner: *mut c_void) {
    queue(owner as usize);
}

unsafe extern "C" fn cell_release(owner: *mut c_void) {
    // Pointers are aligned, so the lowest bit can tell cells from objects.
    queue(owner as usize | 1);
}

/// Handles to be released. Behind a pointer, because a forked child starts with another one.
static RELEASED: LazyLock<AtomicPtr<SegQueue<usize>>> = LazyLock::new(|| AtomicPtr::new(fresh()));
static CLOSED: AtomicBool = AtomicBool::new(false);
/// Threads inside [`queue`], so that closing can wait for them.
static ENTERED: AtomicUsize = AtomicUsize::new(0);

fn fresh() -> *mut SegQueue<usize> {
    Box::into_raw(Box::default())
}

fn released() -> &'static SegQueue<usize> {
    // SAFETY: queues are never freed.
    unsafe { &*RELEASED.load(Ordering::Acquire) }
}

fn queue(handle: usize) {
    ENTERED.fetch_add(1, Ordering::SeqCst);
    if !CLOSED.load(Ordering::SeqCst) {
        released().push(handle);
        if !state::raise(state::RELEASES) {
            // Nobody may call for a long time: the main thread drains at its next step.
            // SAFETY: needs no attached thread, and the interpreter is alive while the queue is open.
            unsafe { ffi::Py_AddPendingCall(Some(drain_pending), ptr::null_mut()) };
        }
    }
    ENTERED.fetch_sub(1, Ordering::SeqCst);
}

extern "C" fn drain_pending(_: *mut c_void) -> c_int {
    // SAFETY: pending calls run on an attached thread.
    unsafe { drain() };
    0
}

/// Drops what backends have released.
///
/// # Safety
/// The calling thread must be attached and hold no lock of ours.
pub unsafe fn drain() {
    state::lower(state::RELEASES);
    while let Some(handle) = released().pop() {
        // SAFETY: each entry of the queue is one reference to be dropped.
        unsafe {
            if handle & 1 == 0 {
                outcall::release(handle as *mut ffi::PyObject);
            } else {
                drop_cell((handle & !1) as *mut Cell);
            }
        }
    }
}

/// Closes the queue, at interpreter exit: from here on releases leak.
///
/// # Safety
/// As [`drain`].
pub unsafe fn close() {
    CLOSED.store(true, Ordering::SeqCst);
    // Whoever is inside holds nothing and leaves within a few instructions.
    while ENTERED.load(Ordering::SeqCst) != 0 {
        std::thread::yield_now();
    }
    // SAFETY: as promised by the caller.
    unsafe { drain() };
}

/// Whether the interpreter is about to go, or going. Threads that it has ended may hold anything.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// In a forked child: threads that were inside [`queue`] are not here, and one may have left the queue
/// half changed. What it held leaks in the child, which is little: a fork drains it first.
pub fn fork_child() {
    RELEASED.store(fresh(), Ordering::Release);
    ENTERED.store(0, Ordering::SeqCst);
    state::lower(state::RELEASES);
}
