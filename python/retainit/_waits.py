"""Waiting in tasks, on asyncio or trio: for a bell that any thread rings, and for what may block.

What may block runs in threads of its own, not in those of the loop's executor: these may all be waiting for
something that is to be given back here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

__all__ = ["Bell", "bell", "off_loop"]

T = TypeVar("T")

#: Threads for what may block; it is over soon, so that more would hardly help.
THREADS = 8

_pool: ThreadPoolExecutor | None = None


class Bell(Protocol):
    """Waits of one task, ended by a ring or by the time."""

    def ring(self) -> None:
        """Ends the wait, or the next one. From any thread."""

    async def wait(self, seconds: float) -> None:
        """Waits for a ring that has not ended a wait yet, at most for so long."""


def bell() -> Bell:
    """One for the loop that runs."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _TrioBell()
    return _AsyncioBell(loop)


class _AsyncioBell:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = asyncio.Event()

    def ring(self) -> None:
        # A loop that is closed has nobody who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, seconds: float) -> None:
        timer = self._loop.call_later(seconds, self._rung.set)
        try:
            await self._rung.wait()
        finally:
            timer.cancel()
        self._rung.clear()


class _TrioBell:
    def __init__(self) -> None:
        import trio

        self._token = trio.lowlevel.current_trio_token()
        self._rung = trio.Event()

    def ring(self) -> None:
        import trio

        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(lambda: self._rung.set())

    async def wait(self, seconds: float) -> None:
        import trio

        with trio.move_on_after(seconds):
            await self._rung.wait()
        self._rung = trio.Event()


async def off_loop(
    may_block: bool,
    operation: Callable[[], T],
    *,
    discard: Callable[[T], object] | None = None,
    shielded: bool = False,
) -> T:
    """Runs an operation, in a thread where it may block.

    It runs to its end even where the task is cancelled meanwhile; ``discard`` gets what it gave then. With
    ``shielded`` it also begins if the task has been cancelled before (trio cancels at every step).
    """
    if not may_block:
        return operation()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return await _off_trio(operation, shielded)
    try:
        future = loop.run_in_executor(_executor(), operation)
    except RuntimeError:
        # No thread is started any more at the end of the interpreter: better to block once than to fail.
        return operation()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        future.add_done_callback(lambda future: _discarded(future, discard))
        raise


def _discarded(future: asyncio.Future[T], discard: Callable[[T], object] | None) -> None:
    # A failure that nobody waits for is no news.
    if not future.cancelled() and future.exception() is None and discard is not None:
        discard(future.result())


async def _off_trio(operation: Callable[[], T], shielded: bool) -> T:
    import trio

    # It is not left before its end. A limiter of its own: it never waits for another's thread.
    limiter = trio.CapacityLimiter(1)
    if not shielded:
        return await trio.to_thread.run_sync(operation, limiter=limiter)
    with trio.CancelScope(shield=True):
        result = await trio.to_thread.run_sync(operation, limiter=limiter)
    return result  # noqa: RET504 - to a type checker the scope may swallow what is raised in it


def _executor() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(THREADS, thread_name_prefix="retainit-locks")
    return _pool


def _after_fork_in_child() -> None:
    # Its threads are the parent's.
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
