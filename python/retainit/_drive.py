"""Calls of asynchronous functions that are not hits.

The steps are the engine's (`retainit._native.Load`); this is how they are awaited, and what every caller gets
is in docs/freshness.md. A load runs in a task of its own, shielded from whoever asked for it: when one who
waits is cancelled the others still get the result, and when the last one is, so is the load. Outside asyncio
(trio) a load runs in the caller's own task, and who is cancelled there leaves the next one to start again.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from retainit import _native
from retainit._background import failed

T = TypeVar("T")


class _Running:
    """A load's task, and how many wait for it."""

    __slots__ = ("goes_on", "loop", "task", "waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
        self.loop = loop
        self.task = task
        self.waiters = 1
        #: Whether it is not to be cancelled, though nobody waits: somebody was answered without it.
        self.goes_on = False


# By flight; several threads may run loops.
_running: dict[int, _Running] = {}
_lock = threading.Lock()
# Loops keep weak references only.
_refreshes: set[object] = set()


async def drive(
    function: Any, key: _native.Key, arguments: tuple[Any, ...], keywords: dict[str, Any] | None
) -> Any:
    """Answers a call from a farther tier, from a load under way, or by running the function."""
    return await answer(function, key, arguments, keywords or {}, read=True)


async def answer(
    function: Any, key: _native.Key, arguments: tuple[Any, ...], keywords: dict[str, Any], *, read: bool
) -> Any:
    """As `drive`; without `read` the function runs, and its result replaces what is kept."""
    entered = _native.monotonic()
    while True:
        step = _native.begin(function, key, read, entered)
        if isinstance(step, _native.Load):
            call = _Call(function, key, arguments, keywords)
            task = _start(call, step, read)
            if not step.limits_waits:
                if task is None:
                    return _native.copied(function, await _load(call, step, read))
                number = step.id
                del step
                return _native.copied(function, await _shielded(number, task))
            flight = step.followed(read, entered)
            if task is None:
                import trio

                context = contextvars.copy_context()
                trio.lowlevel.spawn_system_task(_alone, _load(call, step, read), context=context)
            del step, task
        else:
            flight = step
            if flight.replaces:
                found = await off_loop(function, flight.reread, key)
                if found is not None:
                    return _native.copied(function, found[0])
            if not flight.may_wait():
                # Waiting would never end: better to work twice.
                return await function.__wrapped__(*arguments, **keywords)
        try:
            await _landed(flight)
        finally:
            flight.waited()
        landing = flight.landing()
        if flight.found:
            # A value of one's own, as everybody gets who reads it alone.
            landing = await off_loop(function, flight.reread, key)
        if landing is not None:
            return _native.copied(function, landing[0])


def refresh(
    load: _native.Load, function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any] | None
) -> None:
    """Carries a refresh on in the background, where there is an event loop; else it is for a later call."""
    call = _Call(function, None, arguments, keywords or {})
    loop = _loop()
    if loop is not None:
        task = loop.create_task(_refresh(call, load))
        _refreshes.add(task)
        task.add_done_callback(_refreshes.discard)
        task.add_done_callback(functools.partial(_ended, load))
    elif _on_trio():
        import trio

        context = contextvars.copy_context()
        trio.lowlevel.spawn_system_task(_alone, _refresh(call, load), context=context)


async def _refresh(call: _Call, load: _native.Load) -> None:
    try:
        await _load(call, load, read=True)
    except Exception as error:
        failed(call.function.__qualname__, error)


class _Call(NamedTuple):
    """A call of a coroutine function."""

    function: Any
    key: _native.Key | None
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


async def _load(call: _Call, load: _native.Load, read: bool) -> Any:
    """Takes a load to its end: the steps of `core/src/pipeline.rs`."""
    kept = False
    try:
        if read:
            found = await _off_loop(load.may_block, load.read)
            if found is not None:
                value, first = found
                load.land_found(value)
                _refresh_from(call, first)
                return value
        elif load.has_tags:
            await _off_loop(load.may_block, load.observe)
        refused = load.refused()
        if refused is not None:
            load.land_found(refused[0])
            return refused[0]
        elsewhere = await _turn(load)
        if elsewhere is not None:
            load.land_found(elsewhere[0])
            return elsewhere[0]
        load.runs()
        token = load.enter()
        try:
            value = await call.function.__wrapped__(*call.arguments, **call.keywords)
        except Exception as error:
            kept = load.keeps_error(error)
            if kept:
                await _off_loop(load.may_block, load.store)
            raise
        finally:
            load.leave(token)
        blocks = load.keeps(value, call.arguments, call.keywords)
        await _off_loop(blocks, load.store)
    except BaseException as error:
        fallback = load.fail(error, kept)
        if fallback is not None:
            return fallback[0]
        raise
    load.land(value)
    return value


