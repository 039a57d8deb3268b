//! Data that is put in and compared with what comes out.

use super::stream::{Live, Stream};
use super::table::{Column, Table};
use super::tensor::Tensor;
use super::tree::Tree;
use crate::abi::capability;

/// Data of one form.
#[derive(Debug, Clone)]
pub(super) enum Data {
    Bytes(Vec<u8>),
    Tree(Tree),
    Tensor(Tensor),
    Arrow(Table),
}

/// One piece of data, and whether any serializer of its form must take it.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    /// Others may be refused with `UNSUPPORTED` or `INVALID`, but not come back otherwise.
    pub(super) plain: bool,
    pub(super) data: Data,
}

fn plain(name: &'static str, data: Data) -> Sample {
    Sample { name, plain: true, data }
}

fn special(name: &'static str, data: Data) -> Sample {
    Sample { name, plain: false, data }
}

/// Samples of every form that these capabilities declare.
pub(super) fn samples(capabilities: u64) -> Vec<Sample> {
    [
        (capability::FORM_BYTES, bytes as fn() -> Vec<Sample>),
        (capability::FORM_TREE, trees),
        (capability::FORM_TENSOR, tensors),
        (capability::FORM_ARROW, streams),
    ]
    .into_iter()
    .filter(|(form, _)| capabilities & form != 0)
    .flat_map(|(_, samples)| samples())
    .collect()
}

/// One plain sample of every form, declared or not.
pub(super) fn one_of_each() -> [(u64, Data); 4] {
    [
        (capability::FORM_BYTES, Data::Bytes(b"text".to_vec())),
        (capability::FORM_TREE, Data::Tree(Tree::Int(1))),
        (capability::FORM_TENSOR, Data::Tensor(Tensor::c_order("<f8", &[2]))),
        (capability::FORM_ARROW, Data::Arrow(table(1))),
    ]
}

fn bytes() -> Vec<Sample> {
    vec![
        plain("text", Data::Bytes("a text, eine Größe, 文字".as_bytes().to_vec())),
        plain("no bytes", Data::Bytes(Vec::new())),
        plain("a long text", Data::Bytes(b"0123456789".repeat(20_000))),
        special("every byte", Data::Bytes((0..=255).collect())),
    ]
}

fn trees() -> Vec<Sample> {
    let ints = [0, 1, 23, 127, 128, 255, 256, 65_535, 65_536, 1 << 31, 1 << 32, i64::MAX.into()];
    let ints = ints.into_iter().flat_map(|int| [int, -int]).chain([i64::MIN.into(), u64::MAX.into()]);
    let floats = [0.0, 1.0, -1.5, 0.1, 1e300, 5e-324, f64::MAX, f64::MIN_POSITIVE, 1e16, 123_456_789.125];
    let texts = ["", "plain", "\"quoted\" \\ / \u{8}\u{c}\n\r\t\0\u{1f}\u{7f}", "Größe 文字 \u{2028} 🦀"];
    let record = |id: i128| {
        Tree::object([
            ("id", Tree::Int(id)),
            ("name", Tree::text("a name")),
            ("tags", Tree::List(vec![Tree::text("x"), Tree::text("y")])),
            ("nested", Tree::object([("share", Tree::float(0.25)), ("none", Tree::Nil)])),
            ("active", Tree::Bool(id % 2 == 0)),
        ])
    };
    let nested = |depth: usize| (0..depth).fold(Tree::Int(7), |inner, _| Tree::List(vec![inner]));
    let mut samples = vec![
        plain("nil", Data::Tree(Tree::Nil)),
        plain("a flag", Data::Tree(Tree::Bool(false))),
        plain("integers", Data::Tree(Tree::List(ints.map(Tree::Int).collect()))),
        plain("floats", Data::Tree(Tree::List(floats.into_iter().map(Tree::float).collect()))),
        plain("a negative zero", Data::Tree(Tree::float(-0.0))),
        plain("texts", Data::Tree(Tree::List(texts.map(Tree::text).into()))),
        plain("nothing in it", Data::Tree(Tree::List(vec![Tree::List(Vec::new()), Tree::Map(Vec::new())]))),
        plain("a record", Data::Tree(record(1))),
        plain("many records", Data::Tree(Tree::List((0..200).map(record).collect()))),
        plain("nested", Data::Tree(nested(50))),
        special("nested deeply", Data::Tree(nested(1000))),
        special("binary", Data::Tree(Tree::Binary((0..=255).collect()))),
        special("an extension", Data::Tree(Tree::Extension(1, vec![0x92, 1, 2]))),
        special("a foreign extension", Data::Tree(Tree::Extension(-1, vec![0; 4]))),
        special("keys that are numbers", Data::Tree(Tree::Map(vec![(Tree::Int(1), Tree::Nil)]))),
        special("a key twice", Data::Tree(Tree::object([("a", Tree::Int(1)), ("a", Tree::Int(2))]))),
    ];
    samples.extend(
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
            .map(|float| special("a float that is no number", Data::Tree(Tree::float(float)))),
    );
    samples
}

