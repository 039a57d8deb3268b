"""Keys of the standard library's types, of models, and of what has none on purpose."""

from __future__ import annotations

import array
import asyncio
import collections
import dataclasses
import datetime
import functools
import ipaddress
import operator
import re
import socket
import string
import tempfile
import threading
import types
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import attrs
import pydantic
import pydantic.v1
import pytest

import retainit
from retainit import DiskConfig, UnkeyableError, UnkeyableWarning, _native, retain

key = _native.encode
T = TypeVar("T")


def assert_same(*values: Any) -> None:
    assert len({key(value) for value in values}) == 1


def assert_differ(*values: Any) -> None:
    assert len({key(value) for value in values}) == len(values)


# --- the standard library ------------------------------------------------------------------------


def test_containers() -> None:
    pairs = [("a", 1), ("b", 2)]
    ordered = collections.OrderedDict
    assert_same(collections.Counter("aab"), collections.Counter(b=1, a=2))
    assert_same(types.SimpleNamespace(a=1, b=2), types.SimpleNamespace(b=2, a=1))
    assert_same(types.MappingProxyType({"a": 1, "b": 2}), types.MappingProxyType({"b": 2, "a": 1}))
    assert_differ(
        dict(pairs), ordered(pairs), ordered(pairs[::-1]), collections.Counter(dict(pairs)),
        collections.defaultdict(int, pairs), collections.defaultdict(list, pairs), tuple(pairs), pairs,
        collections.deque(pairs), collections.deque(pairs, 2), collections.ChainMap(dict(pairs)),
        collections.ChainMap({}, dict(pairs)), collections.UserDict(pairs),
        collections.UserList(pairs), types.MappingProxyType(dict(pairs)),
        types.SimpleNamespace(a=1, b=2), dict(pairs).keys(), dict(pairs).items(), dict(pairs).values(),
    )  # fmt: skip


def test_buffers() -> None:
    assert_same(array.array("i", [1, 2]), array.array("i", [1, 2]))
    assert_same(memoryview(b"abcdef")[::2], memoryview(bytearray(b"a.c.e."))[::2], memoryview(b"ace"))
    assert_differ(
        b"abcd", bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"abcd").cast("H"),
        array.array("b", b"abcd"), array.array("B", b"abcd"), memoryview(b"abcd").cast("B", (2, 2)),
        "abcd",
    )  # fmt: skip


def test_patterns_addresses_and_templates() -> None:
    assert_differ(re.compile("a"), re.compile("a", re.I), re.compile("b"), re.compile(b"a"), "a")
    texts = ["10.0.0.0", "10.0.0.1", "::1", "::1%eth0", "::2"]
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("10.0.0.0/9")]
    interfaces = [ipaddress.ip_interface("10.0.0.0/8"), ipaddress.ip_interface("10.0.0.0")]
    assert_differ(*map(ipaddress.ip_address, texts), *networks, *interfaces, *texts)
    assert_differ(string.Template("$a"), string.Template("$b"), "$a", collections.UserString("$a"))


def test_zones() -> None:
    zone = zoneinfo.ZoneInfo
    assert_same(zone("Europe/Paris"), zone.no_cache("Europe/Paris"))
    when = datetime.datetime(2020, 10, 25, 2, 30)
    utc = datetime.timezone.utc
    assert_differ(zone("Europe/Paris"), zone("Europe/Rome"), utc, zone("UTC"))
    assert_differ(*(when.replace(tzinfo=each) for each in (None, utc, zone("UTC"), zone("Europe/Paris"))))
    assert_differ(*(when.replace(tzinfo=zone("Europe/Paris"), fold=fold) for fold in (0, 1)))


def module_function() -> None: ...


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    def __retain_key__(self) -> str:
        return self.name

    def price(self) -> None: ...

    @staticmethod
    def tax() -> None: ...

    @classmethod
    def open(cls) -> None: ...


@functools.lru_cache
def cached_function() -> None: ...


def test_callables() -> None:
    assert_same(Shop("a").price, Shop("a").price)
    assert_same(functools.partial(int, base=2), functools.partial(int, base=2))
    assert_differ(
        module_function, cached_function, Shop, Shop.price, Shop.tax, Shop.open, Shop("a").price,
        Shop("b").price, int, len, functools.partial(int), functools.partial(int, "1"),
        functools.partial(int, base=2), operator.itemgetter(1), operator.itemgetter(1, 2),
        operator.attrgetter("a"), operator.attrgetter("a.b"), operator.methodcaller("a"),
        operator.methodcaller("a", 1), operator.methodcaller("a", x=1),
    )  # fmt: skip
    assert_differ(list[int], list[str], list, int | str, int | None, dict[str, int])
    assert_same(int | str, str | int)


