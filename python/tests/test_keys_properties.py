"""What holds for keys of any frames and models: different ones differ, and one spelled in two ways is one."""

from __future__ import annotations

import dataclasses
import datetime
import pickle
from typing import Any

import attrs
import numpy as np
import pandas as pd
import polars as pl
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retainit import _native, retain

key = _native.encode
# The same cases each time, as in `test_properties`.
steady = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow],
)

# --- frames --------------------------------------------------------------------------------------

few = st.integers(0, 2)
rows: dict[str, st.SearchStrategy[Any]] = {
    "int64": few,
    "int8": few,
    "float64": few.map(float),
    "bool": st.booleans(),
    "object": st.one_of(few, few.map(float), st.booleans(), st.none(), st.sampled_from(["0", "a"])),
    "string": st.none() | st.sampled_from(["", "a", "b"]),
    "category": st.sampled_from(["a", "b"]),
    "Int64": st.none() | few,
    "boolean": st.none() | st.booleans(),
    "datetime64[s]": few.map(lambda day: datetime.datetime(2020, 1, 1 + day)),
    "datetime64[us, UTC]": few.map(lambda day: datetime.datetime(2020, 1, 1 + day)),
    "timedelta64[s]": few.map(lambda days: datetime.timedelta(days)),
    "double[pyarrow]": st.none() | few.map(float),
}


@st.composite
def series(draw: st.DrawFn, length: int) -> Any:
    kind = draw(st.sampled_from(list(rows)))
    return pd.Series(draw(st.lists(rows[kind], min_size=length, max_size=length)), dtype=kind)


@st.composite
def indexes(draw: st.DrawFn, length: int) -> Any:
    kind = draw(st.sampled_from(["range", "numbers", "text", "dates", "levels"]))
    name = draw(st.sampled_from([None, "x", "y"]))
    numbers = draw(st.lists(few, min_size=length, max_size=length))
    if kind == "range":
        start = draw(few)
        return pd.RangeIndex(start, start + length, name=name)
    if kind == "dates":
        return pd.date_range("2020", periods=length, freq=draw(st.sampled_from(["D", "h"])), name=name)
    if kind == "levels":
        return pd.MultiIndex.from_arrays([numbers, numbers[::-1]], names=[name, "z"])
    return pd.Index(numbers if kind == "numbers" else [str(each) for each in numbers], name=name)


@st.composite
def frames(draw: st.DrawFn) -> Any:
    length = draw(st.integers(0, 3))
    names = draw(st.lists(st.sampled_from(["a", "b", 0, 1]), max_size=3))
    index = draw(indexes(length))
    columns = [draw(series(length)).set_axis(index) for _ in names]
    made = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)
    made.columns = pd.Index(names, dtype=object)
    return made


def shown(values: Any) -> Any:
    return [(type(each).__name__, repr(each)) for each in values]


def frame_identity(frame: Any) -> Any:
    """Type by type, without the code under test."""
    columns = [frame.iloc[:, place] for place in range(frame.shape[1])]
    categories = [list(each.cat.categories) if each.dtype == "category" else None for each in columns]
    index = frame.index
    return (
        shown(frame.columns),
        [(str(each.dtype), shown(each.tolist())) for each in columns],
        categories,
        (type(index).__name__, list(index.names), str(getattr(index, "dtype", None)), shown(index.tolist())),
        [str(each.dtype) for each in getattr(index, "levels", [])],
        str(getattr(index, "freq", None)),
        (index.start, index.stop, index.step) if isinstance(index, pd.RangeIndex) else None,
    )


@steady
@given(frames(), frames())
def test_pandas_frames_have_one_key_exactly_where_they_are_the_same(one: Any, other: Any) -> None:
    assert (key(one) == key(other)) == (frame_identity(one) == frame_identity(other))
    for frame in (one, other):
        assert len({key(frame), key(frame.copy()), key(pickle.loads(pickle.dumps(frame)))}) == 1


