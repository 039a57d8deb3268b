"""What goes wrong around a cache: results, entries, files, disks, processes. Calls go on."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
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


# --- the directory and the disk ------------------------------------------------------------------

PROGRAM = """
import os, sys
import retainit
from retainit import DiskConfig, MISSING, retain
from retainit.errors import BackendError, ConfigurationError

retainit.register_backend("disk", DiskConfig(base_path="cache", busy_timeout=1))

runs = []

@retain(backend="disk")
def f(x):
    runs.append(x)
    return {"x": x, "long": b"v" * (x % 2) * 100_000}
"""


# Root may write anywhere, so these programs become another user first.
NOBODY = """
import os
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


@pytest.fixture
def open_to_others(tmp_path: Path) -> Path:
    """A directory whose parents another user may pass through."""
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    return tmp_path


def as_nobody(python: Python, program: str) -> str:
    # What is imported is imported as the user who may read it; only what follows runs as another.
    first = '\nimport json, pickle\nfrom retainit import _drive\nretainit.get_backend("disk")\n'
    return python(PROGRAM + first + NOBODY + textwrap.dedent(program))


def test_a_directory_that_may_not_be_written(python: Python, open_to_others: Path) -> None:
    (open_to_others / "cache").mkdir(mode=0o555)
    (open_to_others / "cache").chmod(0o555)
    if os.getuid() == 0:
        os.chown(open_to_others / "cache", 65534, 65534)
    as_nobody(
        python,
        """
    assert [f(x)["x"] for x in (1, 2, 1)] == [1, 2, 1]
    assert runs == [1, 2, 1]
    assert f.cache_info().errors >= 3
    strict = retain(backend="disk", strict=True)(f.__wrapped__)
    try:
        strict(1)
    except ConfigurationError as error:
        assert "ermission denied" in str(error) and "hint: give this user the right" in str(error), error
    else:
        raise AssertionError("expected an error")
    """,
    )


def test_a_cache_that_has_become_read_only(python: Python, open_to_others: Path) -> None:
    python(PROGRAM + "\nf(1), f(2)\n")
    if os.getuid() == 0:
        for path in [open_to_others / "cache", *(open_to_others / "cache").rglob("*")]:
            os.chown(path, 65534, 65534)
    directories = [path for path in (open_to_others / "cache").rglob("*") if path.is_dir()]
    for path in [open_to_others / "cache", *directories]:
        path.chmod(0o500)
    as_nobody(
        python,
        """
    # Whether what is there can be read depends on SQLite; what is returned does not.
    for _ in range(2):
        assert [f(x)["x"] for x in (1, 2, 3)] == [1, 2, 3]
    assert 3 in runs
    """,
    )
    for path in [open_to_others / "cache", *directories]:
        path.chmod(0o700)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give directories away")
def test_a_directory_of_somebody_else_is_refused(python: Python, open_to_others: Path) -> None:
    (open_to_others / "cache").mkdir(mode=0o700)
    os.chown(open_to_others / "cache", 4242, 4242)
    python(
        PROGRAM
        + """
f.cache_clear()
assert f(1) == f(1)
assert runs == [1, 1] and f.cache_info().errors == 4
strict = retain(backend="disk", strict=True)(f.__wrapped__)
try:
    strict(1)
except ConfigurationError as error:
    assert "belongs to user 4242: expected user 0 or root; hint: `chown 0" in str(error), error
else:
    raise AssertionError("expected an error")
assert os.listdir("cache") == []
"""
    )


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_that_others_may_write_is_refused(python: Python, tmp_path: Path, mode: int) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    python(
        PROGRAM
        + """
assert f(1) == f(1)
assert runs == [1, 1] and f.cache_info().errors == 4
strict = retain(backend="disk", strict=True)(f.__wrapped__)
try:
    strict(1)
except ConfigurationError as error:
    assert "can be written by" in str(error) and "hint: `chmod 700" in str(error), error
else:
    raise AssertionError("expected an error")
assert os.listdir("cache") == []
os.chmod("cache", 0o700)
assert f(1) == f(1)
assert runs == [1, 1, 1]
"""
    )


