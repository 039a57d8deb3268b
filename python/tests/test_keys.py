"""Which calls are one call: keys, and what makes them."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import retainit
from retainit import (
    DiskConfig,
    MemoryConfig,
    UnkeyableError,
    UnkeyableWarning,
    retain,
)


def test_spellings_of_one_call_are_one_key(counted: Any) -> None:
    f = counted()
    first = f(1)
    assert f(1, 2) is first
    assert f(x=1) is first
    assert f(1, y=2) is first
    assert f(y=2, x=1) is first
    assert f(1, 3) is not first
    assert f.cache_info()[:2] == (4, 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, True), (0, False), (1, "1"), (None, ""), (None, False), ([1], (1,)), ("a", b"a"),
        (b"a", bytearray(b"a")), ({1}, frozenset({1})), ({}, []), (0.0, -0.0), (1, 1 + 0j), ("", b""),
        (2**63, 2.0**63), ((1, 2), (1, (2,))), (["ab", "c"], ["a", "bc"]), ("\u00e9", "e\u0301"),
    ],
)  # fmt: skip
def test_values_that_differ_do_not_share_a_key(counted: Any, one: Any, other: Any) -> None:
    f = counted()
    assert f(one) is not f(other)
    assert f(one) is f(one)
    assert f((one,)) is not f((other,))


def test_dicts_and_sets_have_no_order(counted: Any) -> None:
    f = counted()
    assert f({"a": 1, "b": 2}) is f({"b": 2, "a": 1})
    assert f({3, 1, 2}) is f({2, 3, 1})


def test_lone_surrogates_have_keys_of_their_own(counted: Any) -> None:
    f = counted()
    assert f("\ud800") is f("\ud800")
    assert f("\ud800") is not f("\udfff")


def test_variadic_functions() -> None:
    @retain
    def f(*args: Any, **kwargs: Any) -> object:
        return object()

    assert f() is f()
    assert f(1, 2) is not f((1, 2))
    assert f(1, a=1, b=2) is f(1, b=2, a=1)
    assert f(a=1) is not f(("a", 1))
    assert f({"a": 1}) is not f(a=1)


def test_positional_only_names_can_be_keywords_too() -> None:
    @retain
    def f(a: int, /, **kwargs: int) -> object:
        return object()

    assert f(1, a=2) is f(1, a=2)
    assert f(1, a=2) is not f(1, a=3)


def test_key_builder_sees_one_form_of_every_spelling() -> None:
    seen = []

    def build(function: Any, user_id: int, **rest: Any) -> str:
        seen.append((function, user_id, rest))
        return f"user:{user_id}"

    @retain(key_builder=build)
    def f(user_id: int, page: int = 1, *, deep: bool = False) -> object:
        return object()

    assert f(1) is f(user_id=1) is f(1, 7) is f(1, deep=True)
    assert seen[0] == (f.__wrapped__, 1, {"page": 1, "deep": False})
    assert f.cache_key(1).endswith(":user:1")


def test_key_templates() -> None:
    @retain(key_builder="{user}:{page}")
    def f(user: str, page: int = 1) -> object:
        return object()

    assert f("a") is f(user="a", page=1)
    assert f("a:1", 2) is not f("a", "1:2")  # type: ignore[arg-type]


def test_key_builder_results_are_checked() -> None:
    number = retain(key_builder=lambda function, x: x)(lambda x: x)
    with pytest.raises(TypeError, match="returned `int`; expected `str`"):
        number(1)
    empty = retain(key_builder=lambda function, x: "", strict=True)(lambda x: x)
    with pytest.raises(UnkeyableError, match="empty key"):
        empty(1)


def test_excluded_arguments() -> None:
    @retain(exclude_args=["connection"])
    def f(x: int, connection: Any) -> object:
        return object()

    assert f(1, object()) is f(1, connection=[])


def test_unkeyable_arguments_warn_once_and_run_uncached(counted: Any) -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

    f = counted()
    with pytest.warns(UnkeyableWarning, match="argument `y`.*Unhashable.*__retain_key__"):
        first = f(1, Unhashable())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f(1, Unhashable()) != first
    strict = counted(strict=True)
    with pytest.raises(UnkeyableError, match="argument `x`"):
        strict([Unhashable()])


def test_cyclic_arguments_are_unkeyable(counted: Any) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(UnkeyableError, match="within itself"):
        counted(strict=True)(loop)


def test_hashable_objects_are_keyed_by_their_own_equality_in_process(counted: Any) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Point) and other.x == self.x

        def __hash__(self) -> int:
            return hash(self.x)

    f = counted()
    assert f(Point(1)) is f(Point(1))
    assert f(Point(1)) is not f(Point(2))
    first, second = object(), object()
    assert f(first) is not f(second)


def test_a_number_of_an_object_is_never_used_again(counted: Any) -> None:
    retainit.register_backend("tiny", MemoryConfig(max_size=1))
    f = counted(backend="tiny")
    results = []
    for _ in range(50):
        results.append(f(object())[0])
    assert results == list(range(1, 51))


def test_an_objects_own_key(counted: Any) -> None:
    class Account:
        def __init__(self, number: int) -> None:
            self.number = number

        def __retain_key__(self) -> object:
            return self.number

    f = counted(strict=True)
    assert f(Account(1)) is f(Account(1))
    assert f(Account(1)) is not f(Account(2))
    assert f(Account(1)) is not f(1)


def test_versions_and_namespaces_part_entries_on_disk() -> None:
    retainit.register_backend("disk", DiskConfig(base_path="cache"))

    def make(**options: Any) -> Any:
        runs: list[int] = []

        def shared(x: int) -> int:
            runs.append(x)
            return len(runs)

        return retain(backend="disk", **options)(shared), runs

    functions = [make(), make(version=2), make(version="3"), make(namespace="other")]
    for function, runs in functions:
        function(1)
        assert runs == [1]
    again, runs = make(version=2)
    again(1)
    assert runs == []


def test_closures_do_not_share_entries_on_disk() -> None:
    retainit.register_backend("disk", DiskConfig(base_path="cache"))

    def adder(n: int) -> Any:
        @retain(backend="disk")
        def add(x: int) -> int:
            return x + n

        return add

    assert adder(1)(1) == 2
    assert adder(10)(1) == 11
