"""Many calls together, while others load, invalidate, cancel and wait: `cache_many` under concurrency."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import trio
import trio.testing
from many_calls import FLAVOURS, TIERS, Gate, Made

from retainit import MISSING, retain


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(TIERS))
def tiers(request: pytest.FixtureRequest) -> list[Any]:
    return TIERS[request.param]()


@pytest.fixture
def made(flavour: str, tiers: list[Any]) -> Made:
    return Made(flavour, backend=tiers)


def test_recursion_into_what_is_asked_for_runs_each_once(tiers: list[Any]) -> None:
    runs = []

    @retain(backend=tiers)
    def fibonacci(n: int) -> int:
        runs.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci.cache_many(range(60, -1, -1))[0] == 1_548_008_755_920
    assert sorted(runs) == list(range(61))


def test_recursion_of_coroutines_into_what_is_asked_for_runs_each_once(tiers: list[Any]) -> None:
    runs = []

    @retain(backend=tiers)
    async def fibonacci(n: int) -> int:
        runs.append(n)
        return n if n < 2 else await fibonacci(n - 1) + await fibonacci(n - 2)

    assert asyncio.run(fibonacci.cache_many(range(60, -1, -1)))[0] == 1_548_008_755_920
    assert sorted(runs) == list(range(61))


def test_a_batch_that_asks_for_its_own_calls_does_not_wait_for_itself(made: Made) -> None:
    if made.flavour == "sync":
        assert made.many([1, 2], batch=lambda items: [made.f(x) for x in items]) == [[1, 2], [2, 2]]
    else:

        async def batch(items: list[Any]) -> Any:
            return [await made.f(x) for x in items]

        assert made.many([1, 2], batch=batch) == [[1, 2], [2, 2]]
    assert made.many([2, 1]) == [[2, 2], [1, 2]]
    assert len(made.runs) == 2


@pytest.mark.parametrize("with_batch", [False, True])
def test_two_who_ask_in_different_order_run_each_once(tiers: list[Any], with_batch: bool) -> None:
    runs: list[int] = []
    ready = threading.Barrier(8)
    answers: list[list[int]] = []

    @retain(backend=tiers)
    def f(x: int) -> int:
        runs.append(x)
        return -x

    def batch(items: list[int]) -> list[int]:
        runs.extend(items)
        return [-item for item in items]

    # What a function captures is looked at once, before it changes.
    f.cache_info()

    def ask(number: int) -> None:
        calls = list(range(100)) if number % 2 else list(range(99, -1, -1))
        ready.wait(30)
        values = f.cache_many(calls, batch=batch) if with_batch else f.cache_many(calls)
        assert values == [-call for call in calls]
        answers.append(values)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 8
    assert sorted(runs) == list(range(100))


def test_a_load_under_way_is_joined(tiers: list[Any]) -> None:
    gate = Gate()
    runs: list[int] = []
    batches: list[list[int]] = []

    @retain(backend=tiers)
    def f(x: int) -> int:
        runs.append(x)
        gate.begun.set()
        assert gate.finish.wait(30)
        return x

    def batch(items: list[int]) -> list[int]:
        batches.append(items)
        # Only now: the batch is not kept waiting by what somebody else loads.
        gate.finish.set()
        return items

    other = threading.Thread(target=f, args=(1,))
    other.start()
    assert gate.begun.wait(30)
    assert f.cache_many([1, 2, 3], batch=batch) == [1, 2, 3]
    other.join(30)
    assert (runs, batches) == ([1], [[2, 3]])


@pytest.mark.parametrize("fails", [False, True])
def test_who_joined_a_batch_gets_what_it_gives(tiers: list[Any], fails: bool) -> None:
    runs: list[int] = []

    async def main() -> Any:
        gate = Gate(asyncio.Event)

        @retain(backend=tiers)
        async def f(x: int) -> str:
            runs.append(x)
            return "run"

        async def batch(items: list[int]) -> list[str]:
            gate.begun.set()
            await gate.finish.wait()
            if fails:
                raise ValueError("failed")
            return ["batch"] * len(items)

        first = asyncio.create_task(f.cache_many([1, 2], batch=batch))
        await gate.begun.wait()
        second = asyncio.create_task(f(2))
        for _ in range(10):
            await asyncio.sleep(0)
        gate.finish.set()
        return await asyncio.gather(first, second, return_exceptions=True)

    answers = [str(answer) if fails else answer for answer in asyncio.run(main())]
    assert answers == (["failed", "failed"] if fails else [["batch", "batch"], "batch"])
    assert runs == []


def test_an_interrupted_batch_leaves_nobody_waiting() -> None:
    @retain
    def f(x: int) -> int:
        return x

    def batch(items: list[int]) -> list[int]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        f.cache_many([1, 2], batch=batch)
    # The traceback is there still, with all that its frames refer to.
    assert caught.traceback
    assert f(1) == 1


def test_an_invalidation_meanwhile_keeps_what_it_concerns_out(made: Made) -> None:
    def drop(items: list[Any]) -> Any:
        if made.flavour == "sync":
            made.f.cache_delete(1)
        return made.batch(items)

    async def drop_awaited(items: list[Any]) -> Any:
        await made.f.cache_delete(1)
        return made.batch(items)

    batch: Any = drop if made.flavour == "sync" else drop_awaited
    assert made.many([1, 2], batch=batch) == [["batch", 1], ["batch", 2]]
    assert made.run(lambda: made.f.cache_get(1)) is MISSING
    assert made.run(lambda: made.f.cache_get(2)) == ["batch", 2]


def test_a_value_that_is_set_meanwhile_stays(made: Made) -> None:
    async def put(items: list[Any]) -> Any:
        await made.f.cache_set("set", 1)
        return made.batch(items)

    def put_at_once(items: list[Any]) -> Any:
        made.f.cache_set("set", 1)
        return made.batch(items)

    batch: Any = put_at_once if made.flavour == "sync" else put
    made.many([1, 2], batch=batch)
    assert made.run(lambda: made.f.cache_get(1)) == "set"


@pytest.mark.parametrize("with_batch", [False, True])
def test_a_cancelled_caller_leaves_nobody_waiting(tiers: list[Any], with_batch: bool) -> None:
    runs: list[Any] = []

    async def main() -> None:
        gate = Gate(asyncio.Event)

        @retain(backend=tiers)
        async def f(x: int) -> int:
            runs.append(x)
            if len(runs) == 2:
                gate.begun.set()
            await gate.finish.wait()
            return x

        async def batch(items: list[int]) -> list[int]:
            gate.begun.set()
            await asyncio.Event().wait()
            return items

        asked = f.cache_many([1, 2], batch=batch) if with_batch else f.cache_many([1, 2])
        task = asyncio.create_task(asked)
        await gate.begun.wait()
        other = asyncio.create_task(f(2))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.finish.set()
        assert await asyncio.wait_for(other, 30) == 2
        assert await asyncio.wait_for(f(1), 30) == 1

    asyncio.run(main())
    # The run that the other had joined went on.
    assert sorted(runs) == ([1, 2] if with_batch else [1, 1, 2])


@pytest.mark.parametrize("with_batch", [False, True])
def test_a_cancelled_caller_on_trio_leaves_nobody_waiting(tiers: list[Any], with_batch: bool) -> None:
    answers: list[int] = []

    async def main() -> None:
        gate = Gate(trio.Event)

        @retain(backend=tiers)
        async def f(x: int) -> int:
            if gate.begun.is_set():
                return x
            gate.begun.set()
            await trio.sleep_forever()
            raise AssertionError

        async def batch(items: list[int]) -> list[int]:
            gate.begun.set()
            await trio.sleep_forever()
            raise AssertionError

        async def ask(scope: trio.CancelScope) -> None:
            with scope:
                await (f.cache_many([1], batch=batch) if with_batch else f.cache_many([1]))
            assert scope.cancelled_caught

        async def follow() -> None:
            answers.append(await f(1))

        scope = trio.CancelScope()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, scope)
                await gate.begun.wait()
                nursery.start_soon(follow)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()

    trio.run(main)
    assert answers == [1]


def test_coroutines_run_at_the_same_time() -> None:
    async def main() -> None:
        together = asyncio.Barrier(5) if hasattr(asyncio, "Barrier") else None
        if together is None:
            pytest.skip("needs asyncio.Barrier")

        @retain
        async def f(x: int) -> int:
            await together.wait()
            return x

        assert await asyncio.wait_for(f.cache_many(range(5)), 30) == list(range(5))

    asyncio.run(main())
