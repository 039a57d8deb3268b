"""Locks: turns of threads, tasks and loops, waiting, misuse."""

from __future__ import annotations

import asyncio
import functools
import math
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from locking import Run, is_free, run_in_thread, runner

import retainit
from retainit import (
    BackendError,
    Cache,
    ConfigurationError,
    DiskConfig,
    LockError,
    LockLostError,
    LockTimeoutError,
    RetainitError,
    TieredConfig,
    _native,
    _registry,
    _waits,
)

Python = Callable[..., str]


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest) -> Cache:
    return Cache(request.param)


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    return runner(request.param)


@pytest.fixture
def threads() -> Iterator[Callable[..., threading.Thread]]:
    """Starts threads, which have to end well by the end of the test."""
    started: list[threading.Thread] = []
    failures: list[BaseException] = []

    def start(target: Callable[[], object]) -> threading.Thread:
        def work() -> None:
            try:
                target()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work, daemon=True)
        started.append(thread)
        thread.start()
        return thread

    yield start
    for thread in started:
        thread.join(20)
        assert not thread.is_alive()
    assert not failures


# --- one at a time --------------------------------------------------------------------------------


def test_a_lock_is_held_in_the_block_and_free_after_it(cache: Cache) -> None:
    lock = cache.lock("x")
    for _ in range(2):
        with lock as held:
            assert held is lock
            assert not lock.lost
            assert not is_free(cache)
            assert is_free(cache, "another")
        assert is_free(cache)


def test_the_fence_grows_with_each_holder(cache: Cache) -> None:
    fences = []
    for _ in range(3):
        with cache.lock("x") as lock:
            fences.append(lock.fence)
    assert fences[0] < fences[1] < fences[2]
    assert cache.lock("x").acquire() > fences[2]


def test_the_default_cache_is_of_the_default_backend() -> None:
    retainit.register_backend("default", DiskConfig(base_path="cache"))
    with retainit.cache.lock("x"):
        assert not is_free(Cache(DiskConfig(base_path="cache")))
        assert is_free(Cache("memory"))


def test_a_cache_follows_the_configuration() -> None:
    disk = Cache(DiskConfig(base_path="cache"))
    lock = retainit.cache.lock("x")
    with lock:
        assert is_free(disk)
    retainit.register_backend("default", DiskConfig(base_path="cache"))
    for _ in range(2):
        with lock:
            assert not is_free(disk)
        # Opened again by whoever needs it.
        retainit.shutdown()


def test_namespaces_have_locks_of_their_own() -> None:
    one, two = (Cache(DiskConfig(base_path="cache", namespace=name)) for name in ("one", "two"))
    with one.lock("x"):
        assert is_free(two)
        assert not is_free(one)


def test_many_threads_take_turns(cache: Cache, threads: Callable[..., threading.Thread]) -> None:
    lock = cache.lock("x")
    inside, fences = 0, []

    def work() -> None:
        nonlocal inside
        for _ in range(20):
            with lock:
                inside += 1
                assert inside == 1
                fences.append(lock.fence)
                assert not lock.lost
                inside -= 1

    for thread in [threads(work) for _ in range(8)]:
        thread.join(20)
    assert len(fences) == 160
    assert fences == sorted(set(fences))


def test_many_tasks_take_turns_and_the_loop_goes_on(cache: Cache) -> None:
    inside, fences, ticks = 0, [], 0

    async def work() -> None:
        nonlocal inside
        for _ in range(5):
            async with cache.lock("x") as lock:
                inside += 1
                assert inside == 1
                fences.append(lock.fence)
                await asyncio.sleep(0)
                inside -= 1

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        await asyncio.gather(*(work() for _ in range(20)))
        ticking.cancel()

    asyncio.run(main())
    assert len(fences) == 100
    assert fences == sorted(set(fences))
    assert ticks > 100


def test_many_tasks_of_trio_take_turns(cache: Cache) -> None:
    trio = pytest.importorskip("trio")
    inside, fences = 0, []

    async def work() -> None:
        nonlocal inside
        for _ in range(5):
            async with cache.lock("x") as lock:
                inside += 1
                assert inside == 1
                fences.append(lock.fence)
                await trio.sleep(0)
                inside -= 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(work)

    trio.run(main)
    assert len(fences) == 100
    assert fences == sorted(set(fences))


