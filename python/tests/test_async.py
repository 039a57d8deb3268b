"""Asynchronous functions: hits under every way of awaiting, and loads that survive their callers."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
import trio

import retainit
from retainit import MISSING, DiskConfig, retain


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main())


class Gate:
    """A coroutine function whose runs are let through one by one."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.open = asyncio.Event()
        self.runs = 0
        self.cancelled = 0

    async def __call__(self, x: int) -> list[int]:
        self.runs += 1
        self.started.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return [self.runs]


def test_is_a_coroutine_function() -> None:
    @retain
    async def f(x: int) -> int:
        return x

    assert inspect.iscoroutinefunction(f)
    assert asyncio.iscoroutinefunction(f)
    assert inspect.iscoroutinefunction(f.__wrapped__)
    assert not inspect.iscoroutinefunction(retain(lambda x: x))


def test_hits_under_every_way_of_awaiting() -> None:
    @retain
    async def f(x: Any) -> Any:
        return [x]

    async def main() -> None:
        first = await f(1)
        assert await f(1) is first
        assert await asyncio.create_task(f(1)) is first
        assert (await asyncio.gather(f(1), f(1)))[1] is first
        assert await asyncio.wait_for(f(1), 1) is first
        assert await asyncio.shield(f(1)) is first
        done, _ = await asyncio.wait({asyncio.ensure_future(f(1))})
        assert done.pop().result() is first

        async def through() -> Any:
            return await f(1)

        assert await through() is first
        assert f.cache_info().hits == 8

    run(main)


@pytest.mark.parametrize("value", [None, (), (1,), (1, 2), StopIteration(5), ValueError("kept"), 0])
def test_any_value_can_be_a_hit(value: Any) -> None:
    @retain
    async def f() -> Any:
        return value

    async def main() -> None:
        for _ in range(3):
            assert await f() is value
            assert await asyncio.create_task(f()) is value

    run(main)


def test_the_awaitable_is_a_coroutine_object() -> None:
    @retain
    async def f(x: int) -> int:
        return x

    async def main() -> None:
        await f(1)
        hit = f(1)
        assert asyncio.iscoroutine(hit)
        assert hit.__name__ == "f"  # type: ignore[attr-defined]
        with pytest.raises(StopIteration) as stopped:
            hit.send(None)
        assert stopped.value.value == 1
        with pytest.raises(RuntimeError, match="already awaited"):
            hit.send(None)
        closed = f(1)
        closed.close()
        with pytest.raises(RuntimeError, match="already awaited"):
            await closed
        thrown = f(1)
        with pytest.raises(KeyError, match="here"):
            thrown.throw(KeyError("here"))
        with pytest.warns(RuntimeWarning, match="'.*f' was never awaited"):
            f(1)  # type: ignore[unused-coroutine]

    run(main)


def test_hits_on_trio_and_anyio() -> None:
    runs = []

    @retain
    async def f(x: int) -> list[int]:
        runs.append(x)
        await anyio.sleep(0)
        return [x]

    async def main() -> None:
        first = await f(1)
        assert await f(1) is first
        results = []

        async def collect() -> None:
            results.append(await f(2))

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(collect)
        assert all(result is results[0] for result in results)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(f, 1)

    trio.run(main)
    assert runs == [1, 2]
    anyio.run(lambda: f(1))
    assert runs == [1, 2]


def test_one_load_for_a_thousand_tasks() -> None:
    async def main() -> None:
        gate = Gate()
        f = retain(gate)
        tasks = [asyncio.create_task(f(1)) for _ in range(1000)]
        await gate.started.wait()
        gate.open.set()
        results = await asyncio.gather(*tasks)
        assert gate.runs == 1
        assert all(result is results[0] for result in results)

    run(main)


def test_a_cancelled_leader_does_not_take_the_load_with_it() -> None:
    async def main() -> None:
        gate = Gate()
        f = retain(gate)
        leader = asyncio.create_task(f(1))
        await gate.started.wait()
        followers = [asyncio.create_task(f(1)) for _ in range(10)]
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        gate.open.set()
        assert await asyncio.gather(*followers) == [[1]] * 10
        assert (gate.runs, gate.cancelled) == (1, 0)

    run(main)


def test_the_last_one_cancelled_takes_the_load_with_it() -> None:
    async def main() -> None:
        gate = Gate()
        f = retain(gate)
        tasks = [asyncio.create_task(f(1)) for _ in range(3)]
        await gate.started.wait()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        for _ in range(5):
            await asyncio.sleep(0)
        assert gate.cancelled == 1
        gate.open.set()
        assert await f(1) == [2]

    run(main)


@pytest.mark.parametrize("error", [KeyError("x"), SystemError("y")])
def test_everybody_who_waited_gets_the_exception(error: Exception) -> None:
    async def main() -> None:
        runs = []

        @retain
        async def f(x: int) -> None:
            runs.append(x)
            await asyncio.sleep(0)
            raise error

        results = await asyncio.gather(*[f(1) for _ in range(10)], return_exceptions=True)
        assert all(result is error for result in results)
        assert runs == [1]
        assert await f.cache_get(1) is MISSING

    run(main)


def test_a_function_that_cancels_itself_leaves_a_successor() -> None:
    async def main() -> None:
        runs = []

        @retain
        async def f(x: int) -> int:
            runs.append(x)
            await asyncio.sleep(0)
            if len(runs) == 1:
                raise asyncio.CancelledError
            return len(runs)

        results = await asyncio.gather(*[f(1) for _ in range(5)], return_exceptions=True)
        assert results.count(2) == 4
        assert len(runs) == 2

    run(main)


