"""Frames and series of Polars keep their schema and values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retainit import _frames

pl: Any = import_module("polars")
assert_frame_equal = import_module("polars.testing").assert_frame_equal
pa: Any = import_module("pyarrow")

Through = Callable[..., Any]
BERLIN = "Europe/Berlin"
WHEN = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo(BERLIN))

VALUES: dict[str, tuple[Any, list[Any]]] = {
    **{
        f"{sign}{bits}": (getattr(pl, f"{sign}{bits}"), [1, None, 0])
        for sign in ("Int", "UInt")
        for bits in (8, 16, 32, 64, 128)
    },
    "Int128, extremes": (pl.Int128, [2**127 - 1, -(2**127), None]),
    "Float32": (pl.Float32, [1.5, None, float("nan")]),
    "Float64": (pl.Float64, [-0.0, None, float("nan")]),
    "Boolean": (pl.Boolean, [True, None, False]),
    "String": (pl.String, ["a", None, "longer than a view has room for, ö\0"]),
    "Binary": (pl.Binary, [b"a", None, b"\xff" * 40]),
    "Decimal": (pl.Decimal(20, 3), [Decimal("1.500"), None, Decimal("-2.001")]),
    "Date": (pl.Date, [date(2026, 1, 1), None, date(1, 1, 1)]),
    "Time": (pl.Time, [time(1, 2, 3, 4), None, time(0)]),
    **{f"Datetime {unit}": (pl.Datetime(unit), [datetime(2026, 1, 1), None]) for unit in ("ms", "us", "ns")},
    "Datetime with a zone": (pl.Datetime("us", BERLIN), [WHEN, None]),
    **{f"Duration {unit}": (pl.Duration(unit), [timedelta(1, 2, 3000), None]) for unit in ("ms", "us", "ns")},
    "Categorical": (pl.Categorical, ["b", None, "a"]),
    "Enum": (pl.Enum(["c", "b", "a"]), ["b", None, "a"]),
    "Null": (pl.Null, [None, None]),
    "List": (pl.List(pl.Int16), [[1, None], None, []]),
    "List of lists of text": (pl.List(pl.List(pl.String)), [[["a"], []], None, [None]]),
    "List of categories": (pl.List(pl.Categorical), [["a", "b"], None, []]),
    "Array": (pl.Array(pl.Float32, 2), [[1.0, 2.0], None, [3.0, None]]),
    "Array of two dimensions": (pl.Array(pl.Int8, (2, 2)), [[[1, 2], [3, 4]], None]),
    "Struct": (pl.Struct({"x": pl.Int8, "y": pl.String}), [{"x": 1, "y": "a"}, None, {"x": None, "y": None}]),
    "Struct of structs": (
        pl.Struct({"x": pl.Struct({"y": pl.Date})}),
        [{"x": {"y": date(2026, 1, 1)}}, None],
    ),
    "List of Int128": (pl.List(pl.Int128), [[2**100, None], None, []]),
    "Array of Int128": (pl.Array(pl.Int128, 2), [[2**100, 1], None]),
    "Struct of Int128": (pl.Struct({"x": pl.Int8, "y": pl.Int128}), [{"x": 1, "y": -(2**100)}, None]),
}


def series(name: str) -> Any:
    dtype, values = VALUES[name]
    return pl.Series("column", values, dtype=dtype)


def same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, pl.DataFrame):
        assert left.schema == right.schema
        assert_frame_equal(left, right, check_exact=True)
        for name in left.columns:
            same(left[name], right[name])
        return
    assert left.name == right.name
    assert left.dtype == right.dtype
    # As text: NaN is not itself, and -0.0 is 0.0.
    assert list(map(repr, left.to_list())) == list(map(repr, right.to_list()))


@pytest.mark.parametrize("target", ["arrow", "parquet", "csv"])
@pytest.mark.parametrize("name", VALUES)
def test_a_column_keeps_its_type_and_values(name: str, target: str, through: Through) -> None:
    column = series(name)
    same(through(column, target=target), column)
    frame = pl.DataFrame({"é": column, "": column, "number": range(len(column))})
    same(through(frame, target=target), frame)
    same(through(frame.clear(), target=target), frame.clear())
    same(through(frame[1:], target=target), frame[1:])
    same(through(pl.concat([frame, frame], rechunk=False), target=target), pl.concat([frame, frame]))


def test_categories_of_ones_own_are_kept(through: Through) -> None:
    if not hasattr(pl, "Categories"):
        pytest.fail("this Polars has no named categories; the tests want a later one")
    column = pl.Series("c", ["b", "a"], dtype=pl.Categorical(pl.Categories("retainit-tests")))
    same(through(column), column)


def test_frames_without_columns_or_rows_are_kept(through: Through) -> None:
    for frame in (pl.DataFrame(), pl.DataFrame(schema={"a": pl.Int8, "b": pl.String})):
        same(through(frame), frame)


def test_text_crosses_as_it_lies_in_memory() -> None:
    frame = pl.DataFrame({"text": ["a" * 40, "b"]})
    mapped: Any = _frames.to_stream(frame, target="arrow")
    assert mapped.schema.field("text").type == pa.string_view()
    for target in ("parquet", "csv"):
        packed: Any = _frames.to_stream(frame, target=target)
        assert packed.schema.field("text").type == pa.large_string()


def test_changing_a_frame_changes_nothing_else(through: Through) -> None:
    frame = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    restored = through(frame)
    # In place, as far as there is such a thing.
    restored[0, "a"] = 99
    restored.extend(frame)
    assert restored["a"].to_list() == [99, 2, 3, 1, 2, 3]
    same(through(frame), frame)


class Derived(pl.DataFrame):  # type: ignore[misc]
    pass


class DerivedSeries(pl.Series):  # type: ignore[misc]
    pass


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}), "Python objects"),
        (pl.Series([object()], dtype=pl.Object), "Python objects"),
        (Derived({"a": [1]}), "is a subclass of Polars' `DataFrame`"),
        (DerivedSeries([1]), "is a subclass of Polars' `Series`"),
        (pl.DataFrame({"a\0b": [1]}), "a name with a NUL"),
        (pl.Series([[{"a\0b": [1]}]]), "a name with a NUL"),
    ],
    ids=[
        "objects",
        "a series of objects",
        "a subclass",
        "a subclass of series",
        "a name with a NUL",
        "a NUL within",
    ],
)
def test_what_cannot_be_kept_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(_frames.Inexact, match=reason):
        _frames.to_stream(value, target="arrow")


def test_a_stream_that_polars_cannot_read_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    stream: Any = _frames.to_stream(pl.DataFrame({"a": [1]}), target="arrow")
    table = pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    # Polars panics, which is no exception that others would catch.
    with pytest.raises(ValueError, match="Polars does not read"):
        _frames.from_stream(table.replace_schema_metadata(stream.schema.metadata), None)
    assert "panicked" in capfd.readouterr().err


def test_plans_and_expressions_are_no_frames() -> None:
    for value in (pl.LazyFrame({"a": [1]}), pl.col("a"), pl.Int8):
        assert _frames.to_stream(value, target="arrow") is None


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(
    columns=st.dictionaries(NAMES, st.sampled_from(sorted(VALUES)), max_size=5),
    rows=st.lists(st.integers(0, 1), max_size=5),
)
def test_any_frame_is_kept(columns: dict[str, str], rows: list[int], through: Through) -> None:
    frame = pl.DataFrame([series(kind).gather(rows).alias(name) for name, kind in columns.items()])
    same(through(frame), frame)
