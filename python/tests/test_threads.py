"""Single-flight and fencing across threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import retainit
from retainit import MISSING, DiskConfig, retain


def start(count: int, target: Any, *args: Any) -> list[threading.Thread]:
    threads = [threading.Thread(target=target, args=args) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


class Slow:
    """A function whose first run waits to be let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.finish = threading.Event()
        self.runs = 0
        self.lock = threading.Lock()

    def __retain_key__(self) -> str:
        return "the same function for as long as a test lasts"

    def __call__(self, x: int) -> list[int]:
        with self.lock:
            self.runs += 1
            run = self.runs
        if run == 1:
            self.begun.set()
            assert self.finish.wait(30)
        return [run]


@pytest.mark.parametrize("keys", [1, 10])
def test_a_thousand_threads_run_it_once_for_each_key(keys: int) -> None:
    runs: list[int] = []
    ready = threading.Barrier(1000)

    @retain
    def f(x: int) -> list[int]:
        runs.append(x)
        threading.Event().wait(0.02)
        return [x]

    numbers = iter(range(1000))
    results = []

    def call() -> None:
        x = next(numbers) % keys
        ready.wait()
        results.append(f(x))

    join(start(1000, call))
    assert sorted(runs) == list(range(keys))
    assert len({id(result) for result in results}) == keys


def test_everybody_who_waited_gets_the_exception() -> None:
    slow = Slow()
    errors = []

    @retain
    def f(x: int) -> None:
        slow(x)
        raise KeyError(x)

    def call() -> None:
        try:
            f(1)
        except KeyError as error:
            errors.append(error)

    threads = start(1, call)
    assert slow.begun.wait(10)
    threads += start(9, call)
    slow.finish.set()
    join(threads)
    assert len(errors) == 10


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_leader_leaves_one_successor(raised: type[BaseException]) -> None:
    slow = Slow()

    @retain
    def f(x: int) -> list[int]:
        run = slow(x)
        if run == [1]:
            raise raised
        return run

    results: list[Any] = []

    def call() -> None:
        try:
            results.append(f(1))
        except BaseException as error:
            results.append(type(error))

    threads = start(1, call)
    assert slow.begun.wait(10)
    threads += start(5, call)
    slow.finish.set()
    join(threads)
    assert results.count(raised) == 1
    assert results.count([2]) == 5
    assert slow.runs == 2


@pytest.mark.parametrize("how", ["delete", "clear", "set", "refresh"])
@pytest.mark.parametrize("backend", ["memory", ["memory", "disk"]])
def test_a_load_that_was_invalidated_is_not_stored(how: str, backend: Any) -> None:
    retainit.register_backend("disk", DiskConfig(base_path="cache"))
    slow = Slow()
    f = retain(backend=backend)(slow)
    results = []
    threads = start(1, lambda: results.append(f(1)))
    assert slow.begun.wait(10)
    if how == "delete":
        f.cache_delete(1)
    elif how == "clear":
        f.cache_clear()
    elif how == "set":
        f.cache_set("newer", 1)  # type: ignore[arg-type]
    expected: Any = MISSING
    if how == "refresh":
        # It waits for the load, and then runs the function again.
        threads += start(1, lambda: results.append(f.cache_refresh(1)))
        expected = [2]
    elif how == "set":
        expected = "newer"
    slow.finish.set()
    join(threads)
    assert [1] in results, "its own caller gets it all the same"
    assert f.cache_get(1) == expected
    if how in ("delete", "clear"):
        assert f(1) == [2]


def test_who_comes_after_an_invalidation_does_not_get_the_older_load() -> None:
    slow = Slow()
    f = retain(slow)
    old: list[Any] = []
    threads = start(1, lambda: old.append(f(1)))
    assert slow.begun.wait(10)
    f.cache_delete(1)
    assert f(1) == [2]
    slow.finish.set()
    join(threads)
    assert old == [[1]]
    assert f(1) == [2]


def test_waiting_in_circles_ends() -> None:
    barrier = threading.Barrier(2, timeout=10)
    first = threading.local()

    @retain
    def left() -> int:
        if not getattr(first, "met", False):
            first.met = True
            barrier.wait()
            return right() + 1
        return 0

    @retain
    def right() -> int:
        if not getattr(first, "met", False):
            first.met = True
            barrier.wait()
            return left() + 1
        return 0

    join([*start(1, left), *start(1, right)])


def test_a_thread_that_runs_a_loop_never_waits() -> None:
    slow = Slow()
    f = retain(slow)
    threads = start(1, f, 1)
    assert slow.begun.wait(10)

    async def main() -> list[int]:
        return f(1)

    assert asyncio.run(main()) == [2]
    slow.finish.set()
    join(threads)


def test_many_threads_on_many_keys() -> None:
    @retain(backend="default")
    def f(x: int) -> list[int]:
        return [x]

    def work(seed: int) -> None:
        for step in range(3000):
            x = (seed * 7919 + step * 31) % 300
            assert f(x) == [x]
            if step % 50 == 0:
                f.cache_delete(x)
            if step % 997 == 0:
                f.cache_clear()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    join(threads)