def test_a_limit_on_the_size_of_files(python: Python) -> None:
    python(
        PROGRAM
        + """
import resource, signal
f(2)
# Writing beyond it fails with EFBIG, and with a signal that Python ignores.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
results = [f(x) for x in (1, 3, 1)]
assert [value["x"] for value in results] == [1, 3, 1]
assert runs == [2, 1, 3, 1]
assert f.cache_info().errors >= 3
strict = retain(backend="disk", strict=True)(f.__wrapped__)
try:
    strict(5)
except BackendError:
    pass
else:
    raise AssertionError("expected an error")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
runs.clear()
assert f(1) == f(1) and f(3) == f(3) and f(2)["x"] == 2
assert runs == [1, 3], runs
"""
    )


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


# --- several processes ---------------------------------------------------------------------------

WRITER = """
import hashlib, os, random, sys, threading, time
import retainit
from retainit import DiskConfig, MISSING, retain

retainit.register_backend("disk", DiskConfig(base_path="cache"))
seed, seconds, threads = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])

@retain(backend="disk")
def f(x):
    # Says itself whether it is whole, and for which key it is.
    body = os.urandom(random.Random().choice([10, 1000, 60_000]))
    return [x, hashlib.sha256(body).digest(), body]

def right(x, value):
    return value[0] == x and hashlib.sha256(value[2]).digest() == value[1]
"""

BUSY = (
    WRITER
    + """
wrong = []
counts = [0] * threads

def work(number):
    chance = random.Random(seed * 100 + number)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        x = chance.randrange(40)
        action = chance.random()
        if action < 0.1:
            f.cache_delete(x)
        elif action < 0.3:
            f.cache_refresh(x)
        else:
            value = f(x)
            if not right(x, value):
                wrong.append((x, value[0]))
        counts[number] += 1

running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
for thread in running:
    thread.start()
for thread in running:
    thread.join()
assert not wrong, wrong
assert min(counts) > 10, counts
assert f.cache_info().errors == 0, f.cache_info()
"""
)


def start(program: str, file: Path, *arguments: object) -> subprocess.Popen[str]:
    file.write_text(program)
    command = [sys.executable, str(file), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_processes_and_eight_threads_on_the_same_keys(tmp_path: Path) -> None:
    processes = [start(BUSY, tmp_path / "busy.py", seed, 2, 8) for seed in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert (process.returncode, output) == (0, "")
    assert not list(BASE.glob("damaged-*"))


KILLED = (
    WRITER
    + """
x = seed
while True:
    x += 1
    value = f(x)
    # Acknowledged: from here on it must be there.
    os.write(1, b"%d %s\\n" % (x, value[1].hex().encode()))
"""
)

READER = (
    WRITER
    + """
found = 0
for line in open("acknowledged"):
    x, digest = line.split()
    value = f.cache_get(int(x))
    assert value is not MISSING, f"{x} was acknowledged and is lost"
    assert right(int(x), value) and value[1].hex() == digest, x
    found += 1
# And nothing else is wrong: whatever is there is whole.
for x in range(0, 5_000_000, 1_000_000):
    for y in range(x, x + 2000):
        value = f.cache_get(y)
        assert value is MISSING or right(y, value), y
assert f.cache_info().errors == 0
print(found)
"""
)


def test_writers_are_killed(tmp_path: Path) -> None:
    acknowledged = []
    for round in range(3):
        writers = [
            start(KILLED, tmp_path / "write.py", (2 * round + seed) * 1_000_000 // 2, 0, 1)
            for seed in range(2)
        ]
        time.sleep(0.6)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            output, _ = writer.communicate(timeout=30)
            # The last line may be cut off; what was not written in full was not acknowledged.
            acknowledged += output.splitlines(keepends=True)
    acknowledged = [line for line in acknowledged if line.endswith("\n")]
    assert len(acknowledged) > 50
    Path("acknowledged").write_text("".join(acknowledged))
    reader = start(READER, tmp_path / "read.py", 0, 0, 0)
    output, _ = reader.communicate(timeout=60)
    assert (reader.returncode, output) == (0, f"{len(acknowledged)}\n")
    assert not list(BASE.glob("damaged-*"))


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
