"""What callers get of results that age, cannot be made anew, or take too long: docs/freshness.md by hand."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from retainit import (
    ConfigurationError,
    DiskConfig,
    LoadTimeoutError,
    MemoryConfig,
    SerializationError,
    retain,
)

BACKENDS: dict[str, Callable[[], Any]] = {
    "memory": lambda: MemoryConfig(),
    "disk": lambda: DiskConfig(base_path="cache"),
    "both": lambda: [MemoryConfig(), DiskConfig(base_path="both")],
}


class Runs:
    """A function whose runs the test lets go on, one by one."""

    def __init__(self, asynchronous: bool, **options: Any) -> None:
        self.outcomes: list[Any] = []
        self.count = 0
        self.held = False
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.loop = asyncio.new_event_loop() if asynchronous else None

        def function(key: int = 0) -> Any:
            self.count += 1
            number = self.count
            self.started.release()
            if self.held:
                self.go.acquire()
            try:
                return self.outcome(number)
            finally:
                self.ended.release()

        async def coroutine(key: int = 0) -> Any:
            self.count += 1
            number = self.count
            self.started.release()
            while self.held and not self.go.acquire(blocking=False):
                await asyncio.sleep(0)
            try:
                return self.outcome(number)
            finally:
                self.ended.release()

        self.cached = retain(coroutine if asynchronous else function, **options)

    def __retain_key__(self) -> str:
        return "one for each test's directory"

    def outcome(self, number: int) -> Any:
        outcome = self.outcomes.pop(0) if self.outcomes else number
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def __call__(self, key: int = 0) -> Any:
        if self.loop is None:
            return self.cached(key)

        async def call() -> Any:
            return await self.cached(key)

        return self.loop.run_until_complete(call())

    def settle(self, runs: int = 1) -> None:
        """Waits until so many runs in the background have ended and been stored."""
        if self.loop is None:
            for _ in range(runs):
                assert self.ended.acquire(timeout=10)
            for thread in threading.enumerate():
                if thread.name.startswith("retainit "):
                    thread.join(10)
            return

        async def until_done() -> None:
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)

        self.loop.run_until_complete(until_done())


Make = Callable[..., Runs]


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Any:
    made: list[Runs] = []

    def make(**options: Any) -> Runs:
        made.append(Runs(request.param == "async", **options))
        return made[-1]

    yield make
    for runs in made:
        if runs.loop is not None:
            runs.loop.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stale_value_is_served_while_it_is_made_anew(make: Make, backend: str, clock: Any) -> None:
    runs = make(backend=BACKENDS[backend](), ttl=10, stale_ttl=20)
    assert runs() == 1
    clock.advance(10)
    assert runs() == 1, "expired, and served"
    runs.settle(2)
    assert runs() == 2
    clock.advance(30)
    assert runs() == 3, "past the time it may be served stale"
    assert runs.cached.cache_info().stale == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_value_is_refreshed_ahead_of_its_expiry(make: Make, backend: str, clock: Any) -> None:
    runs = make(backend=BACKENDS[backend](), ttl=10, refresh_ahead=0.8)
    assert runs() == 1
    clock.advance(7.9)
    assert runs() == 1
    assert runs.count == 1
    clock.advance(0.2)
    assert runs() == 1
    runs.settle(2)
    assert runs() == 2
    assert runs.count == 2
    assert runs.cached.cache_info().stale == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_expired_value_is_fallen_back_on(make: Make, backend: str, clock: Any) -> None:
    runs = make(backend=BACKENDS[backend](), ttl=10, stale_if_error=60)
    runs.outcomes = ["first", OSError("down"), OSError("still down"), "second"]
    assert runs() == "first"
    clock.advance(10)
    assert runs() == "first"
    assert runs.count == 2
    assert runs() == "first"
    assert runs.count == 2, "in the pause the function does not run"
    clock.advance(1)
    assert runs() == "first"
    assert runs.count == 3
    clock.advance(1.9)
    assert runs() == "first"
    assert runs.count == 3, "the second pause is twice as long"
    clock.advance(0.2)
    assert runs() == "second"
    clock.advance(9)
    assert runs() == "second"
    assert runs.count == 4
    assert runs.cached.cache_info().stale == 4


def test_nothing_is_fallen_back_on_after_its_time(make: Make, clock: Any) -> None:
    runs = make(backend=MemoryConfig(), ttl=10, stale_if_error=60)
    runs.outcomes = ["first", OSError("down")]
    assert runs() == "first"
    clock.advance(70)
    with pytest.raises(OSError, match="down"):
        runs()


def test_an_invalidated_value_is_not_fallen_back_on(make: Make, clock: Any) -> None:
    runs = make(backend=MemoryConfig(), ttl=10, stale_if_error=60)
    first = OSError("down")

    def invalidates(number: int) -> Any:
        if number == 2:
            if runs.loop is None:
                runs.cached.cache_clear()
            raise first
        return number

    runs.outcome = invalidates  # type: ignore[method-assign]
    assert runs() == 1
    clock.advance(10)
    if runs.loop is not None:
        runs.loop.run_until_complete(runs.cached.cache_clear())
    with pytest.raises(OSError, match="down"):
        runs()


def test_a_hard_timeout_frees_callers_and_keeps_the_result(make: Make, clock: Any) -> None:
    asynchronous = make(backend=MemoryConfig()).loop is not None
    runs = make(backend=MemoryConfig(), ttl=100, hard_timeout=2, run_in_thread=not asynchronous)
    runs.held = True
    ticks = threading.Thread(target=lambda: (runs.started.acquire(), clock.advance(2)))
    ticks.start()
    with pytest.raises(LoadTimeoutError, match="hard_timeout"):
        runs()
    ticks.join()
    runs.held = False
    runs.go.release()
    runs.settle()
    assert runs() == 1, "it came within the grace period"
    assert runs.count == 1


def test_what_comes_after_the_grace_period_is_not_kept(make: Make, clock: Any) -> None:
    asynchronous = make(backend=MemoryConfig()).loop is not None
    runs = make(backend=MemoryConfig(), ttl=100, hard_timeout=2, run_in_thread=not asynchronous)
    runs.held = True
    ticks = threading.Thread(target=lambda: (runs.started.acquire(), clock.advance(2)))
    ticks.start()
    with pytest.raises(LoadTimeoutError):
        runs()
    ticks.join()
    clock.advance(2)
    runs.held = False
    runs.go.release()
    runs.settle()
    assert runs() == 2


def test_a_soft_timeout_serves_the_expired_value(make: Make, clock: Any) -> None:
    asynchronous = make(backend=MemoryConfig()).loop is not None
    options = {"ttl": 10, "stale_if_error": 60, "soft_timeout": 1, "run_in_thread": not asynchronous}
    runs = make(backend=MemoryConfig(), **options)
    assert runs() == 1
    clock.advance(10)
    runs.started.acquire()
    runs.held = True
    ticks = threading.Thread(target=lambda: (runs.started.acquire(), clock.advance(1)))
    ticks.start()
    assert runs() == 1
    ticks.join()
    runs.held = False
    runs.go.release()
    runs.settle(2)
    assert runs() == 2


class Killed(BaseException):
    """What ends a program rather than a function."""


def test_what_ends_a_run_in_a_thread_reaches_its_caller_once() -> None:
    runs: list[int] = []

    @retain(ttl=10, hard_timeout=60, run_in_thread=True)
    def function() -> int:
        runs.append(1)
        raise Killed

    with pytest.raises(Killed):
        function()
    assert len(runs) == 1


def test_what_ends_a_run_of_a_coroutine_reaches_its_caller_once() -> None:
    runs: list[int] = []

    @retain(ttl=10, hard_timeout=60)
    async def coroutine() -> int:
        runs.append(1)
        raise Killed

    async def main() -> None:
        with pytest.raises(Killed):
            await coroutine()

    asyncio.run(main())
    assert len(runs) == 1


def test_what_ends_a_run_on_trio_reaches_its_caller_and_nobody_else(clock: Any) -> None:
    trio = pytest.importorskip("trio")
    pytest.importorskip("trio.testing")
    runs: list[int] = []

    @retain(ttl=10, stale_ttl=10, hard_timeout=60)
    async def coroutine() -> int:
        runs.append(1)
        if len(runs) != 2:
            raise Killed
        return 2

    async def main() -> None:
        with pytest.raises(Killed):
            await coroutine()
        assert await coroutine() == 2
        clock.advance(10)
        assert await coroutine() == 2, "and a refresh in the background is killed"
        await trio.testing.wait_all_tasks_blocked()
        assert len(runs) == 3

    trio.run(main)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hit_is_counted_once_with_timeouts(make: Make, backend: str, clock: Any) -> None:
    asynchronous = make(backend=MemoryConfig()).loop is not None
    options = {"ttl": 10, "stale_ttl": 10, "hard_timeout": 3, "run_in_thread": not asynchronous}
    runs = make(backend=BACKENDS[backend](), **options)
    assert [runs(), runs()] == [1, 1]
    assert runs.cached.cache_info()[:2] == (1, 1)
    clock.advance(10)
    assert runs() == 1
    runs.settle(2)
    info = runs.cached.cache_info()
    assert (info.hits, info.misses, info.stale) == (2, 2, 1)


def test_a_strict_function_in_a_thread_hears_of_failures_of_the_cache() -> None:
    @retain(backend="disk", hard_timeout=60, run_in_thread=True, strict=True)
    def function() -> Any:
        return lambda: 1

    with pytest.raises(SerializationError):
        function()


def test_a_failing_cache_refresh_raises_and_begins_a_pause(make: Make, clock: Any) -> None:
    runs = make(backend=MemoryConfig(), ttl=10, stale_if_error=60)
    runs.outcomes = ["first", OSError("down"), "second"]
    assert runs() == "first"
    clock.advance(10)

    def refresh() -> Any:
        if runs.loop is None:
            return runs.cached.cache_refresh()
        return runs.loop.run_until_complete(runs.cached.cache_refresh())

    with pytest.raises(OSError, match="down"):
        refresh()
    assert runs() == "first"
    assert runs.count == 2, "in the pause"
    assert refresh() == "second"
    assert runs() == "second"


def test_a_pause_begins_when_the_hard_timeout_passes_not_when_it_is_noticed(make: Make, clock: Any) -> None:
    asynchronous = make(backend=MemoryConfig()).loop is not None
    options = {"ttl": 10, "stale_if_error": 60, "soft_timeout": 1, "hard_timeout": 2}
    runs = make(backend=MemoryConfig(), run_in_thread=not asynchronous, **options)
    assert runs() == 1
    clock.advance(10)
    runs.started.acquire()
    runs.held = True
    ticks = threading.Thread(target=lambda: (runs.started.acquire(), clock.advance(1)))
    ticks.start()
    assert runs() == 1
    ticks.join()
    clock.advance(2)
    runs.held = False
    runs.go.release()
    assert runs() in (2, 3), "the pause is over, whoever has noticed it"


def test_a_worker_thread_has_the_context_variables_of_the_caller() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    @retain(hard_timeout=60, run_in_thread=True)
    def function() -> tuple[str, str]:
        return variable.get(), threading.current_thread().name

    variable.set("the caller's")
    value, name = function()
    assert value == "the caller's"
    assert name != threading.current_thread().name


@pytest.mark.parametrize("backend", BACKENDS)
def test_exceptions_are_kept(make: Make, backend: str, clock: Any) -> None:
    runs = make(backend=BACKENDS[backend](), ttl=100, cache_exceptions={LookupError: "5s"})
    runs.outcomes = [KeyError("k", 7), OSError("not kept")]
    for _ in range(3):
        with pytest.raises(KeyError) as caught:
            runs()
        assert caught.value.args == ("k", 7)
    assert runs.count == 1
    clock.advance(5)
    with pytest.raises(OSError, match="not kept"):
        runs()
    assert runs() == 3


def test_every_hit_raises_an_exception_of_its_own() -> None:
    @retain(cache_exceptions=ValueError)
    def function() -> None:
        raise ValueError("no")

    caught = []
    for _ in range(3):
        with pytest.raises(ValueError, match="no") as info:
            function()
        caught.append(info.value)
    assert len({id(error) for error in caught}) == 3
    assert all(len(info.traceback) < 10 for _ in caught)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stale_ttl": -1}, "`stale_ttl`"),
        ({"stale_ttl": 0}, "`stale_ttl`"),
        ({"stale_if_error": float("nan")}, "`stale_if_error`"),
        ({"hard_timeout": float("inf")}, "`hard_timeout`"),
        ({"hard_timeout": 1e10}, "below 292 years"),
        ({"soft_timeout": "soon", "stale_if_error": 5}, "`soft_timeout`"),
        ({"soft_timeout": 2, "hard_timeout": 1, "stale_if_error": 5}, "less than the `hard_timeout`"),
        ({"soft_timeout": 1}, "expected `stale_if_error` beside it"),
        ({"refresh_ahead": 1}, "share between 0 and 1"),
        ({"refresh_ahead": "soon"}, "share between 0 and 1"),
        ({"refresh_ahead": 0.5, "ttl": None}, "nothing expires"),
        ({"run_in_thread": True}, "`soft_timeout` or `hard_timeout` beside it"),
        ({"hard_timeout": 1}, "hint: `run_in_thread=True`"),
        ({"cache_exceptions": "ValueError"}, "exception types"),
        ({"cache_exceptions": KeyboardInterrupt}, "exception types"),
        ({"cache_exceptions": {ValueError: -1}}, "`cache_exceptions`"),
    ],
)
def test_contradictions_are_refused_at_decoration(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
        retain(**options)(lambda x: x)


def test_a_coroutine_function_needs_no_thread() -> None:
    async def coroutine() -> None: ...

    with pytest.raises(ConfigurationError, match="needs no thread"):
        retain(hard_timeout=1, run_in_thread=True)(coroutine)
