"""`retainit.lru_cache` against `functools.lru_cache`, call by call."""

from __future__ import annotations

import functools
import gc
import random
import weakref
from typing import Any

import pytest

import retainit


class Key:
    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return self.value == getattr(other, "value", other)

    def __hash__(self) -> int:
        return hash(self.value)


POOL = [1, 1.0, True, 2, 0, False, "1", None, (1,), (1.0,), Key(1), Key(2), frozenset({1}), 1 + 0j, "a", b"a"]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("maxsize", [None, 0, 1, 3, 128, -5])
def test_the_same_as_functools(maxsize: int | None, typed: bool) -> None:
    logs: list[list[Any]] = [[], []]

    def function(log: list[Any]) -> Any:
        def f(*args: Any, **kwargs: Any) -> int:
            log.append((args, kwargs))
            return len(log)

        return f

    theirs = functools.lru_cache(maxsize, typed)(function(logs[0]))
    ours = retainit.lru_cache(maxsize, typed)(function(logs[1]))
    chance = random.Random(f"{maxsize}{typed}")
    for _ in range(3000):
        args = tuple(chance.choice(POOL) for _ in range(chance.randrange(3)))
        kwargs = {name: chance.choice(POOL) for name in chance.sample("ab", chance.randrange(3))}
        assert theirs(*args, **kwargs) == ours(*args, **kwargs), (args, kwargs)
        assert tuple(theirs.cache_info()) == ours.cache_info()[:4]
    theirs.cache_clear()
    ours.cache_clear()
    assert tuple(theirs.cache_info()) == ours.cache_info()[:4]


def test_spellings() -> None:
    @retainit.lru_cache
    def bare(x: int) -> object:
        return object()

    @retainit.lru_cache()
    def called(x: int) -> object:
        return object()

    @retainit.lru_cache(maxsize=None, typed=True)
    def optioned(x: int) -> object:
        return object()

    for function in (bare, called, optioned):
        assert function(1) is function(1)
    assert bare.cache_parameters()["maxsize"] == 128
    assert optioned.cache_parameters()["typed"] is True
    with pytest.raises(TypeError):
        retainit.lru_cache("5")  # type: ignore[call-overload]


def test_unhashable_arguments_are_errors() -> None:
    cached = retainit.lru_cache(lambda x: x)
    with pytest.raises(TypeError, match="unhashable"):
        cached([])


def test_methods() -> None:
    class Thing:
        @retainit.lru_cache(maxsize=8)
        def get(self, x: int) -> object:
            return object()

    one, other = Thing(), Thing()
    assert one.get(1) is one.get(1)
    assert one.get(1) is not other.get(1)
    gone = weakref.ref(other)
    Thing.get.cache_clear()
    del other
    gc.collect()
    assert gone() is None


def test_entries_go_with_their_function() -> None:
    class Value: ...

    kept = []

    def make() -> Any:
        @retainit.lru_cache(maxsize=None)
        def f(x: int) -> Value:
            return Value()

        kept.append(weakref.ref(f(1)))
        return f

    function = make()
    gc.collect()
    assert kept[0]() is not None
    del function
    gc.collect()
    assert kept[0]() is None
