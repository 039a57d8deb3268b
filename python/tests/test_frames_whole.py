"""Whole frames of pandas: names, attributes, memory, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from retainit import DiskConfig, _frames, retain

np: Any = import_module("numpy")
pd: Any = import_module("pandas")
pa: Any = import_module("pyarrow")

Through = Callable[..., Any]
Same = Callable[[Any, Any], None]
BERLIN = ZoneInfo("Europe/Berlin")

FRAME = pd.DataFrame(
    {
        "numbers": np.arange(4.0),
        "text": pd.array(["a", None, "b", ""], pd.StringDtype("pyarrow", na_value=np.nan)),
        "when": pd.date_range("2026", periods=4, tz=BERLIN),
        "letters": pd.Categorical(["x", "y", None, "x"]),
        "nullable": pd.array([1, None, 3, 4], "Int64"),
        "objects": pd.Series([1, "1", None, (1,)], dtype=object),
    }
)


def test_a_frame_of_many_types_is_kept(through: Through, same: Same) -> None:
    same(through(FRAME), FRAME)
    same(through(FRAME[::-2]), FRAME[::-2])
    same(through(FRAME[FRAME.columns[::-1]]), FRAME[FRAME.columns[::-1]])


@pytest.mark.parametrize(
    "names",
    [
        ["a", "a", "b"],
        [1, 2, 1],
        ["1", 1, None],
        [("a", 1), "a", 1.5],
        [np.nan, None, pd.NaT],
        [True, 1.5, "x"],
        [b"a", date(2026, 1, 1), frozenset([1])],
    ],
    ids=str,
)
def test_names_of_columns_keep_their_types(names: list[Any], through: Through, same: Same) -> None:
    columns = pd.Index(
        np.fromiter(names, dtype=object, count=3), dtype=object, name="axis", tupleize_cols=False
    )
    frame = pd.DataFrame(np.arange(6).reshape(2, 3), columns=columns)
    same(through(frame), frame)


@pytest.mark.parametrize("name", [None, "a", 7, 1.5, ("a", None, 1), date(2026, 1, 1), b"b", True], ids=repr)
def test_names_of_series_and_axes_keep_their_types(name: Any, through: Through, same: Same) -> None:
    series = pd.Series([1.5, 2.5], pd.Index([3, 4], name=name), name=name)
    same(through(series), series)
    frame = pd.DataFrame({"a": [1]}).rename_axis(index=[name], columns=[name])
    same(through(frame), frame)


def test_attributes_and_flags_are_kept(through: Through, same: Same) -> None:
    frame = FRAME.copy()
    frame.attrs = {"source": "a", "nested": {1: [(2, 3)], "when": datetime(2026, 1, 1)}, "nan": float("inf")}
    frame = frame.set_flags(allows_duplicate_labels=False)
    same(through(frame), frame)
    same(through(frame["numbers"]), frame["numbers"])


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame(index=[1, 2]),
        pd.DataFrame(index=pd.RangeIndex(3)),
        pd.DataFrame(columns=["a", "b"]),
        pd.DataFrame(columns=pd.RangeIndex(2)),
        FRAME.iloc[:0],
        pd.Series([], dtype="f8"),
        pd.Series([], dtype=object, name="n"),
    ],
    ids=lambda frame: f"{type(frame).__name__}{frame.shape}",
)
def test_nothing_is_something(frame: Any, through: Through, same: Same) -> None:
    same(through(frame), frame)


def test_parts_of_strided_and_of_shared_memory_are_kept(through: Through, same: Same) -> None:
    base = np.arange(24.0).reshape(4, 6)
    for array in (base, base[::2, ::-3], base.T, np.asfortranarray(base), np.broadcast_to(1.5, (2, 3))):
        frame = pd.DataFrame(array)
        same(through(frame), frame)


def test_what_is_written_to_a_frame_changes_it_and_nothing_else(through: Through, same: Same) -> None:
    for mapped in (True, False):
        frame = through(FRAME, mapped=mapped)
        frame.loc[0, "numbers"] = 99.0
        frame.loc[1, "nullable"] = 5
        frame.loc[0, "letters"] = "y"
        frame.loc[0, "when"] = pd.NaT
        frame.loc[0, "text"] = "changed"
        frame.loc[0, "objects"] = "changed"
        frame["numbers"] *= 2
        frame.iloc[:, 0] += 1
        assert frame.iloc[0].tolist()[:2] == [199.0, "changed"]
        frame["new"] = 1
        frame.index = frame.index + 1
        same(through(FRAME, mapped=mapped), FRAME)


def test_what_one_writes_nobody_else_reads(same: Same) -> None:
    frame = FRAME.copy()
    array = np.arange(1000.0)

    @retain(backend=DiskConfig(base_path="cache"), strict=True)
    def load(what: str) -> Any:
        return frame if what == "frame" else array

    load("frame"), load("array")
    first, second = load("frame"), load("frame")
    first.loc[:, "numbers"] = 99.0
    first.loc[0, "nullable"] = 5
    same(second, FRAME)
    second.loc[1, "numbers"] = 7.0
    assert first.loc[1, "numbers"] == 99.0
    same(load("frame"), FRAME)
    one, other = load("array"), load("array")
    one[:] = -1
    assert other.tolist() == load("array").tolist() == list(range(1000))
    assert one.flags.writeable
    assert load.cache_info().misses == 2


def test_only_what_may_be_written_to_is_claimed() -> None:
    table = pa.table({"numbers": np.arange(100_000.0)})
    values = {
        "bytes": b"b" * 500_000,
        "table": table,
        "array": np.arange(100_000),
        "frame": table.to_pandas(),
    }

    @retain(backend=DiskConfig(base_path="cache"), strict=True)
    def load(what: str) -> Any:
        return values[what]

    def rights() -> set[str]:
        """Of the maps of value files, while they are held: a map that is given back stays readable."""
        lines = Path("/proc/self/maps").read_text().splitlines()
        return {line.split()[1] for line in lines if str(Path("cache").absolute()) + "/values" in line}

    for what in values:
        load(what)
    assert load("bytes") == values["bytes"]
    held = load("table")
    assert rights() == {"r--p"}
    assert held.equals(table)
    for what in ("array", "frame"):
        written = load(what)
        assert "rw-p" in rights(), what
        written[:] = 0
        assert not load(what).equals(written) if what == "frame" else load(what)[-1] == 99_999
        del written
        assert rights() <= {"r--p"}, what
    assert load.cache_info().misses == len(values)


def test_numbers_lie_in_the_memory_that_was_given() -> None:
    stream: Any = _frames.to_stream(FRAME, target="arrow")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, stream.schema) as writer:
        writer.write_table(stream)
    memory = bytearray(sink.getvalue())
    restored = _frames.from_stream(pa.ipc.open_stream(memory), memory)
    whole = np.frombuffer(memory, np.uint8)
    for column in ("numbers", "letters", "nullable", "when"):
        values = restored[column].array
        for name in ("_ndarray", "_data", "_mask"):
            if hasattr(values, name):
                assert np.shares_memory(getattr(values, name), whole), (column, name)
                assert getattr(values, name).flags.writeable
    # Text is Arrow's own, which nobody writes to.
    assert restored["text"].array.__arrow_array__().chunk(0).buffers()[2].address in range(
        whole.ctypes.data, whole.ctypes.data + len(whole)
    )
    copied = _frames.from_stream(pa.ipc.open_stream(memory), None)
    assert not np.shares_memory(copied["numbers"].to_numpy(), whole)


def test_memory_that_may_not_be_written_to_is_copied(same: Same) -> None:
    stream: Any = _frames.to_stream(FRAME, target="arrow")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, stream.schema) as writer:
        writer.write_table(stream)
    memory = sink.getvalue().to_pybytes()
    restored = _frames.from_stream(pa.ipc.open_stream(memory), memory)
    restored.loc[0, "numbers"] = 99.0
    same(_frames.from_stream(pa.ipc.open_stream(memory), memory), FRAME)


@pytest.mark.parametrize("dtypes", ["f8", "f8 i8", "f4", "M8[s]", "?", "c16", "O"])
def test_wide_frames_do_not_come_back_fragmented(dtypes: str, through: Through, same: Same) -> None:
    kinds = dtypes.split()
    columns = {f"c{place}": np.arange(3).astype(kinds[place % len(kinds)]) + 0 for place in range(150)}
    for frame in (pd.DataFrame(columns), pd.DataFrame(columns).copy(), pd.DataFrame(columns).iloc[:0]):
        for mapped in (True, False):
            restored = through(frame, mapped=mapped)
            same(restored, frame)
            if len(restored):
                restored.iloc[1:, 7] = restored.iloc[:2, 7].to_numpy()
            # pandas would warn here, and warnings are errors.
            restored["new"] = 1


def test_a_wide_frame_of_one_type_lies_in_the_memory_that_was_given() -> None:
    frame = pd.DataFrame(np.arange(1000.0).reshape(5, 200))
    stream: Any = _frames.to_stream(frame, target="arrow")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, stream.schema) as writer:
        writer.write_table(stream)
    memory = bytearray(sink.getvalue())
    restored = _frames.from_stream(pa.ipc.open_stream(memory), memory)
    assert np.shares_memory(restored.to_numpy(), np.frombuffer(memory, np.uint8))
    restored.iloc[0, 0] = 99.0
    assert _frames.from_stream(pa.ipc.open_stream(memory), memory).iloc[0, 0] == 99.0


class Derived(pd.DataFrame):  # type: ignore[misc]
    pass


class DerivedSeries(pd.Series):  # type: ignore[misc]
    pass


class Opaque:
    pass


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Derived({"a": [1]}), "Derived` is a subclass of pandas' `DataFrame`"),
        (DerivedSeries([1]), "DerivedSeries` is a subclass of pandas' `Series`"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])}), "dtype `Sparse"),
        (pd.DataFrame({"a": [Opaque()]}), "column of objects"),
        (pd.DataFrame({"a": pd.Series([pd.Timestamp("2026"), 1], dtype=object)}), "column of objects"),
        (pd.DataFrame({"a": np.array([1], np.longdouble)}), "layout on other machines"),
        (pd.Series([1], name=pd.Timestamp("2026")), "name or an attribute"),
        (pd.DataFrame({"a": [1]}, index=pd.Index(["a"], name=pd.Timestamp("2026"))), "name or an attribute"),
        (pd.Series([1], pd.date_range("2026", periods=1, freq=pd.DateOffset(months=1))), "frequency"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_kept_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(_frames.Inexact, match=reason):
        _frames.to_stream(value, target="arrow")


def test_attributes_that_cannot_be_kept_are_refused() -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["what"] = Opaque()
    with pytest.raises(_frames.Inexact):
        _frames.to_stream(frame, target="arrow")


def test_scalars_of_pandas_are_no_frames() -> None:
    for value in (pd.Timestamp("2026"), pd.NA, pd.NaT, pd.Interval(0, 1), pd.Period("2026"), pd.array([1])):
        assert _frames.to_stream(value, target="arrow") is None
