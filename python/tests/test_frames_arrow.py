"""Tables, batches, arrays and scalars of pyarrow keep their schema, metadata and values."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any
from uuid import UUID

import pytest

from retainit import _frames

pa: Any = import_module("pyarrow")

Through = Callable[..., Any]
PROGRAM = """
import pyarrow as pa

class Celsius(pa.ExtensionType):
    def __init__(self):
        super().__init__(pa.float32(), "retainit.tests.celsius")
    def __arrow_ext_serialize__(self):
        return b"C"
    @classmethod
    def __arrow_ext_deserialize__(cls, storage, serialized):
        return cls()
"""

NOT_NULL = pa.field("x", pa.int8(), nullable=False)
NUMBERS = ("int8", "int64", "uint16", "uint64", "float16", "float32", "float64")
STRINGS = ("string", "large_string", "string_view")
BINARIES = ("binary", "large_binary", "binary_view")
TYPES: dict[str, tuple[Any, list[Any]]] = {
    **{kind: (getattr(pa, kind)(), [1, None, 0]) for kind in NUMBERS},
    **{kind: (getattr(pa, kind)(), ["a", None, "ö\0" * 20]) for kind in STRINGS},
    **{kind: (getattr(pa, kind)(), [b"a", None, b"\xff" * 20]) for kind in BINARIES},
    "fixed binary": (pa.binary(3), [b"abc", None]),
    "bool": (pa.bool_(), [True, None, False]),
    "null": (pa.null(), [None, None]),
    "decimal128": (pa.decimal128(10, 2), [Decimal("1.50"), None]),
    "decimal256": (pa.decimal256(60, 2), [Decimal("1.50"), None]),
    "date32": (pa.date32(), [date(2026, 1, 1), None]),
    "date64": (pa.date64(), [date(2026, 1, 1), None]),
    "time32": (pa.time32("ms"), [time(1, 2, 3), None]),
    "time64": (pa.time64("ns"), [time(1, 2, 3), None]),
    "timestamp": (pa.timestamp("s"), [datetime(2026, 1, 1), None]),
    "zoned timestamp": (pa.timestamp("ns", "Europe/Berlin"), [datetime(2026, 1, 1), None]),
    "duration": (pa.duration("ms"), [timedelta(1), None]),
    "interval": (pa.month_day_nano_interval(), [(1, 2, 3), None]),
    "list": (pa.list_(pa.field("item", pa.int8(), metadata={"unit": "m"})), [[1, None], None, []]),
    "large list": (pa.large_list(pa.string()), [["a"], None, []]),
    "fixed list": (pa.list_(pa.float32(), 2), [[1.0, 2.0], None]),
    "struct": (pa.struct([NOT_NULL, ("y", pa.string())]), [{"x": 1, "y": None}]),
    "map": (pa.map_(pa.string(), pa.int8()), [[("a", 1)], None, []]),
    "dictionary": (pa.dictionary(pa.int16(), pa.string()), ["b", None, "a"]),
    "ordered dictionary": (pa.dictionary(pa.uint8(), pa.int64(), ordered=True), [5, None, 3]),
    "extension": (pa.uuid(), [UUID(int=1).bytes, None]),
}  # fmt: skip


def array(name: str) -> Any:
    if name == "list of extensions":
        return pa.ListArray.from_arrays([0, 2, None, 2], pa.array([UUID(int=1).bytes, None], pa.uuid()))
    kind, values = TYPES[name]
    return pa.array(values, kind)


def same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, (pa.Table, pa.RecordBatch)):
        assert left.schema.equals(right.schema, check_metadata=True)
        assert right.schema.metadata == left.schema.metadata
        assert left.num_rows == right.num_rows
    else:
        assert left.type.equals(right.type)
        assert str(left.type) == str(right.type)
    assert left.equals(right)
    right.validate(full=True)


@pytest.mark.parametrize("target", ["arrow", "parquet", "csv"])
@pytest.mark.parametrize("name", [*TYPES, "list of extensions"])
def test_a_type_is_kept(name: str, target: str, through: Through) -> None:
    values = array(name)
    same(through(values, target=target), values)
    same(through(values[1:], target=target), values[1:])
    same(through(values[:0], target=target), values[:0])
    chunked = pa.chunked_array([values, values[:0], values])
    same(through(chunked, target=target), chunked)
    same(through(pa.chunked_array([], values.type), target=target), pa.chunked_array([], values.type))
    table = pa.table({"é": values, "": values})
    same(through(table, target=target), table)
    same(through(table.slice(1), target=target), table.slice(1))
    batch = pa.record_batch({"a": values})
    same(through(batch, target=target), batch)
    same(through(batch[:0], target=target), batch[:0])
    for scalar in values:
        same(through(scalar, target=target), scalar)


def test_metadata_and_nullability_are_kept(through: Through) -> None:
    field = pa.field("a", pa.int8(), nullable=False, metadata={"unit": "m", "note": "ö"})
    within = pa.field("b", pa.struct([pa.field("x", pa.int8(), metadata={"deep": "1"})]))
    for metadata in (None, {"retainit": "somebody else's"}, {"pandas": "{}", "": "empty"}):
        schema = pa.schema([field, within, field], metadata=metadata)
        table = pa.table([[1, 2], [{"x": 1}, None], [3, 4]], schema=schema)
        same(through(table), table)
        same(through(table.to_batches()[0]), table.to_batches()[0])
        assert through(table).schema.field(1).type.field(0).metadata == {b"deep": b"1"}


def test_tables_in_pieces_are_kept(through: Through) -> None:
    kind = pa.dictionary(pa.int8(), pa.string())
    pieces = [pa.table({"a": pa.array(list(text), kind)}) for text in ("ab", "bc", "")]
    table = pa.concat_tables(pieces)
    restored = through(table)
    assert restored.to_pylist() == table.to_pylist()
    assert restored.schema == table.schema
    assert restored["a"].num_chunks == 1


def test_nothing_is_something(through: Through) -> None:
    for table in (
        pa.table({}),
        pa.table({"a": pa.array([], pa.int8())}),
        pa.schema([("a", pa.int8())]).empty_table(),
    ):
        same(through(table), table)
    same(through(pa.record_batch({})), pa.record_batch({}))


def test_tables_lie_in_the_memory_of_the_stream() -> None:
    table = pa.table({"a": [1, 2, 3]})
    stream: Any = _frames.to_stream(table, target="arrow")
    assert stream["a"].chunk(0).buffers()[1].address == table["a"].chunk(0).buffers()[1].address
    restored = _frames.from_stream(stream, None)
    assert restored["a"].chunk(0).buffers()[1].address == table["a"].chunk(0).buffers()[1].address


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (pa.table({"a": [1]}).select([]), "1 rows without a column"),
        (pa.table({"a": [1]}).replace_schema_metadata({b"\xff": b"a"}), "is not Unicode"),
        (
            pa.table([[1]], schema=pa.schema([pa.field("a", pa.int64(), metadata={"a": b"\xff"})])),
            "is not Unicode",
        ),
        (pa.table({"a\0b": [1]}), "a name with a NUL"),
        (pa.array([{"a\0b": 1}]), "a name with a NUL"),
    ],
    ids=["rows alone", "metadata", "metadata of a field", "a NUL", "a NUL within"],
)
def test_what_cannot_be_kept_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(_frames.Inexact, match=reason):
        _frames.to_stream(value, target="arrow")


def test_what_is_no_frame_is_none() -> None:
    for value in (None, 1, "a", [1], {}, object(), int, pa.schema([]), pa.int8(), pa.field("a", pa.int8())):
        assert _frames.to_stream(value, target="arrow") is None


def test_a_stream_of_others_is_refused() -> None:
    table = pa.table({"a": [1]})
    for metadata in (
        None,
        {"other": "a"},
        {"retainit": "a"},
        {"retainit": "bm9uc2Vuc2U="},
        {"retainit": "gA=="},
    ):
        with pytest.raises((LookupError, TypeError, ValueError)):
            _frames.from_stream(table.replace_schema_metadata(metadata), None)


def test_an_extension_that_is_not_registered_is_no_plain_column(python: Callable[..., str]) -> None:
    python(
        PROGRAM
        + """
from retainit import _frames
values = pa.ExtensionArray.from_storage(Celsius(), pa.array([1.5], pa.float32()))
pa.register_extension_type(Celsius())
stream = _frames.to_stream(values, target="arrow")
assert _frames.from_stream(stream, None).type == Celsius()
pa.unregister_extension_type("retainit.tests.celsius")
try:
    _frames.from_stream(stream, None)
except ValueError as error:
    assert "Celsius" in str(error)
else:
    raise AssertionError("read as a column of floats")
"""
    )


def test_what_is_not_there_is_not_imported(python: Callable[..., str]) -> None:
    python(
        """
import sys
from retainit import _arrays, _frames
for value in (1, [1], {"a": 1}, object()):
    assert _frames.to_stream(value, target="arrow") is None
    assert _arrays.to_tensor(value) is None
assert not {"numpy", "pandas", "polars", "pyarrow"} & set(sys.modules)
"""
    )


def test_a_missing_pyarrow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = import_module("polars").DataFrame({"a": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(_frames.Inexact, match=r"hint: `pip install retainit\[polars\]`"):
        _frames.to_stream(frame, target="arrow")