def test_threads_and_loops_meet_at_one_lock(cache: Cache, threads: Callable[..., threading.Thread]) -> None:
    inside, turns = 0, 0

    def turn() -> None:
        nonlocal inside, turns
        inside += 1
        assert inside == 1
        turns += 1
        inside -= 1

    def in_thread() -> None:
        for _ in range(20):
            with cache.lock("x"):
                turn()

    async def in_task() -> None:
        for _ in range(20):
            async with cache.lock("x"):
                turn()

    loops = [lambda: asyncio.run(in_task())] * 2
    for thread in [threads(each) for each in (in_thread, in_thread, *loops)]:
        thread.join(20)
    assert turns == 80


# --- waiting --------------------------------------------------------------------------------------


def test_a_lock_that_is_not_free_in_time(cache: Cache, run: Run) -> None:
    with cache.lock("x"):

        def look() -> None:
            started = time.monotonic()
            with pytest.raises(LockTimeoutError, match=r"^lock `x` was not free within 0\.05 s$") as raised:
                cache.lock("x", timeout=0.05).acquire()
            assert time.monotonic() - started >= 0.045
            for kind in (TimeoutError, LockError, RetainitError):
                assert isinstance(raised.value, kind)
            with pytest.raises(LockTimeoutError, match=r"^lock `x` was not free$"):
                cache.lock("x").acquire(timeout=0)

        async def look_in_a_task() -> None:
            started = time.monotonic()
            with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
                await cache.lock("x").aacquire(timeout=timedelta(milliseconds=50))
            assert time.monotonic() - started >= 0.045
            with pytest.raises(LockTimeoutError):
                async with cache.lock("x", timeout=0):
                    pytest.fail("held twice")

        run_in_thread(look)
        run_in_thread(lambda: run(look_in_a_task))
        assert not is_free(cache)


def test_a_timeout_by_the_process_clock(cache: Cache, clock: Any) -> None:
    waited = threading.Event()

    def wait() -> None:
        with pytest.raises(LockTimeoutError):
            cache.lock("x", timeout="1h").acquire()
        waited.set()

    with cache.lock("x", ttl="1d"):
        thread = threading.Thread(target=wait)
        thread.start()
        clock.advance(3000)
        assert not waited.wait(0.05)
        # From when it began to wait, which may have been only now.
        clock.advance(3601)
        assert waited.wait(20)
        thread.join(20)


def test_a_release_rings_for_who_waits_in_this_process(cache: Cache) -> None:
    """Who waits need not wait for the end of a pause between two attempts."""
    lock = cache.lock("x")
    backend, name = lock._place()
    rung: list[str] = []
    lock.acquire()
    first, second = (
        _native.LeaseWait(backend, name, 30, None, functools.partial(rung.append, who)) for who in "ab"
    )
    for wait in (first, second, first, second):
        assert wait.attempt() is None
    assert rung == []
    lock.release()
    assert rung == ["a"]
    lease = first.attempt()
    assert lease is not None
    assert lease.release()
    assert rung == ["a", "b"]
    # Cancelled, or late: nobody is left to be told.
    second.leave()
    with lock:
        pass
    assert rung == ["a", "b"]


def test_a_ring_from_any_thread_ends_a_wait_or_the_next_one(run: Run) -> None:
    async def main() -> None:
        rung = _waits.bell()
        threading.Timer(0.01, rung.ring).start()
        await rung.wait(60)
        rung.ring()
        await rung.wait(60)
        await rung.wait(0.001)

    started = time.monotonic()
    run(main)
    assert time.monotonic() - started < 50


# --- misuse ---------------------------------------------------------------------------------------


def test_waiting_for_what_one_holds_oneself_is_refused(cache: Cache, run: Run) -> None:
    lock = cache.lock("x")
    with lock:
        for again in (lock, cache.lock("x"), cache.lock("x", timeout=5)):
            with pytest.raises(LockError, match=r"lock `x`: expected another thread or task to hold it"):
                again.acquire()
        assert not lock.lost

    async def main() -> None:
        async with lock:
            with pytest.raises(LockError, match=r"waiting for it would never end"):
                await cache.lock("x").aacquire()
            # A wait that keeps the loop of the holder from going on.
            with pytest.raises(LockError, match=r"locks are not reentrant"):
                cache.lock("x").acquire()
        await lock.aacquire()
        await lock.arelease()

    run(main)
    assert is_free(cache)


