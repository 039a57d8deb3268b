"""Keys of pandas' frames and what they are made of: by content."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from retainit import _native

key = _native.encode


def assert_same(*values: Any) -> None:
    assert len({key(value) for value in values}) == 1


def assert_differ(*values: Any) -> None:
    assert len({key(value) for value in values}) == len(values)


COLUMNS: dict[str, Callable[[], Any]] = {
    "int": lambda: [1, 2, 3],
    "float": lambda: [1.5, np.nan, 2.0],
    "complex": lambda: [1j, 2.0, 3.0],
    "text": lambda: ["a", None, "c" * 40],
    "objects": lambda: pd.Series([1, "a", None], dtype=object),
    "dates": lambda: pd.date_range("2020", periods=3),
    "zone": lambda: pd.date_range("2020", periods=3, tz="Europe/Paris"),
    "deltas": lambda: pd.to_timedelta([1, 2, 3]),
    "periods": lambda: pd.period_range("2020", periods=3, freq="M"),
    "intervals": lambda: pd.interval_range(0, 3),
    "categories": lambda: pd.Categorical(["x", "y", "z"]),
    "Int64": lambda: pd.array([1, None, 3], dtype="Int64"),
    "Float32": lambda: pd.array([1.5, None, 2], dtype="Float32"),
    "boolean": lambda: pd.array([True, None, False], dtype="boolean"),
    "string python": lambda: pd.array(["a", None, "b"], dtype=pd.StringDtype("python")),
    "string pyarrow": lambda: pd.array(["a", None, "b"], dtype=pd.StringDtype("pyarrow")),
    "arrow": lambda: pd.array([1, None, 3], dtype=pd.ArrowDtype(pa.int64())),
    "sparse": lambda: pd.arrays.SparseArray([0, 2, 1]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_every_kind(kind: str) -> None:
    make = COLUMNS[kind]
    series = pd.Series(make(), name="x")
    assert_same(series, pd.Series(make(), name="x"), series.copy(), pd.concat([series[:1], series[1:]]))
    turned = series.iloc[[1, 0, 2]].reset_index(drop=True)
    assert_differ(series, turned, series[:2], series.rename("y"), series.astype(object).tolist())
    frame = pd.DataFrame({"x": make(), "y": 1})
    assert_same(frame, frame.copy(), pd.DataFrame({"x": make(), "y": 1}))
    assert_differ(frame, series, frame[["x"]], frame[["y"]], frame.iloc[[1, 0, 2]].reset_index(drop=True))
    if kind not in ("complex", "sparse"):
        index = pd.Index(make(), name="x")
        assert_same(index, pd.Index(make(), name="x"))
        assert_differ(index, index[::-1], index.rename("y"), series)


def test_no_kind_of_column_is_another() -> None:
    assert_differ(*(pd.Series(make()) for make in COLUMNS.values()))


def test_dtypes_are_content() -> None:
    numbers = ["i1", "i2", "i4", "i8", "u1", "f4", "f8", "c16", "Int8", "Int64", "Float64", "int64[pyarrow]"]
    assert_differ(*(pd.Series([1, 2]).astype(kind) for kind in [*numbers, object]))
    ordered = pd.CategoricalDtype(["x", "y"], ordered=True)
    plain = pd.Series(pd.Categorical(["x"], categories=["x", "y"]))
    assert_differ(plain, plain.astype(ordered), pd.Series(pd.Categorical(["x"], categories=["y", "x"])))
    dates = pd.date_range("2020", periods=2).as_unit("us")
    zones = [dates.tz_localize(zone) for zone in (None, "UTC", "Europe/Paris", "Europe/Rome")]
    units = [dates.as_unit(unit) for unit in ("s", "ms", "ns")]
    assert_differ(*(pd.Series(each) for each in (*zones, *units)))
    categories = [pd.CategoricalDtype(each) for each in (["a"], ["a", "b"], [1])]
    assert_differ(
        *categories, pd.Int64Dtype(), pd.Int32Dtype(), pd.StringDtype("python"), pd.StringDtype("pyarrow"),
        pd.StringDtype("pyarrow", na_value=np.nan), pd.ArrowDtype(pa.int8()),
        pd.ArrowDtype(pa.int16()), pd.DatetimeTZDtype("ns", "UTC"), pd.DatetimeTZDtype("s", "UTC"),
        pd.PeriodDtype("M"), pd.PeriodDtype("D"), pd.IntervalDtype("i8", "left"),
        pd.IntervalDtype("i8", "right"), pd.SparseDtype("f8"), pd.SparseDtype("f8", 0.0),
    )  # fmt: skip


def test_labels_and_order_are_content() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [1, 2]})
    marked, strict = frame.copy(), frame.set_flags(allows_duplicate_labels=False)
    marked.attrs["source"] = "x"
    assert_differ(
        frame, frame[["b", "a"]], frame.rename(columns={"a": "c"}), frame.rename_axis("x"),
        frame.rename_axis("x", axis=1), frame.set_index("a", drop=False), frame.set_axis(["x", "y"]),
        frame[:1], frame[:0], frame.T, marked, strict, pd.DataFrame(), {"a": [1, 2], "b": [1, 2]},
        pd.DataFrame([[1, 1], [2, 2]], columns=["a", "a"]),
    )  # fmt: skip


def test_kinds_of_index() -> None:
    dates = pd.date_range("2020", periods=3)
    assert_differ(
        pd.RangeIndex(3), pd.Index([0, 1, 2]), pd.Index([0.0, 1.0, 2.0]), pd.RangeIndex(0, 6, 2),
        pd.Index([]), pd.RangeIndex(3, name="x"), pd.Index(["0", "1", "2"]), dates,
        pd.DatetimeIndex(list(dates)), dates.tz_localize("UTC"), pd.timedelta_range(0, periods=3),
        pd.period_range("2020", periods=3, freq="D"), pd.period_range("2020", periods=3, freq="M"),
        pd.interval_range(0, 3), pd.CategoricalIndex([0, 1, 2]),
        pd.MultiIndex.from_arrays([[0, 1, 2]]), pd.MultiIndex.from_arrays([[0, 1, 2]], names=["x"]),
    )  # fmt: skip


def test_unused_levels_make_no_difference() -> None:
    wide = pd.MultiIndex.from_product([[1, 2], ["a", "b", "c"]])
    assert_same(pd.MultiIndex.from_product([[1, 2], ["a", "b"]]), wide[[0, 1, 3, 4]])


def test_what_lies_under_a_missing_value_makes_no_difference() -> None:
    mask = np.array([False, True])
    assert_same(*(pd.arrays.IntegerArray(np.array([1, hidden]), mask) for hidden in (0, 7)))


def test_scalars() -> None:
    assert_differ(
        pd.Timestamp("2020"), pd.Timestamp("2020", tz="UTC"), pd.Timestamp("2020").as_unit("ns"),
        datetime.datetime(2020, 1, 1), np.datetime64("2020-01-01"), pd.Timedelta(1), pd.NaT, pd.NA,
        None, np.nan, pd.Period("2020", "M"), pd.Period("2020", "D"), pd.Interval(0, 1),
        pd.Interval(0, 1, "left"), pd.Interval(0.0, 1.0), pd.offsets.Day(), pd.offsets.Day(2),
        pd.offsets.MonthEnd(), pd.DateOffset(months=3), pd.DateOffset(days=3),
        pd.offsets.CustomBusinessDay(), pd.offsets.CustomBusinessDay(holidays=["2020-01-01"]),
    )  # fmt: skip
    # The hour that comes twice when clocks are put back.
    local = pd.Timestamp("2020-10-25 02:30")
    twice = [local.tz_localize("Europe/Paris", ambiguous=summer) for summer in (True, False)]
    assert_differ(*twice)


class Owned(pd.DataFrame):  # type: ignore[misc]
    """As other libraries make them: with attributes that go from one frame to the next."""

    _metadata = ("owner",)
    owner: str


def test_attributes_of_subclasses_are_part_of_the_key() -> None:
    one, other = Owned({"a": [1]}), Owned({"a": [1]})
    one.owner = other.owner = "x"
    assert_same(one, other)
    other.owner = "y"
    assert_differ(one, other, pd.DataFrame({"a": [1]}))