async def _turn(load: _native.Load) -> tuple[Any] | None:
    """Waits for the load's turn among processes. What one of them has stored meanwhile is the answer."""
    turn = load.turn()
    while turn is not None:
        mine = await _off_loop(load.may_block, turn.attempt)
        found = await _off_loop(load.may_block, load.look_again)
        if mine or found is not None:
            return found
        pause = turn.pause()
        if pause is None:
            break
        await _sleep(pause)
    return None


async def _sleep(seconds: float) -> None:
    if _loop() is not None:
        await asyncio.sleep(seconds)
    elif _on_trio():
        import trio

        await trio.sleep(seconds)


def _refresh_from(call: _Call, first: int | None) -> None:
    """Starts the refresh that a value wants which was found above tier `first`."""
    if first is not None and call.key is not None:
        load = _native.refresh_load(call.function, call.key, first)
        if load is not None:
            refresh(load, call.function, call.arguments, call.keywords)


def _start(call: _Call, load: _native.Load, read: bool) -> asyncio.Task[Any] | None:
    """Starts a task for a load, where asyncio runs."""
    loop = _loop()
    if loop is None:
        return None
    task = loop.create_task(_load(call, load, read))
    with _lock:
        _running[load.id] = _Running(loop, task)
    task.add_done_callback(functools.partial(_ended, load))
    return task


async def _alone(load: Coroutine[Any, Any, Any]) -> None:
    """A load in a task of trio's system, which nothing may leave: its outcome is the flight's."""
    import trio

    try:
        await load
    except trio.Cancelled:
        raise
    except BaseException:
        # Whoever waits for the load of their own gets it from the flight.
        return


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
    """One who waited goes; whether it was the last, and the load is to end with it."""
    with _lock:
        running = _running.get(flight)
        if running is None:
            return False
        running.waiters -= 1
        return running.waiters == 0 and not running.goes_on


def _ended(load: _native.Load, task: asyncio.Task[Any]) -> None:
    with _lock:
        running = _running.get(load.id)
        if running is not None and running.task is task:
            del _running[load.id]
    if task.cancelled():
        # It may have been before its first step: then nothing has freed those who wait.
        load.fail(asyncio.CancelledError(), False)
    else:
        # Those who waited have got it; a leader that was cancelled must not leave a warning behind.
        task.exception()


async def _landed(flight: _native.Flight) -> None:
    """Waits for a flight, on asyncio or trio, as long as the function's rules allow."""
    with _lock:
        running = _running.get(flight.id)
        if running is not None and not flight.own:
            running.waiters += 1
    try:
        wait = await _waiter(flight)
        while not await wait(flight.patience()):
            if flight.expire():
                # The run goes on without this caller.
                if running is not None:
                    running.goes_on = True
                break
    except BaseException:
        if running is not None and _leave(flight.id):
            running.loop.call_soon_threadsafe(running.task.cancel)
        raise
    if running is not None:
        _leave(flight.id)


async def _waiter(flight: _native.Flight) -> Callable[[float | None], Awaitable[bool]]:
    """What waits so many seconds, or without an end, for a flight to land, and says whether it has."""
    loop = _loop()
    if loop is not None:
        done = loop.create_future()
        flight.subscribe(lambda: _wake(loop, done))

        async def wait(seconds: float | None) -> bool:
            if seconds is None:
                await done
            elif not done.done():
                await asyncio.wait((done,), timeout=seconds)
            return done.done()

        return wait

    import trio

    landed = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def wake() -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(landed.set)

    flight.subscribe(wake)

    async def wait_on_trio(seconds: float | None) -> bool:
        with trio.move_on_after(math.inf if seconds is None else seconds):
            await landed.wait()
        return landed.is_set()

    return wait_on_trio


def _wake(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    def resolve() -> None:
        if not done.done():
            done.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(resolve)


def forget() -> None:
    """In a child after a fork: the loads of the parent's loops go on there."""
    global _lock
    _lock = threading.Lock()
    _running.clear()
    _refreshes.clear()


def _on_trio() -> bool:
    if "trio" not in sys.modules:
        return False
    import trio

    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True


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
