"""What tests of crowds share: functions that capture what their test is about, and who waits for whom."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

from retainit import _native, retain


class Counted:
    """Counts runs, and how many of a key there were at once."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self.now: dict[int, int] = {}
        self.most = 0
        self.lock = threading.Lock()

    def begin(self, key: int) -> int:
        with self.lock:
            self.runs.append(key)
            self.now[key] = self.now.get(key, 0) + 1
            self.most = max(self.most, self.now[key])
            return len(self.runs)

    def end(self, key: int) -> None:
        with self.lock:
            self.now[key] -= 1


class Named:
    """A function whose name says all that stores outside the process have to know of it."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __retain_key__(self) -> str:
        return "one function for as long as a test lasts"

    def __call__(self, key: int) -> Any:
        return self.function(key)


class AsyncNamed(Named):
    async def __call__(self, key: int) -> Any:
        return await self.function(key)


def named(**options: Any) -> Callable[[Callable[[int], Any]], Any]:
    """`retain`, for functions that capture what their test is about."""

    def decorate(function: Callable[[int], Any]) -> Any:
        wrapper = AsyncNamed if inspect.iscoroutinefunction(function) else Named
        return retain(**options)(wrapper(function))

    return decorate


async def waits_for(condition: Callable[[], bool]) -> None:
    """Until something is so that other threads or the loop bring about."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        await asyncio.sleep(0.0005)


def waiting(function: Any, *arguments: Any) -> int:
    key = _native.key(function, arguments)
    assert key is not None
    return _native.waiting(key)


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
