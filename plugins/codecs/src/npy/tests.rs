//! Files that NumPy wrote, files that nobody wrote, and elements in every layout.

use proptest::prelude::*;
use retainit_plugin_api::sdk::{ErrorKind, TensorInfo};

use super::{read, write};

/// Files of `tests/files`, written by `numpy.save`, with what is in them.
macro_rules! npy {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/files/", $name, ".npy")).as_slice()
    };
}

fn tensor(dtype: &str, shape: &[i64], strides: &[i64]) -> TensorInfo {
    TensorInfo { dtype: dtype.to_owned(), shape: shape.to_vec(), strides: strides.to_vec() }
}

fn numbers<const N: usize>(bytes: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    bytes.into_iter().flatten().collect()
}

/// Description and elements of each file of version 1.0.
fn saved() -> Vec<(&'static [u8], TensorInfo, Vec<u8>)> {
    let text = "a\0\0\0\0größe".chars().map(|character| (character as u32).to_le_bytes());
    vec![
        (
            npy!("c_order"),
            tensor("<f8", &[2, 3], &[24, 8]),
            numbers((0..6).map(|n| f64::from(n).to_le_bytes())),
        ),
        (
            npy!("fortran_order"),
            tensor(">i2", &[2, 3], &[2, 4]),
            numbers([0i16, 3, 1, 4, 2, 5].map(i16::to_be_bytes)),
        ),
        (npy!("zero_dimensions"), tensor("|b1", &[], &[]), vec![1]),
        (
            npy!("dates"),
            tensor("<M8[ns]", &[2], &[8]),
            numbers([1_577_836_800_000_000_000, i64::MIN].map(i64::to_le_bytes)),
        ),
        (npy!("text"), tensor("<U5", &[2], &[20]), numbers(text)),
        (npy!("no_elements"), tensor("<c8", &[3, 0, 2], &[16, 16, 8]), Vec::new()),
        (npy!("opaque"), tensor("|V3", &[2], &[3]), b"abc\0\x01\x02".to_vec()),
    ]
}

#[test]
fn what_numpy_saved_is_read() {
    for (file, info, elements) in saved() {
        let (found, start) = read(file).unwrap();
        assert_eq!((found, &file[start..]), (info, elements.as_slice()));
        assert_eq!(start % 64, 0);
    }
    for file in [npy!("version_2"), npy!("version_3")] {
        let (found, start) = read(file).unwrap();
        assert_eq!((found, &file[start..]), (tensor("|u1", &[3], &[1]), &[0, 1, 2][..]));
    }
}

#[test]
fn what_is_written_is_what_numpy_saves() {
    for (file, info, elements) in saved() {
        assert_eq!(write(&info, &elements).unwrap(), file, "{info:?}");
    }
}

#[test]
fn records_and_objects_are_refused_both_ways() {
    for (file, dtype) in [(npy!("records"), "[('a', '<f8'), ('b', '<i4')]"), (npy!("objects"), "|O")] {
        assert_eq!(read(file).unwrap_err().kind(), ErrorKind::Corrupt);
        let refusal = write(&tensor(dtype, &[2], &[12]), &[0; 24]).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Unsupported);
        assert!(refusal.message().contains(dtype) && refusal.message().contains("serializer=\"pickle\""));
    }
    for dtype in ["<f16", "<f3", "=f8", "|f8", "<u1", ">b1", "<M8[x]", "|V", "<V3", "|V03"] {
        assert!(write(&tensor(dtype, &[0], &[0]), &[]).is_err(), "{dtype}");
    }
}

#[test]
fn every_plain_type_has_its_size() {
    for (dtype, size) in [
        ("|b1", 1),
        ("|i1", 1),
        ("|u1", 1),
        ("<i2", 2),
        (">u4", 4),
        ("<i8", 8),
        ("<f2", 2),
        (">f4", 4),
        ("<f8", 8),
        ("<c8", 8),
        (">c16", 16),
        ("<m8", 8),
        (">M8[25s]", 8),
        ("|S5", 5),
        ("<U3", 12),
        (">U1", 4),
        ("|V7", 7),
    ] {
        let info = tensor(dtype, &[2], &[size]);
        let file = write(&info, &vec![9; 2 * size as usize]).unwrap();
        assert_eq!(read(&file).unwrap(), (info.clone(), file.len() - 2 * size as usize), "{dtype}");
        assert_eq!(
            write(&info, &vec![9; 2 * size as usize - 1]).unwrap_err().kind(),
            ErrorKind::Invalid,
            "{dtype}"
        );
    }
}

#[test]
fn elements_of_no_size_have_no_bytes() {
    for dtype in ["|V0", "|S0", "<U0"] {
        let info = tensor(dtype, &[3, 2], &[0, 0]);
        let file = write(&info, &[]).unwrap();
        assert_eq!(read(&file).unwrap(), (info, file.len()), "{dtype}");
    }
}

