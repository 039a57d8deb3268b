"""Every test starts with nothing configured, in an empty directory, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retainit import _native, _registry, retain


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RETAINIT_CONFIG", raising=False)
    _registry.shutdown()
    _registry._registry.forget()
    _registry._changed()
    yield
    _registry.shutdown()


class Clock:
    """The process's clocks, held still."""

    def advance(self, seconds: float) -> None:
        _native.advance_clock(seconds)


@pytest.fixture
def clock() -> Iterator[Clock]:
    _native.freeze_clock()
    yield Clock()
    _native.thaw_clock()


@pytest.fixture
def counted() -> Callable[..., Any]:
    """Makes a cached function `f(x, y=2)` of given options, whose result says which run it comes from."""

    def make(**options: Any) -> Any:
        runs = []

        @retain(**options)
        def f(x: Any, y: Any = 2) -> list[Any]:
            runs.append((x, y))
            return [len(runs), x, y]

        return f

    return make


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., str]:
    """Runs a program in an interpreter of its own, which has to end well and say nothing on stderr."""

    def run(program: str, *arguments: object, code: int = 0, timeout: float = 60) -> str:
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(program))
        command = [sys.executable, "-W", "error", str(file), *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # Its children too, which hold the pipes.
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            pytest.fail(f"still running after {timeout} s\n{stdout}\n{stderr}")
        assert (process.returncode, stderr) == (code, ""), stdout
        return stdout

    return run