def test_waiting_in_circles_ends() -> None:
    async def main() -> None:
        @retain
        async def ping(x: int) -> int:
            await asyncio.sleep(0)
            return 1 if x == 0 else await pong(x - 1) + 1

        @retain
        async def pong(x: int) -> int:
            await asyncio.sleep(0)
            return await ping(x)

        @retain
        async def left(depth: int) -> int:
            await asyncio.sleep(0)
            return depth if depth > 1 else await right(depth + 1)

        @retain
        async def right(depth: int) -> int:
            await asyncio.sleep(0)
            return depth if depth > 1 else await left(depth)

        assert await asyncio.wait_for(asyncio.gather(ping(3), pong(3), left(1), right(1)), 5)

        crossed = 0

        @retain
        async def a() -> int:
            nonlocal crossed
            crossed += 1
            await asyncio.sleep(0)
            return 1 if crossed > 4 else await b()

        @retain
        async def b() -> int:
            nonlocal crossed
            crossed += 1
            await asyncio.sleep(0)
            return 2 if crossed > 4 else await a()

        await asyncio.wait_for(asyncio.gather(a(), b()), 5)

    run(main)


def test_loops_in_several_threads_share_a_load() -> None:
    runs = []
    begun, finish = threading.Event(), threading.Event()

    @retain
    async def f(x: int) -> list[int]:
        runs.append(x)
        begun.set()
        await asyncio.get_running_loop().run_in_executor(None, finish.wait)
        return [x]

    results: list[Any] = []

    def thread() -> None:
        async def main() -> None:
            results.extend(await asyncio.gather(*[f(1) for _ in range(5)]))

        asyncio.run(main())

    threads = [threading.Thread(target=thread) for _ in range(4)]
    for each in threads:
        each.start()
    assert begun.wait(10)
    finish.set()
    for each in threads:
        each.join(10)
    assert runs == [1]
    assert len(results) == 20
    assert all(result is results[0] for result in results)


def test_a_loop_that_ends_frees_those_who_wait() -> None:
    runs = []
    begun = threading.Event()
    waiting = threading.Event()

    @retain
    async def f(x: int) -> int:
        runs.append(threading.current_thread().name)
        if len(runs) == 1:
            begun.set()
            await asyncio.get_running_loop().run_in_executor(None, waiting.wait)
            await asyncio.sleep(3600)
        return len(runs)

    def first() -> None:
        async def main() -> None:
            task = asyncio.create_task(f(1))
            while not waiting.is_set():
                await asyncio.sleep(0)
            del task  # `asyncio.run` cancels what is left

        asyncio.run(main())

    leader = threading.Thread(target=first)
    leader.start()
    assert begun.wait(10)

    async def main() -> int:
        task = asyncio.create_task(f(1))
        await asyncio.sleep(0)
        waiting.set()
        return await asyncio.wait_for(task, 10)

    assert asyncio.run(main()) == 2
    leader.join(10)


def test_operations_are_coroutines() -> None:
    runs = []

    @retain
    async def f(x: int, y: int = 2) -> list[int]:
        runs.append(x)
        return [len(runs)]

    async def main() -> None:
        first = await f(1)
        assert await f.cache_get(1, 2) is first
        assert await f.cache_delete(1) is True
        assert await f.cache_get(1) is MISSING
        await f.cache_set([7], 1)
        assert await f(1) == [7]
        assert await f.cache_refresh(1) == [2]
        assert await f(1) == [2]
        await f.cache_clear()
        assert f.cache_info().currsize == 0
        assert f.cache_key(1) == f.cache_key(1, 2)

    run(main)


def test_tiers_that_block_do_not_stop_the_loop() -> None:
    retainit.register_backend("disk", DiskConfig(base_path="cache"))
    runs = []

    @retain(backend=["memory", "disk"])
    async def f(x: int) -> dict[str, int]:
        runs.append(x)
        return {"x": x}

    async def main() -> None:
        assert await asyncio.gather(*[f(x) for x in range(20)]) == [{"x": x} for x in range(20)]
        retainit.get_backend("memory").clear()
        assert await asyncio.gather(*[f(x) for x in range(20)]) == [{"x": x} for x in range(20)]
        assert len(runs) == 20
        await f.cache_delete(3)
        assert await f(3) == {"x": 3}
        assert len(runs) == 21

    run(main)


def test_methods() -> None:
    class Service:
        @retain
        async def get(self, x: int) -> object:
            return object()

    async def main() -> None:
        one, other = Service(), Service()
        assert await one.get(1) is await one.get(1)
        assert await one.get(1) is not await other.get(1)
        assert inspect.iscoroutinefunction(one.get)

    run(main)


def test_context_reaches_the_load() -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default=0)

    @retain
    async def f(x: int) -> int:
        return variable.get()

    async def main() -> None:
        variable.set(7)
        assert await f(1) == 7

    run(main)


def test_disabled_and_copies() -> None:
    @retain(copy="deep")
    async def f(x: int) -> list[list[int]]:
        return [[x]]

    async def main() -> None:
        (await f(1))[0].append(2)
        (await f(1))[0].append(2)
        assert await f(1) == [[1]]
        async with retainit.disabled():
            assert await f(1) == [[1]]
        assert f.cache_info().hits == 2

    run(main)


def test_unkeyable_calls_run() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

    @retain
    async def f(x: Any) -> int:
        return 5

    async def main() -> None:
        with pytest.warns(retainit.UnkeyableWarning):
            assert await f(Unhashable()) == 5

    run(main)


def test_nothing_is_left_behind() -> None:
    @retain
    async def f(x: int) -> list[int]:
        await asyncio.sleep(0)
        return [x]

    async def main() -> None:
        await asyncio.gather(*[f(x % 10) for x in range(100)])

    run(main)
    gc.collect()
    from retainit import _drive

    assert not _drive._running
