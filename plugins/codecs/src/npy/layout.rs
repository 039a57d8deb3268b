//! Elements of any strides, in the order of a file.

use retainit_plugin_api::sdk::TensorInfo;

/// How elements lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// One behind the other, the last axis closest.
    C,
    /// One behind the other, the first axis closest, and not so by the last as well.
    Fortran,
    /// With gaps, or in another order.
    Neither,
}

impl Order {
    /// Of a tensor that fits its memory, with elements of `size` bytes.
    pub(super) fn of(info: &TensorInfo, size: usize) -> Order {
        if info.shape.contains(&0) {
            // No elements lie in any order.
            return Order::C;
        }
        let axes = || info.shape.iter().copied().zip(info.strides.iter().copied());
        if is_packed(axes().rev(), size) {
            Order::C
        } else if is_packed(axes(), size) {
            Order::Fortran
        } else {
            Order::Neither
        }
    }
}

/// Whether each axis, from the closest outwards, takes up where the one before it ends. Where an axis has one
/// step only, its stride says nothing.
fn is_packed(axes: impl Iterator<Item = (i64, i64)>, size: usize) -> bool {
    let mut expected = size as i64;
    for (extent, stride) in axes.filter(|(extent, _)| *extent != 1) {
        if stride != expected {
            return false;
        }
        expected *= extent;
    }
    true
}

/// Appends the elements in C order. The tensor must fit `elements`, and `out` have room.
pub(super) fn gather(info: &TensorInfo, size: usize, elements: &[u8], out: &mut Vec<u8>) {
    // Elements of a known size are copied by a load and a store.
    match size {
        1 => rows::<1>(info, elements, out),
        2 => rows::<2>(info, elements, out),
        4 => rows::<4>(info, elements, out),
        8 => rows::<8>(info, elements, out),
        16 => rows::<16>(info, elements, out),
        _ => each_row(info, |at, extent, stride| {
            for i in 0..extent {
                let at = at + i * stride;
                out.extend_from_slice(&elements[at..at + size]);
            }
        }),
    }
}

fn rows<const SIZE: usize>(info: &TensorInfo, elements: &[u8], out: &mut Vec<u8>) {
    each_row(info, |at, extent, stride| {
        if stride == SIZE {
            out.extend_from_slice(&elements[at..at + extent * SIZE]);
            return;
        }
        for i in 0..extent {
            let element: &[u8; SIZE] =
                elements[at + i * stride..].first_chunk().expect("the tensor fits its elements");
            out.extend_from_slice(element);
        }
    });
}

/// Calls `row` with the place, the number and the distance of the elements of each row of the last axis, in
/// C order.
fn each_row(info: &TensorInfo, mut row: impl FnMut(usize, usize, usize)) {
    // Strides and extents of a tensor that fits are not negative; a stride of an axis with one step may be
    // anything, and is never taken.
    let strides: Vec<usize> = info
        .shape
        .iter()
        .zip(&info.strides)
        .map(|(extent, stride)| if *extent > 1 { *stride as usize } else { 0 })
        .collect();
    let extents: Vec<usize> = info.shape.iter().map(|extent| *extent as usize).collect();
    let (Some((last, outer)), Some((step, outer_strides))) = (extents.split_last(), strides.split_last())
    else {
        return row(0, 1, 0);
    };
    if extents.contains(&0) {
        return;
    }
    let mut index = vec![0; outer.len()];
    let mut at = 0;
    loop {
        row(at, *last, *step);
        let Some(axis) = (0..outer.len()).rev().find(|axis| index[*axis] + 1 < outer[*axis]) else {
            return;
        };
        for behind in axis + 1..outer.len() {
            at -= index[behind] * outer_strides[behind];
            index[behind] = 0;
        }
        index[axis] += 1;
        at += outer_strides[axis];
    }
}
