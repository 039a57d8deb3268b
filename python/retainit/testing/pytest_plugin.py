"""Fixtures for pytest. Name this module in your outermost ``conftest.py``::

pytest_plugins = ["retainit.testing.pytest_plugin"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from retainit import _registry
from retainit.testing._clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["retainit_clock", "retainit_isolated"]


@pytest.fixture
def retainit_isolated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test with nothing configured and nothing cached, before and after.

    Backends that were in use are closed, what was registered, said to `init` or read from a file is
    forgotten, and ``RETAINIT_CONFIG`` is unset. Functions that were decorated before start with an empty
    cache in memory. Stores outside the process (`DiskConfig`) keep what they have: give each test a
    directory of its own.

    For every test of a package::

        pytestmark = pytest.mark.usefixtures("retainit_isolated")
    """
    monkeypatch.delenv("RETAINIT_CONFIG", raising=False)
    _registry.reset()
    yield
    _registry.reset()


@pytest.fixture
def retainit_clock(retainit_isolated: None) -> Iterator[FakeClock]:
    """A `FakeClock` for one test that is isolated too; the clock runs again before the caches are closed."""
    with FakeClock() as clock:
        yield clock
