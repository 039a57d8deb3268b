"""The tables of the guide's page on frames: each of their rows is a value, and what is said of it is so."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from retainit import _arrays, _frames

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "frames.md"
ROW = re.compile(r"^\| `(.+)` \| (\w+) \| ([\w ]*) ?\|$", re.MULTILINE)
ROWS = ROW.findall(PAGE.read_text(encoding="utf-8"))

np: Any = import_module("numpy")
pd: Any = import_module("pandas")
pl: Any = import_module("polars")
pa: Any = import_module("pyarrow")
NAMES = {"np": np, "pd": pd, "pl": pl, "pa": pa, "date": date, "datetime": datetime, "Decimal": Decimal}


def test_each_library_has_a_table() -> None:
    libraries = {value.partition(".")[0] for value, _, _ in ROWS}
    assert libraries >= {"np", "pd", "pl", "pa"}
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert len(rows) == len(ROWS)
    assert {(kept, where.strip()) for _, kept, where in ROWS} == {
        ("exactly", "in place"),
        ("exactly", "in place if aligned"),
        ("exactly", "anew"),
        ("pickled", ""),
    }


@pytest.mark.parametrize(("text", "kept", "where"), ROWS, ids=[text for text, _, _ in ROWS])
def test_what_the_table_says_is_so(text: str, kept: str, where: str) -> None:
    value = eval(text, dict(NAMES))
    if kept == "pickled":
        assert not is_kept(value)
        return
    if isinstance(value, np.ndarray):
        restored, memory = through_a_tensor(value)
        assert (restored.dtype, restored.shape, restored.strides) == (value.dtype, value.shape, value.strides)
    else:
        restored, memory = through_a_stream(value)
    assert type(restored) is type(value)
    # With all that it shows, but for where objects of pyarrow lie.
    assert str(restored) == str(value)
    assert_equal(restored, value)
    if where.strip() == "in place if aligned":
        return
    lies = any(start <= address < start + size for address in addresses(restored) for start, size in [memory])
    assert ("in place" if lies else "anew") == where.strip()


def is_kept(value: Any) -> bool:
    try:
        return _frames.to_stream(value, target="arrow") is not None or _arrays.to_tensor(value) is not None
    except _frames.Inexact:
        return False


def through_a_tensor(value: Any) -> tuple[Any, tuple[int, int]]:
    tensor = _arrays.to_tensor(value)
    assert tensor is not None
    dtype, shape, strides, buffer = tensor
    memory: Any = bytearray(memoryview(buffer))  # type: ignore[arg-type]
    return _arrays.from_tensor(dtype, shape, strides, memory), extent(memory)


def through_a_stream(value: Any) -> tuple[Any, tuple[int, int]]:
    stream = _frames.to_stream(value, target="arrow")
    reader = pa.RecordBatchReader.from_stream(stream)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    memory = bytearray(sink.getvalue())
    return _frames.from_stream(pa.ipc.open_stream(memory), memory), extent(memory)


def extent(memory: Any) -> tuple[int, int]:
    return np.frombuffer(memory, np.uint8).ctypes.data, len(memory)


def assert_equal(left: Any, right: Any) -> None:
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, check_column_type="exact", check_index_type="exact")
    elif isinstance(left, pd.Series):
        pd.testing.assert_series_equal(left, right, check_index_type="exact")
    elif isinstance(left, pd.Index):
        pd.testing.assert_index_equal(left, right, exact=True)
    elif isinstance(left, (pl.DataFrame, pl.Series)):
        assert left.equals(right, null_equal=True) or "NaN" in repr(right)
    elif isinstance(left, np.ndarray):
        assert left.tobytes() == right.tobytes()
    else:
        assert left.equals(right)


def addresses(value: Any) -> list[int]:
    """Where the elements of a value lie, in its first column or level."""
    if isinstance(value, np.ndarray):
        return [value.ctypes.data]
    if isinstance(value, pd.DataFrame):
        return addresses(value.iloc[:, 0]) if len(value.columns) else []
    if isinstance(value, pd.MultiIndex):
        return addresses(value.codes[0])
    if isinstance(value, (pd.Series, pd.Index)):
        return [] if isinstance(value, pd.RangeIndex) else addresses(value.array)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        parts = (getattr(value, name, None) for name in ("_ndarray", "_pa_array", "_data", "_left", "codes"))
        return next(addresses(part) for part in parts if part is not None)
    if isinstance(value, (pl.Series, pl.DataFrame)):
        frame = value if isinstance(value, pl.DataFrame) else value.to_frame()
        if "Int128" in str(frame.dtypes):
            # Arrow has no such numbers, so they were text.
            return []
        return addresses(pa.RecordBatchReader.from_stream(frame).read_all())
    if isinstance(value, (pa.Table, pa.RecordBatch)):
        return addresses(value.column(0))
    if isinstance(value, pa.ChunkedArray):
        return [address for chunk in value.chunks for address in addresses(chunk)]
    if isinstance(value, pa.Scalar):
        return []
    return [buffer.address for buffer in value.buffers()[1:] if buffer is not None and buffer.size]
