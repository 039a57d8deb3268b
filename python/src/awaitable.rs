//! What a hit of an asynchronous function returns: an awaitable that is ready at its first step.
//!
//! To CPython it is a coroutine object of another type: `am_await`, `am_send`, `send`, `throw`, `close`,
//! and registered as `collections.abc.Coroutine`, so that tasks, `gather`, `wait_for`, `shield` and
//! other frameworks take it. Up to 3.11 `await` asks `am_send`; from 3.12 on it asks `tp_iternext`,
//! whose only way to return a value is a `StopIteration`.

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

#[repr(C)]
struct Ready {
    head: ffi::PyObject,
    /// The value; null once it has been handed out.
    value: *mut ffi::PyObject,
    /// The function, for the warning of one that was never awaited.
    function: *mut ffi::PyObject,
}

/// Freed objects for the next hits. Guarded by the interpreter's lock.
const POOL: usize = 64;
static mut POOLED: [*mut Ready; POOL] = [ptr::null_mut(); POOL];
static mut POOLED_COUNT: usize = 0;
static mut TYPE: *mut ffi::PyTypeObject = ptr::null_mut();

/// An awaitable of `value`, whose reference it takes over.
///
/// # Safety
/// Attached; `function` is valid.
#[inline]
pub unsafe fn ready(value: *mut ffi::PyObject, function: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the statics are used by attached threads only; a pooled object has the right size.
    unsafe {
        let object = if POOLED_COUNT > 0 {
            POOLED_COUNT -= 1;
            let pooled = POOLED[POOLED_COUNT];
            ffi::PyObject_Init(pooled.cast(), TYPE);
            pooled
        } else {
            let fresh = ffi::PyObject_Malloc(size_of::<Ready>()).cast::<Ready>();
            if fresh.is_null() {
                ffi::Py_DECREF(value);
                return ffi::PyErr_NoMemory();
            }
            ffi::PyObject_Init(fresh.cast(), TYPE);
            fresh
        };
        ffi::Py_INCREF(function);
        (*object).value = value;
        (*object).function = function;
        object.cast()
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    let this: *mut Ready = object.cast();
    // SAFETY: called once with the last reference gone.
    unsafe {
        if !(*this).value.is_null() {
            warn_never_awaited(this);
        }
        ffi::Py_XDECREF((*this).function);
        if POOLED_COUNT < POOL {
            POOLED[POOLED_COUNT] = this;
            POOLED_COUNT += 1;
        } else {
            ffi::PyObject_Free(object.cast());
        }
        ffi::Py_DECREF(TYPE.cast());
    }
}

#[cold]
unsafe fn warn_never_awaited(this: *mut Ready) {
    // SAFETY: the object is still whole; a pending exception is put back.
    unsafe {
        let pending = PyErrState::fetch();
        let name = ffi::PyObject_GetAttrString((*this).function, c"__qualname__".as_ptr());
        if name.is_null() {
            ffi::PyErr_Clear();
        } else {
            let failed = ffi::PyErr_WarnFormat(
                ffi::PyExc_RuntimeWarning,
                1,
                c"coroutine '%U' was never awaited".as_ptr(),
                name,
            );
            ffi::Py_DECREF(name);
            if failed < 0 {
                ffi::PyErr_WriteUnraisable((*this).function);
            }
        }
        pending.restore();
        ffi::Py_CLEAR(&mut (*this).value);
    }
}

/// The error indicator, put aside.
struct PyErrState {
    kind: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    traceback: *mut ffi::PyObject,
}

impl PyErrState {
    #[allow(deprecated)] // the pair that works on every supported version
    unsafe fn fetch() -> Self {
        let mut state =
            PyErrState { kind: ptr::null_mut(), value: ptr::null_mut(), traceback: ptr::null_mut() };
        // SAFETY: attached.
        unsafe { ffi::PyErr_Fetch(&mut state.kind, &mut state.value, &mut state.traceback) };
        state
    }

    #[allow(deprecated)]
    unsafe fn restore(self) {
        // SAFETY: gives back what `fetch` took.
        unsafe { ffi::PyErr_Restore(self.kind, self.value, self.traceback) }
    }
}

unsafe extern "C" fn am_await(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the caller holds it.
    unsafe { ffi::Py_INCREF(object) };
    object
}

unsafe extern "C" fn am_send(
    object: *mut ffi::PyObject,
    _sent: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    let this: *mut Ready = object.cast();
    // SAFETY: attached; the value's reference passes to the caller.
    unsafe {
        let value = std::mem::replace(&mut (*this).value, ptr::null_mut());
        *result = value;
        if value.is_null() {
            reused();
            return ffi::PySendResult::PYGEN_ERROR;
        }
    }
    ffi::PySendResult::PYGEN_RETURN
}

#[cold]
fn reused() {
    // SAFETY: attached.
    unsafe {
        ffi::PyErr_SetString(ffi::PyExc_RuntimeError, c"cannot reuse already awaited coroutine".as_ptr());
    }
}

unsafe extern "C" fn iternext(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let this: *mut Ready = object.cast();
    // SAFETY: attached.
    unsafe {
        let value = std::mem::replace(&mut (*this).value, ptr::null_mut());
        if value.is_null() {
            reused();
        } else {
            stop_iteration(value);
        }
    }
    ptr::null_mut()
}

/// A `StopIteration` that is used again while nobody else refers to it: making one costs more than a
/// hit.
static mut SPARE: *mut ffi::PyObject = ptr::null_mut();

/// Raises `StopIteration(value)`; takes over the reference.
unsafe fn stop_iteration(value: *mut ffi::PyObject) {
    // SAFETY: attached; the layout of StopIteration is the public `PyStopIterationObject`.
    unsafe {
        let spare = SPARE;
        if !spare.is_null() && ffi::Py_REFCNT(spare) == 1 && set_spare(spare, value) {
            ffi::Py_DECREF(value);
            ffi::Py_INCREF(spare);
            raise(spare);
            return;
        }
        // An argument tuple, because a tuple or an exception as the value must not be unpacked.
        let arguments = ffi::PyTuple_Pack(1, value);
        ffi::Py_DECREF(value);
        if arguments.is_null() {
            return;
        }
        let exception = ffi::PyObject_Call(ffi::PyExc_StopIteration, arguments, ptr::null_mut());
        ffi::Py_DECREF(arguments);
        if exception.is_null() {
            return;
        }
        if spare.is_null() || ffi::Py_REFCNT(spare) > 1 {
            SPARE = exception;
            ffi::Py_INCREF(exception);
            ffi::Py_XDECREF(spare);
        }
        raise(exception);
    }
}

/// Makes a used `StopIteration` look new with another value.
unsafe fn set_spare(spare: *mut ffi::PyObject, value: *mut ffi::PyObject) -> bool {
    let exception: *mut ffi::PyStopIterationObject = spare.cast();
    // SAFETY: the layout is that of StopIteration, and nobody else refers to the object.
    unsafe {
        let arguments = (*exception).args;
        if arguments.is_null()
            || ffi::Py_REFCNT(arguments) != 1
            || ffi::PyTuple_CheckExact(arguments) == 0
            || ffi::PyTuple_GET_SIZE(arguments) != 1
        {
            return false;
        }
        ffi::Py_CLEAR(&mut (*exception).traceback);
        ffi::Py_CLEAR(&mut (*exception).context);
        ffi::Py_CLEAR(&mut (*exception).cause);
        ffi::Py_CLEAR(&mut (*exception).dict);
        let old = ffi::PyTuple_GET_ITEM(arguments, 0);
        ffi::Py_INCREF(value);
        ffi::PyTuple_SET_ITEM(arguments, 0, value);
        ffi::Py_INCREF(value);
        let old_value = std::mem::replace(&mut (*exception).value, value);
        ffi::Py_XDECREF(old);
        ffi::Py_XDECREF(old_value);
    }
    true
}

/// Sets the error indicator; takes over the reference.
#[allow(deprecated)] // see `PyErrState`
unsafe fn raise(exception: *mut ffi::PyObject) {
    // SAFETY: attached; references pass to the indicator.
    unsafe {
        #[cfg(Py_3_12)]
        ffi::PyErr_SetRaisedException(exception);
        #[cfg(not(Py_3_12))]
        {
            let kind = ffi::PyExc_StopIteration;
            ffi::Py_INCREF(kind);
            ffi::PyErr_Restore(kind, exception, ptr::null_mut());
        }
    }
}

unsafe extern "C" fn send(object: *mut ffi::PyObject, _sent: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as `tp_iternext`.
    unsafe { iternext(object) }
}

unsafe extern "C" fn close(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    let this: *mut Ready = object.cast();
    // SAFETY: attached.
    unsafe {
        let value = std::mem::replace(&mut (*this).value, ptr::null_mut());
        ffi::Py_XDECREF(value);
        ffi::Py_NewRef(ffi::Py_None())
    }
}

#[allow(deprecated)] // see `PyErrState`
unsafe extern "C" fn throw(object: *mut ffi::PyObject, arguments: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: attached; `arguments` is the call's tuple of one to three items.
    unsafe {
        ffi::Py_DECREF(close(object, ptr::null_mut()));
        let (mut kind, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        if ffi::PyArg_UnpackTuple(arguments, c"throw".as_ptr(), 1, 3, &mut kind, &mut value, &mut traceback)
            == 0
        {
            return ptr::null_mut();
        }
        if ffi::PyExceptionInstance_Check(kind) != 0 {
            value = kind;
            kind = ffi::PyExceptionInstance_Class(value);
        }
        if ffi::PyExceptionClass_Check(kind) == 0 {
            ffi::PyErr_SetString(ffi::PyExc_TypeError, c"exceptions must derive from BaseException".as_ptr());
            return ptr::null_mut();
        }
        if ffi::Py_IsNone(traceback) != 0 {
            traceback = ptr::null_mut();
        }
        for object in [kind, value, traceback] {
            ffi::Py_XINCREF(object);
        }
        ffi::PyErr_Restore(kind, value, traceback);
    }
    ptr::null_mut()
}

/// `cr_await`, `cr_frame`, `cr_code`: nothing ever waits inside, so there is nothing to show.
unsafe extern "C" fn get_none(_: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: attached.
    unsafe { ffi::Py_NewRef(ffi::Py_None()) }
}

unsafe extern "C" fn get_running(_: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: attached.
    unsafe { ffi::PyBool_FromLong(0) }
}

unsafe extern "C" fn get_name(object: *mut ffi::PyObject, closure: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: the closure is one of the two names below.
    unsafe { ffi::PyObject_GetAttrString((*object.cast::<Ready>()).function, closure.cast()) }
}

/// Makes the type and tells `collections.abc` that it is a coroutine.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let method = |name: &'static std::ffi::CStr, function: ffi::PyCFunction, flags: c_int| ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: flags,
        ml_doc: ptr::null(),
    };
    let methods = Box::leak(Box::new([
        method(c"send", send, ffi::METH_O),
        method(c"throw", throw, ffi::METH_VARARGS),
        method(c"close", close, ffi::METH_NOARGS),
        ffi::PyMethodDef::zeroed(),
    ]));
    let getter = |name: &'static std::ffi::CStr, get: ffi::getter, closure: *const std::ffi::c_char| {
        ffi::PyGetSetDef {
            name: name.as_ptr(),
            get: Some(get),
            set: None,
            doc: ptr::null(),
            closure: closure.cast_mut().cast(),
        }
    };
    let getters = Box::leak(Box::new([
        getter(c"__name__", get_name, c"__name__".as_ptr()),
        getter(c"__qualname__", get_name, c"__qualname__".as_ptr()),
        getter(c"cr_await", get_none, ptr::null()),
        getter(c"cr_frame", get_none, ptr::null()),
        getter(c"cr_code", get_none, ptr::null()),
        getter(c"cr_running", get_running, ptr::null()),
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
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_am_await, am_await as *mut c_void),
        slot(ffi::Py_am_send, am_send as *mut c_void),
        slot(ffi::Py_tp_iter, am_await as *mut c_void),
        slot(ffi::Py_tp_iternext, iternext as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_getset, getters.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"retainit._native.Ready".as_ptr(),
        basicsize: size_of::<Ready>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as u32,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete; the type lives as long as the process.
    let kind = unsafe {
        let kind = ffi::PyType_FromSpec(&mut spec);
        let kind = Bound::from_owned_ptr_or_err(module.py(), kind)?;
        TYPE = kind.clone().into_ptr().cast();
        kind
    };
    module.py().import("collections.abc")?.getattr("Coroutine")?.call_method1("register", (&kind,))?;
    module.add("Ready", kind)
}
