//! Strings both ways.

use std::ptr::NonNull;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;
use retainit_plugin_api::sdk::tree::{self, write};

use super::encode::{Done, Encoder};

impl Encoder<'_> {
    /// Writes an exact `str`.
    ///
    /// # Safety
    /// Attached and valid.
    #[inline(always)]
    pub unsafe fn text(&mut self, text: *mut ffi::PyObject) -> Done {
        // SAFETY: a compact ASCII string's bytes lie behind its head.
        unsafe {
            if ffi::PyUnicode_IS_COMPACT_ASCII(text) == 0 {
                return self.wide(text, true);
            }
            self.ascii(ascii(text))
        }
    }

    #[inline(always)]
    fn ascii(&mut self, ascii: &[u8]) -> Done {
        if ascii.len() > 31 {
            return self.longer(ascii);
        }
        self.out.reserve(32);
        // SAFETY: there is room for a byte and 31 more.
        unsafe {
            let end = self.out.as_mut_ptr().add(self.out.len());
            *end = 0xa0 | ascii.len() as u8;
            copy(ascii, end.add(1));
            self.out.set_len(self.out.len() + 1 + ascii.len());
        }
        Ok(())
    }

    #[inline(never)]
    fn longer(&mut self, ascii: &[u8]) -> Done {
        let head = write::text(&mut self.out, ascii.len());
        self.head(head)?;
        self.out.extend_from_slice(ascii);
        Ok(())
    }

    /// Written from the characters themselves: asked for UTF-8, CPython would keep it in the object.
    ///
    /// # Safety
    /// Attached and valid; an exact `str`.
    #[inline(never)]
    unsafe fn wide(&mut self, text: *mut ffi::PyObject, headed: bool) -> Done {
        // SAFETY: as promised.
        unsafe {
            #[cfg(not(Py_3_12))]
            {
                #[allow(deprecated)]
                let ready = ffi::PyUnicode_READY(text);
                if ready != 0 {
                    let error = PyErr::fetch(self.py);
                    return Err(self.raise(error));
                }
            }
            let len = ffi::PyUnicode_GET_LENGTH(text) as usize;
            let data = ffi::PyUnicode_DATA(text);
            match ffi::PyUnicode_KIND(text) {
                ffi::PyUnicode_1BYTE_KIND => {
                    self.characters(std::slice::from_raw_parts(data.cast::<u8>(), len), headed)
                }
                ffi::PyUnicode_2BYTE_KIND => {
                    self.characters(std::slice::from_raw_parts(data.cast::<u16>(), len), headed)
                }
                _ => self.characters(std::slice::from_raw_parts(data.cast::<u32>(), len), headed),
            }
        }
    }

    /// Writes an exact `str` without a head, lone surrogates as three bytes each.
    pub fn surrogate_utf8(&mut self, text: &Bound<'_, PyString>) -> Done {
        // SAFETY: attached and valid.
        unsafe { self.wide(text.as_ptr(), false) }
    }

    fn characters<C: Copy + Into<u32>>(&mut self, characters: &[C], headed: bool) -> Done {
        let len: usize = characters.iter().map(|character| width((*character).into())).sum();
        if headed {
            self.head_of(characters, len)?;
        }
        self.out.reserve(len);
        // SAFETY: there is room for what has been counted.
        unsafe {
            let mut at = self.out.as_mut_ptr().add(self.out.len());
            for character in characters {
                at = put(at, (*character).into());
            }
            self.out.set_len(self.out.len() + len);
        }
        Ok(())
    }

    fn head_of<C: Copy + Into<u32>>(&mut self, characters: &[C], len: usize) -> Done {
        let surrogate = |character: &C| (0xd800..=0xdfff).contains(&(*character).into());
        // Latin-1 has none, and nothing is compiled for it.
        let lone = size_of::<C>() > 1 && characters.iter().any(surrogate);
        let head = if lone {
            write::extension(&mut self.out, tree::SURROGATES, len)
        } else {
            write::text(&mut self.out, len)
        };
        self.head(head)
    }
}

/// Bytes of a character in UTF-8.
#[inline(always)]
fn width(character: u32) -> usize {
    1 + usize::from(character > 0x7f) + usize::from(character > 0x7ff) + usize::from(character > 0xffff)
}

/// Writes a character and gives the place behind it.
#[inline(always)]
unsafe fn put(at: *mut u8, character: u32) -> *mut u8 {
    let tail = |shift: u32| 0x80 | (character >> shift & 0x3f) as u8;
    // SAFETY: the caller has room for `width(character)` bytes.
    unsafe {
        if character < 0x80 {
            *at = character as u8;
            return at.add(1);
        }
        if character < 0x800 {
            *at = 0xc0 | (character >> 6) as u8;
            *at.add(1) = tail(0);
            return at.add(2);
        }
        if character < 0x1_0000 {
            *at = 0xe0 | (character >> 12) as u8;
            *at.add(1) = tail(6);
            *at.add(2) = tail(0);
            return at.add(3);
        }
        *at = 0xf0 | (character >> 18) as u8;
        *at.add(1) = tail(12);
        *at.add(2) = tail(6);
        *at.add(3) = tail(0);
        at.add(4)
    }
}

