//! The type of cached functions, and the way of a hit.
//!
//! Made with `PyType_FromSpec` rather than as a PyO3 class, because only so can it have a vectorcall
//! slot and bind as a method without an object in between. Everything that a hit needs lies in the
//! object itself; the rest is behind one pointer.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use retainit_core::abi::call::{Call, Item, NEVER};
use retainit_core::abi::status;
use retainit_core::abi::value::Slice;
use retainit_core::function::Function as Engine;
use retainit_core::instance::Get;
use retainit_core::key::KeyBuffer;
use retainit_core::{clock, Instance};

use crate::handle::{self, CellList};
use crate::intern::Interns;
use crate::signature::Signature;
use crate::{awaitable, miss, state};

/// A cached function, as Python sees it.
#[repr(C)]
pub struct Function {
    head: ffi::PyObject,
    vectorcall: ffi::vectorcallfunc,
    /// What [`state::load`] has to be for the fields below to hold; zero: look at everything.
    expected: Cell<u64>,
    get: Cell<Option<Get>>,
    instance: Cell<*mut c_void>,
    hits: Cell<u64>,
    prefix: [u8; 4],
    /// Whether any entry of the first tier can expire, so that the clock has to be read.
    expires: Cell<bool>,
    asynchronous: bool,
    by_equality: bool,
    /// Whether other processes may invalidate tags, so that there are times to look.
    checks: Cell<bool>,
    /// Whether objects are keyed by their own equality where they have no encoding.
    interns: Cell<bool>,
    signature: Signature,
    dict: *mut ffi::PyObject,
    weak_references: *mut ffi::PyObject,
    /// Everything else; null once the collector has cleared it.
    pub cold: *mut Cold,
}

/// What misses need.
pub struct Cold {
    /// The function itself.
    pub wrapped: Py<PyAny>,
    /// The engine's side.
    pub engine: Arc<Engine>,
    /// Makes the tiers: called with the function when the configuration has changed.
    pub resolve: Py<PyAny>,
    /// The coroutine function that answers calls of asynchronous functions that are not hits.
    pub drive: Option<Py<PyAny>>,
    /// Makes the key from the call, or `None`.
    pub key_builder: Option<Py<PyAny>>,
    /// Makes what a hit returns from what is kept, or `None` for the very object.
    pub copy: Option<Py<PyAny>>,
    /// Says of a result how long it is kept, or `None` for as long as tiers say.
    pub life: Option<Py<PyAny>>,
    /// Says of an exception what is kept of it, and for how long, or `None` for no exception at all.
    pub errors: Option<Py<PyAny>>,
    /// Says of the arguments of a call which tags its entry carries, or `None` for none.
    pub tags: Option<Py<PyAny>>,
    /// Says of a result which tags its entry carries beside those, or `None` for none.
    pub result_tags: Option<Py<PyAny>>,
    /// Whether what backends keep for it carries more than the value.
    pub stamped: bool,
    /// Keyed by equality of all arguments, as functools does.
    pub by_equality: Option<bool>,
    /// Numbers of objects without an encoding.
    pub interns: Interns,
    /// Whether every tier is inside the process.
    pub local: Cell<bool>,
    /// Whether the warning about an argument without a key has been given.
    pub warned: Cell<bool>,
    /// What backends keep for it.
    pub cells: CellList,
}

