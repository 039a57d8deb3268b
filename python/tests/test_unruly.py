"""Functions that do what they should not: call themselves, invalidate what they load, never return."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest
from crowds import join, named, waiting, waits_for

import retainit
from retainit import MISSING, DiskConfig
from retainit.errors import LoadTimeoutError


@pytest.fixture(params=["memory", "disk", "memory+disk"])
def tiers(request: pytest.FixtureRequest) -> list[str]:
    retainit.register_backend("disk", DiskConfig(base_path="cache"))
    return str(request.param).split("+")


# --- the function does what it should not ---------------------------------------------------------


@pytest.mark.parametrize("limits", [{}, {"hard_timeout": 3600, "run_in_thread": True}])
def test_a_function_that_calls_itself_with_the_same_arguments(
    tiers: list[str], limits: dict[str, Any]
) -> None:
    depth: contextvars.ContextVar[int] = contextvars.ContextVar("depth", default=0)
    runs: list[int] = []

    @named(backend=tiers, **limits)
    def f(key: int) -> int:
        runs.append(key)
        depth.set(depth.get() + 1)
        return depth.get() if depth.get() == 4 else f(key)

    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(f(1))) for _ in range(1)]
    threads[0].start()
    join(threads)
    assert results == [4]
    assert len(runs) == 4
    assert f(1) == 4
    assert len(runs) == 4


@pytest.mark.parametrize("limits", [{}, {"hard_timeout": 3600}])
def test_a_coroutine_function_that_awaits_itself_with_the_same_arguments(
    tiers: list[str], limits: dict[str, Any]
) -> None:
    depth: contextvars.ContextVar[int] = contextvars.ContextVar("depth", default=0)
    runs: list[int] = []

    @named(backend=tiers, **limits)
    async def f(key: int) -> int:
        runs.append(key)
        await asyncio.sleep(0)
        depth.set(depth.get() + 1)
        return depth.get() if depth.get() == 4 else await f(key)

    async def main() -> None:
        assert await asyncio.wait_for(f(1), 30) == 4
        assert len(runs) == 4
        assert await f(1) == 4

    asyncio.run(main())


@pytest.mark.parametrize("where", ["the function", "cache_if", "ttl"])
@pytest.mark.parametrize("how", ["delete", "clear"])
@pytest.mark.parametrize("limits", [{}, {"hard_timeout": 3600, "run_in_thread": True}])
def test_who_invalidates_during_a_load(
    tiers: list[str], limits: dict[str, Any], how: str, where: str
) -> None:
    """From inside the load itself: it does not wait for itself, and nothing is kept."""
    runs: list[int] = []

    def invalidate(place: str) -> None:
        if place == where and len(runs) == 1:
            f.cache_delete(1) if how == "delete" else f.cache_clear()

    def kept(value: Any) -> bool:
        invalidate("cache_if")
        return True

    def life(value: Any, key: int) -> float:
        invalidate("ttl")
        return 60

    @named(backend=tiers, cache_if=kept, ttl=life, **limits)
    def f(key: int) -> list[int]:
        runs.append(key)
        invalidate("the function")
        return [len(runs)]

    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(f(1)))
    thread.start()
    join([thread])
    assert results == [[1]]
    assert f.cache_get(1) is MISSING
    assert f(1) == [2]
    assert f(1) == [2]


@pytest.mark.parametrize("where", ["the function", "cache_if"])
def test_who_invalidates_during_the_load_of_a_coroutine(tiers: list[str], where: str) -> None:
    async def main() -> None:
        runs: list[int] = []

        def kept(value: Any) -> bool:
            if where == "cache_if" and len(runs) == 1:
                # On the loop, and so without waiting for what only the loop can bring about.
                asyncio.get_running_loop().create_task(f.cache_delete(1))
            return True

        @named(backend=tiers, cache_if=kept)
        async def f(key: int) -> list[int]:
            runs.append(key)
            if where == "the function" and len(runs) == 1:
                await f.cache_delete(1)
            return [len(runs)]

        assert await asyncio.wait_for(f(1), 30) == [1]
        await waits_for(lambda: len(asyncio.all_tasks()) == 1)
        assert await f(1) == [2]
        assert await f(1) == [2]

    asyncio.run(main())


# --- the function never returns -------------------------------------------------------------------


@pytest.fixture
def stuck() -> Any:
    """Lets runs go that never end by themselves."""
    finish = threading.Event()
    yield finish
    finish.set()


def test_a_function_that_never_returns_frees_its_crowd(stuck: threading.Event, clock: Any) -> None:
    runs: list[threading.Thread] = []

    @named(hard_timeout=3, run_in_thread=True)
    def f(key: int) -> int:
        runs.append(threading.current_thread())
        stuck.wait()
        return key

    results: list[Any] = []

    def caller() -> None:
        try:
            results.append(f(1))
        except LoadTimeoutError as error:
            results.append(error)

    threads = [threading.Thread(target=caller) for _ in range(100)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 30
    while waiting(f, 1) < 100 and time.monotonic() < until:
        time.sleep(0.001)
    clock.advance(3)
    join(threads)
    assert [type(result) for result in results] == [LoadTimeoutError] * 100
    assert len(runs) == 1
    stuck.set()
    join(runs)


def test_runs_that_never_end_are_bounded_and_beyond_it_calls_fail_at_once(
    stuck: threading.Event, clock: Any
) -> None:
    runs: list[threading.Thread] = []

    @named(ttl=10, stale_if_error=100, hard_timeout=3, run_in_thread=True)
    def f(key: int) -> str:
        runs.append(threading.current_thread())
        stuck.wait()
        return "made"

    f.cache_set("old", 100)
    clock.advance(10)

    def caller(key: int) -> None:
        with pytest.raises(LoadTimeoutError):
            f(key)

    threads = [threading.Thread(target=caller, args=(key,)) for key in range(32)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 30
    while len(runs) < 32 and time.monotonic() < until:
        time.sleep(0.001)
    clock.advance(3)
    join(threads)
    # No clock moves from here on, so nobody can have waited.
    with pytest.raises(LoadTimeoutError):
        f(32)
    assert f(100) == "old"
    with pytest.raises(LoadTimeoutError):
        f.cache_refresh(100)
    assert len(runs) == 32
    stuck.set()
    join(runs)
    assert f(32) == "made", "there is room again"
