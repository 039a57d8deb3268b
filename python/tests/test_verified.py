"""Large entries are checked once in a process; what that must not lead to."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from retainit import DiskConfig, retain
from retainit._registry import reset

BASE = Path("cache")
_runs: list[int] = []


def value(number: int) -> bytes:
    """Bytes that compress a little: compressed, they are still a large entry."""
    return random.Random(number).randbytes(150_000) + bytes(50_000)


def produce(number: int) -> bytes:
    _runs.append(number)
    return value(number)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    _runs.clear()
    yield
    reset()


def swap() -> None:
    """Exchanges what the two rows say, their keys excepted, while this process has the database open."""
    with closing(sqlite3.connect(BASE / "db" / "entries.sqlite")) as connection:
        rows = connection.execute("select id, token, file, hash from entry order by id").fetchall()
        assert len(rows) == 2
        for (row, *_), (_, *other) in zip(rows, reversed(rows), strict=True):
            connection.execute("update entry set token = ?, file = ?, hash = ? where id = ?", (*other, row))
        connection.commit()


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}], ids=["plain", "compressed"])
def test_a_checked_entry_that_is_moved_to_another_key_is_a_miss(options: dict[str, Any]) -> None:
    cached = retain(produce, backend=DiskConfig(base_path=BASE, inline_limit=1), ttl="1h", **options)
    for _ in range(3):
        assert [cached(number) for number in (1, 2)] == [value(1), value(2)]
    assert _runs == [1, 2], "read from the disk, and checked"
    swap()
    assert cached(1) == value(1)
    assert cached(2) == value(2)
    assert sorted(_runs) == [1, 1, 2, 2]
    assert cached.cache_info().errors >= 1
