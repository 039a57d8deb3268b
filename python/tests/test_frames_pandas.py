"""Frames, series and indexes of pandas come back as exactly what they were."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Not by `import`: no two of them agree about whether, and how, they tell their types.
np: Any = import_module("numpy")
pd: Any = import_module("pandas")
pa: Any = import_module("pyarrow")
pytz: Any = import_module("pytz")

Through = Callable[..., Any]
Same = Callable[[Any, Any], None]
BERLIN = ZoneInfo("Europe/Berlin")
NANS = np.array([0x7FF8000000000000, 0xFFF8000000000001, 0x7FF0000000000000], "u8").view("f8")

VALUES: dict[str, Any] = {
    **{
        f"numpy {kind}": np.array([0, 1, 2], kind)
        for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
    },
    "numpy bool": np.array([True, False, True]),
    "numpy float16": np.array([1.5, np.nan, -0.0], "f2"),
    "numpy float32": np.array([1.5, np.nan, np.inf], "f4"),
    "numpy float64, each NaN its own bits": NANS,
    "numpy complex64": np.array([1 + 2j, complex(np.nan, 0), 0], "c8"),
    "numpy complex128": np.array([1 + 2j, complex(0, np.nan), 0], "c16"),
    "numpy float64, other byte order": np.array([1.5, np.nan, -0.0], ">f8"),
    **{
        f"datetime64[{unit}]": np.array(["2026-01-01", "NaT", "1900-01-01"], f"M8[{unit}]")
        for unit in ("s", "ms", "us", "ns")
    },
    **{f"timedelta64[{unit}]": np.array([1, "NaT", -5], f"m8[{unit}]") for unit in ("s", "ms", "us", "ns")},
    "zoned datetimes": pd.array(pd.to_datetime(["2026-01-01", None, "2026-07-01"]).tz_localize(BERLIN)),
    "zoned datetimes, pytz": pd.array(
        pd.to_datetime(["2026-01-01", None, "2026-07-01"]).tz_localize(pytz.timezone("Europe/Berlin"))
    ),
    "zoned datetimes, offset of pytz": pd.array(
        pd.to_datetime(["2026-01-01", None, "2026-07-01"]).tz_localize(pytz.FixedOffset(-90))
    ),
    "zoned datetimes, UTC of pytz": pd.array(
        pd.to_datetime(["2026-01-01", None, "2026-07-01"]).tz_localize(pytz.UTC)
    ),
    "zoned datetimes, UTC": pd.array(pd.to_datetime(["2026-01-01", None, "2026-07-01"], utc=True)),
    "zoned datetimes, fixed offset": pd.array(
        pd.to_datetime(["2026-01-01", None, "2026-07-01"]).tz_localize(
            timezone(timedelta(hours=5, minutes=45))
        )
    ),
    "zoned datetimes, seconds": pd.array(
        pd.to_datetime(["2026-01-01", "2026-02-01", None]).tz_localize(BERLIN).as_unit("s")
    ),
    **{
        f"periods {freq}": pd.array(pd.PeriodIndex(["2026-01-01", None, "2027-01-01"], freq=freq))
        for freq in ("M", "D", "2h", "Q-NOV", "Y-MAR", "W-SUN")
    },
    "intervals of floats": pd.arrays.IntervalArray.from_tuples([(0.0, 1.5), None, (2.0, 3.0)], closed="both"),
    "intervals of integers": pd.arrays.IntervalArray.from_tuples([(0, 1), (1, 2), (2, 3)], closed="left"),
    "intervals of zoned datetimes": pd.array(
        pd.interval_range(pd.Timestamp("2026", tz=BERLIN), periods=3, freq="D", closed="neither")
    ),
    "categories of text": pd.Categorical(["b", None, "a"], ["a", "b", "unused"]),
    "categories, ordered": pd.Categorical(["b", None, "a"], ["b", "a"], ordered=True),
    "categories of numbers": pd.Categorical([3, 1, None], [3, 2, 1]),
    "categories of objects": pd.Categorical([(1, 2), "a", 3], pd.Index([3, "a", (1, 2)], dtype=object)),
    "categories of datetimes": pd.Categorical(pd.date_range("2026", periods=3, tz="UTC")),
    "categories of intervals": pd.cut([1, 5, 9], 3),
    "categories, named": pd.Categorical(["b", "a", "b"], pd.Index(["a", "b"], name="letters")),
    "categories, none": pd.Categorical([None, None, None]),
    "categories, many": pd.Categorical.from_codes(np.array([299, -1, 0], "i2"), pd.Index(range(300))),
    **{
        f"nullable {kind}": pd.array([1, None, 3], kind)
        for kind in (
            "Int8",
            "Int16",
            "Int32",
            "Int64",
            "UInt8",
            "UInt16",
            "UInt32",
            "UInt64",
            "Float32",
            "Float64",
        )
    },
    "nullable, none missing": pd.array([1, 2, 3], "Int64"),
    "nullable boolean": pd.array([True, None, False], "boolean"),
    "nullable float with NaN too": pd.arrays.FloatingArray(
        np.array([np.nan, 1.0, 2.0]), np.array([False, True, False])
    ),
    "string[python]": pd.array(["a", None, "öé\0"], "string[python]"),
    "string[pyarrow]": pd.array(["a", None, "öé\0"], "string[pyarrow]"),
    "string, NaN": pd.array(["a", None, ""], pd.StringDtype("pyarrow", na_value=np.nan)),
    "string[python], NaN": pd.array(["a", None, ""], pd.StringDtype("python", na_value=np.nan)),
    **{
        f"ArrowDtype {kind}": pd.array(pa.array(values, kind), pd.ArrowDtype(kind))
        for kind, values in [
            (pa.int32(), [1, None, 3]),
            (pa.string(), ["a", None, "c"]),
            (pa.large_string(), ["a", None, "c"]),
            (pa.decimal128(10, 2), [Decimal("1.50"), None, Decimal("-3.00")]),
            (pa.timestamp("ms", "Europe/Berlin"), [datetime(2026, 1, 1), None, datetime(2026, 7, 1)]),
            (pa.duration("s"), [timedelta(1), None, timedelta(2)]),
            (pa.date32(), [date(2026, 1, 1), None, date(1900, 1, 1)]),
            (pa.list_(pa.int8()), [[1], None, []]),
            (pa.struct({"x": pa.int8()}), [{"x": 1}, None, {"x": None}]),
            (pa.dictionary(pa.int8(), pa.string()), ["a", None, "a"]),
            (pa.bool_(), [True, None, False]),
            (pa.binary(), [b"a", None, b""]),
            (pa.null(), [None, None, None]),
        ]
    },
}

OBJECTS: dict[str, list[Any]] = {
    "text": ["a", "", "ö\0"],
    "text and None": ["a", None, ""],
    "text and NaN": ["a", np.nan, ""],
    "text and NA": ["a", pd.NA, ""],
    "text and NaT": ["a", pd.NaT, ""],
    "text and all that is missing": ["a", None, np.nan, pd.NA, pd.NaT],
    "bytes": [b"a", None, b"\xff"],
    "integers": [1, 2, -(2**63)],
    "integers and None": [1, None, 3],
    "integers and NaN": [1, np.nan, 3],
    "integers beyond 64 bits": [1, 2**70, -(2**80)],
    "floats and None": [1.0, None, np.nan],
    "floats": [1.0, -0.0, np.inf],
    "booleans and None": [True, None, False],
    "booleans, integers and floats": [True, 1, 1.0],
    "text and integers": ["1", 1, None, np.nan],
    "decimals": [Decimal("1.10"), Decimal("1.1"), Decimal("NaN"), None, Decimal("-0E+5")],
    "dates": [date(1, 1, 1), None, date(9999, 12, 31)],
    "datetimes": [datetime(2026, 1, 1, tzinfo=BERLIN), datetime(2026, 1, 1), None],
    "tuples, one missing": [(1, 2), np.nan, (3, 4)],
    "tuples and all that is missing": [(1, 2), None, np.nan, pd.NA, pd.NaT],
    "tuples of one length": [(1, 2), (3, 4), (5, 6)],
    "lists of one length": [[1, 2], [3, 4], None],
    "dicts": [{"a": [1, (2,)]}, None, {}],
    "sets": [{1}, frozenset([2]), None],
    "lone surrogates": ["\ud800", "a", None],
    "None alone": [None, None],
    "NaN alone": [np.nan, np.nan],
    "NA alone": [pd.NA, pd.NA],
    "nothing": [],
}

INDEXES: dict[str, Any] = {
    "range": pd.RangeIndex(5, 11, 2, name="r"),
    "range, backwards": pd.RangeIndex(3, 0, -1),
    "integers": pd.Index([3, 1, 3], dtype="i2", name=("a", 1)),
    "floats": pd.Index([0.5, np.nan, -0.0]),
    "booleans": pd.Index([True, False, True]),
    "text": pd.Index(["a", "b", "a"], name="letters"),
    "text, a value missing": pd.Index(["a", None, "b"]),
    "objects": pd.Index(["a", 1, None], dtype=object, name=7),
    "objects, all text": pd.Index(["a", "b", "c"], dtype=object),
    "objects, tuples": pd.Index([(1, 2), (3, 4), (5, 6)], dtype=object, tupleize_cols=False),
    "nullable": pd.Index(pd.array([1, None, 3], "Int32")),
    "arrow": pd.Index(pd.array([1, None, 3], "int8[pyarrow]")),
    "complex": pd.Index([1j, 2, 3]),
    "datetimes": pd.DatetimeIndex(["2026", "2025", None], name="when"),
    "datetimes, zone and frequency": pd.date_range("2026-03-28", periods=3, freq="D", tz=BERLIN),
    "datetimes, months": pd.date_range("2026", periods=3, freq="2ME").as_unit("s"),
    "timedeltas": pd.to_timedelta([1, 5, 3], unit="s"),
    "timedeltas, frequency": pd.timedelta_range("1h", periods=3, freq="30min", name="t"),
    "periods": pd.period_range("2026", periods=3, freq="Q-NOV", name="q"),
    "intervals": pd.interval_range(0, 3, closed="left", name="i"),
    "categories": pd.CategoricalIndex(["b", "a", None], ["a", "b", "c"], ordered=True, name="c"),
    "levels": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", 2)], names=["x", None]),
    "levels, one missing, one unused": pd.MultiIndex(
        levels=[["a", "b", "c"], pd.date_range("2026", periods=2, tz=BERLIN)],
        codes=[[0, 1, -1], [1, 0, 0]],
        names=[("t", 1), 5],
    ),
    "levels, sorted": pd.MultiIndex.from_product([[1], pd.Categorical(["a", "b", "c"])]).sortlevel()[0],
    "levels, alike": pd.MultiIndex.from_arrays([["a", "a", "a"], [1, 1, 1]]),
    "nothing": pd.Index([]),
    "no datetimes": pd.DatetimeIndex([], tz="UTC", freq="D"),
    "no levels' rows": pd.MultiIndex([["a"], [1]], [[], []], names=["x", "y"]),
}  # fmt: skip


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "copied"])
@pytest.mark.parametrize("name", VALUES)
def test_a_column_keeps_its_type_and_values(name: str, mapped: bool, through: Through, same: Same) -> None:
    frame = pd.DataFrame({"column": VALUES[name]})
    same(through(frame, mapped=mapped), frame)
    same(through(frame.iloc[:0], mapped=mapped), frame.iloc[:0])
    same(through(frame.iloc[1:], mapped=mapped), frame.iloc[1:])
    same(through(frame["column"], mapped=mapped), frame["column"])


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_keep_their_types(name: str, through: Through, same: Same) -> None:
    objects = np.fromiter(OBJECTS[name], dtype=object, count=len(OBJECTS[name]))
    frame = pd.DataFrame({"column": objects}, dtype=object)
    assert frame["column"].dtype == object
    same(through(frame), frame)
    same(through(frame["column"]), frame["column"])


@pytest.mark.parametrize("name", INDEXES)
def test_an_index_of_any_kind_is_kept(name: str, through: Through, same: Same) -> None:
    index = INDEXES[name]
    same(through(index), index)
    rows = pd.DataFrame({"a": np.arange(len(index))}, index=index)
    same(through(rows), rows)
    same(through(rows["a"]), rows["a"])
    columns = rows.T
    same(through(columns), columns)
    without = pd.DataFrame(index=index)
    same(through(without), without)


TYPES = st.sampled_from(sorted(VALUES))
NAMES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.tuples(st.integers(), st.text()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    columns=st.lists(st.tuples(NAMES, TYPES), max_size=6),
    index=st.sampled_from(sorted(name for name, each in INDEXES.items() if len(each) == 3)),
    rows=st.lists(st.integers(0, 2), max_size=6),
)
def test_any_frame_is_kept(
    columns: list[Any], index: str, rows: list[int], through: Through, same: Same
) -> None:
    frame = pd.DataFrame({place: VALUES[kind] for place, (_, kind) in enumerate(columns)}, INDEXES[index])
    names = [name for name, _ in columns]
    frame.columns = pd.Index(np.fromiter(names, object, len(names)), dtype=object, tupleize_cols=False)
    # pandas itself cannot take rows of the other byte order.
    frame = frame.iloc[rows] if not any("other" in kind for _, kind in columns) else frame
    same(through(frame), frame)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(
    objects=st.lists(
        st.one_of(
            st.none(),
            st.sampled_from([np.nan, pd.NA, pd.NaT]),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False),
            st.text(),
            st.binary(),
            st.dates(),
            st.decimals(allow_nan=False),
            st.tuples(st.integers()),
        )
    )
)
def test_any_objects_are_kept(objects: list[Any], through: Through, same: Same) -> None:
    series = pd.Series(np.fromiter(objects, object, len(objects)), dtype=object)
    same(through(series), series)