fn tensors() -> Vec<Sample> {
    let mut samples = vec![
        plain("a matrix", Data::Tensor(Tensor::c_order("<f8", &[3, 4]))),
        plain("a vector", Data::Tensor(Tensor::c_order("<i4", &[100]))),
        plain("one number", Data::Tensor(Tensor::c_order("<f8", &[]))),
        plain("no elements", Data::Tensor(Tensor::c_order("<f8", &[3, 0, 2]))),
        plain("fortran order", Data::Tensor(Tensor::c_order("<f8", &[3, 4, 5]).transposed())),
        plain("every second row", Data::Tensor(Tensor::c_order("<i2", &[5, 3]).stepped())),
        plain(
            "every second row, reversed axes",
            Data::Tensor(Tensor::c_order("<i2", &[5, 3]).transposed().stepped()),
        ),
    ];
    // Of flags the bytes must be 0 or 1.
    let mut flags = Tensor::c_order("|b1", &[9]);
    flags.memory.iter_mut().for_each(|byte| *byte &= 1);
    samples.push(special("flags", Data::Tensor(flags)));
    for dtype in [
        "|i1", "|u1", "<u2", "<u4", "<u8", "<i8", "<f2", "<f4", ">f8", ">i4", "<c8", "<c16", "<m8[ns]",
        "<M8[us]", "|S5", "|V3", "<U2", "<f16",
    ] {
        samples.push(special("another element type", Data::Tensor(Tensor::c_order(dtype, &[2, 3]))));
    }
    samples
}

fn table(rows: i64) -> Table {
    let batch = vec![
        Column::Ints((0..rows).map(|row| Some(row * 1000 - 7)).collect()),
        Column::Floats((0..rows).map(|row| Some((row as f64 * 0.1).to_bits())).collect()),
        Column::Texts((0..rows).map(|row| Some(format!("row {row}, \"Größe\""))).collect()),
    ];
    Table { names: ["n", "x", "t"].map(str::to_owned).into(), batches: vec![batch] }
}

fn streams() -> Vec<Sample> {
    let three = Table {
        batches: vec![table(5), table(0), table(9)].into_iter().flat_map(|t| t.batches).collect(),
        ..table(0)
    };
    let nulls = vec![
        Column::Ints(vec![None, Some(i64::MIN), Some(0)]),
        Column::Floats(vec![Some((-0.0f64).to_bits()), None, Some(5e-324f64.to_bits())]),
        Column::Texts(vec![Some("there".to_owned()), Some("not null".to_owned()), None]),
    ];
    let odd = vec![
        Column::Ints(vec![None; 4]),
        Column::Floats([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0].map(|x| Some(x.to_bits())).into()),
        Column::Texts(["", "a\nb,c", " ", "\"\""].map(|t| Some(t.to_owned())).into()),
    ];
    vec![
        plain("a table", Data::Arrow(table(20))),
        plain("no rows", Data::Arrow(table(0))),
        plain("three batches", Data::Arrow(three)),
        plain("nulls", Data::Arrow(Table { batches: vec![nulls], ..table(0) })),
        special("odd cells", Data::Arrow(Table { batches: vec![odd], ..table(0) })),
    ]
}

impl Data {
    /// Whether `other` is the same data, layout aside.
    pub(super) fn same(&self, other: &Data) -> Result<bool, String> {
        Ok(match (self, other) {
            (Data::Bytes(left), Data::Bytes(right)) => left == right,
            (Data::Tree(left), Data::Tree(right)) => left == right,
            (Data::Tensor(left), Data::Tensor(right)) => {
                left.info.dtype == right.info.dtype
                    && left.info.shape == right.info.shape
                    && left.elements()? == right.elements()?
            }
            (Data::Arrow(left), Data::Arrow(right)) => left.clone().joined() == right.clone().joined(),
            _ => false,
        })
    }

    /// The form's capability.
    pub(super) fn form(&self) -> u64 {
        match self {
            Data::Bytes(_) => capability::FORM_BYTES,
            Data::Tree(_) => capability::FORM_TREE,
            Data::Tensor(_) => capability::FORM_TENSOR,
            Data::Arrow(_) => capability::FORM_ARROW,
        }
    }

    /// The bytes that cross with this data.
    pub(super) fn value(&self) -> Vec<u8> {
        match self {
            Data::Bytes(bytes) => bytes.clone(),
            Data::Tree(tree) => tree.encode(),
            Data::Tensor(tensor) => tensor.memory.clone(),
            Data::Arrow(_) => Vec::new(),
        }
    }

    /// The stream that crosses with this data.
    pub(super) fn stream(&self, live: &Live) -> Stream {
        match self {
            Data::Arrow(table) => Stream::over(table, live),
            _ => Stream::empty(),
        }
    }
}
