"""Directories that may not be used, disks that are full, processes that meet or are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Python = Callable[..., str]

BASE = Path("cache")


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
    # What is imported and loaded is so as the user who may read it; only what follows runs as another.
    first = """
import hashlib, json, pickle
from retainit import _drive
retainit.register_backend("loaded", DiskConfig(base_path="elsewhere"))
retainit.get_backend("loaded")
"""
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


REFUSED = """
for _ in range(2):
    for use in (lambda: f(1), f.cache_clear, lambda: retainit.get_backend("disk")):
        try:
            use()
        except ConfigurationError as error:
            assert EXPECTED in str(error) and str(error).endswith("(backend `disk`)"), error
            assert os.path.abspath("cache") in str(error), error
        else:
            raise AssertionError("expected an error")
assert runs == [] and os.listdir("cache") == []
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give directories away")
def test_a_directory_of_somebody_else_is_refused(python: Python, open_to_others: Path) -> None:
    (open_to_others / "cache").mkdir(mode=0o700)
    os.chown(open_to_others / "cache", 4242, 4242)
    expected = "belongs to user 4242: expected user 0 or root; hint: `chown 0"
    python(PROGRAM + f"EXPECTED = {expected!r}" + REFUSED)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_that_others_may_write_is_refused(python: Python, tmp_path: Path, mode: int) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    who = "its group" if mode == 0o770 else "everybody"
    expected = f"can be written by {who} (mode {mode:#o}): expected 0o700; hint: `chmod 700"
    python(
        PROGRAM
        + f"EXPECTED = {expected!r}"
        + REFUSED
        + """
os.chmod("cache", 0o700)
assert f(1) == f(1)
assert runs == [1] and f.cache_info().errors == 0
"""
    )


def test_a_directory_that_is_opened_to_others_later_is_refused_when_it_is_used(python: Python) -> None:
    python(
        PROGRAM
        + """
retainit.get_backend("disk")
assert not os.path.exists("cache")
os.mkdir("cache")
os.chmod("cache", 0o777)
assert f(1) == f(1)
assert runs == [1, 1] and f.cache_info().errors == 4
strict = retain(backend="disk", strict=True)(f.__wrapped__)
try:
    strict(1)
except ConfigurationError as error:
    assert "can be written by everybody (mode 0o777)" in str(error), error
else:
    raise AssertionError("expected an error")
"""
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_elsewhere_is_reported_and_ends_the_process(tmp_path: Path, when: str) -> None:
    enable = "import faulthandler; faulthandler.enable()\n"
    use = "f(1), f(1)\n"  # the second one maps a file, for which a handler is installed
    program = (
        PROGRAM.replace("100_000", "1_000_000")
        + (enable + use if when == "before" else use + enable + use)
        + """
import mmap
with open("elsewhere", "wb+") as file:
    file.write(bytes(100_000))
    file.flush()
    there = mmap.mmap(file.fileno(), 0)
    file.truncate(0)
    there[50_000]
"""
    )
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGBUS, ended.stderr
    assert ended.stderr.count("Fatal Python error: Bus error") == 1, ended.stderr


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
            start(KILLED, tmp_path / "program.py", (2 * round + seed) * 1_000_000 // 2, 0, 1)
            for seed in range(2)
        ]
        # From when both write, however long they took to start.
        for writer in writers:
            assert writer.stdout is not None
            acknowledged.append(writer.stdout.readline())
        time.sleep(0.3)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
        for writer in writers:
            with writer:
                assert writer.stdout is not None
                # The last line may be cut off; what was not written in full was not acknowledged.
                acknowledged += writer.stdout.readlines()
    acknowledged = [line for line in acknowledged if line.endswith("\n")]
    assert len(acknowledged) > 50
    Path("acknowledged").write_text("".join(acknowledged))
    reader = start(READER, tmp_path / "program.py", 0, 0, 0)
    output, _ = reader.communicate(timeout=60)
    assert (reader.returncode, output) == (0, f"{len(acknowledged)}\n")
    assert not list(BASE.glob("damaged-*"))


def test_a_directory_that_was_removed_keeps_nothing_from_ending(python: Python) -> None:
    assert (
        python(
            PROGRAM
            + """
import shutil
f(1)
shutil.rmtree("cache")
retainit.shutdown()
assert f(1) == {"x": 1, "long": b"v" * 100_000}
shutil.rmtree("cache")
print("done")
"""
        )
        == "done\n"
    )
