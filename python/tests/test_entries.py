"""Entries that were damaged, moved, or written by others: misses, and never another value."""

from __future__ import annotations

import random
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from retainit import DiskConfig, register_serializer, retain
from retainit._registry import reset
from retainit._serializers import _registered

BASE = Path("cache")
_runs: list[object] = []


def produce(number: int) -> object:
    """A value of its own for each argument."""
    _runs.append(number)
    return {"number": number, "text": ["some text"] * 20}


def function(**options: Any) -> Any:
    return retain(produce, backend=DiskConfig(base_path=BASE), **options)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    _runs.clear()
    yield
    reset()


def edit(change: Callable[[sqlite3.Connection], object]) -> None:
    """Changes the database while nobody has it open."""
    reset()
    with closing(sqlite3.connect(BASE / "db" / "entries.sqlite")) as connection:
        change(connection)
        connection.commit()


def values(connection: sqlite3.Connection) -> list[tuple[int, bytes]]:
    return [
        (row, bytes(value)) for row, value in connection.execute("select id, value from entry order by id")
    ]


KEYS = [{}, {"encryption_key": b"k" * 32}, {"encryption_key": b"k" * 32, "integrity": "signed"}]


@pytest.mark.parametrize("options", KEYS, ids=["checksum", "encrypted", "signed"])
def test_an_entry_that_was_moved_to_another_key_is_a_miss(options: dict[str, Any]) -> None:
    for number in (1, 2):
        function(**options)(number)

    def swap(connection: sqlite3.Connection) -> None:
        (first, one), (second, other) = values(connection)
        for row, value in ((first, other), (second, one)):
            connection.execute("update entry set value = ? where id = ?", (value, row))

    edit(swap)
    cached = function(**options)
    assert [cached(number)["number"] for number in (1, 2)] == [1, 2]
    assert cached.cache_info().errors == 2
    assert _runs == [1, 2, 1, 2]


@pytest.mark.parametrize("options", KEYS, ids=["checksum", "encrypted", "signed"])
def test_a_damaged_or_shortened_entry_is_a_miss(options: dict[str, Any]) -> None:
    chance = random.Random(3)
    for number in range(40):
        function(**options)(number)

    def damage(connection: sqlite3.Connection) -> None:
        for row, value in values(connection):
            if row % 2:
                cut = bytearray(value)
                cut[chance.randrange(len(cut))] ^= 1 << chance.randrange(8)
            else:
                cut = bytearray(value[: chance.randrange(len(value))])
            connection.execute(
                "update entry set value = ?, size = ? where id = ?", (bytes(cut), len(cut), row)
            )

    edit(damage)
    cached = function(**options)
    assert [cached(number)["number"] for number in range(40)] == [*range(40)]
    assert cached.cache_info().misses == 40
    # What was made anew is there again.
    assert [cached(number)["number"] for number in range(40)] == [*range(40)]
    assert cached.cache_info().misses == 40


def test_an_entry_of_another_version_is_a_miss_even_under_the_right_key() -> None:
    function(version=1)(1)
    function(version=2)(2)

    def replay(connection: sqlite3.Connection) -> None:
        (first, _), (second, _) = values(connection)
        key = connection.execute("select key from entry where id = ?", (first,)).fetchone()[0]
        connection.execute("delete from entry where id = ?", (first,))
        # As if version 1 had the key of version 2.
        connection.execute(
            "update entry set key = ? where id = ?", (bytes(key).replace(b":1:", b":2:"), second)
        )

    edit(replay)
    cached = function(version=2)
    assert cached(1)["number"] == 1
    assert cached.cache_info().misses == 1


def test_an_entry_of_a_serializer_that_is_not_there_is_a_miss() -> None:
    @register_serializer("passing")
    class Passing:
        def serialize(self, obj: object) -> bytes:
            return b"5"

        def deserialize(self, data: bytes) -> object:
            return {"number": int(data)}

    try:
        function(serializer="passing")(5)
        assert function(serializer="passing")(5) == {"number": 5}
    finally:
        del _registered["passing"]
    cached = function()
    assert cached(5)["text"]
    assert cached.cache_info().errors == 1


def test_an_entry_in_a_version_of_a_codec_that_is_not_known_is_a_miss() -> None:
    """Without a checksum, so that all else of the entry is as it should be."""
    function(integrity=False)(5)
    assert function(integrity=False)(5)["number"] == 5
    assert _runs == [5]

    def later(connection: sqlite3.Connection) -> None:
        ((row, value),) = values(connection)
        assert value[56:58] == b"\x01\x00"
        connection.execute(
            "update entry set value = ? where id = ?", (value[:56] + b"\x02\x00" + value[58:], row)
        )

    edit(later)
    cached = function(integrity=False)
    assert cached(5)["number"] == 5
    assert _runs == [5, 5]
    assert cached.cache_info().errors == 1


def test_plaintext_is_a_miss_where_a_seal_is_required_and_the_other_way_round() -> None:
    key = secrets.token_bytes(32)
    sealed: list[dict[str, Any]] = [
        {},
        {"encryption_key": key},
        {"encryption_key": key, "integrity": "signed"},
        {"integrity": False},
    ]
    for number, written in enumerate(sealed):
        for read in sealed:
            cached = function(**written)
            cached.cache_refresh(number)
            _runs.clear()
            again = function(**read)
            assert again(number)["number"] == number
            accepted = {
                (False, False): True,
                (True, True): "signed" not in str(written) or "signed" in str(read),
                (True, False): False,
                (False, True): False,
            }["encryption_key" in written, "encryption_key" in read]
            if "encryption_key" not in str(written) and "encryption_key" not in str(read):
                # Without a checksum nothing is known of an entry, which is not enough where one is wanted.
                accepted = written != {"integrity": False} or read == written
            assert (_runs == []) == accepted, (written, read)


def test_a_long_value_whose_file_was_changed_before_the_process_read_it_is_a_miss() -> None:
    long = retain(lengthen, backend=DiskConfig(base_path=BASE))
    for number in range(3):
        long(number)
    reset()
    files = sorted(file for file in (BASE / "values").rglob("*") if file.is_file())
    assert len(files) == 3
    chance = random.Random(5)
    for file in files:
        data = bytearray(file.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        # In place: size and owner stay what they were.
        with file.open("r+b") as opened:
            opened.write(data)
    again = retain(lengthen, backend=DiskConfig(base_path=BASE))
    for number in range(3):
        assert again(number) == lengthen(number)
    assert again.cache_info().misses == 3


def lengthen(number: int) -> bytes:
    """More than is kept in the database."""
    return bytes([number]) * 200_000
