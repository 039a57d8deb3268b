"""Keys of Polars and pyarrow data: by content."""

from __future__ import annotations

import datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from retainit import UnkeyableError, UnkeyableWarning, _native

key = _native.encode


def assert_same(*values: Any) -> None:
    assert len({key(value) for value in values}) == 1


def assert_differ(*values: Any) -> None:
    assert len({key(value) for value in values}) == len(values)


# --- Polars --------------------------------------------------------------------------------------


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "i": [1, None, 3],
            "s": ["a", None, "c" * 40],
            "l": [[1, None], [], None],
            "st": [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}],
            "c": pl.Series(["x", None, "y"], dtype=pl.Categorical),
            "e": pl.Series(["x", "y", None], dtype=pl.Enum(["x", "y"])),
            "d": pl.Series(["1.50", None, "2.25"]).cast(pl.Decimal(10, 2)),
            "b": [True, None, False],
            "t": [datetime.datetime(2020, 1, 1), None, datetime.datetime(2021, 1, 1)],
            "a": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int64, 2)),
            "y": [b"a", None, b"x" * 40],
            "n": [None] * 3,
        }
    )


def test_polars_chunks_make_no_difference() -> None:
    whole = frame()
    pieces = pl.concat([whole[:1], whole[1:2], whole[2:]], rechunk=False)
    assert pieces.n_chunks() == 3
    assert_same(whole, frame(), pieces, pl.concat([whole, whole])[3:], pl.concat([whole, whole])[:3])
    for name in whole.columns:
        assert_same(whole[name], pieces[name], pl.concat([whole[name], whole[name]])[3:])


def test_what_tells_polars_frames_apart() -> None:
    whole = frame()
    assert_differ(
        whole, whole[:2], whole[::-1], whole.rename({"i": "j"}), whole.select(reversed(whole.columns)),
        whole["i"], whole.with_columns(pl.col("i").cast(pl.Int32)),
        whole.with_columns(pl.col("e").cast(pl.Categorical)),
        whole.with_columns(pl.col("t").cast(pl.Datetime("ms"))), pl.DataFrame(), whole[:0],
        whole.to_arrow(), whole.with_columns(pl.col("e").cast(pl.Enum(["x", "y", "z"]))),
    )  # fmt: skip
    for name in whole.columns[:-1]:
        assert_differ(whole[name], whole[name][::-1], whole[name].alias("z"), whole[name][:2])
    kinds = [pl.Datetime("us"), pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.List(pl.Int8)]
    assert_differ(*kinds, pl.Int8, pl.String)
    assert_differ(whole.schema, whole[:, :2].schema, whole[:, 1::-1].schema)


def test_what_has_not_been_computed_has_no_key(counted: Any) -> None:
    lazy = frame().lazy()
    with pytest.warns(UnkeyableWarning, match=r"argument `x`: .*LazyFrame.*hint: pass what `\.collect\(\)`"):
        counted()(lazy)
    with pytest.raises(UnkeyableError, match=r"argument `y`.*LazyFrame"):
        counted(strict=True)(1, lazy)


def test_columns_of_python_objects_have_no_key() -> None:
    held = pl.Series("o", [{1}], dtype=pl.Object)
    for value in (held, pl.DataFrame([held])):
        with pytest.raises(UnkeyableError, match="column of Python objects; hint: cast"):
            key(value)


# --- pyarrow -------------------------------------------------------------------------------------


def test_chunks_and_offsets_of_tables_make_no_difference() -> None:
    table = frame().drop("c").to_arrow()
    twice = pa.concat_tables([table, table])
    assert_same(table, pa.concat_tables([table[:1], table[1:]]), twice[3:], twice[:3])
    assert_same(table, twice.combine_chunks()[3:])


def test_what_tells_tables_apart() -> None:
    table = pa.table({"a": [1, 2], "b": [1, 2]})
    batch = table.to_batches()[0]
    marked = [table.replace_schema_metadata({"a": text}) for text in ("b", "c")]
    assert_differ(table, batch, table[:1], table[:0], table.drop_columns("b"), *marked)
    assert_differ(table, table.rename_columns(["b", "a"]), table.cast(pa.schema([("a", "i4"), ("b", "i8")])))


