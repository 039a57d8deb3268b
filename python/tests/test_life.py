"""How long a result is kept, where that depends on it: `ttl` as a function, `cache_none`, `cache_if`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from retainit import MISSING, UNSET, BackendError, ConfigurationError, DiskConfig, MemoryConfig, retain

BACKENDS = [MemoryConfig(), DiskConfig(base_path="cache"), [MemoryConfig(), DiskConfig(base_path="both")]]

Make = Callable[..., tuple[Callable[..., Any], list[Any]]]


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Make:
    """A cached function that returns its first argument, called without `await`, and its runs."""

    def make(**options: Any) -> tuple[Callable[..., Any], list[Any]]:
        runs: list[Any] = []

        def function(value: Any, *, days: int = 1) -> Any:
            runs.append(value)
            return value

        async def coroutine(value: Any, *, days: int = 1) -> Any:
            runs.append(value)
            return value

        if request.param == "sync":
            return retain(function, **options), runs
        cached = retain(coroutine, **options)

        def call(*arguments: Any, **keywords: Any) -> Any:
            async def run() -> Any:
                return await cached(*arguments, **keywords)

            return asyncio.run(run())

        call.cached = cached  # type: ignore[attr-defined]
        return call, runs

    return make


@pytest.mark.parametrize("backend", BACKENDS, ids=["memory", "disk", "both"])
def test_none_may_be_left_out(make: Make, backend: Any) -> None:
    call, runs = make(backend=backend, cache_none=False, version="left out")
    assert [call(value) for value in (None, None, 0, 0)] == [None, None, 0, 0]
    assert runs == [None, None, 0]
    call, runs = make(backend=backend, version="kept")
    assert [call(value) for value in (None, None)] == [None, None]
    assert runs == [None]


@pytest.mark.parametrize("backend", BACKENDS, ids=["memory", "disk", "both"])
def test_a_predicate_says_what_is_kept(make: Make, backend: Any) -> None:
    call, runs = make(backend=backend, cache_if=lambda result: result > 10)
    for value in (5, 5, 15, 15):
        assert call(value) == value
    assert runs == [5, 5, 15]


@pytest.mark.parametrize("backend", BACKENDS, ids=["memory", "disk", "both"])
def test_the_time_to_live_depends_on_result_and_arguments(make: Make, backend: Any, clock: Any) -> None:
    asked = []

    def ttl(result: int, value: int, *, days: int = 1) -> Any:
        asked.append((result, value, days))
        return {1: "10s", 2: 86_400 * days, 3: None, 4: UNSET}[result]

    call, runs = make(backend=backend, ttl=ttl)
    for value in (1, 2, 3, 4):
        call(value, days=2)
    assert asked == [(1, 1, 2), (2, 2, 2), (3, 3, 2), (4, 4, 2)]
    runs.clear()
    clock.advance(9)
    for value in (1, 2, 3, 4):
        call(value, days=2)
    assert runs == []
    clock.advance(2)
    for value in (1, 2, 3, 4):
        call(value, days=2)
    assert runs == [1]
    clock.advance(2 * 86_400)
    for value in (2, 3, 4):
        call(value, days=2)
    assert runs == [1, 2]


def test_unset_leaves_it_to_the_backend(clock: Any) -> None:
    runs = []

    @retain(backend=MemoryConfig(ttl=10), ttl=lambda result, value: UNSET)
    def function(value: int) -> int:
        runs.append(value)
        return value

    function(1)
    clock.advance(11)
    function(1)
    assert runs == [1, 1]


def test_what_cannot_be_found_out_leaves_the_result_uncached(make: Make) -> None:
    def broken(*arguments: Any, **keywords: Any) -> Any:
        raise OverflowError("no idea")

    for options in (
        {"ttl": broken},
        {"cache_if": broken},
        {"ttl": lambda *a, **k: -1},
        {"ttl": lambda *a, **k: "soon"},
    ):
        call, runs = make(**options)
        assert [call(1), call(1)] == [1, 1]
        assert runs == [1, 1]
        cached: Any = getattr(call, "cached", call)
        assert cached.cache_info().errors == 2
        call, runs = make(**options, strict=True)
        with pytest.raises(BackendError, match="cannot be said how long a result is kept"):
            call(1)


def test_an_interrupt_is_no_failure_of_the_cache() -> None:
    def interrupted(result: int) -> bool:
        raise KeyboardInterrupt

    cached = retain(lambda value: value, cache_if=interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached(1)


def test_a_value_that_is_set_is_kept_whatever_it_is(clock: Any) -> None:
    @retain(ttl=lambda result, value: 10 * value, cache_none=False, cache_if=lambda result: False)
    def function(value: int) -> int | None:
        return None

    function.cache_set(None, 1)
    function.cache_set(7, 2)
    assert (function.cache_get(1), function.cache_get(2)) == (None, 7)
    clock.advance(11)
    assert (function.cache_get(1), function.cache_get(2)) == (MISSING, 7)


def test_a_refresh_that_is_not_kept_removes_what_was_there() -> None:
    results = iter([1, None, 3])

    @retain(cache_none=False)
    def function() -> int | None:
        return next(results)

    assert function() == 1
    assert function.cache_refresh() is None
    assert function() == 3


@pytest.mark.parametrize("options", [{"cache_none": "no"}, {"cache_if": 5}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigurationError, match=f"option `{name}` of `retain`: expected"):
        retain(**options)