def test_functions_that_share_a_name_are_told_apart(counted: Any) -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper() -> Any: ...

        return wrapper

    f = counted(strict=True)
    assert f(module_function) is f(module_function)
    assert f(logged(module_function)) is not f(module_function)
    assert f(cached_function) is f(cached_function)
    assert f(cached_function) is not f(cached_function.__wrapped__)
    with pytest.raises(UnkeyableError, match="outside this process"):
        key(logged(module_function))


def test_classes_that_share_a_name_are_told_apart(counted: Any) -> None:
    def make() -> Any:
        @dataclasses.dataclass
        class Point:
            x: int

        return Point

    f, one, other = counted(strict=True), make(), make()
    assert f(one(1)) is f(one(1))
    assert f(one(1)) is not f(one(2))
    assert f(one(1)) is not f(other(1))
    assert f(one) is not f(other)
    rows: Any = [collections.namedtuple("Row", "a b") for _ in range(2)]
    assert f(rows[0](1, 2)) is f(rows[0](1, 2))
    assert f(rows[0](1, 2)) is not f(rows[1](1, 2))
    with pytest.raises(UnkeyableError, match=r"the class `.*Point`, which is not found by its name,"):
        key(one(1))


# --- models --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int


@attrs.define
class Item:
    name: str
    price: float = 1.0
    note: str = attrs.field(default="", eq=False)
    size: str = attrs.field(default="M", eq=str.lower)


@attrs.define
class OtherItem:
    name: str
    price: float = 1.0


@attrs.frozen(eq=False)
class Identity:
    name: str


def test_attrs_classes() -> None:
    assert_same(Item("a"), Item("a", 1.0, note="x"), Item("a", size="m"))
    assert_differ(Item("a"), Item("b"), Item("a", 2.0), Item("a", 1), Item("a", size="L"), OtherItem("a"))


class User(pydantic.BaseModel):
    name: str
    age: int = 1
    tags: list[str] = []
    _secret: int = pydantic.PrivateAttr(default=0)


class OtherUser(pydantic.BaseModel):
    name: str
    age: int = 1
    tags: list[str] = []


class Open(pydantic.BaseModel, extra="allow"):
    name: str = ""


class Box(pydantic.BaseModel, Generic[T]):
    inner: T


class Names(pydantic.RootModel[list[str]]):
    pass


class Loose(pydantic.BaseModel):
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loose)

    def __hash__(self) -> int:
        return 1


class Old(pydantic.v1.BaseModel):
    name: str = ""
    age: int = 1


def test_pydantic_models() -> None:
    secret = User(name="a")
    secret._secret = 1
    assert_same(User(name="a"), User.model_validate({"name": "a"}), User(name="a").model_copy())
    assert_differ(User(name="a"), User(name="b"), User(name="a", tags=["x"]), OtherUser(name="a"), secret)
    assert_differ(Open(), Open(name="x"), Open(x=1), Open(x=2), Open(y=1))  # type: ignore[call-arg]
    assert_same(Box[int](inner=1), Box[int](inner=1))
    assert_differ(Box[int](inner=1), Box[float](inner=1), Box(inner=1), Names(["a"]), Names(["b"]), ["a"])
    nested = Box[User](inner=User(name="a"))
    assert_differ(nested, Box[User](inner=User(name="b")))


def test_fields_that_were_given_are_part_of_the_key() -> None:
    given, unset = User(name="a", age=1), User(name="a")
    assert given == unset
    assert given.model_dump(exclude_unset=True) != unset.model_dump(exclude_unset=True)
    assert_differ(given, unset)


def test_models_of_pydantic_1() -> None:
    assert_same(Old(name="a"), Old(name="a"))
    assert_differ(Old(name="a"), Old(name="b"), Old(name="a", age=1), Old())


def test_a_models_own_equality_comes_first(counted: Any) -> None:
    f = counted(strict=True)
    assert f(Loose(name="a")) is f(Loose(name="b"))
    assert f(Identity("a")) is not f(Identity("a"))
    with pytest.raises(UnkeyableError, match="outside this process"):
        key(Loose(name="a"))