ARRAYS: list[tuple[list[Any], Any]] = [
    ([1, None, 3], pa.int8()),
    ([1, None, 3], pa.uint64()),
    ([1.5, None, 3.0], pa.float16()),
    ([True, None, False], pa.bool_()),
    (["a", None, "x" * 30], pa.string()),
    (["a", None, "x" * 30], pa.large_string()),
    (["a", None, "x" * 30], pa.string_view()),
    ([b"a", None, b"x" * 30], pa.binary()),
    ([b"aa", None, b"bb"], pa.binary(2)),
    ([[1, None], None, []], pa.list_(pa.int64())),
    ([[1, None], None, []], pa.large_list(pa.int64())),
    ([[1, None], None, []], pa.list_view(pa.int64())),
    ([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2)),
    ([{"a": 1}, None, {"a": None}], pa.struct([("a", pa.int8())])),
    ([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    (["a", None, "b"], pa.dictionary(pa.int8(), pa.string())),
    ([datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)], pa.date32()),
    ([1, None, 2], pa.timestamp("ns", "UTC")),
    ([1, None, 2], pa.duration("s")),
    ([1, None, 2], pa.decimal128(10, 2)),
    ([None, None, None], pa.null()),
]


@pytest.mark.parametrize("case", ARRAYS, ids=lambda case: str(case[1]))
def test_arrow_arrays_of_every_kind(case: tuple[list[Any], Any]) -> None:
    values, kind = case
    array = pa.array(values, kind)
    longer = pa.array([values[2], *values, values[0]], kind)
    assert_same(array, longer[1:4], pa.array(values, kind))
    assert_same(pa.chunked_array([array]), pa.chunked_array([array[:2], array[2:]]))
    assert_differ(array, pa.chunked_array([array]), array[:2], array[:0], array[0])
    if kind != pa.null():
        assert_differ(array, pa.array(values[::-1], kind), longer)
        assert_differ(*(array[index] for index in range(3)))


def test_no_kind_of_arrow_array_is_another() -> None:
    assert_differ(*(pa.array(*case) for case in ARRAYS))
    assert_differ(*(kind for _, kind in ARRAYS), *(pa.field("a", kind) for _, kind in ARRAYS))


def test_long_columns_are_read_in_pieces_of_any_size() -> None:
    whole = pa.table(
        {
            "number": pa.array(range(70_000)),
            "text": pa.array([None if index % 3 == 0 else str(index) * 7 for index in range(70_000)]),
            "bytes": pa.array([b"x" * 100_000 if index == 4 else b"" for index in range(70_000)]),
        }
    )
    pieces = pa.concat_tables([whole[start : start + 9_999] for start in range(0, 70_000, 9_999)])
    assert_same(whole, pieces)
    for column in range(3):
        kept = [whole.slice(0, 69_999).column(column), whole.slice(1).column(column), whole.column(column)]
        assert_differ(*kept)


def test_how_arrow_data_lies_in_memory_makes_no_difference() -> None:
    array = pa.array
    assert_same(
        pa.DictionaryArray.from_arrays(array([0, 1, 0]), array(["a", "b"])),
        pa.DictionaryArray.from_arrays(array([2, 1, 2]), array(["c", "b", "a"])),
    )
    assert_same(
        pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]),
        pa.RunEndEncodedArray.from_arrays([1, 2, 3], ["a", "a", "b"]),
        pa.RunEndEncodedArray.from_arrays([1, 3, 4], ["b", "a", "b"])[1:],
    )
    assert_same(
        pa.ListViewArray.from_arrays([0, 2, 0], [2, 1, 1], [1, 2, 3]),
        pa.ListViewArray.from_arrays([0, 2, 3], [2, 1, 1], [1, 2, 3, 1]),
    )
    hidden = pa.StructArray.from_arrays([array([1, 99])], ["a"], mask=array([False, True]))
    assert_same(array([{"a": 1}, None]), hidden)
    kinds = array([0, 1, 0], pa.int8())
    assert_same(
        pa.UnionArray.from_sparse(kinds, [array([1, 7, 2]), array(["q", "x", "p"])]),
        pa.UnionArray.from_sparse(kinds, [array([1, 8, 2]), array(["r", "x", "s"])]),
    )
    assert_same(
        pa.UnionArray.from_dense(kinds, array([0, 0, 1], pa.int32()), [array([1, 2]), array(["x"])]),
        pa.UnionArray.from_dense(kinds, array([1, 0, 2], pa.int32()), [array([9, 1, 2]), array(["x"])]),
    )


def test_where_values_are_null_is_content() -> None:
    array = pa.array
    ones = [array(values, pa.int64()) for values in ([1, None], [None, 1], [1, 0], [0, 1], [1], [])]
    assert_differ(*ones, array([1, None, None]), array([None, None], pa.int64()))
    assert_differ(array([["a", "b"]]), array([["ab"]]), array([["a"], ["b"]]), array([["a", "b"], []]))
    assert_differ(array(["", "ab"]), array(["a", "b"]), array(["ab", ""]), array([None, "ab"]))


def test_arrays_that_contradict_themselves_have_no_key() -> None:
    words = pa.array(["a", "b"])
    beyond = pa.DictionaryArray.from_arrays(pa.array([0, 7]), words, safe=False)
    offsets = pa.array([0, 3, 1], pa.int32()).buffers()[1]
    back = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"abc")])
    for array, why in ((beyond, "beyond the end"), (back, "go back")):
        with pytest.raises(UnkeyableError, match=f"reading it failed: ValueError: an Arrow array .* {why}"):
            key(array)


def test_other_arrow_objects() -> None:
    assert_differ(pa.scalar(1), pa.scalar(1.0), pa.scalar("1"), pa.scalar(None), pa.scalar(1, pa.int8()), 1)
    assert_same(pa.schema([("a", pa.int8())]), pa.schema([("a", pa.int8())]))
    nullable = pa.field("a", pa.int8(), nullable=False)
    assert_differ(
        pa.schema([("a", pa.int8())]), pa.schema([nullable]), pa.schema([("b", pa.int8())]), pa.int8()
    )
    assert_differ(pa.py_buffer(b"a"), pa.py_buffer(b"b"), b"a")
    with pytest.raises(UnkeyableError, match=r"read only once; hint: pass what `\.read_all\(\)` gives"):
        key(pa.table({"a": [1]}).to_reader())
