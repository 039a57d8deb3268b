"""What holds for any arguments and any order of operations."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import pathlib
import struct
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import retainit
from retainit import MISSING, DiskConfig, MemoryConfig, _native, retain

# The same cases each time, so that a failure is one of this code and not of luck; longer runs choose
# another profile.
settings.register_profile(
    "retainit",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("retainit")


class Colour(enum.Enum):
    RED = 1
    BLUE = "1"


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass(frozen=True)
class Point:
    x: Any
    y: Any = None


class Pair(NamedTuple):
    x: Any
    y: Any


# --- values --------------------------------------------------------------------------------------

plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(),
    st.integers(-(2**70), 2**70).map(lambda x: x << 55),
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, 1.0, 2**53 + 0.0, 1e300]),
    st.complex_numbers(allow_nan=False),
    st.text(max_size=8),
    st.text(st.characters(categories=["Cs", "Lu", "So"]), max_size=4),
    st.sampled_from(["", "1", "1.0", "True", "None", "a", "\0", "a\0", "\ud800"]),
    st.binary(max_size=8),
    st.binary(max_size=8).map(bytearray),
    st.sampled_from([*Colour, *Number]),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc)),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.uuids(),
    st.sampled_from(["a", "a/b", ".", "/"]).map(pathlib.PurePosixPath),
    st.builds(range, st.integers(0, 3), st.integers(4, 9)),
    st.sampled_from([int, str, len, pathlib.PurePosixPath, Colour, ..., NotImplemented]),
)

hashable = st.one_of(
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
    st.binary(max_size=3),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=4),
        st.frozensets(st.frozensets(hashable, max_size=2), max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Pair, inner, inner),
    )


values = st.recursive(plain, nested, max_leaves=8)


def identity(value: Any) -> Any:
    """What a value is, type by type: equal exactly where two values are to have one key.

    Written without any of the code under test. Text stands for each part, so that nothing is equal by
    an `__eq__` of Python's, to which `1`, `1.0` and `True` are one.
    """
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, enum.Enum):
        return (kind, value.name)
    if isinstance(value, float):
        return (kind, struct.pack("<d", value).hex())
    if isinstance(value, complex):
        return (kind, struct.pack("<dd", value.real, value.imag).hex())
    if isinstance(value, (bytes, bytearray)):
        return (kind, value.hex())
    if isinstance(value, (list, tuple)):
        return (kind, tuple(identity(each) for each in value))
    if isinstance(value, dict):
        return (kind, frozenset((identity(name), identity(each)) for name, each in value.items()))
    if isinstance(value, (set, frozenset)):
        return (kind, frozenset(identity(each) for each in value))
    if isinstance(value, Point):
        return (kind, identity(value.x), identity(value.y))
    if isinstance(value, (datetime.datetime, datetime.time)):
        return (kind, repr(value), value.fold)
    if isinstance(value, decimal.Decimal):
        return (kind, str(value.as_tuple()))
    if isinstance(value, type):
        return (kind, f"{value.__module__}.{value.__qualname__}")
    # The rest say all there is about them, and nothing of where they lie.
    assert isinstance(
        value, (int, str, type(None), datetime.date, datetime.timedelta, fractions.Fraction, uuid.UUID, range)
    ) or value in (len, ..., NotImplemented, pathlib.PurePosixPath(str(value)))
    return (kind, repr(value))


def copied(value: Any) -> Any:
    """An equal value made of other objects, with dicts and sets in another order."""
    if isinstance(value, (list, tuple)) and not isinstance(value, Pair):
        return type(value)(copied(each) for each in value)
    if isinstance(value, Pair):
        return Pair(*(copied(each) for each in value))
    if type(value) is dict:
        return {copied(name): copied(each) for name, each in reversed(value.items())}
    if isinstance(value, (set, frozenset)):
        return type(value)(reversed([copied(each) for each in value]))
    if isinstance(value, Point):
        return Point(copied(value.x), copied(value.y))
    if type(value) is str:
        return "".join(list(value))
    if isinstance(value, bytes):
        return bytes(bytearray(value))
    if type(value) is int:
        return int(str(value))
    if isinstance(value, float):
        return struct.unpack("<d", struct.pack("<d", value))[0]
    return value


@given(values)
def test_equal_values_have_one_key(value: Any) -> None:
    assert identity(copied(value)) == identity(value)
    assert _native.encode(copied(value)) == _native.encode(value)


@settings(max_examples=1500)
@given(values, values)
@example(1, 1.0)
@example(1, True)
@example(0.0, -0.0)
@example([1], (1,))
@example({1: "a"}, {True: "a"})
@example({1}, frozenset({1}))
@example((1, (2,)), (1, 2))
@example(["a", "b"], ["ab"])
@example(Colour.RED, 1)
@example(Number.ONE, 1)
@example(Pair(1, 2), (1, 2))
@example(decimal.Decimal("1.0"), decimal.Decimal("1.00"))
@example("1", b"1")
def test_values_have_one_key_exactly_where_they_are_the_same(one: Any, other: Any) -> None:
    assert (_native.encode(one) == _native.encode(other)) == (identity(one) == identity(other))


@given(st.lists(values, min_size=2, max_size=12))
def test_keys_of_many_values_are_told_apart(many: list[Any]) -> None:
    by_key: dict[bytes, Any] = {}
    for value in many:
        known = by_key.setdefault(_native.encode(value), identity(value))
        assert known == identity(value)


@given(st.lists(values, max_size=4), st.lists(values, max_size=4))
def test_where_one_argument_ends_is_part_of_the_key(one: list[Any], other: list[Any]) -> None:
    def f(*args: Any) -> None: ...

    cached = retain(f)
    same = [identity(each) for each in one] == [identity(each) for each in other]
    assert (cached.cache_key(*one) == cached.cache_key(*other)) == same


# --- spellings of one call -----------------------------------------------------------------------


def positional_only(a: Any, b: Any = 2, /, c: Any = 3, *, d: Any = 4) -> None: ...


def everything(a: Any, b: Any = 2, *args: Any, c: Any = 3, **kwargs: Any) -> None: ...


def ordinary(a: Any, b: Any = 2, c: Any = 3) -> None: ...


small = st.one_of(st.integers(0, 4), st.sampled_from([2, 3, 4, 2.0, True, "2"]), st.tuples(st.integers(0, 1)))
names = st.sampled_from(["a", "b", "c", "d", "e", "x"])


def bound(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call as Python itself binds it; `None` if it does not fit."""
    import inspect

    try:
        call = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return None
    call.apply_defaults()
    return identity(dict(call.arguments))