extern "C" {
    /// Public, but not among pyo3's declarations.
    fn PyMethod_New(function: *mut ffi::PyObject, object: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

static mut TYPE: *mut ffi::PyTypeObject = ptr::null_mut();

/// What [`new`] needs.
pub struct Parts {
    /// Parameters.
    pub signature: Signature,
    /// Whether calls are awaited.
    pub asynchronous: bool,
    /// Everything else.
    pub cold: Cold,
}

/// Makes a cached function.
///
/// # Errors
/// Out of memory.
pub fn new(py: Python<'_>, parts: Parts) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: `PyType_GenericAlloc` gives zeroed memory of the type's size; every field that is not
    // plain zeros is written before the object is seen.
    unsafe {
        let object = ffi::PyType_GenericAlloc(TYPE, 0);
        let bound = Bound::from_owned_ptr_or_err(py, object)?;
        let this: *mut Function = object.cast();
        (*this).vectorcall = if parts.cold.stamped { vectorcall::<true> } else { vectorcall::<false> };
        (*this).prefix = parts.cold.engine.local_prefix();
        (*this).asynchronous = parts.asynchronous;
        (*this).by_equality = parts.cold.by_equality.is_some();
        ptr::write(&raw mut (*this).signature, parts.signature);
        (*this).cold = Box::into_raw(Box::new(parts.cold));
        Ok(bound)
    }
}

/// The native side of a Python object.
///
/// # Errors
/// It is something else.
pub fn of<'a>(object: &'a Bound<'_, PyAny>) -> PyResult<&'a Function> {
    // SAFETY: the type has just been checked, and the object outlives the result.
    unsafe {
        if ffi::PyObject_TypeCheck(object.as_ptr(), TYPE) == 0 {
            return Err(PyTypeError::new_err("expected a cached function"));
        }
        Ok(&*object.as_ptr().cast::<Function>())
    }
}

impl Function {
    /// Everything but the hot fields.
    ///
    /// # Errors
    /// The collector has taken the function apart.
    pub fn cold(&self) -> PyResult<&Cold> {
        // SAFETY: valid until `tp_clear`, which leaves null.
        unsafe { self.cold.as_ref() }
            .ok_or_else(|| PyTypeError::new_err("the cached function is being collected"))
    }

    /// Its parameters.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Hits that the fast path has counted.
    pub fn hits(&self) -> u64 {
        self.hits.get()
    }

    /// Counts a hit.
    pub fn count_hit(&self) {
        self.hits.set(self.hits.get() + 1);
    }

    /// Starts counting anew.
    pub fn reset_hits(&self) {
        self.hits.set(0);
    }

    /// Whether calls are awaited.
    pub fn is_asynchronous(&self) -> bool {
        self.asynchronous
    }

    /// Takes the first tier into the fast path, from configuration `expected` on.
    pub fn arm(&self, first: Option<(&Instance, bool)>, expected: u64) {
        self.get.set(None);
        self.expected.set(expected);
        let local = self.cold().is_ok_and(|cold| cold.local.get());
        self.interns.set(local);
        self.checks.set(!local);
        let cold = self.cold().ok();
        let plain = cold.is_some_and(|cold| cold.copy.is_none() && cold.key_builder.is_none());
        if let (Some((instance, expires)), true) = (first, plain) {
            let (get, handle) = instance.raw_get();
            self.instance.set(handle);
            self.expires.set(expires);
            self.get.set(Some(get));
        }
    }

    /// Appends a call that can be encoded without binding; `false` if it is not one.
    #[inline(always)]
    unsafe fn encode(
        &self,
        arguments: *const *mut ffi::PyObject,
        count: usize,
        names: *mut ffi::PyObject,
        key: &mut KeyBuffer,
    ) -> bool {
        // SAFETY: the arguments are those of a vectorcall; `cold` is valid until `tp_clear`, which
        // cannot run while the caller holds the function.
        unsafe {
            if self.by_equality {
                return names.is_null() && encode_equality(&*self.cold, arguments, count, key);
            }
            let interns = if self.interns.get() { Some(&(*self.cold).interns) } else { None };
            self.signature.encode_fast(arguments, count, names, key, interns)
        }
    }

    /// Whether the tiers are those of the present configuration.
    pub fn is_resolved(&self) -> bool {
        self.expected.get() == state::calm()
    }
}

/// Appends the number of all arguments together, as functools tells them apart.
unsafe fn encode_equality(
    cold: &Cold,
    arguments: *const *mut ffi::PyObject,
    count: usize,
    key: &mut KeyBuffer,
) -> bool {
    // SAFETY: `count` arguments are there.
    unsafe {
        if cold.by_equality != Some(false) {
            return false;
        }
        let only = if count == 1 { *arguments } else { ptr::null_mut() };
        let number = if !only.is_null() && miss::stands_for_itself(only) {
            cold.interns.known(only)
        } else {
            let whole = ffi::PyTuple_New(count as ffi::Py_ssize_t);
            if whole.is_null() {
                ffi::PyErr_Clear();
                return false;
            }
            for index in 0..count {
                let argument = *arguments.add(index);
                ffi::Py_INCREF(argument);
                ffi::PyTuple_SET_ITEM(whole, index as ffi::Py_ssize_t, argument);
            }
            let number = cold.interns.known(whole);
            ffi::Py_DECREF(whole);
            number
        };
        let Some(number) = number else { return false };
        key.interned(number);
        true
    }
}

/// A call. A hit in the first tier is answered here. With `STAMPED` what that keeps carries a stamp.
unsafe extern "C" fn vectorcall<const STAMPED: bool>(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    flags: usize,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter calls with an object of our type and its arguments.
    unsafe {
        let this = &*callable.cast::<Function>();
        let count = ffi::PyVectorcall_NARGS(flags as _) as usize;
        if state::load() == this.expected.get() {
            let mut key = KeyBuffer::new();
            key.extend(&this.prefix);
            if this.encode(arguments, count, names, &mut key) {
                // Encoding may have run code of the arguments, so what it could change is read here.
                if let (Some(get), true) = (this.get.get(), state::load() == this.expected.get()) {
                    let now = if STAMPED || this.expires.get() { clock::monotonic() } else { 0 };
                    let call = Call { op: 0, now, deadline: NEVER, error: ptr::null_mut() };
                    let mut item = MaybeUninit::<Item>::uninit();
                    if get(this.instance.get(), &call, Slice::new(key.as_slice()), item.as_mut_ptr())
                        == status::OK
                    {
                        let handle = &(*item.as_ptr()).value;
                        let value = if STAMPED {
                            handle::take_stamped(handle, now, if this.checks.get() { now } else { i64::MIN })
                        } else {
                            handle::take(handle)
                        };
                        if !value.is_null() {
                            this.hits.set(this.hits.get() + 1);
                            if this.asynchronous {
                                return awaitable::ready(value, callable);
                            }
                            return value;
                        }
                    }
                }
            }
        }
        miss::call(callable, arguments, count, names)
    }
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector with a live object; nothing here takes a lock or runs code.
    unsafe {
        let this = &*object.cast::<Function>();
        let mut each =
            |object: *mut ffi::PyObject| if object.is_null() { 0 } else { visit(object, argument) };
        let mut result = each(ffi::Py_TYPE(object).cast());
        if result == 0 {
            result = each(this.dict);
        }
        if result == 0 {
            result = this.signature.traverse(&mut each);
        }
        if let (0, Some(cold)) = (result, this.cold.as_ref()) {
            let references = [
                cold.wrapped.as_ptr(),
                cold.resolve.as_ptr(),
                cold.drive.as_ref().map_or(ptr::null_mut(), Py::as_ptr),
                cold.key_builder.as_ref().map_or(ptr::null_mut(), Py::as_ptr),
                cold.copy.as_ref().map_or(ptr::null_mut(), Py::as_ptr),
                cold.life.as_ref().map_or(ptr::null_mut(), Py::as_ptr),
                cold.errors.as_ref().map_or(ptr::null_mut(), Py::as_ptr),
                cold.tags.as_ref().map_or(ptr::null_mut(), Py::as_ptr),
                cold.result_tags.as_ref().map_or(ptr::null_mut(), Py::as_ptr),
                cold.interns.table().as_ptr(),
            ];
            for reference in references {
                if result == 0 {
                    result = each(reference);
                }
            }
            if result == 0 {
                result = cold.cells.traverse(visit, argument);
            }
        }
        result
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: attached; fields are detached before what they refer to is dropped.
    unsafe {
        let this = object.cast::<Function>();
        (*this).expected.set(0);
        (*this).get.set(None);
        ffi::Py_CLEAR(&mut (*this).dict);
        let cold = std::mem::replace(&mut (*this).cold, ptr::null_mut());
        if !cold.is_null() {
            let cold = Box::from_raw(cold);
            cold.cells.clear();
            forget_entries(&cold.engine);
            drop_attached(cold);
        }
    }
    0
}

/// Drops what holds references, on a thread that is attached without PyO3 knowing it: told so, it
/// drops them at once. While the interpreter shuts down it is not to be told, and puts them off.
fn drop_attached<T>(value: T) {
    let mut value = Some(value);
    Python::try_attach(|_| drop(value.take()));
    drop(value);
}

/// Takes a gone function's entries out of tiers inside the process: nobody can ask for them again.
unsafe fn forget_entries(engine: &Arc<Engine>) {
    for tier in engine.tiers().iter().filter(|tier| !tier.is_outside()) {
        if let Err(error) = tier.instance().clear(tier.prefix()) {
            engine.note(&error);
        }
    }
    // SAFETY: attached, no lock held.
    unsafe { handle::drain() };
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference has gone.
    unsafe {
        let this = object.cast::<Function>();
        let kind = ffi::Py_TYPE(object);
        ffi::PyObject_GC_UnTrack(object.cast());
        if !(*this).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        clear(object);
        drop_attached(ptr::read(&raw const (*this).signature));
        if let Some(free) = (*kind).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(kind.cast());
    }
}

unsafe extern "C" fn bind(
    function: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
    _owner: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: attached, with valid arguments.
    unsafe {
        if object.is_null() || ffi::Py_IsNone(object) != 0 {
            ffi::Py_NewRef(function)
        } else {
            PyMethod_New(function, object)
        }
    }
}

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: attached, with a valid object; the name is a new reference or null.
    unsafe {
        let name = ffi::PyObject_GetAttrString(object, c"__qualname__".as_ptr());
        if name.is_null() {
            return ptr::null_mut();
        }
        let text = ffi::PyUnicode_FromFormat(c"<cached function %U at %p>".as_ptr(), name, object);
        ffi::Py_DECREF(name);
        text
    }
}

/// Makes the type.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let member = |name: &'static std::ffi::CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    };
    let members = Box::leak(Box::new([
        member(c"__vectorcalloffset__", std::mem::offset_of!(Function, vectorcall)),
        member(c"__dictoffset__", std::mem::offset_of!(Function, dict)),
        member(c"__weaklistoffset__", std::mem::offset_of!(Function, weak_references)),
        ffi::PyMemberDef { name: ptr::null(), type_code: 0, offset: 0, flags: 0, doc: ptr::null() },
    ]));
    let getters = Box::leak(Box::new([
        ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(ffi::PyObject_GenericGetDict),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: ptr::null(),
            closure: ptr::null_mut(),
        },
        ffi::PyGetSetDef {
            name: ptr::null(),
            get: None,
            set: None,
            doc: ptr::null(),
            closure: ptr::null_mut(),
        },
    ]));
    let slot = |slot: c_int, pfunc: *mut c_void| ffi::PyType_Slot { slot, pfunc };
    let mut slots = [
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_descr_get, bind as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, getters.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"retainit._native.Function".as_ptr(),
        basicsize: size_of::<Function>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT
            | ffi::Py_TPFLAGS_HAVE_GC
            | ffi::Py_TPFLAGS_HAVE_VECTORCALL
            | ffi::Py_TPFLAGS_METHOD_DESCRIPTOR
            | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete; the type lives as long as the process.
    let kind = unsafe {
        let kind = Bound::from_owned_ptr_or_err(module.py(), ffi::PyType_FromSpec(&mut spec))?;
        TYPE = kind.clone().into_ptr().cast();
        kind
    };
    module.add("Function", kind)
}
