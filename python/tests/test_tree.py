"""Whatever plain value becomes a tree comes out of it as it was, types all the way down."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import ipaddress
import math
import pathlib
import struct
import subprocess
import sys
import textwrap
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from retainit._native import dump_tree, load_tree, why_no_tree

settings.register_profile(
    "tree",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=500,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
thorough = settings(settings.get_profile("tree"))

UTC = datetime.timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
ZONES = [zoneinfo.ZoneInfo(key) for key in ("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "UTC")]

# --- what a value is -----------------------------------------------------------------------------

TEXTUAL = (
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    pathlib.PosixPath,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)


def exactly(value: Any) -> Any:
    """Equal for two values exactly where nothing tells them apart.

    Written without any of the code under test. Bits and texts stand for each part, so that nothing is equal
    by an `__eq__` of Python's, to which `1`, `1.0` and `True` are one.
    """
    return (type(value), content(value))


def content(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return hex(value)
    if value is None or value is ... or kind in (bool, str, datetime.date, datetime.timedelta):
        return repr(value)
    if kind is float:
        return struct.pack(">d", value)
    if kind is complex:
        return struct.pack(">dd", value.real, value.imag)
    if kind in (bytes, bytearray):
        return bytes(value)
    if kind in (list, tuple):
        return [exactly(each) for each in value]
    if kind is dict:
        return [(exactly(key), exactly(each)) for key, each in value.items()]
    if kind in (set, frozenset):
        return sorted((exactly(each) for each in value), key=repr)
    if kind in (range, slice):
        return [exactly(part) for part in (value.start, value.stop, value.step)]
    if kind is decimal.Decimal:
        return repr(value.as_tuple())
    if kind is fractions.Fraction:
        return (exactly(value.numerator), exactly(value.denominator))
    if kind is uuid.UUID:
        return (value.int, value.is_safe)
    if kind in (datetime.datetime, datetime.time):
        return (str(value.replace(tzinfo=None)), value.fold, exactly(value.tzinfo))
    if kind is datetime.timezone:
        # Its text tells a name that it was given from the one it makes up.
        return (value is UTC, repr(value))
    if kind is zoneinfo.ZoneInfo:
        return id(value)
    if kind in TEXTUAL:
        return str(value)
    assert isinstance(value, np.generic) or kind is np.ndarray, f"nothing is known of {kind}"
    dtype = (value.dtype.str, value.dtype.num)
    if isinstance(value, np.generic):
        return (dtype, value.tobytes())
    # Of an array with gaps only the elements are kept.
    fortran = bool(value.flags.f_contiguous and not value.flags.c_contiguous)
    return (dtype, value.shape, fortran, value.tobytes("C"))


def comes_back(value: Any) -> None:
    tree = dump_tree(value)
    assert tree is not None, why_no_tree(value)
    assert exactly(load_tree(tree)) == exactly(value)


# --- values --------------------------------------------------------------------------------------

floats = st.one_of(
    st.floats(),
    st.integers(0, 2**64 - 1).map(lambda word: struct.unpack(">d", struct.pack(">Q", word))[0]),
    st.integers(1, 2**51).map(lambda low: struct.unpack(">d", struct.pack(">Q", 0x7FF0 << 48 | low))[0]),
)
texts = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(max_codepoint=0xFF), max_size=300),
    st.text(st.characters(categories=["Cs", "Lu", "So"]), max_size=4),
    st.sampled_from(["", "\0", "a" * 31, "a" * 32, "a" * 255, "a" * 256, "é" * 20]),
)
integers = st.one_of(
    st.integers(),
    st.integers(-300, 300),
    st.builds(
        lambda power, by, sign: sign * (2**power + by),
        st.integers(0, 300),
        st.integers(-2, 2),
        st.sampled_from([-1, 1]),
    ),
)
offsets = st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23))
fixed = st.one_of(
    st.just(UTC),
    st.builds(datetime.timezone, offsets),
    st.builds(datetime.timezone, offsets, texts),
)
zones = st.one_of(st.none(), fixed, st.sampled_from(ZONES))
folds = st.sampled_from([0, 1])
moments = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), zones, folds
)
times = st.builds(lambda time, zone, fold: time.replace(tzinfo=zone, fold=fold), st.times(), zones, folds)
names = st.text("abc.:~ é\ud800", min_size=1, max_size=6)
addresses = st.one_of(
    st.ip_addresses(),
    st.ip_addresses(v=6).map(lambda address: ipaddress.IPv6Address(f"{address}%eth0")),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(lambda it: ipaddress.IPv4Interface(it)),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map(lambda it: ipaddress.IPv6Interface(it)),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(lambda it: ipaddress.IPv4Interface(it).network),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map(lambda it: ipaddress.IPv6Interface(it).network),
)
immutable = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    floats,
    st.builds(complex, floats, floats),
    texts,
    st.binary(max_size=20),
    st.sampled_from([b"x" * 255, b"x" * 256, ...]),
    st.decimals(allow_nan=False),
    st.builds(
        lambda digits, power: decimal.Decimal(f"{digits}E{power}"), integers, st.integers(-(10**9), 10**9)
    ),
    st.builds(
        lambda sign, digits: decimal.Decimal(f"{sign}{digits}"),
        st.sampled_from(["NaN", "-NaN"]),
        st.integers(0),
    ),
    st.fractions(),
    st.builds(uuid.UUID, int=st.integers(0, 2**128 - 1), is_safe=st.sampled_from([*uuid.SafeUUID])),
    st.dates(),
    moments,
    times,
    st.timedeltas(),
    fixed,
    st.sampled_from(ZONES),
    st.builds(range, integers, integers, st.integers(1, 3) | st.integers(-3, -1)),
    st.lists(names, max_size=3).map(lambda parts: pathlib.PurePosixPath(*parts)),
    st.lists(names, max_size=3).map(lambda parts: pathlib.Path("/", *parts)),
    st.lists(st.sampled_from(["c:/", "a", "b c"]), max_size=3).map(lambda it: pathlib.PureWindowsPath(*it)),
    addresses,
)
# These have no hash, or, as signalling NaNs, refuse to give it.
mutable = st.one_of(
    st.decimals(),
    st.binary(max_size=20).map(bytearray),
    st.builds(slice, integers, st.none(), texts),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=20),
        st.lists(inner, max_size=20).map(tuple),
        st.dictionaries(hashable, inner, max_size=20),
        st.dictionaries(st.text(max_size=70), inner, max_size=20),
        st.sets(hashable, max_size=5),
        st.frozensets(hashable, max_size=5),
    )


hashable = st.recursive(
    immutable,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=3,
)
values = st.recursive(immutable | mutable, nested, max_leaves=30)


@thorough
@given(values)
@example(float("nan"))
@example({float("nan"): 1, 1: 2})
@example({1.0: 1})
@example({True: 1})
@example([1, 1.0, True, 0, 0.0, -0.0, False])
@example(decimal.Decimal("sNaN99"))
@example(decimal.Decimal("-Infinity"))
@example(datetime.datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1))
@example(datetime.timedelta.max)
@example(datetime.timedelta.min)
@example(datetime.datetime.max)
@example(datetime.datetime.min)
@example(datetime.timezone(datetime.timedelta(0), "UTC"))
@example(datetime.timezone(datetime.timedelta(hours=-23, minutes=-59, seconds=-59, microseconds=-999999)))
@example({"b": 1, "a": 2})
def test_what_goes_in_comes_out(value: Any) -> None:
    comes_back(value)


SIZES = [0, 1, 15, 16, 17, 31, 32, 255, 256, 65535, 65536, 70000]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_of_a_head(size: int) -> None:
    comes_back([])
    for text in ("a", "é", "日", "😀", "\ud800"):
        comes_back([text * size])
    comes_back([b"a" * size, bytearray(size), 1 << size, -1 << size])
    comes_back([[[]] * size, (1.5,) * size, {*range(size)}, frozenset(range(size))])
    comes_back({str(number): number for number in range(size)})
    comes_back(dict.fromkeys(range(size)))


few = st.recursive(immutable | mutable, nested, max_leaves=3)


@thorough
@given(few, few)
@example(1, True)
@example(0.0, -0.0)
@example([1], (1,))
@example({1: 2, 3: 4}, {3: 4, 1: 2})
@example(b"a", bytearray(b"a"))
def test_different_values_have_different_trees(one: Any, other: Any) -> None:
    if dump_tree(one) == dump_tree(other):
        assert exactly(one) == exactly(other)


@pytest.mark.parametrize(
    "bits", [0x7FF0000000000001, 0xFFF8000000000000, 0x7FF8DEADBEEF0001, 0xFFFFFFFFFFFFFFFF]
)
def test_nans_keep_their_bits(bits: int) -> None:
    comes_back([struct.unpack(">d", struct.pack(">Q", bits))[0]])


def test_places_of_one_object_come_back_apart() -> None:
    inner = [1]
    first, second = load_tree(dump_tree([inner, inner]) or b"")
    assert first == second == inner
    assert first is not second


def test_the_decimal_context_of_the_writer_is_no_part_of_a_tree() -> None:
    value = decimal.Decimal("1E+30")
    usual = dump_tree(value)
    with decimal.localcontext() as context:
        context.capitals = 0
        context.prec = 1
        assert dump_tree(value) == usual
        comes_back(decimal.Decimal("123456E+30"))


def test_a_decimal_out_of_range_is_an_error_in_any_context() -> None:
    tree = dump_tree(decimal.Decimal("1E+9")) or b""
    text = b"1E+" + b"9" * 20
    hostile = b"\xc7" + bytes([len(text)]) + tree[2:3] + text
    for traps in (True, False):
        with decimal.localcontext() as context:
            context.traps[decimal.InvalidOperation] = traps
            with pytest.raises((ValueError, decimal.InvalidOperation)):
                load_tree(hostile)


# --- NumPy within plain data ---------------------------------------------------------------------

DTYPES = [
    *("?", "i1", "u1", "<i2", ">i2", "<u4", ">i8", "<u8", "<f2", ">f4", "<f8", ">f8", "<c8", ">c16"),
    *("S3", "<U2", ">U2", "<M8[ns]", ">M8[25s]", "<m8[D]", "<M8", "<m8[us]"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_keep_type_shape_and_order(dtype: str, shape: tuple[int, ...], order: Any) -> None:
    chance = np.random.default_rng(3)
    count = math.prod(shape)
    itemsize = np.dtype(dtype).itemsize
    raw = chance.integers(0, 2 if dtype == "?" else 100, count * itemsize, dtype="u1")
    array = np.frombuffer(raw.tobytes(), dtype).reshape(shape).copy(order)
    comes_back({"array": array})
    assert load_tree(dump_tree([array]) or b"")[0].flags.writeable
    if shape == (3,):
        comes_back([*array])


def test_an_array_with_gaps_comes_back_without() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    for view in (array[:, ::2], array[::-1], array.transpose(1, 0, 2), np.broadcast_to(array, (2, 2, 3, 4))):
        back = load_tree(dump_tree([view]) or b"")[0]
        np.testing.assert_array_equal(back, view)
        assert back.dtype == view.dtype
        assert back.flags.c_contiguous


class Sub(np.ndarray): ...


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.zeros(2, "i4,f4"),
        np.zeros(2, "V3"),
        np.longdouble(1),
        np.clongdouble(1),
        np.zeros(2, np.longdouble),
        np.array([1]).view(Sub),
        np.ma.masked_array([1, 2], [True, False]),
        np.zeros(2, np.dtype("i4", metadata={"unit": "m"})),
        np.zeros(2, "q"),
        np.longlong(1),
        np.str_("a\0"),
        np.bytes_(b""),
        np.dtype("i4"),
    ],
    ids=lambda value: f"{type(value).__name__}-{getattr(value, 'dtype', '')}",
)
def test_other_arrays_are_not_plain(value: Any) -> None:
    # On a machine where `longlong` is the type of 64 bits, it has a notation.
    if value.dtype.char == "q" if hasattr(value, "dtype") else False:
        assert np.dtype("i8").char == "l", "this machine's `longlong` is plain: it needs another case here"
    assert dump_tree([value]) is None
    assert why_no_tree([value]) is not None


def test_writing_imports_nothing() -> None:
    program = """
        import sys
        from retainit._native import dump_tree, load_tree
        class Decimal: pass
        class ndarray: pass
        before = set(sys.modules)
        assert dump_tree([1, "a", 1.5, {2: (3,)}, {4}])
        assert dump_tree([Decimal()]) is dump_tree(ndarray()) is None
        assert set(sys.modules) == before, set(sys.modules) - before
        # Classes that came to be known without their names do not stand in for those of the library.
        import datetime, decimal
        assert dump_tree([datetime.date.today(), decimal.Decimal(1)]) and dump_tree(Decimal()) is None
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