#[test]
fn the_longest_shape_fits_version_1() {
    let info = tensor("<M8[123456789ns]", &[1; 64], &[8; 64]);
    assert_eq!(read(&write(&info, &[0; 8]).unwrap()).unwrap().0, info);
    assert_eq!(
        read(&write(&tensor("|u1", &[1; 65], &[1; 65]), &[0]).unwrap()).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    let empty = tensor("|u1", &[i64::MAX, 0], &[0, 1]);
    assert_eq!(read(&write(&empty, &[]).unwrap()).unwrap().0.shape, empty.shape);
}

#[test]
fn more_elements_than_there_is_memory_are_refused_without_asking_for_it() {
    // One byte, seen 2^62 times.
    let refusal = write(&tensor("|u1", &[1 << 31, 1 << 31], &[0, 0]), &[7]).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Invalid);
    assert!(refusal.message().contains("fits into memory"));
}

/// A version 1.0 file around this header.
fn file_of(header: &str, elements: usize) -> Vec<u8> {
    let len = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &len[..], header.as_bytes(), &vec![0; elements]].concat()
}

#[test]
fn claims_are_held_against_what_is_there() {
    let header = |descr: &str, shape: &str| {
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}")
    };
    assert!(read(&file_of(&header("<f8", "(2,)"), 16)).is_ok());
    for (descr, shape, elements) in [
        ("<f8", "(2,)", 15),
        ("<f8", "(2,)", 17),
        ("<f8", "(3,)", 16),
        ("<f8", "(4294967296, 4294967296)", 0),
        ("<f8", "(9223372036854775807,)", 16),
        ("<f8", "(9223372036854775807, 0)", 0),
        ("<f8", "(9223372036854775807, 9223372036854775807)", 16),
        ("<U4611686018427387904", "(1,)", 16),
        ("|S18446744073709551616", "(1,)", 16),
        ("", "()", 0),
    ] {
        let error = read(&file_of(&header(descr, shape), elements)).expect_err(shape);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
    // Lengths of headers beyond the file, in both widths.
    for file in [&b"\x93NUMPY\x01\0\xff\xff{"[..], b"\x93NUMPY\x02\0\xff\xff\xff\xff{", b"\x93NUMPY\x03\0\0"]
    {
        assert_eq!(read(file).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let versions = file_of(&header("<f8", "()"), 8);
    for version in [[0, 0], [1, 1], [2, 1], [4, 0]] {
        let mut file = versions.clone();
        file[6..8].copy_from_slice(&version);
        assert!(read(&file).unwrap_err().message().contains("expected version 1.0 to 3.0"));
    }
}

/// The elements in C order, one index after another.
fn elements(info: &TensorInfo, size: usize, memory: &[u8]) -> Vec<u8> {
    let count: i64 = info.shape.iter().product();
    let place = |mut number: i64| {
        let axes = info.shape.iter().zip(&info.strides).rev();
        axes.map(|(extent, stride)| {
            let index = number % extent;
            number /= extent;
            index * stride
        })
        .sum::<i64>() as usize
    };
    (0..count).flat_map(|number| memory[place(number)..place(number) + size].to_vec()).collect()
}

/// Any order of axes, with gaps between elements, repeated elements, and extents of zero and one.
fn layouts() -> impl Strategy<Value = (&'static str, Vec<i64>, Vec<usize>, Vec<i64>)> {
    let dtypes = prop::sample::select(vec!["|u1", "<i2", "<f4", ">f8", "<c16", "|S3", "<U2", "|V5"]);
    (dtypes, prop::collection::vec(0i64..5, 0..5)).prop_flat_map(|(dtype, shape)| {
        let axes: Vec<usize> = (0..shape.len()).collect();
        let gaps = prop::collection::vec(0i64..3, shape.len());
        (Just(dtype), Just(shape), Just(axes).prop_shuffle(), gaps)
    })
}

proptest! {
    #[test]
    fn elements_of_any_layout_come_back((dtype, shape, axes, gaps) in layouts()) {
        let mut info = tensor(dtype, &shape, &vec![0; shape.len()]);
        let size = info.item_size().unwrap();
        // The axes in their order of closeness, each behind a gap of its own; a gap of two repeats elements.
        let mut stride = size as i64;
        for (axis, gap) in axes.iter().zip(&gaps) {
            info.strides[*axis] = if *gap == 2 { 0 } else { stride + gap * size as i64 };
            stride = (stride + gap * size as i64) * shape[*axis].max(1);
        }
        let memory: Vec<u8> = (0..stride * 2).map(|i| (i * 31 % 251) as u8).collect();
        let file = write(&info, &memory).unwrap();
        let (found, start) = read(&file).unwrap();
        prop_assert_eq!(&found.shape, &info.shape);
        prop_assert_eq!(&found.dtype, &info.dtype);
        let fortran = found.strides != found.packed_strides(false).unwrap();
        prop_assert!(!fortran || info.packed_strides(true).as_ref() == Some(&found.strides));
        if !shape.contains(&0) {
            prop_assert_eq!(elements(&found, size, &file[start..]), elements(&info, size, &memory));
        }
    }

    #[test]
    fn no_bytes_are_read_beyond_the_file(header in "[\\{\\}\\(\\)', :a-z0-9<>|_-]{0,80}", tail in 0usize..20) {
        // Whatever a header says: an error, or elements that end with the file.
        let file = file_of(&header, tail);
        if let Ok((info, start)) = read(&file) {
            prop_assert!(info.fits(file.len() - start));
        }
    }
}
