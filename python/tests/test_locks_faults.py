"""Locks on backends that fail, hang and dawdle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from locking import Run, eventually, is_free, run_in_thread, runner

from retainit import BackendError, Cache, LockLostError, LockTimeoutError
from retainit.testing import FakeClock, RecordingBackend
from retainit.testing._script import Answers


@pytest.fixture(params=["blocking", "later", "inline"])
def store(request: pytest.FixtureRequest) -> Iterator[RecordingBackend]:
    # No breaker: what several failures in a row mean for a backend is tested where breakers are.
    store = RecordingBackend(answers=request.param, circuit_breaker=False)
    yield store
    store.restore()


@pytest.fixture(params=["blocking", "later"])
def waiting(request: pytest.FixtureRequest) -> Iterator[RecordingBackend]:
    """One that may keep its callers waiting."""
    store = RecordingBackend(answers=request.param, circuit_breaker=False)
    yield store
    store.restore()


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    return runner(request.param)


def count(store: RecordingBackend, operation: str) -> int:
    return sum(call.operation == operation for call in store.calls)


def test_each_way_out_releases_once(store: RecordingBackend, run: Run) -> None:
    lock = Cache(store).lock("x")
    with lock:
        pass
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), lock:
            raise error

    async def main() -> None:
        async with lock:
            pass
        with pytest.raises(SystemExit):
            async with lock:
                raise SystemExit

    run(main)
    assert count(store, "lease_acquire") == count(store, "lease_release") == 5
    lock.acquire()
    lock.release()
    with pytest.raises(RuntimeError):
        lock.release()
    assert count(store, "lease_release") == 6


def test_a_lock_that_cannot_be_asked_for(store: RecordingBackend, run: Run) -> None:
    store.fail("lease_acquire", kind="fatal", message="the store is away", times=2)
    lock = Cache(store).lock("x")
    with pytest.raises(BackendError, match="the store is away"):
        lock.acquire()

    async def main() -> None:
        with pytest.raises(BackendError, match="the store is away"):
            await lock.aacquire()
        async with lock:
            pass

    run(main)


def test_a_store_that_fails_ends_a_wait(store: RecordingBackend) -> None:
    cache = Cache(store)
    with cache.lock("x"):

        def wait() -> None:
            with pytest.raises(BackendError, match="the store is away"):
                cache.lock("x").acquire()

        thread = threading.Thread(target=run_in_thread, args=(wait,))
        thread.start()
        eventually("it waits", lambda: count(store, "lease_acquire") >= 3)
        store.fail("lease_acquire", kind="fatal", message="the store is away")
        thread.join(20)
        assert not thread.is_alive()
    store.restore()
    assert is_free(cache)


def test_a_release_that_fails_raises_nothing_and_time_frees_the_lock(store: RecordingBackend) -> None:
    cache = Cache(store)
    store.fail("lease_release", times=2)
    with FakeClock() as clock:
        with cache.lock("x", ttl=30):
            pass
        with pytest.raises(KeyError), cache.lock("y", ttl=30):
            raise KeyError
        assert not is_free(cache)
        clock.advance(31)
        assert is_free(cache)
        assert is_free(cache, "y")
    # It is not renewed after it was given back, whatever became of that.
    assert count(store, "lease_renew") == 0


@pytest.mark.parametrize("answers", ["blocking", "inline"])
def test_renewals_that_fail_for_a_while_lose_nothing(answers: Answers) -> None:
    # Not "later", whose answers are given up when the clock is moved before they come.
    store = RecordingBackend(answers=answers, circuit_breaker=False)
    store.fail("lease_renew", times=3)
    with FakeClock() as clock, Cache(store).lock("x", ttl=30) as lock:
        for step in range(25):
            clock.advance(1)
            # At 10, 13, 16 and 19 s, the last of which succeeds.
            expected = 0 if step + 1 < 10 else min(1 + (step + 1 - 10) // 3, 4)
            eventually("it is renewed", lambda: count(store, "lease_renew") >= expected)  # noqa: B023
        outcomes = [call.outcome for call in store.calls if call.operation == "lease_renew"]
        assert [outcome == "fail" for outcome in outcomes] == [True, True, True, False]
        clock.advance(4)
        clock.advance(4)
        assert not lock.lost


def test_renewals_that_fail_for_long_lose_the_lock(store: RecordingBackend) -> None:
    store.fail("lease_renew")

    def leave() -> None:
        with FakeClock() as clock, Cache(store).lock("x", ttl=30) as lock:
            for _ in range(31):
                clock.advance(1)
            assert lock.lost

    with pytest.raises(LockLostError):
        leave()


def test_a_backend_that_hangs_costs_no_other_its_locks(waiting: RecordingBackend) -> None:
    waiting.hang("lease_renew")
    good = RecordingBackend(answers="blocking")
    with FakeClock() as clock, Cache(good).lock("x", ttl=30) as kept:
        lost = Cache(waiting).lock("x", ttl=30)
        lost.acquire()
        clock.advance(10)
        waiting.wait_for("lease_renew", waiting=1)
        for renewals in (1, 2, 3, 4):
            good.wait_for("lease_renew", calls=renewals)
            clock.advance(10)
        assert lost.lost
        assert not kept.lost
        waiting.restore()
        with pytest.raises(LockLostError):
            lost.release()


def test_a_lock_that_comes_after_its_task_was_cancelled_is_given_back(waiting: RecordingBackend) -> None:
    cache = Cache(waiting)

    async def main() -> None:
        await cache.lock("warm").aacquire()
        waiting.hang("lease_acquire", times=1)
        task = asyncio.create_task(cache.lock("x").aacquire())
        while not waiting.waiting:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        waiting.release()
        # The loop has gone on all the while.
        async with cache.lock("x", timeout=10):
            pass

    asyncio.run(main())
    assert is_free(cache)


def test_a_loop_goes_on_while_a_lock_is_asked_for_and_given_back(waiting: RecordingBackend) -> None:
    """It is another task that has the store go on."""
    lock = Cache(waiting).lock("x")

    async def release() -> None:
        while not waiting.waiting:
            await asyncio.sleep(0.001)
        waiting.release()

    async def main() -> None:
        for operation, step in (("lease_acquire", lock.aacquire), ("lease_release", lock.arelease)):
            waiting.hang(operation, times=1)
            await asyncio.wait_for(asyncio.gather(step(), release()), 10)

    asyncio.run(main())
    assert is_free(Cache(waiting))


def test_a_loop_of_trio_goes_on_too(waiting: RecordingBackend) -> None:
    trio = pytest.importorskip("trio")
    lock = Cache(waiting).lock("x")

    async def release() -> None:
        while not waiting.waiting:
            await trio.sleep(0.001)
        waiting.release()

    async def main() -> None:
        for operation, step in (("lease_acquire", lock.aacquire), ("lease_release", lock.arelease)):
            waiting.hang(operation, times=1)
            with trio.fail_after(10):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(release)
                    # Of the task that opened it, whose lock it is.
                    await step()

    trio.run(main)
    assert is_free(Cache(waiting))


def test_a_timeout_counts_what_the_store_takes() -> None:
    waiting = RecordingBackend(answers="blocking", circuit_breaker=False)
    cache = Cache(waiting)
    with FakeClock() as clock, cache.lock("x", ttl="1h"):

        def wait() -> None:
            with pytest.raises(LockTimeoutError):
                cache.lock("x", timeout=5).acquire()

        waiting.delay(10, "lease_acquire", times=1)
        thread = threading.Thread(target=run_in_thread, args=(wait,))
        thread.start()
        waiting.wait_for(waiting=1)
        clock.advance(10)
        thread.join(20)
        assert not thread.is_alive()
