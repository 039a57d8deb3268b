"""Keys are what docs/keys.md says, for values of any kind; and the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from specified_keys import blake3, encode

from retainit import _native

# The same cases each time, as in `test_properties`.
steady = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)

# --- values --------------------------------------------------------------------------------------

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.sampled_from([2**shift + by for shift in (7, 8, 15, 31, 63, 64, 71) for by in (-1, 0, 1)]),
    st.sampled_from([-(2**shift) + by for shift in (7, 8, 15, 31, 63, 64, 71) for by in (-1, 0, 1)]),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=200),
    st.text(st.characters(categories=["Cs", "Lo"]), max_size=4),
    st.binary(max_size=200),
    st.binary(max_size=200).map(bytearray),
    # Around the length from which on values are digested, by themselves and as parts.
    st.integers(1300, 5000).map(lambda length: "a" * length),
    st.integers(4085, 4100).map(lambda length: b"a" * length),
)
hashable = st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5))


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=6),
        st.lists(inner, max_size=6).map(tuple),
        st.dictionaries(hashable, inner, max_size=6),
        st.sets(hashable, max_size=6),
        st.frozensets(hashable, max_size=6),
    )


# --- arrays --------------------------------------------------------------------------------------

dtypes = st.one_of(
    nps.scalar_dtypes(),
    nps.array_dtypes(nps.scalar_dtypes(), max_size=3),
    nps.nested_dtypes(nps.scalar_dtypes(), max_leaves=4, max_itemsize=64),
).filter(lambda dtype: "longdouble" not in str(dtype) and "f16" not in str(dtype) and "c32" not in str(dtype))


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    shape = draw(nps.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    array = draw(nps.arrays(draw(dtypes), shape))
    return draw(
        st.sampled_from([array, np.asfortranarray(array), array[::-1] if array.ndim else array, array.T])
    )


objects = st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=4).map(
    lambda items: np.array([*items, None], dtype=object)
)
scalars = nps.arrays(nps.scalar_dtypes(), 1).map(lambda array: array[0]).filter(lambda x: type(x) is not str)

# --- columns -------------------------------------------------------------------------------------

KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (pa.null(), st.none()),
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.string(), st.text(max_size=30)),
    (pa.large_string(), st.text(max_size=30)),
    (pa.string_view(), st.text(max_size=30)),
    (pa.binary(), st.binary(max_size=30)),
    (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "b", "c"])),
]
KINDS += [(pa.list_(kind), st.lists(st.none() | rows, max_size=3)) for kind, rows in KINDS[1:6]]
KINDS += [
    (
        pa.struct([("x", one), ("y", other)]),
        st.fixed_dictionaries({"x": st.none() | left, "y": st.none() | right}),
    )
    for (one, left), (other, right) in zip(KINDS[1:5], KINDS[3:7], strict=True)
]


@st.composite
def columns(draw: st.DrawFn, length: int | None = None) -> Any:
    kind, rows = draw(st.sampled_from(KINDS))
    values = draw(st.lists(st.none() | rows, min_size=length or 0, max_size=12 if length is None else length))
    before = draw(st.lists(st.none() | rows, max_size=9))
    array = pa.array([*before, *values], kind)[len(before) :]
    if length is None:
        return array
    cut = draw(st.integers(0, length))
    return pa.chunked_array([array[:cut], pa.array([], kind), array[cut:]])


@st.composite
def tables(draw: st.DrawFn) -> Any:
    length = draw(st.integers(0, 9))
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=4))
    return pa.table({name: draw(columns(length)) for name in names})


values = st.one_of(
    st.recursive(leaves, nested, max_leaves=10), arrays(), objects, scalars, columns(), tables()
)


@settings(steady, max_examples=600)
@given(values)
def test_keys_are_what_is_specified(value: Any) -> None:
    assert _native.encode(value) == encode(value)
    assert _native.encode([value, (value,)]) == encode([value, (value,)])


def identity(value: Any) -> Any:
    """What a value is: equal exactly where two values are to have one key. Nothing is digested."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray | np.generic):
        items = (
            [identity(item) for item in np.ravel(value).tolist()] if value.dtype.hasobject else _bytes(value)
        )
        return (kind, repr(value.dtype), np.shape(value), repr(items))
    if isinstance(value, pa.Array | pa.Table):
        shown = value.schema if isinstance(value, pa.Table) else value.type
        # Text of Python's own objects tells `0.0` from `-0.0`.
        return (kind, str(shown), repr(value.to_pylist()))
    return (kind, encode(value))


def _bytes(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.names is None:
        return array.tobytes()
    return [_bytes(array[name]) for name in array.dtype.names]


data = st.one_of(arrays(), objects, scalars, columns(), tables())


@settings(steady, max_examples=800)
@given(data, data)
def test_data_has_one_key_exactly_where_it_is_the_same(one: Any, other: Any) -> None:
    assert (_native.encode(one) == _native.encode(other)) == (identity(one) == identity(other))


@steady
@given(arrays(), st.data())
def test_one_bit_makes_another_key(array: Any, chosen: Any) -> None:
    if array.nbytes == 0 or array.dtype.hasobject or array.dtype.names is not None:
        return
    other = np.array(array, order="C")
    raw = other.reshape(-1).view("u1")
    raw[chosen.draw(st.integers(0, len(raw) - 1))] ^= 1 << chosen.draw(st.integers(0, 7))
    if array.dtype == bool and raw.max() > 1:
        return
    assert _native.encode(array) != _native.encode(other)


def test_the_digest_is_blake3() -> None:
    # From the published test vectors: bytes 0 to 250 over and over.
    digests = {
        0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
        1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
        3072: "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2",
    }
    for length, digest in digests.items():
        assert blake3(bytes(index % 251 for index in range(length))).hex() == digest


PROGRAM = """
import collections, dataclasses, enum, ipaddress, re
import attrs, numpy as np, pandas as pd, polars as pl, pyarrow as pa, pydantic
from retainit import _native

class Colour(enum.Enum):
    RED = "r"

class Flags(enum.Flag):
    A = 1
    B = 2

@dataclasses.dataclass
class Point:
    x: object

@attrs.define
class Item:
    name: str

class User(pydantic.BaseModel, extra="allow"):
    name: str
    tags: set[str] = set()

words = ["a", "b", "c", "some", "more", "words"]
frame = pd.DataFrame({"n": [1, None], "s": ["x", None], "c": pd.Categorical(["u", "v"])})
table, polars = pa.Table.from_pandas(frame), pl.from_pandas(frame)
frame.attrs["words"] = set(words)
values = [
    set(words), frozenset(words), dict.fromkeys(words, 1), {frozenset(words): [set(words)]}, Colour.RED,
    Flags.A | Flags.B, Point(set(words)), Item("a"), User(name="a", tags=set(words), b=1, a=2),
    re.compile("a", re.I), ipaddress.ip_network("10.0.0.0/8"), collections.Counter(words),
    int | str | bytes, frame, frame.set_index("c"), polars, table,
    np.array([set(words), "x"], dtype=object), [*words] * 5000, np.arange(1000.0),
    {word: np.full(2000, len(word)) for word in words}, len, User,
]
for value in values:
    print(_native.encode(value).hex())
"""


@pytest.mark.parametrize("seed", ["1", "77"])
def test_keys_are_the_same_in_every_process(seed: str, tmp_path: Any) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)

    def run(seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-W", "error", str(file)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout.split()

    first = run("0")
    assert len(first) == len(set(first)) > 20
    assert run(seed) == first
