"""Crowds that want one value: how often the function runs, whatever happens to those who wait and to it.

`test_threads.py` has the crowd of threads and `test_async.py` the one of tasks in their plain form.
"""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from typing import Any

import pytest
from crowds import Counted, join, named, waiting, waits_for

import retainit
from retainit import DiskConfig

#: Steps of a loop within which a call of these tests is over.
STEPS = 60


class Killed(BaseException):
    """What is no `Exception` leaves the function."""


@pytest.fixture(params=["memory", "disk", "memory+disk"])
def tiers(request: pytest.FixtureRequest) -> list[str]:
    retainit.register_backend("disk", DiskConfig(base_path="cache"))
    return str(request.param).split("+")


# --- crowds ---------------------------------------------------------------------------------------


def test_a_thousand_tasks_run_it_once_for_each_of_ten_keys(tiers: list[str]) -> None:
    async def main() -> None:
        counted = Counted()
        finish = asyncio.Event()

        @named(backend=tiers)
        async def f(key: int) -> list[int]:
            counted.begin(key)
            await finish.wait()
            return [key]

        tasks = [asyncio.create_task(f(number % 10)) for number in range(1000)]
        await waits_for(lambda: sum(waiting(f, key) for key in range(10)) == 990)
        finish.set()
        assert await asyncio.gather(*tasks) == [[number % 10] for number in range(1000)]
        assert sorted(counted.runs) == list(range(10))

    asyncio.run(main())


@pytest.mark.parametrize("limits", [{}, {"hard_timeout": 3600}])
def test_one_run_at_a_time_in_a_storm_of_cancellations(tiers: list[str], limits: dict[str, Any]) -> None:
    """Callers come and go, the function fails and is killed: never two runs, and none is left behind."""

    async def main() -> None:
        counted = Counted()
        chance = random.Random(11)

        @named(backend=tiers, cache_if=lambda value: False, **limits)
        async def f(key: int) -> int:
            run = counted.begin(key)
            try:
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                if run % 4 == 0:
                    raise KeyError(run)
                if run % 7 == 0:
                    raise Killed
                return run
            finally:
                counted.end(key)

        async def caller() -> Any:
            try:
                return await f(1)
            except (KeyError, Killed) as error:
                return type(error)

        waiters: set[asyncio.Task[Any]] = set()
        results = set()
        while len(counted.runs) < 100:
            waiters |= {asyncio.create_task(caller()) for _ in range(3)}
            await asyncio.sleep(0)
            for task in chance.sample(sorted(waiters, key=id), 2):
                task.cancel()
            over = {task for task in waiters if task.done()}
            results |= {asyncio.CancelledError if task.cancelled() else type(task.result()) for task in over}
            waiters -= over
        last = await asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), 60)
        assert (
            {int, type} <= {type(result) for result in last} | results <= {int, type, asyncio.CancelledError}
        )
        assert counted.most == 1
        assert not counted.now[1]
        assert waiting(f, 1) == 0

    asyncio.run(main())


@pytest.mark.parametrize("limits", [{}, {"hard_timeout": 3600, "run_in_thread": True}])
def test_one_run_at_a_time_where_most_runs_raise(tiers: list[str], limits: dict[str, Any]) -> None:
    counted = Counted()

    @named(backend=tiers, **limits)
    def f(key: int) -> int:
        run = counted.begin(key)
        try:
            threading.Event().wait(0.001)
            if run % 3:
                raise KeyError(run)
            if run < 30:
                raise Killed
            return run
        finally:
            counted.end(key)

    results: list[Any] = []

    def caller() -> None:
        while True:
            try:
                results.append(f(1))
                return
            except (KeyError, Killed) as error:
                results.append(type(error))

    threads = [threading.Thread(target=caller) for _ in range(50)]
    for thread in threads:
        thread.start()
    join(threads)
    assert counted.most == 1
    assert len(counted.runs) == 30
    assert results.count(30) == 50
    # Each is the caller's alone, or of the one whose thread it was.
    assert results.count(Killed) == 9


