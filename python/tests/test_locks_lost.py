"""Locks that are lost, and every way out of one that is held."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from locking import Run, eventually, is_free, runner

from retainit import (
    Cache,
    LockError,
    LockLostError,
    _locks,
)

Python = Callable[..., str]


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest) -> Cache:
    return Cache(request.param)


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    return runner(request.param)


# --- loss -----------------------------------------------------------------------------------------


def test_a_held_lock_is_renewed(cache: Cache, clock: Any) -> None:
    with cache.lock("x", ttl=30) as lock:
        # In steps that leave the thread that renews it time to get its turn on a busy machine.
        for step in range(90):
            clock.advance(1)
            time.sleep(0.01)
            assert step % 10 or not is_free(cache)
        assert not lock.lost
    assert is_free(cache)


def test_a_lost_lock_says_so_on_leaving(cache: Cache, clock: Any, run: Run) -> None:
    lost = r"^lock `x` was lost while it was held: somebody else may have had it since"

    def leave() -> None:
        with cache.lock("x", ttl=30) as lock:
            clock.advance(31)
            assert lock.lost
            assert is_free(cache)

    with pytest.raises(LockLostError, match=lost):
        leave()

    lock = cache.lock("x")
    lock.acquire()
    clock.advance(31)
    with pytest.raises(LockLostError):
        lock.release()
    with pytest.raises(LockError, match="found it free"):
        lock.release()

    async def main() -> None:
        async with cache.lock("x") as lock:
            clock.advance(31)
            assert lock.lost

    with pytest.raises(LockLostError, match=lost):
        run(main)


def test_a_loss_hides_no_other_exception(cache: Cache, clock: Any) -> None:
    def leave() -> None:
        with cache.lock("x", ttl=30):
            clock.advance(31)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as raised:
        leave()
    if sys.version_info >= (3, 11):
        assert raised.value.__notes__[0].startswith("lock `x` was lost while it was held")


def test_a_lost_lock_can_be_taken_again_by_who_lost_it(cache: Cache, clock: Any) -> None:
    first = cache.lock("x", ttl=30)
    fence = first.acquire()
    clock.advance(31)
    with cache.lock("x") as second:
        assert second.fence > fence
        with pytest.raises(LockLostError):
            first.release()
        assert not second.lost
        assert not is_free(cache)


# --- every way out --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
def test_whatever_is_raised_gives_it_back(cache: Cache, error: type[BaseException], run: Run) -> None:
    with pytest.raises(error), cache.lock("x"):
        raise error

    async def main() -> None:
        with pytest.raises(error):
            async with cache.lock("x"):
                raise error

    run(main)
    assert is_free(cache)


def test_a_generator_that_is_closed_gives_it_back(cache: Cache) -> None:
    def generate() -> Iterator[int]:
        with cache.lock("x"):
            yield 1

    generator = generate()
    next(generator)
    assert not is_free(cache)
    del generator
    assert is_free(cache)


def test_what_nobody_refers_to_is_free(cache: Cache) -> None:
    lock = cache.lock("x")
    lock.acquire()
    assert not is_free(cache)
    del lock
    eventually("the lock is free", lambda: is_free(cache))
    backend, name = cache.lock("x")._place()
    assert name not in _locks._held[backend]


def test_a_task_that_is_cancelled_gives_it_back(cache: Cache) -> None:
    """At each step of the way: before, while it waits, in the block, on leaving."""

    async def main() -> None:
        for steps in range(40):
            entered = False

            async def work() -> None:
                nonlocal entered
                async with cache.lock("x"):
                    entered = True
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)

            task = asyncio.create_task(work())
            for _ in range(steps):
                await asyncio.sleep(0 if steps % 2 else 0.0003)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # Within the time that giving it back takes.
            async with cache.lock("x", timeout=10):
                pass

    asyncio.run(main())
    assert is_free(cache)


def test_a_waiter_that_is_cancelled_takes_nothing(cache: Cache) -> None:
    async def main() -> None:
        lock = cache.lock("x")
        for _ in range(20):
            await lock.aacquire()
            waiting = [asyncio.create_task(cache.lock("x").aacquire()) for _ in range(3)]
            await asyncio.sleep(0.002)
            await lock.arelease()
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            # Who got it all the same has dropped its lock since.
            async with cache.lock("x", timeout=10):
                pass

    asyncio.run(main())


def test_a_scope_of_trio_that_is_cancelled_gives_it_back(cache: Cache) -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        with trio.move_on_after(0.01) as scope:
            async with cache.lock("x"):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        async with cache.lock("x", timeout=5):
            with trio.move_on_after(0.01) as scope:
                trio_lock = cache.lock("y")
                await trio_lock.aacquire()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cache.lock("y").aacquire)
            assert scope.cancelled_caught
            await trio_lock.arelease()
        async with cache.lock("y", timeout=5):
            pass

    trio.run(main)
    assert is_free(cache)


def test_an_interrupt_ends_a_wait(cache: Cache, python: Python) -> None:
    python(
        """
        import os, signal, sys, threading
        from retainit import Cache

        cache = Cache(sys.argv[1])
        free = threading.Event()

        def hold():
            with cache.lock("x"):
                held.set()
                free.wait(30)

        held = threading.Event()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(30)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            with cache.lock("x"):
                raise AssertionError
        except KeyboardInterrupt:
            pass
        free.set()
        thread.join()
        with cache.lock("x", timeout=5):
            pass
        """,
        "disk" if "disk" in repr(cache) else "memory",
    )


def test_waits_are_not_kept_up_by_the_loops_own_threads(cache: Cache) -> None:
    """All of which may be waiting for the lock that a task is to give back."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with cache.lock("x"):
            waiting = [
                loop.run_in_executor(None, lambda: cache.lock("x", timeout=20).acquire()) for _ in range(1)
            ]
            full = threading.Event()
            blocked = [loop.run_in_executor(None, full.wait, 20) for _ in range(64)]
            await asyncio.sleep(0.01)
        assert (await asyncio.wait_for(asyncio.gather(*waiting), 10))[0] > 0
        async with cache.lock("y", timeout=10):
            pass
        full.set()
        await asyncio.gather(*blocked)

    asyncio.run(main())
