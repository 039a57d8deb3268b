"""Cached functions of each flavour over each kind of tiers, for the tests of `cache_many`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio
import trio

from retainit import DiskConfig, retain

FLAVOURS = ["sync", "asyncio", "trio"]
TIERS: dict[str, Callable[[], list[Any]]] = {
    "memory": lambda: ["memory"],
    "disk": lambda: [DiskConfig(base_path="far")],
    "both": lambda: ["memory", DiskConfig(base_path="far")],
}


class Made:
    """A cached function `f(x, y=2)` of one flavour, and what it ran for."""

    def __init__(self, flavour: str, **options: Any) -> None:
        self.flavour = flavour
        self.runs: list[Any] = []
        self.batches: list[list[Any]] = []
        runs = self.runs

        def result(x: Any, y: Any) -> list[Any]:
            runs.append((x, y))
            if x == "fail":
                raise ValueError("failed")
            return [x, y]

        # Named by hand, for a captured list would part functions that are to share entries.
        if flavour == "sync":

            def f(x: Any, y: Any = 2) -> list[Any]:
                return result(x, y)

        else:

            async def f(x: Any, y: Any = 2) -> list[Any]:  # type: ignore[misc]
                await anyio.sleep(0)
                return result(x, y)

        f.__qualname__ = "f"
        self.f: Any = retain(f, **options)

    def many(self, calls: Any, **options: Any) -> list[Any]:
        answers: list[Any] = self.run(lambda: self.f.cache_many(calls, **options))
        return answers

    def run(self, make: Callable[[], Any]) -> Any:
        if self.flavour == "sync":
            return make()

        async def main() -> Any:
            return await make()

        return asyncio.run(main()) if self.flavour == "asyncio" else trio.run(main)

    def batch(self, items: list[Any]) -> Any:
        self.batches.append(items)
        return [["batch", item] for item in items]

    def counts(self) -> tuple[int, int]:
        info = self.f.cache_info()
        return info.hits, info.misses


class Gate:
    """Lets a run begin, and waits for it, in threads or in a loop."""

    def __init__(self, event: Callable[[], Any] = threading.Event) -> None:
        self.begun = event()
        self.finish = event()

    def __retain_key__(self) -> str:
        return "a function that captures it is the same in all tests"