def test_an_object_that_was_never_finished_does_not_fail_the_call(counted: Any) -> None:
    unfinished = Point.__new__(Point)
    with pytest.warns(UnkeyableWarning, match="argument `x`: .* reading it failed: AttributeError"):
        assert counted()(unfinished)[0] == 1


# --- methods -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Account:
    number: int

    @retain(strict=True)
    def by_content(self) -> object:
        return object()


class Plain:
    @retain
    def method(self, x: int = 1) -> object:
        return object()

    @retain(exclude_args=["self"])
    def shared(self) -> object:
        return object()


class Keyed(Shop):
    @retain(strict=True)
    def method(self) -> object:
        return object()


class Unhashable(Plain):
    __hash__ = None  # type: ignore[assignment]


def test_self_is_part_of_the_key_by_content_or_by_its_own_equality() -> None:
    assert Account(1).by_content() is Account(1).by_content()
    assert Account(1).by_content() is not Account(2).by_content()
    assert Keyed("a").method() is Keyed("a").method()
    assert Keyed("a").method() is not Keyed("b").method()
    one, other = Plain(), Plain()
    assert one.method() is one.method()
    assert one.method() is not other.method()
    assert one.shared() is other.shared()


def test_self_is_never_an_address() -> None:
    results = {id(result): result for result in (Plain().method() for _ in range(100))}
    assert len(results) == 100


def test_self_without_a_key_is_named() -> None:
    with pytest.warns(
        UnkeyableWarning, match=r"`.*Plain\.method` runs uncached: argument `self`.*__retain_key__"
    ):
        Unhashable().method()
    retainit.register_backend("disk", DiskConfig(base_path="cache"))

    class Stored:
        @retain(backend="disk", strict=True)
        def method(self) -> int:
            return 1

    with pytest.raises(
        UnkeyableError, match=r"argument `self`: .* outside this process; hint: .*`exclude_args`"
    ):
        Stored().method()


# --- what has no key -----------------------------------------------------------------------------


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


def test_what_is_used_up_has_no_key(counted: Any) -> None:
    awaitable = coroutine()
    once = [generator(), iter([1]), map(int, "1"), zip("a", "b", strict=True), enumerate("a"), reversed([1])]
    for value in [*once, awaitable]:
        with pytest.warns(
            UnkeyableWarning, match=r"argument `x`: a value of type `.*` has no key: .* only once; hint:"
        ):
            counted()(value)
        with pytest.raises(UnkeyableError, match=r"argument `y`: .*hint: (pass a list|await it)"):
            counted(strict=True)(1, [value])
    awaitable.close()


def test_what_says_nothing_of_the_call_has_no_key(counted: Any) -> None:
    strict = counted(strict=True)
    with (
        socket.socket() as connection,
        tempfile.TemporaryFile() as file,
        tempfile.NamedTemporaryFile() as named,
    ):
        for value in (connection, file, named):
            with pytest.raises(
                UnkeyableError, match=r"argument `x`: .* says nothing .*hint: .*`exclude_args`"
            ):
                strict(value)
    for lock in (threading.Lock(), threading.RLock(), threading.Event(), threading.Thread(target=print)):
        with pytest.raises(UnkeyableError, match="a lock or a thread says nothing"):
            strict(lock)


def test_an_iterator_may_say_its_key(counted: Any) -> None:
    class Pages:
        def __retain_key__(self) -> str:
            return "pages"

        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            return 1

    f = counted(strict=True)
    assert f(Pages()) is f(Pages())


def test_long_values_have_short_keys_and_are_told_apart(counted: Any) -> None:
    long: list[Any] = ["a" * 5000, b"a" * 5000, bytearray(b"a" * 5000), "\u00e9" * 5000, list(range(5000))]
    long += [tuple(range(5000)), set(range(5000)), dict.fromkeys(range(5000)), 1 << 50_000, [b"a" * 4000] * 3]
    for value in long:
        assert len(key(value)) == 33
    assert_differ(*long, *([value] for value in long), *((value,) for value in long))
    assert_differ(*(b"a" * length for length in range(4080, 4110)))
    f = counted(strict=True)
    for value in long:
        assert f(value) is f(value)
    assert f(long[0]) is f("".join(["a"] * 5000))


def test_async_functions_warn_too() -> None:
    @retain
    async def f(x: Any) -> int:
        return 1

    with pytest.warns(UnkeyableWarning, match="argument `x`"):
        assert asyncio.run(f(generator())) == 1
