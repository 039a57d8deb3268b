//! NumPy's file format, versions 1.0, 2.0 and 3.0:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
//!
//! | file | what it holds |
//! |---|---|
//! | `header` | the description in front of the elements |
//! | `literal` | the Python literals that it is made of |
//! | `layout` | elements of any strides, in the order of a file |

mod header;
mod layout;
mod literal;

use retainit_plugin_api::sdk::tree::Dtype;
use retainit_plugin_api::sdk::{Error, ErrorKind, Result, TensorInfo};

pub(crate) use header::read;
use layout::Order;

/// The file of a tensor with these elements: in Fortran order if they lie so, else in C order.
pub(crate) fn write(info: &TensorInfo, elements: &[u8]) -> Result<Vec<u8>> {
    if !is_plain(&info.dtype) {
        return Err(refused(&info.dtype));
    }
    let (Some(size), Some(count), true) = (info.item_size(), info.count(), info.fits(elements.len())) else {
        let len = elements.len();
        return Err(invalid(format!("expected a tensor within its {len} bytes, found {info:?}")));
    };
    let len = size.checked_mul(count);
    let order = Order::of(info, size);
    let header = header::write(info, order == Order::Fortran);
    let mut file = Vec::new();
    // A tensor without strides may stand for more elements than there is memory.
    let room = len.and_then(|len| len.checked_add(header.len())).ok_or(());
    if room.and_then(|room| file.try_reserve_exact(room).map_err(drop)).is_err() {
        return Err(invalid(format!("expected a tensor that fits into memory, found {info:?}")));
    }
    file.extend_from_slice(&header);
    match order {
        Order::C | Order::Fortran => file.extend_from_slice(&elements[..size * count]),
        Order::Neither => layout::gather(info, size, elements, &mut file),
    }
    Ok(file)
}

/// Whether elements are of a type whose bytes say all, on any machine. What comes as plain bytes (`|V3`) is
/// such a type; records and objects are not. Text, bytes and plain bytes may be of no size.
fn is_plain(dtype: &str) -> bool {
    let opaque = dtype.strip_prefix("|V").is_some_and(|number| {
        let padded = number.len() > 1 && number.starts_with('0');
        !number.is_empty() && !padded && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    opaque || matches!(dtype, "|S0" | "<U0" | ">U0") || Dtype::parse(dtype).is_some()
}

#[cold]
fn refused(dtype: &str) -> Error {
    let message = format!(
        "serializer `numpy` stores flags, integers, floats up to 64 bits, complex numbers, dates, durations, text \
         and bytes of a fixed size: expected one of these element types, found `{dtype}`; \
         hint: `serializer=\"pickle\"` keeps records, objects and types of one machine"
    );
    Error::new(ErrorKind::Unsupported, message)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

#[cfg(test)]
mod tests;