/// The bytes of a compact ASCII string.
///
/// # Safety
/// It is one, and outlives them.
#[inline(always)]
pub unsafe fn ascii<'a>(text: *mut ffi::PyObject) -> &'a [u8] {
    // SAFETY: as promised.
    unsafe {
        let len = (*text.cast::<ffi::PyASCIIObject>()).length as usize;
        std::slice::from_raw_parts(text.cast::<ffi::PyASCIIObject>().add(1).cast(), len)
    }
}

/// Copies a few bytes without a call.
///
/// # Safety
/// There is room for them.
#[inline(always)]
unsafe fn copy(from: &[u8], to: *mut u8) {
    let (len, from) = (from.len(), from.as_ptr());
    // SAFETY: all places are within the two; they overlap where the length is no power of two.
    unsafe {
        if len > 16 {
            from.copy_to_nonoverlapping(to, len);
        } else if len >= 8 {
            let head = from.cast::<u64>().read_unaligned();
            let tail = from.add(len - 8).cast::<u64>().read_unaligned();
            to.cast::<u64>().write_unaligned(head);
            to.add(len - 8).cast::<u64>().write_unaligned(tail);
        } else if len >= 4 {
            let head = from.cast::<u32>().read_unaligned();
            let tail = from.add(len - 4).cast::<u32>().read_unaligned();
            to.cast::<u32>().write_unaligned(head);
            to.add(len - 4).cast::<u32>().write_unaligned(tail);
        } else {
            for index in 0..len {
                *to.add(index) = *from.add(index);
            }
        }
    }
}

/// A new string, from bytes that are to be UTF-8; `None` with an exception set.
///
/// # Safety
/// Attached.
#[inline(always)]
pub unsafe fn string(utf8: &[u8]) -> Option<NonNull<ffi::PyObject>> {
    if !utf8.is_ascii() {
        // SAFETY: as promised.
        return unsafe { wide(utf8) };
    }
    // SAFETY: as promised; the new string has room for as many characters.
    unsafe {
        let text = NonNull::new(ffi::PyUnicode_New(utf8.len() as ffi::Py_ssize_t, 127))?;
        // The empty string is shared, and has no bytes to write to.
        copy(utf8, text.as_ptr().cast::<ffi::PyASCIIObject>().add(1).cast());
        Some(text)
    }
}

#[inline(never)]
unsafe fn wide(utf8: &[u8]) -> Option<NonNull<ffi::PyObject>> {
    let Ok(text) = std::str::from_utf8(utf8) else {
        // It knows what to raise.
        // SAFETY: attached; the default handler of errors raises.
        return NonNull::new(unsafe {
            ffi::PyUnicode_DecodeUTF8(utf8.as_ptr().cast(), utf8.len() as ffi::Py_ssize_t, std::ptr::null())
        });
    };
    // The first bytes of characters are greater than all others, and the greatest says how wide they are.
    let count = utf8.iter().filter(|byte| **byte as i8 >= -0x40).count() as ffi::Py_ssize_t;
    let greatest = utf8.iter().copied().max().unwrap_or(0);
    // SAFETY: attached; the new string has room for as many characters of the width that is asked for.
    unsafe {
        match greatest {
            ..=0xc3 => {
                let made = NonNull::new(ffi::PyUnicode_New(count, 0xff))?;
                fill::<u8>(made, text, |character| character as u8);
                Some(made)
            }
            0xc4..=0xef => {
                let made = NonNull::new(ffi::PyUnicode_New(count, 0xffff))?;
                fill::<u16>(made, text, |character| character as u16);
                Some(made)
            }
            _ => {
                let made = NonNull::new(ffi::PyUnicode_New(count, 0x10_ffff))?;
                fill::<u32>(made, text, |character| character);
                Some(made)
            }
        }
    }
}

/// # Safety
/// The string is new, and has room for the characters.
#[inline(always)]
unsafe fn fill<C>(made: NonNull<ffi::PyObject>, text: &str, narrow: impl Fn(u32) -> C) {
    // SAFETY: as promised.
    unsafe {
        let mut at = ffi::PyUnicode_DATA(made.as_ptr()).cast::<C>();
        for character in text.chars() {
            at.write(narrow(character.into()));
            at = at.add(1);
        }
    }
}

/// A new string, from UTF-8 in which lone surrogates are three bytes each, as has been checked.
pub fn with_surrogates<'py>(py: Python<'py>, utf8: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let mut characters = Vec::with_capacity(utf8.len());
    let mut rest = utf8;
    while let [first, tail @ ..] = rest {
        let (more, bits) = match first {
            0x00..=0x7f => (0, 0x7f),
            0xc0..=0xdf => (1, 0x1f),
            0xe0..=0xef => (2, 0x0f),
            _ => (3, 0x07),
        };
        let more = more.min(tail.len());
        let (body, behind) = tail.split_at(more);
        let start = u32::from(first & bits);
        characters.push(body.iter().fold(start, |so_far, byte| so_far << 6 | u32::from(byte & 0x3f)));
        rest = behind;
    }
    let len = characters.len() as ffi::Py_ssize_t;
    // SAFETY: attached; the characters are valid for the call, and none is beyond Unicode.
    unsafe {
        let kind = ffi::PyUnicode_4BYTE_KIND as std::ffi::c_int;
        let text = ffi::PyUnicode_FromKindAndData(kind, characters.as_ptr().cast(), len);
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}
