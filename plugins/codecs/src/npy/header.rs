//! The description in front of the elements.

use std::fmt::Write;

use retainit_plugin_api::sdk::{Result, TensorInfo};

use super::literal::{self, Description};
use super::{corrupt, is_plain};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Where elements begin is a multiple of this, so that they are aligned in a file that is mapped.
const ALIGNMENT: usize = 64;
/// NumPy 2 has no arrays of more dimensions.
const MOST_DIMENSIONS: usize = 64;

/// NumPy leaves room for the axis that a file could grow along to have this many digits.
const MOST_DIGITS: usize = 21;

/// The header of a file, up to its elements, as `numpy.save` writes it byte by byte: version 1.0, whose length
/// always suffices for a plain type.
pub(super) fn write(info: &TensorInfo, fortran: bool) -> Vec<u8> {
    let mut text = format!("{{'descr': '{}', 'fortran_order': {}, 'shape': (", info.dtype, python(fortran));
    for extent in &info.shape {
        let _ = write!(text, "{extent}, ");
    }
    // `(3,)`, `(3, 4)`, `()`: as `repr` writes a tuple.
    if info.shape.len() == 1 {
        text.pop();
    } else if !info.shape.is_empty() {
        text.truncate(text.len() - 2);
    }
    text.push_str("), }");
    let growing = if fortran { info.shape.last() } else { info.shape.first() };
    if let Some(extent) = growing {
        text.push_str(&" ".repeat(MOST_DIGITS - extent.to_string().len()));
    }
    let head = MAGIC.len() + 2 + 2;
    let total = (head + text.len() + 1).next_multiple_of(ALIGNMENT);
    let len = u16::try_from(total - head).expect("64 extents have at most 1500 characters");
    let mut header = Vec::with_capacity(total);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&[1, 0]);
    header.extend_from_slice(&len.to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header.resize(total - 1, b' ');
    header.push(b'\n');
    header
}

fn python(flag: bool) -> &'static str {
    if flag {
        "True"
    } else {
        "False"
    }
}

/// What a file describes, and where its elements begin; they go to its end. `CORRUPT` for what is no such file.
pub(crate) fn read(file: &[u8]) -> Result<(TensorInfo, usize)> {
    let (version, rest) = file
        .strip_prefix(MAGIC)
        .and_then(<[u8]>::split_first_chunk::<2>)
        .ok_or_else(|| corrupt("expected a file in numpy's format, found other bytes"))?;
    let (len, rest) = match version {
        [1, 0] => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_le_bytes(*len)), rest)),
        [2 | 3, 0] => rest.split_first_chunk().map(|(len, rest)| (u32::from_le_bytes(*len) as usize, rest)),
        [major, minor] => {
            return Err(corrupt(format!(
                "expected version 1.0 to 3.0 of numpy's format, found {major}.{minor}"
            )))
        }
    }
    .ok_or_else(|| corrupt("the file ends before its header"))?;
    let (header, elements) =
        rest.split_at_checked(len).ok_or_else(|| corrupt("the file ends within its header"))?;
    let header = std::str::from_utf8(header).map_err(|_| corrupt("the header is not text"))?;
    let info = describe(literal::parse(header).ok_or_else(|| corrupt("the header describes no array"))?)?;
    let expected = info.count().and_then(|count| count.checked_mul(info.item_size()?));
    if expected != Some(elements.len()) {
        return Err(corrupt(format!("{} bytes of elements are not what {info:?} has", elements.len())));
    }
    Ok((info, file.len() - elements.len()))
}

fn describe(description: Description<'_>) -> Result<TensorInfo> {
    let Description { dtype, fortran, shape } = description;
    if !is_plain(dtype) {
        // What the file says goes into a log line: not all of it, and none of it as it is.
        let shown: String = dtype.chars().take(40).flat_map(char::escape_default).collect();
        return Err(corrupt(format!("expected a plain element type, found `{shown}`")));
    }
    if shape.len() > MOST_DIMENSIONS {
        return Err(corrupt(format!("expected at most {MOST_DIMENSIONS} dimensions, found {}", shape.len())));
    }
    let mut info = TensorInfo { dtype: dtype.to_owned(), shape, strides: Vec::new() };
    info.strides = info
        .packed_strides(fortran)
        .ok_or_else(|| corrupt(format!("expected extents that an array can have, found {:?}", info.shape)))?;
    Ok(info)
}