def test_one_object_that_several_hold_knows_who_is_who(cache: Cache, clock: Any) -> None:
    lock = cache.lock("x", ttl=10)
    first = lock.acquire()
    clock.advance(11)
    assert lock.lost
    fences: list[int] = []

    def second() -> None:
        with lock:
            fences.append(lock.fence)
            ready.set()
            assert done.wait(20)
            assert not lock.lost

    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=second)
    thread.start()
    assert ready.wait(20)
    assert (lock.fence, lock.lost) == (first, True)

    def third() -> None:
        with pytest.raises(LockError, match="expected a thread or task that holds it, found another"):
            lock.release()

    run_in_thread(third)
    with pytest.raises(LockLostError):
        lock.release()
    # What is left is the other's, which may be given back by anybody.
    assert lock.fence == fences[0] > first
    done.set()
    thread.join(20)
    assert is_free(cache)


def test_what_is_not_held_is_not_given_back(cache: Cache, run: Run) -> None:
    lock = cache.lock("x")
    for use in (lock.release, lambda: lock.fence, lambda: lock.lost):
        with pytest.raises(LockError, match=r"^lock `x`: expected it to be held, found it free$"):
            use()
    with lock:
        pass
    with pytest.raises(LockError):
        lock.release()

    async def main() -> None:
        with pytest.raises(LockError):
            await lock.arelease()

    run(main)


def test_another_thread_may_give_it_back(cache: Cache) -> None:
    lock = cache.lock("x")
    fence = lock.acquire()
    run_in_thread(lambda: (lock.fence == fence) or pytest.fail("another fence"))
    run_in_thread(lock.release)
    assert is_free(cache)


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, 1e300, "", "soon", None, True, 0.099, b"1"])
def test_a_ttl_that_is_none(cache: Cache, ttl: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^option `ttl` of `lock`: expected "):
        cache.lock("x", ttl=ttl)


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf, 1e300, "", "later", False, b"1"])
def test_a_timeout_that_is_none(cache: Cache, timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^option `timeout` of `lock`: expected "):
        cache.lock("x", timeout=timeout)
    with pytest.raises(ConfigurationError, match=r"^option `timeout` of `lock`: expected "):
        cache.lock("x").acquire(timeout=timeout)


@pytest.mark.parametrize("name", ["", None, 1, b"x"])
def test_a_name_that_is_none(cache: Cache, name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^name of a lock: expected a name"):
        cache.lock(name)


@pytest.mark.parametrize("name", ["\0", "ä", "\ud800", "x" * 10_000, "a/b\\c'\""])
def test_names_of_all_kinds(cache: Cache, name: str) -> None:
    with cache.lock(name):
        assert not is_free(cache, name)
        assert is_free(cache, "x")


def test_a_backend_without_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        name, type, capabilities = "plain", "s3", frozenset({"ttl", "blocking"})

    memory = _registry.resolve("memory")
    tiers = [*memory, memory[0]._replace(backend=Without())]  # type: ignore[arg-type]
    monkeypatch.setattr(_registry, "resolve", lambda spec: tuple(tiers))
    expected = (
        "lock `x`: expected a backend with the capability `lease`, found `plain` of type `s3`, which has "
        "`blocking`, `ttl`; hint: "
    )
    with pytest.raises(ConfigurationError) as raised:
        retainit.cache.lock("x").acquire()
    assert str(raised.value).startswith(expected)


def test_of_several_tiers_the_farthest_counts() -> None:
    tiers = TieredConfig(tiers=["memory", DiskConfig(base_path="cache")])
    with Cache(tiers).lock("x"):
        assert is_free(Cache("memory"))
        assert not is_free(Cache(DiskConfig(base_path="cache")))


def test_a_store_that_fails_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((BackendError, ConfigurationError)):
        Cache(DiskConfig(base_path="file/cache")).lock("x").acquire()
