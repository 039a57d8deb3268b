"""Many calls of one cached function together.

Each tier is asked once for all of them. What none has is left to calls of the function, one for each, or to
a batch function, once. Nothing waits for a load of somebody else's while loads are led here, so that two who
ask for the same calls in different order never wait for each other.

The steps are the same for functions and for coroutine functions: a coroutine, which for functions never
waits.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from retainit import _native
from retainit.errors import ConfigurationError

__all__ = ["cache_many"]

_Batch = Callable[[list[Any]], Any]
#: A value, or what was raised instead.
_Outcome = tuple[Any, BaseException | None]


class _Call:
    """A call that the nearest tier did not answer, however often it is asked for."""

    __slots__ = ("arguments", "error", "is_over", "item", "key", "keywords", "places", "value")

    def __init__(self, item: Any, spelled: _native.Spelled, key: _native.Key | None = None) -> None:
        self.item = item
        self.arguments, keywords = spelled
        self.keywords = keywords or {}
        self.key = key
        #: Where its result goes.
        self.places: list[int] = []
        self.is_over = False
        self.value: Any = None
        self.error: BaseException | None = None

    def end(self, value: Any, error: BaseException | None = None) -> None:
        """Notes what became of it."""
        self.value, self.error, self.is_over = value, error, True


_Led = list[tuple[_Call, _native.Load]]


def cache_many(cached: Any, calls: Iterable[Any], batch: _Batch | None) -> Any:
    """The results of many calls, in their order."""
    if batch is not None and not callable(batch):
        raise ConfigurationError(f"`batch` of `cache_many`: expected a function, found `{batch!r}`")
    items = list(calls)
    if _native.is_asynchronous(cached):
        return _awaited(cached, items, batch)
    if inspect.iscoroutinefunction(batch):
        raise ConfigurationError(
            f"`batch` of `cache_many`: expected a function, because `{cached.__qualname__}` is one, "
            f"found the coroutine function `{batch!r}`"
        )
    answer = _answer(cached, items, batch, _Blocking())
    try:
        answer.send(None)
    except StopIteration as stopped:
        return _results(cached, *stopped.value)
    raise RuntimeError("calls of a function were awaited; this is a fault in retainit")


async def _awaited(cached: Any, items: list[Any], batch: _Batch | None) -> list[Any]:
    return _results(cached, *await _answer(cached, items, batch, _Cooperative()))


def _results(cached: Any, values: list[Any], calls: list[_Call]) -> list[Any]:
    # Not in `_answer`, for no coroutine lets a `StopIteration` out.
    for call in calls:
        if call.error is not None:
            raise call.error
        for place in call.places:
            values[place] = call.value
    if cached._retain["copy"] == "reference":
        return values
    return [_native.copied(cached, value) for value in values]


class _Ways(Protocol):
    """What is done differently for functions and for coroutine functions."""

    async def step(self, cached: Any, operation: Callable[..., Any], *arguments: Any) -> Any:
        """An operation on entries."""

    async def call(self, cached: Any, calls: Sequence[_Call]) -> None:
        """Calls the cached function, until a call fails."""

    async def batch(self, batch: _Batch, items: list[Any]) -> _Outcome:
        """Calls the batch function."""


async def _answer(
    cached: Any, items: list[Any], batch: _Batch | None, ways: _Ways
) -> tuple[list[Any], list[_Call]]:
    """What there was, and the other calls: over, but for those behind one that failed."""
    if _native.is_disabled():
        calls = [
            _Call(item, spelled) for item, spelled in zip(items, _native.spell_calls(items), strict=True)
        ]
        for place, call in enumerate(calls):
            call.places.append(place)
        if batch is None:
            await ways.call(cached, calls)
        elif calls:
            await _compute(cached, calls, batch, ways)
        return [None] * len(items), calls
    values, missing = _native.look_many(cached, items)
    calls = _distinct(items, missing)
    waiting = [call for call in calls if call.key is not None]
    while waiting:
        await _read(cached, waiting, batch, ways)
        if any(call.error is not None for call in waiting):
            return values, calls
        before, waiting = waiting, [call for call in waiting if not call.is_over]
        # With a batch function the rest is read again: whoever loads it may leave it to others.
        if batch is None or len(waiting) == len(before):
            break
    await ways.call(cached, [call for call in calls if not call.is_over])
    if all(call.error is None for call in calls):
        _native.count_hits(cached, sum(len(call.places) - 1 for call in calls))
    return values, calls


def _distinct(items: list[Any], missing: list[_native.Missing]) -> list[_Call]:
    known: dict[_native.Key, _Call] = {}
    calls = []
    for place, spelled, key in missing:
        call = None if key is None else known.get(key)
        if call is None:
            call = _Call(items[place], spelled, key)
            calls.append(call)
            if key is not None:
                known[key] = call
        call.places.append(place)
    return calls


async def _read(cached: Any, calls: list[_Call], batch: _Batch | None, ways: _Ways) -> None:
    """Answers calls from the tiers and with the batch function, as far as nobody else loads them."""
    keys = [call.key for call in calls]
    found = await ways.step(cached, _native.read_many, cached, keys, batch is not None)
    led = []
    for call, answer in zip(calls, found, strict=True):
        if isinstance(answer, tuple):
            call.end(answer[0])
        elif answer is not None:
            led.append((call, answer))
    if batch is None or not led:
        return
    try:
        await _load(cached, led, batch, ways)
    finally:
        # A traceback keeps this frame, and must not keep those who wait.
        _native.abandon_many([load for _, load in led])


async def _load(cached: Any, led: _Led, batch: _Batch, ways: _Ways) -> None:
    """Carries out loads with the batch function."""
    # What the function asks for of these it must not wait for.
    tokens = [(load, load.enter()) for _, load in led]
    try:
        for _, load in led:
            load.runs()
        await _compute(cached, [call for call, _ in led], batch, ways)
    finally:
        for load, token in reversed(tokens):
            load.leave(token)
    made = []
    for call, load in led:
        if call.error is None:
            load.keeps(call.value, call.arguments, call.keywords)
            made.append(load)
            continue
        fallback = load.fail(call.error, False)
        if fallback is not None:
            call.end(fallback[0])
    await ways.step(cached, _native.store_many, cached, made)


async def _compute(cached: Any, calls: list[_Call], batch: _Batch, ways: _Ways) -> None:
    """Gives calls what the batch function has for them."""
    results, error = await ways.batch(batch, [call.item for call in calls])
    if error is None:
        error = _mistake(cached, results, len(calls))
    for index, call in enumerate(calls):
        call.end(results[index] if error is None else None, error)


def _mistake(cached: Any, results: Any, expected: int) -> Exception | None:
    subject = f"`batch` of `{cached.__qualname__}.cache_many`: expected a list of {expected} results"
    if not isinstance(results, (list, tuple)):
        return TypeError(f"{subject}, found `{type(results).__qualname__}`")
    if len(results) != expected:
        return ValueError(f"{subject}, found {len(results)}")
    return None


class _Blocking:
    """For functions: one call after the other."""

    async def step(self, cached: Any, operation: Callable[..., Any], *arguments: Any) -> Any:
        return operation(*arguments)

    async def call(self, cached: Any, calls: Sequence[_Call]) -> None:
        for call in calls:
            call.end(*_outcome(cached, *call.arguments, **call.keywords))
            if call.error is not None:
                return

    async def batch(self, batch: _Batch, items: list[Any]) -> _Outcome:
        return _outcome(batch, items)


def _outcome(function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> _Outcome:
    try:
        return function(*arguments, **keywords), None
    except BaseException as error:
        return None, error


class _Cooperative:
    """For coroutine functions: all calls at the same time."""

    async def step(self, cached: Any, operation: Callable[..., Any], *arguments: Any) -> Any:
        from retainit._drive import off_loop

        return await off_loop(cached, operation, *arguments)

    async def call(self, cached: Any, calls: Sequence[_Call]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            await _call_on_trio(cached, calls)
            return
        tasks = [loop.create_task(_awaited_call(cached, call)) for call in calls]
        try:
            if tasks:
                await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise
        for task in tasks:
            # A cancellation that comes from the function.
            task.result()

    async def batch(self, batch: _Batch, items: list[Any]) -> _Outcome:
        try:
            results = batch(items)
            return (await results if inspect.isawaitable(results) else results), None
        except Exception as error:
            return None, error


async def _awaited_call(cached: Any, call: _Call) -> None:
    try:
        answer: Awaitable[Any] = cached(*call.arguments, **call.keywords)
        call.end(await answer)
    except Exception as error:
        call.end(None, error)


async def _call_on_trio(cached: Any, calls: Sequence[_Call]) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(_awaited_call, cached, call)
