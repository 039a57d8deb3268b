"""What goes wrong around a cache: results, entries, files, a full disk. Calls go on."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import retainit
from retainit import MISSING, BackendError, ConfigurationError, DiskConfig, SerializationError, retain

Python = Callable[..., str]

BASE = Path("cache")


@pytest.fixture(autouse=True)
def disk() -> None:
    retainit.register_backend("disk", DiskConfig(base_path=BASE))


def reopen() -> None:
    """Closes every backend and forgets what memory has, as the next process would."""
    retainit.shutdown()


class Counted:
    """A function that counts its runs."""

    def __init__(self, result: Any = None) -> None:
        self.runs = 0
        self.result = result

    def __retain_key__(self) -> str:
        return "what counts is what it is called with"

    def __call__(self, x: int) -> Any:
        self.runs += 1
        return self.result if self.result is not None else {"x": x, "run": self.runs}


def cached(result: Any = None, backend: Any = "disk", **options: Any) -> tuple[Any, Counted]:
    counted = Counted(result)
    return retain(backend=backend, **options)(counted), counted


def database() -> sqlite3.Connection:
    return sqlite3.connect(BASE / "db" / "entries.sqlite")


# --- results that cannot be stored ---------------------------------------------------------------


class Unstorable:
    def __reduce__(self) -> Any:
        raise TypeError("not for storing")


class Interrupting:
    def __init__(self, raised: type[BaseException]) -> None:
        self.raised = raised

    def __reduce__(self) -> Any:
        raise self.raised


class InterruptingLater:
    def __reduce__(self) -> Any:
        return interrupt, ()


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_unserializable_result_is_returned_all_the_same() -> None:
    f, counted = cached(Unstorable())
    assert isinstance(f(1), Unstorable)
    assert isinstance(f(1), Unstorable)
    assert counted.runs == 2, "nothing can have been stored"
    assert f.cache_info().errors == 2
    assert f.cache_get(1) is MISSING


def test_an_unserializable_result_fills_the_tiers_that_can_keep_it() -> None:
    f, counted = cached(Unstorable(), backend=["memory", "disk"])
    first = f(1)
    assert f(1) is first
    assert counted.runs == 1
    assert f.cache_info().errors == 1


def test_an_unserializable_result_is_an_error_where_that_was_asked_for() -> None:
    f, counted = cached(Unstorable(), strict=True)
    for _ in range(2):
        with pytest.raises(SerializationError, match="not for storing"):
            f(1)
    assert counted.runs == 2
    with pytest.raises(SerializationError):
        f.cache_set(Unstorable(), 1)
    f.cache_set("storable", 1)
    assert f(1) == "storable"


@pytest.mark.anyio
async def test_unserializable_results_of_coroutines() -> None:
    async def make(x: int) -> Unstorable:
        return Unstorable()

    lenient = retain(backend=["memory", "disk"])(make)
    assert await lenient(1) is await lenient(1)
    assert lenient.cache_info().errors == 1
    with pytest.raises(SerializationError):
        await retain(backend="disk", strict=True)(make)(1)


def test_a_result_whose_class_has_gone_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    # As a module of its own, because that is where pickle looks.
    module: Any = type(sys)("passing")
    module.Gone = type("Gone", (), {"__module__": "passing"})
    monkeypatch.setitem(sys.modules, "passing", module)
    f, counted = cached(module.Gone())
    f(1)
    reopen()
    f(1)
    assert counted.runs == 1
    del module.Gone
    counted.result = "another"
    assert f(1) == "another"
    assert f.cache_info().errors == 1
    assert f(1) == "another"
    assert counted.runs == 2, "what could not be read has been replaced"


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_while_pickling_is_not_swallowed(raised: type[BaseException], strict: bool) -> None:
    f, counted = cached(Interrupting(raised), strict=strict)
    for _ in range(2):
        with pytest.raises(raised):
            f(1)
    with pytest.raises(raised):
        f.cache_set(Interrupting(raised), 1)
    # No load is left behind for others to wait for.
    counted.result = "fine"
    assert f(1) == f(1) == "fine"


def test_an_interrupt_while_unpickling_is_not_swallowed() -> None:
    f, counted = cached(InterruptingLater())
    f(1)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            f(1)
    with pytest.raises(KeyboardInterrupt):
        f.cache_get(1)
    assert counted.runs == 1
    assert f.cache_delete(1)


# --- entries that are not what they were ---------------------------------------------------------

SMALL = {"small": "value"}
LARGE = {"large": b"v" * 200_000}


def damage_row(column: str, change: Callable[[Any], Any]) -> int:
    reopen()
    with database() as connection:
        rows = connection.execute(f"SELECT id, {column} FROM entry").fetchall()
        for row, value in rows:
            if value is not None:
                connection.execute(f"UPDATE entry SET {column} = ? WHERE id = ?", (change(value), row))
    connection.close()
    return len(rows)


def value_files() -> Iterator[Path]:
    return (path for path in (BASE / "values").rglob("*") if path.is_file())


def damage_files(change: Callable[[bytes], bytes]) -> None:
    reopen()
    found = list(value_files())
    assert found
    for path in found:
        path.write_bytes(change(path.read_bytes()))


def flipped(at: float) -> Callable[[bytes], bytes]:
    def flip(value: bytes) -> bytes:
        index = int(at * (len(value) - 1))
        return value[:index] + bytes([value[index] ^ 0x40]) + value[index + 1 :]

    return flip


def is_replaced(f: Any, counted: Counted, expected: Any) -> None:
    runs = counted.runs
    assert f(1) == expected
    assert counted.runs == runs + 1, "a damaged entry is a miss"
    assert f(1) == expected
    reopen()
    assert f(1) == expected
    assert counted.runs == runs + 1, "and is written anew"


@pytest.mark.parametrize("at", [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1])
def test_a_flipped_bit_of_a_row(at: float) -> None:
    f, counted = cached(SMALL)
    f(1)
    assert damage_row("value", flipped(at)) == 1
    is_replaced(f, counted, SMALL)


@pytest.mark.parametrize("at", [0, 0.0001, 0.5, 0.9999, 1])
def test_a_flipped_bit_of_a_file(at: float) -> None:
    f, counted = cached(LARGE)
    f(1)
    damage_files(flipped(at))
    is_replaced(f, counted, LARGE)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: b"",
        lambda value: value[: len(value) // 2],
        lambda value: value + b"x",
        lambda value: value[1:],
    ],
    ids=["empty", "half", "longer", "shifted"],
)
@pytest.mark.parametrize("result", [SMALL, LARGE], ids=["row", "file"])
def test_another_length(change: Callable[[bytes], bytes], result: Any) -> None:
    f, counted = cached(result)
    f(1)
    if result is SMALL:
        damage_row("value", change)
    else:
        damage_files(change)
    is_replaced(f, counted, result)


def test_a_value_file_that_is_missing() -> None:
    f, counted = cached(LARGE)
    f(1)
    reopen()
    for path in list(value_files()):
        path.unlink()
    is_replaced(f, counted, LARGE)


def test_a_value_file_that_points_elsewhere(tmp_path: Path) -> None:
    f, counted = cached(LARGE)
    f(1)
    reopen()
    for path in list(value_files()):
        elsewhere = tmp_path / "elsewhere"
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
    is_replaced(f, counted, LARGE)


@pytest.mark.parametrize("large", [False, True], ids=["row", "file"])
def test_an_entry_under_another_key(large: bool) -> None:
    @retain(backend="disk")
    def f(x: int) -> Any:
        runs.append(x)
        return [x, b"v" * 200_000 if large else b""]

    runs: list[int] = []
    f(1)
    f(2)
    reopen()
    with database() as connection:
        first, second = connection.execute("SELECT id, key FROM entry ORDER BY id").fetchall()
        connection.execute("UPDATE entry SET key = ? WHERE id = ?", (b"nobody's", first[0]))
        connection.execute("UPDATE entry SET key = ? WHERE id = ?", (first[1], second[0]))
    connection.close()
    assert f(1)[0] == 1, "the entry of 2 is there now"
    assert f(2)[0] == 2
    assert runs == [1, 2, 1, 2]


def planted(value: bytes, _: Any) -> bytes:
    return value


def test_an_entry_of_another_codec_or_version() -> None:
    f, counted = cached(SMALL)
    f(1)
    for value in (pickle.dumps({"planted": 1}), b"\0" * 64, os.urandom(200)):
        damage_row("value", functools.partial(planted, value))
        is_replaced(f, counted, SMALL)


# --- the database --------------------------------------------------------------------------------

TEXT = b"this is no database, it is a poem about one\n" * 200


@pytest.mark.parametrize(
    "change",
    [
        lambda content: TEXT,
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:100] + os.urandom(len(content) - 100),
        lambda content: content[:4096] + b"\xff" * (len(content) - 4096),
    ],
    ids=["text", "empty", "half", "noise", "ones"],
)
def test_a_database_that_is_damaged_at_the_start(change: Callable[[bytes], bytes]) -> None:
    f, counted = cached(SMALL)
    f(1)
    reopen()
    # Everything into the one file: what a log still has would replace what is damaged here.
    with database() as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    file = BASE / "db" / "entries.sqlite"
    file.write_bytes(change(file.read_bytes()))
    is_replaced(f, counted, SMALL)


def test_a_database_that_is_damaged_during_use() -> None:
    f, counted = cached(backend="disk")
    results = [f(x)["x"] for x in range(50)]
    assert results == list(range(50))
    # Under the connections that are open.
    for name in ("entries.sqlite", "entries.sqlite-wal"):
        with (BASE / "db" / name).open("r+b") as file:
            file.truncate()
            file.write(TEXT)
    assert [f(x)["x"] for x in range(50)] == results
    reopen()
    assert [f(x)["x"] for x in range(50)] == results
    runs = counted.runs
    assert [f(x)["x"] for x in range(50)] == results
    assert counted.runs == runs, "it works again"


@pytest.mark.parametrize("what", ["db", "values", "."])
def test_a_directory_that_vanishes_during_use(what: str) -> None:
    f, counted = cached(LARGE)
    assert f(1) == LARGE
    shutil.rmtree(BASE / what)
    assert f(1) == LARGE
    assert f(2) == LARGE
    reopen()
    assert f(1) == f(1) == LARGE
    assert counted.runs <= 4


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mounted = tmp_path / "full"
    mounted.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(mounted)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount file systems; the limit on the size of files is tested in any case")
    yield mounted
    retainit.shutdown()
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def test_a_full_disk(full: Path) -> None:
    retainit.register_backend("full", DiskConfig(base_path=full / "cache"))

    f, counted = cached(LARGE, backend=["memory", "full"])
    for _ in range(2):
        assert all(f(x) == LARGE for x in range(20))
    assert counted.runs == 20, "the memory tier does not suffer"
    assert 10 < f.cache_info().errors < 20
    reopen()
    assert all(f(x) == LARGE for x in range(20))
    assert 30 < counted.runs < 40, "some had been stored, and are whole"
    # Where there is room again it is used.
    f.cache_clear()
    counted.runs = 0
    for _ in range(2):
        assert all(f(x) == LARGE for x in range(3))
        reopen()
    assert counted.runs == 3
    assert f.cache_info().errors == 0


# --- errors of a backend -------------------------------------------------------------------------


def test_what_fails_is_raised_where_that_was_asked_for() -> None:
    f, _ = cached(strict=True)
    f(1)
    # A database that is no file cannot be opened, read or set aside by opening it again.
    reopen()
    shutil.rmtree(BASE)
    BASE.mkdir(mode=0o700)
    (BASE / "db").write_bytes(b"in the way")
    with pytest.raises((BackendError, ConfigurationError), match="cannot create"):
        f(1)
    lenient, _ = cached()
    assert lenient(1)["x"] == 1
    (BASE / "db").unlink()
    assert f(1) == f(1)
