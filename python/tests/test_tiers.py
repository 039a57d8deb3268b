"""Several tiers: what each keeps and for how long, what moves up, what happens when one of them fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retainit import MISSING, DiskConfig, MemoryConfig, PluginConfig, TieredConfig, retain

Call = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def cached(request: pytest.FixtureRequest) -> Callable[..., tuple[Call, list[Any]]]:
    """A cached function that says which run its result comes from, called without `await`, and its runs."""

    def make(**options: Any) -> tuple[Call, list[Any]]:
        runs: list[Any] = []
        if request.param == "sync":

            @retain(key_builder="k:{key}", **options)
            def function(key: Any) -> Any:
                runs.append(key)
                return [key, len(runs)]

            return function, runs

        @retain(key_builder="k:{key}", **options)
        async def coroutine(key: Any) -> Any:
            runs.append(key)
            return [key, len(runs)]

        def call(key: Any) -> Any:
            async def run() -> Any:
                return await coroutine(key)

            return asyncio.run(run())

        call.cached = coroutine  # type: ignore[attr-defined]
        return call, runs

    return make


def three() -> tuple[MemoryConfig, DiskConfig, DiskConfig]:
    return (
        MemoryConfig(ttl=10),
        DiskConfig(base_path="near", ttl=100),
        DiskConfig(base_path="far", ttl=1000),
    )


def test_each_tier_keeps_as_long_as_it_says(cached: Any, clock: Any) -> None:
    call, runs = cached(backend=list(three()))
    assert call(1) == [1, 1]
    for seconds, reads in [(9, 1), (2, 1), (85, 1), (200, 1), (650, 1)]:
        clock.advance(seconds)
        assert call(1) == [1, 1]
        assert len(runs) == reads
    clock.advance(100)
    assert call(1) == [1, 2], "past the longest of them"


def test_what_moves_up_keeps_its_end(cached: Any, clock: Any) -> None:
    memory, near, far = three()
    call, _ = cached(backend=[memory, near, far])
    call(1)
    clock.advance(995)
    assert call(1) == [1, 1], "from the farthest, 5 seconds before its end"
    clock.advance(5)
    assert call(1) == [1, 2], "and no longer in the nearer ones"


def test_a_function_s_own_ttl_counts_everywhere(cached: Any, clock: Any) -> None:
    call, _ = cached(backend=list(three()), ttl=50)
    call(1)
    clock.advance(49)
    assert call(1) == [1, 1]
    clock.advance(1)
    assert call(1) == [1, 2]


def test_tiers_of_tiers_are_one_list(cached: Any) -> None:
    memory, near, far = three()
    call, _ = cached(backend=TieredConfig(tiers=[memory, TieredConfig(tiers=[near, far])]))
    call(1)
    names = getattr(call, "cached", call).cache_parameters()["tiers"]
    assert len(names) == 3


def test_writes_go_through_and_reads_fill(cached: Any) -> None:
    memory, near, far = three()
    call, _ = cached(backend=[memory, near, far])
    call(1)
    for tiers in ([near], [far]):
        alone, others = cached(backend=tiers)
        assert alone(1) == [1, 1]
        assert others == [], "each has it"
    near_again = DiskConfig(base_path="empty")
    filled, others = cached(backend=[near_again, far])
    assert filled(1) == [1, 1]
    alone, more = cached(backend=[near_again])
    assert alone(1) == [1, 1]
    assert others + more == [], "reading has filled it"


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_the_others_go_on_where_one_cannot_be_opened_for_writing(
    cached: Any, broken: int, tmp_path: Path
) -> None:
    # A store that takes nothing: every entry is larger than it may grow.
    tiers: list[Any] = list(three())
    tiers[broken] = (
        PluginConfig("memory", max_bytes=1) if broken == 0 else DiskConfig(base_path="tiny", max_bytes=1)
    )
    call, runs = cached(backend=tiers)
    assert [call(1), call(1), call(2)] == [[1, 1], [1, 1], [2, 2]]
    assert runs == [1, 2]


def test_deleting_reaches_every_tier(clock: Any) -> None:
    memory, near, far = three()

    @retain(backend=[memory, near, far], key_builder="k:{key}")
    def function(key: int) -> int:
        return key

    function(1)
    assert function.cache_delete(1) is True
    assert function.cache_get(1) is MISSING
    function(1), function(2)
    function.cache_clear()
    assert [function.cache_get(key) for key in (1, 2)] == [MISSING, MISSING]


def test_a_stale_value_of_a_near_tier_is_refreshed_from_a_farther_one(clock: Any) -> None:
    runs: list[int] = []

    @retain(backend=[MemoryConfig(ttl=10), DiskConfig(base_path="far", ttl=1000)], stale_ttl=500)
    def function(key: int) -> list[int]:
        runs.append(key)
        return [key, len(runs)]

    assert function(1) == [1, 1]
    clock.advance(11)
    assert function(1) == [1, 1], "stale in memory, and served"
    for thread in threading.enumerate():
        if thread.name.startswith("retainit "):
            thread.join(10)
    clock.advance(5)
    assert function(1) == [1, 1]
    info = function.cache_info()
    assert runs == [1], "the disk had a fresh one: the function did not run"
    assert info.stale == 1
