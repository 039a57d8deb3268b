"""One process at a time runs a function for a key: the option `lease`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retainit import ConfigurationError, DiskConfig, MemoryConfig, retain

PROGRAM = """
import asyncio, sys, threading
import retainit
from retainit import DiskConfig, MemoryConfig, _native, retain

LEASE = {lease!r}
BACKEND = [MemoryConfig(), DiskConfig(base_path="cache")]

def body(key):
    print("runs", flush=True)
    word = sys.stdin.readline().strip()
    if word == "fail":
        raise OSError("failed")
    return [key, word]

@retain(backend=BACKEND, ttl=100, lease=LEASE, key_builder="k:{{key}}")
def function(key):
    return body(key)

@retain(backend=BACKEND, ttl=100, lease=LEASE, key_builder="k:{{key}}")
async def coroutine(key):
    return await asyncio.get_running_loop().run_in_executor(None, body, key)

async def on_asyncio():
    return await coroutine(1)

kind = sys.argv[1]
if "late" in sys.argv:
    # The holder has died: its time is up at once, by this process's clock.
    _native.freeze_clock()
    _native.advance_clock(31)
print("calls", flush=True)
try:
    print(function(1) if kind == "sync" else asyncio.run(on_asyncio()), flush=True)
except OSError as error:
    print(error, flush=True)
"""


class Process:
    """A program that says what it does, and waits to be told what its function returns."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str, lease: bool | None = True) -> Process:
        file = tmp_path / "program.py"
        file.write_text(PROGRAM.format(lease=lease), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(file), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(Process(process))
        assert started[-1].says() == "calls"
        return started[-1]

    yield start
    for process in started:
        process.end()


KINDS = ["sync", "async"]


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_waits_for_the_result(start: Callable[..., Process], kind: str) -> None:
    first = start(kind)
    assert first.says() == "runs"
    others = [start(kind) for _ in range(3)]
    first.tell("done")
    assert first.says() == "[1, 'done']"
    assert [other.says() for other in others] == ["[1, 'done']"] * 3, "and none of them has run it"


def test_without_a_lease_each_runs_it(start: Callable[..., Process]) -> None:
    first, second = start("sync", lease=None), start("sync", lease=None)
    assert [first.says(), second.says()] == ["runs", "runs"], "the default, where only this user can see it"
    first.tell("one")
    second.tell("two")
    assert [first.says(), second.says()] == ["[1, 'one']", "[1, 'two']"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failure_passes_the_turn_on(start: Callable[..., Process], kind: str) -> None:
    first = start(kind)
    assert first.says() == "runs"
    second = start(kind)
    first.tell("fail")
    assert first.says() == "failed"
    assert second.says() == "runs"
    second.tell("done")
    assert second.says() == "[1, 'done']"


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_dies_leaves_its_turn_to_another(start: Callable[..., Process], kind: str) -> None:
    first = start(kind)
    assert first.says() == "runs"
    first.end()
    second = start(kind, "late")
    assert second.says() == "runs"
    second.tell("done")
    assert second.says() == "[1, 'done']"


def test_a_backend_that_cannot_is_refused() -> None:
    @retain(backend=MemoryConfig(), lease=True)
    def function() -> None: ...

    with pytest.raises(ConfigurationError, match=r"`lease` of `retain` on .*found `memory`"):
        function()
    with pytest.raises(ConfigurationError, match="option `lease` of `retain`: expected `True`"):
        retain(lease="yes")(lambda: 1)  # type: ignore[call-overload]


def test_trio_takes_its_turn() -> None:
    trio = pytest.importorskip("trio")
    runs = []

    @retain(backend=DiskConfig(base_path="cache"), lease=True)
    async def function(key: int) -> int:
        runs.append(key)
        return key

    async def main() -> None:
        assert [await function(1), await function(1)] == [1, 1]

    trio.run(main)
    assert runs == [1]


def test_a_result_is_found_by_who_gets_the_turn_after_it_was_stored() -> None:
    runs: list[Any] = []

    def make() -> Any:
        @retain(backend=DiskConfig(base_path="cache"), lease=True, key_builder="k:{key}")
        async def function(key: int) -> list[int]:
            runs.append(key)
            await asyncio.sleep(0)
            return [key]

        return function

    async def main() -> None:
        # Two functions of one name: for each other they are as in two processes.
        results = await asyncio.gather(*(make()(1) for _ in range(5)))
        assert results == [[1]] * 5

    asyncio.run(main())
    assert runs == [1]