@pytest.mark.parametrize("function", [positional_only, everything, ordinary])
@settings(max_examples=400)
@given(st.data())
def test_calls_have_one_key_exactly_where_they_are_bound_alike(
    function: Callable[..., Any], data: Any
) -> None:
    cached = retain(function)
    keys = []
    for _ in range(2):
        args = tuple(data.draw(st.lists(small, max_size=5)))
        kwargs = data.draw(st.dictionaries(names, small, max_size=3))
        meaning = bound(function, args, kwargs)
        if meaning is None:
            with pytest.raises(TypeError):
                cached.cache_key(*args, **kwargs)
            with pytest.raises(TypeError):
                cached(*args, **kwargs)
        else:
            keys.append((meaning, cached.cache_key(*args, **kwargs)))
    if len(keys) == 2:
        assert (keys[0][0] == keys[1][0]) == (keys[0][1] == keys[1][1])


@settings(max_examples=200)
@given(st.data())
def test_a_call_is_found_however_it_is_spelled(data: Any) -> None:
    """As above through calls and hits, which take another way than `cache_key`."""
    runs = []

    @retain
    def f(a: Any, b: Any = 2, *args: Any, c: Any = 3, **kwargs: Any) -> list[Any]:
        runs.append((a, b, args, c, kwargs))
        return [a, b, args, c, kwargs]

    seen: dict[Any, list[Any]] = {}
    for _ in range(6):
        args = tuple(data.draw(st.lists(small, min_size=1, max_size=4)))
        kwargs = data.draw(st.dictionaries(st.sampled_from(["c", "d", "e"]), small, max_size=2))
        meaning = bound(f.__wrapped__, args, kwargs)
        before = len(runs)
        result = f(*args, **kwargs)
        if meaning in seen:
            assert result is seen[meaning]
            assert len(runs) == before
        else:
            assert len(runs) == before + 1
            seen[meaning] = result


