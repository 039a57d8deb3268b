"""Every test starts with nothing configured, in an empty directory, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retainit import _native, _registry


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
