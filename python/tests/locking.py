"""What the tests of locks share."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from retainit import Cache, LockTimeoutError

Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


def runner(loop: str) -> Run:
    """Runs coroutine functions on `asyncio` or `trio`."""
    if loop == "asyncio":
        return lambda main: asyncio.run(main())
    trio = pytest.importorskip("trio")
    return lambda main: trio.run(main)


def eventually(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.001)


def is_free(cache: Cache, name: str = "x") -> bool:
    """By another thread's lights, as this one may hold it."""
    found: list[bool] = []

    def look() -> None:
        try:
            with cache.lock(name, timeout=0):
                found.append(True)
        except LockTimeoutError:
            found.append(False)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(20)
    return found[0]


def run_in_thread(work: Callable[[], object]) -> None:
    """Runs it to its end, and raises what it raises."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    if failures:
        raise failures[0]