# --- what is not plain ---------------------------------------------------------------------------


class Colour(enum.IntEnum):
    RED = 1


class Pair(NamedTuple):
    x: int


class Text(str): ...


class Zone(datetime.tzinfo):
    def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)

    def dst(self, moment: datetime.datetime | None) -> None:
        return None

    def tzname(self, moment: datetime.datetime | None) -> str:
        return "here"


class UUID(uuid.UUID): ...


class Decimal(decimal.Decimal): ...


@dataclasses.dataclass
class Point:
    x: int


def cycle() -> Any:
    inner: list[Any] = []
    inner.append({"inner": (inner,)})
    return inner


# A file of a time zone: no changes, one type of local time, called UTC.
TZIF = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"

OTHERS: list[Any] = [
    *(object(), object, len, Colour.RED, Pair(1), Text("a"), Point(1), Decimal(1), UUID(int=1), iter([])),
    *(collections.OrderedDict(a=1), collections.defaultdict(list), collections.Counter(), NotImplemented),
    *(
        memoryview(b"a"),
        datetime.datetime(2026, 1, 1, tzinfo=Zone()),
        zoneinfo.ZoneInfo.no_cache("Europe/Berlin"),
    ),
    datetime.timezone(datetime.timedelta(0), Text("UTC")),
    zoneinfo.ZoneInfo.from_file(io.BytesIO(TZIF), key="Europe/Berlin"),
]


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "within", [lambda it: it, lambda it: [1, it], lambda it: {"a": (it,)}, lambda it: slice(it)], ids=range(4)
)
def test_other_types_are_not_plain(value: Any, within: Callable[[Any], Any]) -> None:
    assert dump_tree(within(value)) is None