# --- operations in any order ---------------------------------------------------------------------

TTL = 10.0

keys = st.integers(0, 4)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("call"), keys),
        st.tuples(st.just("call"), keys),
        st.tuples(st.just("get"), keys),
        st.tuples(st.just("set"), keys),
        st.tuples(st.just("delete"), keys),
        st.tuples(st.just("refresh"), keys),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("advance"), st.sampled_from([1.0, 4.0, 9.0, 11.0])),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=25,
)


class Model:
    """A cache in ten lines."""

    def __init__(self, persistent: bool) -> None:
        self.entries: dict[int, tuple[Any, float]] = {}
        self.now = 0.0
        self.runs = 0
        self.persistent = persistent

    def kept(self, x: int) -> Any:
        value, expires = self.entries.get(x, (MISSING, math.inf))
        return value if self.now < expires else MISSING

    def run(self, x: int) -> Any:
        self.runs += 1
        self.entries[x] = ((x, self.runs), self.now + TTL)
        return self.entries[x][0]

    def apply(self, operation: str, x: Any) -> Any:
        if operation == "call":
            return self.run(x) if self.kept(x) is MISSING else self.kept(x)
        if operation == "get":
            return self.kept(x)
        if operation == "set":
            self.entries[x] = (("set", x), self.now + TTL)
        elif operation == "delete":
            found = self.kept(x) is not MISSING
            self.entries.pop(x, None)
            return found
        elif operation == "refresh":
            return self.run(x)
        elif operation == "clear" or (operation == "reopen" and not self.persistent):
            self.entries.clear()
        elif operation == "advance":
            self.now += x
        return None


class Runs:
    """The function: its results say which run they are of."""

    def __init__(self) -> None:
        self.count = 0

    def __retain_key__(self) -> str:
        return "the same function for as long as a test lasts"

    def __call__(self, x: int) -> Any:
        self.count += 1
        return (x, self.count)


class AsyncRuns(Runs):
    async def __call__(self, x: int) -> Any:
        return super().__call__(x)


async def apply(cached: Any, operation: str, x: Any) -> Any:
    if operation == "advance":
        _native.advance_clock(x)
        return None
    if operation == "reopen":
        retainit.shutdown()
        return None
    if operation == "call":
        result = cached(x)
    elif operation == "set":
        result = cached.cache_set(("set", x), x)
    elif operation == "clear":
        result = cached.cache_clear()
    else:
        result = getattr(cached, f"cache_{operation}")(x)
    return await result if hasattr(result, "__await__") else result


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("backend", ["memory", "disk", "tiers"])
@settings(max_examples=60)
@given(steps=operations)
def test_operations_agree_with_a_model(
    backend: str,
    asynchronous: bool,
    steps: list[tuple[str, Any]],
    loop: asyncio.AbstractEventLoop,
    clock: Any,
) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        retainit.register_backend("m", MemoryConfig())
        retainit.register_backend("d", DiskConfig(base_path=directory))
        tiers: Any = {"memory": "m", "disk": "d", "tiers": ["m", "d"]}[backend]
        function = AsyncRuns() if asynchronous else Runs()
        cached = retain(backend=tiers, ttl=TTL)(function)
        model = Model(persistent=backend != "memory")

        async def follow() -> None:
            for step, (operation, x) in enumerate(steps):
                expected = model.apply(operation, x)
                assert await apply(cached, operation, x) == expected, (step, operation, x)
                assert function.count == model.runs, (step, operation, x)

        if asynchronous:
            loop.run_until_complete(follow())
        else:
            # Driven by hand: nothing in it waits, and a loop would keep synchronous callers from it.
            with pytest.raises(StopIteration):
                follow().send(None)
        retainit.shutdown()