# --- the leader goes ------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [{}, {"hard_timeout": 3600}])
def test_a_leader_cancelled_at_any_step_leaves_one_run(tiers: list[str], limits: dict[str, Any]) -> None:
    """Steps of the loop, so every point at which the leader waits, and those between."""

    async def main() -> None:
        counted = Counted()

        @named(backend=tiers, **limits)
        async def f(key: int) -> list[int]:
            counted.begin(key)
            for _ in range(3):
                await asyncio.sleep(0)
            return [key]

        await f(-1)
        too_late = 0
        for step in range(STEPS):
            before = len(counted.runs)
            leader = asyncio.create_task(f(step))
            followers = []
            for at in range(step):
                await asyncio.sleep(0)
                if at == step // 2:
                    followers = [asyncio.create_task(f(step)) for _ in range(3)]
            followers += [asyncio.create_task(f(step)) for _ in range(3)]
            await asyncio.sleep(0)
            too_late += not leader.cancel()
            assert await asyncio.gather(*followers) == [[step]] * len(followers)
            # Whoever waited got the leader's, or where it had none yet exactly one of their own.
            assert len(counted.runs) - before == 1, step
            await asyncio.gather(leader, return_exceptions=True)
        if tiers == ["memory"]:
            assert too_late, "the leader was cancelled at every point it had"

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cancelled", "killed"])
@pytest.mark.parametrize("limits", [{}, {"hard_timeout": 3600}])
def test_a_load_ended_at_any_await_leaves_one_successor(
    tiers: list[str], limits: dict[str, Any], how: str
) -> None:
    awaits = 5

    async def main() -> None:
        counted = Counted()
        ends: int | None = None

        @named(backend=tiers, **limits)
        async def f(key: int) -> list[int]:
            nonlocal ends
            run = counted.begin(key)
            for point in range(awaits):
                if ends != point:
                    await asyncio.sleep(0)
                    continue
                # This run only, once its followers are there.
                ends = None
                await waits_for(lambda: waiting(f, key) >= 10)
                if how == "killed":
                    raise Killed
                task = asyncio.current_task()
                assert task
                task.cancel()
                await asyncio.sleep(0)
            return [run]

        for point in range(awaits):
            ends = point
            counted.runs.clear()
            leader = asyncio.create_task(f(point))
            await waits_for(lambda: bool(counted.runs))
            followers = [asyncio.create_task(f(point)) for _ in range(10)]
            results = await asyncio.gather(leader, *followers, return_exceptions=True)
            raised = [result for result in results if not isinstance(result, list)]
            assert [type(each) for each in raised] == [
                asyncio.CancelledError if how == "cancelled" else Killed
            ], point
            assert raised == results[:1], "the one whose run it was"
            assert results[1:] == [[2]] * 10
            assert len(counted.runs) == 2

    asyncio.run(main())


@pytest.mark.parametrize("limits", [{}, {"hard_timeout": 3600}])
def test_a_load_whose_task_is_cancelled_at_any_step_leaves_one_successor(
    tiers: list[str], limits: dict[str, Any]
) -> None:
    """Also while it reads and stores: the load's own task is what somebody cancels who ends a loop."""

    async def main() -> None:
        counted = Counted()

        @named(backend=tiers, **limits)
        async def f(key: int) -> list[int]:
            run = counted.begin(key)
            for _ in range(3):
                await asyncio.sleep(0)
            counted.end(key)
            return [run]

        await f(-1)
        hit = 0
        for step in range(STEPS):
            before = len(counted.runs)
            callers = [asyncio.create_task(f(step)) for _ in range(5)]
            for _ in range(step):
                await asyncio.sleep(0)
            # By name: it is nobody's to see.
            loads = [
                task
                for task in asyncio.all_tasks()
                if getattr(task.get_coro(), "__qualname__", "") == "_load"
            ]
            assert len(loads) <= 1
            cancelled = sum(task.cancel() for task in loads)
            hit += cancelled
            results = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 30)
            values = [result for result in results if isinstance(result, list)]
            assert len(values) >= 5 - cancelled, "it concerns one of them"
            assert all(value == values[0] for value in values)
            assert len(counted.runs) - before <= 1 + cancelled
        assert hit >= 3

    asyncio.run(main())


def test_an_interrupted_follower_leaves_the_others_alone(tiers: list[str]) -> None:
    """The interpreter's own thread waits, and gets Ctrl+C."""
    begun, finish = threading.Event(), threading.Event()
    runs = []

    @named(backend=tiers)
    def f(key: int) -> list[int]:
        runs.append(key)
        begun.set()
        assert finish.wait(30)
        return [key]

    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(f(1)))]
    threads[0].start()
    assert begun.wait(30)
    threads += [threading.Thread(target=lambda: results.append(f(1))) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()

    def interrupt() -> None:
        until = time.monotonic() + 30
        while waiting(f, 1) < 4 and time.monotonic() < until:
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        f(1)
    finish.set()
    join([interrupter, *threads])
    assert results == [[1]] * 4
    assert runs == [1]