polars_kinds: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int": (pl.Int64, few),
    "small": (pl.Int8, few),
    "float": (pl.Float64, few.map(float)),
    "text": (pl.String, st.sampled_from(["", "a", "more than twelve bytes"])),
    "bool": (pl.Boolean, st.booleans()),
    "date": (pl.Date, few.map(lambda day: datetime.date(2020, 1, 1 + day))),
    "time": (pl.Datetime("us"), few.map(lambda day: datetime.datetime(2020, 1, 1 + day))),
    "list": (pl.List(pl.Int64), st.lists(st.none() | few, max_size=2)),
    "struct": (pl.Struct({"x": pl.Int8, "y": pl.String}), st.fixed_dictionaries({"x": few, "y": st.none()})),
    "category": (pl.Categorical, st.sampled_from(["a", "b"])),
    "enum": (pl.Enum(["a", "b"]), st.sampled_from(["a", "b"])),
}


@st.composite
def polars_frames(draw: st.DrawFn) -> Any:
    length = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3))
    columns = {}
    for name in names:
        dtype, values = polars_kinds[draw(st.sampled_from(list(polars_kinds)))]
        drawn = draw(st.lists(st.none() | values, min_size=length, max_size=length))
        columns[name] = pl.Series(drawn, dtype=dtype)
    return pl.DataFrame(columns)


def polars_identity(frame: Any) -> Any:
    return (list(frame.schema.items()), frame.height, repr(frame.rows()))


@steady
@given(polars_frames(), polars_frames(), st.integers(0, 4))
def test_polars_frames_have_one_key_exactly_where_they_are_the_same(one: Any, other: Any, cut: int) -> None:
    assert (key(one) == key(other)) == (polars_identity(one) == polars_identity(other))
    if one.width:
        pieces = pl.concat([one[:cut], one[cut:]], rechunk=False)
        assert key(pieces) == key(pl.concat([one, one])[one.height :]) == key(one)


# --- models --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


@attrs.define
class Spot:
    x: Any
    y: Any = 0


class Place(pydantic.BaseModel, extra="allow", arbitrary_types_allowed=True):
    x: Any
    y: Any = 0


leaves = st.one_of(
    few, few.map(float), st.booleans(), st.none(), st.sampled_from(["0", ""]), few.map(np.int64)
)
fields = st.fixed_dictionaries({"x": leaves}, optional={"y": leaves})
models = st.one_of(
    st.builds(lambda kind, given: kind(**given), st.sampled_from([Point, Spot, Place]), fields),
    st.builds(lambda given, more: Place(**given, **more), fields, st.dictionaries(st.just("z"), leaves)),
    st.builds(Point, st.lists(leaves, max_size=2), st.builds(Spot, leaves)),
)


def model_identity(value: Any) -> Any:
    kind = type(value).__name__
    if isinstance(value, Place):
        given = sorted(value.model_fields_set)
        return (kind, [(name, model_identity(each)) for name, each in sorted(dict(value).items())], given)
    if isinstance(value, Point | Spot):
        return (kind, model_identity(value.x), model_identity(value.y))
    if isinstance(value, list):
        return (kind, [model_identity(each) for each in value])
    return (kind, repr(value))


@settings(steady, max_examples=1000)
@given(models, models)
def test_models_have_one_key_exactly_where_they_are_the_same(one: Any, other: Any) -> None:
    assert (key(one) == key(other)) == (model_identity(one) == model_identity(other))
    assert key(pickle.loads(pickle.dumps(one))) == key(one)


# --- calls ---------------------------------------------------------------------------------------

arguments = st.one_of(
    models,
    frames(),
    polars_frames(),
    st.lists(few, max_size=3).map(lambda items: np.array(items, dtype=np.int64)),
    leaves,
)


@pytest.fixture(scope="module")
def cached() -> Any:
    @retain(strict=True)
    def f(a: Any, b: Any = 1, *rest: Any, c: Any = 2, **more: Any) -> object:
        return object()

    return f


@settings(steady, max_examples=100)
@given(arguments, arguments, arguments)
def test_a_call_with_data_is_found_however_it_is_spelled(cached: Any, x: Any, y: Any, z: Any) -> None:
    fresh = [pickle.loads(pickle.dumps(each)) for each in (x, y, z)]
    first = cached(x, y, c=z, d=x)
    assert cached(d=fresh[0], c=fresh[2], b=fresh[1], a=fresh[0]) is first
    assert (cached(x, z, c=y, d=x) is first) == (key(y) == key(z))
    assert cached(x, y, x, c=z, d=x) is not first
