//! The structures of Arrow's C data and stream interfaces, taken out of capsules and owned.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

/// `ArrowSchema`.
#[repr(C)]
pub struct RawSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut RawSchema,
    dictionary: *mut RawSchema,
    release: Option<unsafe extern "C" fn(*mut RawSchema)>,
    private_data: *mut c_void,
}

/// `ArrowArray`.
#[repr(C)]
pub struct RawArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *const *const c_void,
    children: *mut *mut RawArray,
    dictionary: *mut RawArray,
    release: Option<unsafe extern "C" fn(*mut RawArray)>,
    private_data: *mut c_void,
}

/// `ArrowArrayStream`.
#[repr(C)]
pub struct RawStream {
    get_schema: Option<unsafe extern "C" fn(*mut RawStream, *mut RawSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut RawStream, *mut RawArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut RawStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut RawStream)>,
    private_data: *mut c_void,
}

/// An owned structure, which is given back to its maker when dropped.
macro_rules! owned {
    ($owner:ident, $raw:ident, $capsule:literal) => {
        #[doc = concat!("An owned `", stringify!($raw), "`.")]
        pub struct $owner(Box<$raw>);

        impl $owner {
            fn empty() -> Self {
                // SAFETY: null pointers, zeros, and no function are values of every field.
                $owner(Box::new(unsafe { std::mem::zeroed() }))
            }

            /// Out of the capsule that carries it, which is left empty.
            ///
            /// # Errors
            /// Another capsule, or none.
            pub fn take(capsule: &Bound<'_, PyAny>) -> PyResult<Self> {
                let mut taken = Self::empty();
                // SAFETY: attached; a capsule of this name carries such a structure, and whoever asked
                // for it may move it out. What has been moved has no `release`.
                unsafe {
                    let held = ffi::PyCapsule_GetPointer(capsule.as_ptr(), $capsule.as_ptr()).cast::<$raw>();
                    if held.is_null() {
                        return Err(PyErr::fetch(capsule.py()));
                    }
                    ptr::swap(&mut *taken.0, held);
                }
                Ok(taken)
            }
        }

        impl Drop for $owner {
            fn drop(&mut self) {
                if let Some(release) = self.0.release {
                    // SAFETY: released once, by its only owner.
                    unsafe { release(&mut *self.0) };
                }
            }
        }
    };
}

owned!(Schema, RawSchema, c"arrow_schema");
owned!(Array, RawArray, c"arrow_array");
owned!(Stream, RawStream, c"arrow_array_stream");

// SAFETY: arrays of the interface may be read from any thread.
unsafe impl Sync for Array {}

impl Stream {
    /// The type of what it streams.
    ///
    /// # Errors
    /// The maker's words.
    pub fn schema(&mut self) -> Result<Schema, String> {
        let mut schema = Schema::empty();
        let get = self.0.get_schema.ok_or("an Arrow stream without a schema")?;
        // SAFETY: a live stream, and a structure to fill.
        let status = unsafe { get(&mut *self.0, &mut *schema.0) };
        self.check(status)?;
        Ok(schema)
    }

    /// The next array.
    ///
    /// # Errors
    /// The maker's words.
    pub fn next(&mut self) -> Result<Option<Array>, String> {
        let mut array = Array::empty();
        let get = self.0.get_next.ok_or("an Arrow stream without arrays")?;
        // SAFETY: a live stream, and a structure to fill.
        let status = unsafe { get(&mut *self.0, &mut *array.0) };
        self.check(status)?;
        // The end of a stream is a structure that has been released.
        Ok(array.0.release.is_some().then_some(array))
    }

    fn check(&mut self, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: a live stream; its text is valid until the next call.
        unsafe {
            let text = self.0.get_last_error.map_or(ptr::null(), |ask| ask(&mut *self.0));
            Err(string(text).unwrap_or_else(|| format!("an Arrow stream failed with status {status}")))
        }
    }
}

impl Schema {
    /// What it says.
    pub fn raw(&self) -> &RawSchema {
        &self.0
    }
}

impl Array {
    /// What it holds.
    pub fn raw(&self) -> &RawArray {
        &self.0
    }

    /// Number of rows.
    pub fn length(&self) -> i64 {
        self.0.length
    }
}

unsafe fn string(text: *const c_char) -> Option<String> {
    // SAFETY: null, or a string that ends with a zero.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

impl RawSchema {
    /// The type.
    pub fn format(&self) -> String {
        // SAFETY: strings of a live schema.
        unsafe { string(self.format) }.unwrap_or_default()
    }

    /// The field's name.
    pub fn name(&self) -> String {
        // SAFETY: as above.
        unsafe { string(self.name) }.unwrap_or_default()
    }

    /// Nullable, ordered dictionary, sorted keys of a map.
    pub fn flags(&self) -> i64 {
        self.flags
    }

    /// Pairs of the metadata, sorted.
    pub fn metadata(&self) -> Vec<(&[u8], &[u8])> {
        let mut at = self.metadata.cast::<u8>();
        if at.is_null() {
            return Vec::new();
        }
        // SAFETY: a count, then so many pairs, each part after its length; the schema keeps them.
        unsafe {
            let mut number = || {
                let read = at.cast::<i32>().read_unaligned() as usize;
                at = at.add(4);
                read
            };
            let count = number();
            let mut pairs = Vec::with_capacity(count);
            for _ in 0..count {
                let mut part = || {
                    let len = at.cast::<i32>().read_unaligned() as usize;
                    let start = at.add(4);
                    at = start.add(len);
                    std::slice::from_raw_parts(start, len)
                };
                pairs.push((part(), part()));
            }
            pairs.sort_unstable();
            pairs
        }
    }

    /// Types of what it is made of.
    pub fn children(&self) -> impl Iterator<Item = &RawSchema> {
        // SAFETY: so many pointers to live schemas.
        (0..self.n_children as usize).map(|index| unsafe { &**self.children.add(index) })
    }

    /// The type of the values that indices of this type stand for.
    pub fn dictionary(&self) -> Option<&RawSchema> {
        // SAFETY: null, or a live schema.
        unsafe { self.dictionary.as_ref() }
    }
}

impl RawArray {
    /// Where its rows begin in its buffers.
    pub fn offset(&self) -> usize {
        self.offset as usize
    }

    /// Number of rows.
    pub fn length(&self) -> usize {
        self.length as usize
    }

    /// Whether there may be nulls.
    pub fn may_have_nulls(&self) -> bool {
        self.null_count != 0
    }

    /// The start of a buffer; null where there is none.
    pub fn buffer(&self, index: usize) -> *const u8 {
        if (index as i64) < self.n_buffers {
            // SAFETY: one of so many pointers.
            unsafe { (*self.buffers.add(index)).cast() }
        } else {
            ptr::null()
        }
    }

    /// What it is made of.
    ///
    /// # Errors
    /// Fewer parts than its type has.
    pub fn child(&self, index: usize) -> Result<&RawArray, String> {
        if index as i64 >= self.n_children {
            return Err("an Arrow array has fewer children than its type".to_owned());
        }
        // SAFETY: one of so many pointers to live arrays.
        Ok(unsafe { &**self.children.add(index) })
    }

    /// The values that its indices stand for.
    ///
    /// # Errors
    /// There are none.
    pub fn dictionary(&self) -> Result<&RawArray, String> {
        // SAFETY: null, or a live array.
        unsafe { self.dictionary.as_ref() }.ok_or_else(|| "an Arrow array has no dictionary".to_owned())
    }
}
