"""Calls of asynchronous functions that are not hits.

The steps are the engine's (`retainit._native.Load`); this is how they are awaited. A load runs in a
task of its own, shielded from whoever asked for it: when one who waits is cancelled the others still
get the result, and when the last one is, so is the load. Outside asyncio (trio) a load runs in the
caller's own task, and who is cancelled there leaves the next one to start again.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from retainit import _native

T = TypeVar("T")


class _Running:
    """A load's task, and how many wait for it."""

    __slots__ = ("loop", "task", "waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
        self.loop = loop
        self.task = task
        self.waiters = 1


# By flight; several threads may run loops.
_running: dict[int, _Running] = {}
_lock = threading.Lock()


async def drive(
    function: Any, key: _native.Key, arguments: tuple[Any, ...], keywords: dict[str, Any] | None
) -> Any:
    """Answers a call from a farther tier, from a load under way, or by running the function."""
    return await answer(function, key, arguments, keywords or {}, read=True)


async def answer(
    function: Any, key: _native.Key, arguments: tuple[Any, ...], keywords: dict[str, Any], *, read: bool
) -> Any:
    """As `drive`; without `read` the function runs, and its result replaces what is kept."""
    while True:
        step = _native.begin(function, key)
        if isinstance(step, _native.Load):
            loop = _loop()
            if loop is None:
                return _native.copied(function, await _load(step, function, arguments, keywords, read))
            task = loop.create_task(_load(step, function, arguments, keywords, read))
            with _lock:
                _running[step.id] = _Running(loop, task)
            flight = step.id
            task.add_done_callback(functools.partial(_ended, flight))
            del step
            return _native.copied(function, await _shielded(flight, task))
        if not step.may_wait():
            # Waiting would never end: better to work twice.
            return await function.__wrapped__(*arguments, **keywords)
        try:
            await _landed(step)
        finally:
            step.waited()
        landing = step.landing() if read else None
        if read and step.found:
            # A value of one's own, as everybody gets who reads it alone.
            landing = await off_loop(function, _native.reread, function, key)
        if landing is not None:
            return _native.copied(function, landing[0])


async def _load(
    load: _native.Load, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], read: bool
) -> Any:
    try:
        if read:
            found = await _off_loop(load.may_block, load.read)
            if found is not None:
                load.land_found(found[0])
                return found[0]
        else:
            load.count_miss()
        token = load.enter()
        try:
            value = await function.__wrapped__(*arguments, **keywords)
        finally:
            load.leave(token)
        if load.keeps(value, arguments, keywords):
            await _off_loop(load.may_block, load.store, value)
    except BaseException as error:
        load.fail(error)
        raise
    load.land(value)
    return value


async def _shielded(flight: int, task: asyncio.Task[T]) -> T:
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done() and _leave(flight):
            # Nobody else wants it: the function sees the cancellation, and may clean up first.
            task.cancel()
            return await task
        raise


def _leave(flight: int) -> bool:
    """One who waited goes; whether it was the last."""
    with _lock:
        running = _running.get(flight)
        if running is None:
            return False
        running.waiters -= 1
        return running.waiters == 0


def _ended(flight: int, task: asyncio.Task[Any]) -> None:
    with _lock:
        running = _running.get(flight)
        if running is not None and running.task is task:
            del _running[flight]
    if not task.cancelled():
        # Those who waited have got it; a leader that was cancelled must not leave a warning behind.
        task.exception()


async def _landed(flight: _native.Flight) -> None:
    """Waits for a flight, on asyncio or trio."""
    with _lock:
        running = _running.get(flight.id)
        if running is not None:
            running.waiters += 1
    loop = _loop()
    try:
        if loop is not None:
            done = loop.create_future()
            flight.subscribe(lambda: _wake(loop, done))
            await done
        else:
            await _landed_on_trio(flight)
    except BaseException:
        if running is not None and _leave(flight.id):
            running.loop.call_soon_threadsafe(running.task.cancel)
        raise
    if running is not None:
        _leave(flight.id)


def _wake(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    def resolve() -> None:
        if not done.done():
            done.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(resolve)


async def _landed_on_trio(flight: _native.Flight) -> None:
    import trio

    landed = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def wake() -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(landed.set)

    flight.subscribe(wake)
    await landed.wait()


def forget() -> None:
    """In a child after a fork: the loads of the parent's loops go on there."""
    global _lock
    _lock = threading.Lock()
    _running.clear()


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def off_loop(function: Any, operation: Callable[..., T], *arguments: Any) -> T:
    """Runs an operation on a function's entries, in a worker thread where a backend may block."""
    return await _off_loop(_native.may_block(function), operation, *arguments)


async def _off_loop(may_block: bool, operation: Callable[..., T], *arguments: Any) -> T:
    if not may_block:
        return operation(*arguments)
    loop = _loop()
    if loop is not None:
        try:
            future = loop.run_in_executor(None, operation, *arguments)
        except RuntimeError:
            # The loop's executor takes nothing any more, as at the end of the interpreter: better to
            # block once than to fail.
            return operation(*arguments)
        return await future
    if "trio" in sys.modules:
        import trio

        return await trio.to_thread.run_sync(operation, *arguments)
    return operation(*arguments)