def test_it_says_what_is_not_plain() -> None:
    assert why_no_tree([1]) is None
    assert why_no_tree([Point(1)]) == f"a value of type `{__name__}.Point` is not plain data"
    assert why_no_tree({"a": Colour.RED}) == f"a value of type `{__name__}.Colour` is not plain data"
    deep = "a value nested more than 100 deep (or within itself) is not plain data"
    assert why_no_tree(cycle()) == deep


@pytest.mark.parametrize(
    "wrap",
    [
        lambda it: [it],
        lambda it: (it,),
        lambda it: {"a": it},
        lambda it: {(it,): 1},
        lambda it: frozenset([it]),
        slice,
    ],
    ids=["list", "tuple", "dict", "key", "frozenset", "slice"],
)
def test_nesting_ends_at_a_hundred(wrap: Callable[[Any], Any]) -> None:
    step = 2 if wrap(1) == {(1,): 1} else 1
    value: Any = 1
    for _ in range(100 // step):
        before, value = (
            value,
            wrap(value) if step == 1 else (wrap(value) if isinstance(value, int) else [[value]]),
        )
    tree = dump_tree(value)
    assert tree is not None
    assert exactly(load_tree(tree)) == exactly(value)
    assert dump_tree([value]) is None
    # One level more, written by hand: a list around the deepest tree.
    with pytest.raises(ValueError, match="nested too deep"):
        load_tree(b"\x91" + tree)
    assert dump_tree(before) is not None
