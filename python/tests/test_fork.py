"""Forks at any moment. Each program runs in an interpreter of its own; children that hang end by alarm."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# What all programs begin with. `in_child` forks, runs something in the child, and checks how it ended.
PRELUDE = """
import faulthandler, os, signal, sys, threading, time, traceback, warnings
import retainit
from retainit import MISSING, DiskConfig, MemoryConfig, retain

# Python's own warning about forks with threads, which is what is tested here.
warnings.filterwarnings("ignore", category=DeprecationWarning)

# Shows where a child hangs, and then ends it.
faulthandler.register(signal.SIGALRM, chain=True)

def in_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0

def start(*targets):
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    return threads

def join(threads):
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()

retainit.register_backend("memory", MemoryConfig(max_size=150))
retainit.register_backend("disk", DiskConfig(base_path="cache"))
"""

Python = Callable[..., str]


@pytest.mark.parametrize("backend", ["memory", "disk", ["memory", "disk"]])
def test_many_forks_beside_busy_threads(python: Python, backend: object) -> None:
    program = (
        PRELUDE
        + """
@retain(backend=%r)
def f(x):
    return [x]

def busy(seed):
    step = seed
    while not stop:
        step += 1
        x = step %% 200
        assert f(x) == [x]
        if step %% 7 == 0:
            f.cache_delete(x)
        if step %% 11 == 0:
            f.cache_set([x], x)
        if step %% 501 == 0:
            f.cache_clear()

def work():
    for x in range(30):
        assert f(x) == [x]
    f.cache_delete(1)
    assert f(1) == [1]
    # Threads of the child's own, on the locks that its parent's threads wanted.
    join(start(*[lambda: [f(x) for x in range(30)]] * 2))

stop = False
threads = start(*[lambda seed=seed: busy(seed) for seed in range(4)])
try:
    for _ in range(30):
        in_child(work)
finally:
    stop = True
join(threads)
"""
    )
    python(program % (backend,))


def test_a_child_runs_the_loads_of_its_parents_threads_itself(python: Python) -> None:
    python(
        PRELUDE
        + """
begun, finish = threading.Event(), threading.Event()
runs = []

@retain(backend=["memory", "disk"])
def f(x):
    runs.append(os.getpid())
    if os.getpid() == parent:
        begun.set()
        assert finish.wait(30)
    return os.getpid()

parent = os.getpid()
results = []
leader = start(lambda: results.append(f(1)))
assert begun.wait(10)
followers = start(*[lambda: results.append(f(1))] * 3)
time.sleep(0.05)

def work():
    assert f(1) == os.getpid()
    assert runs == [parent, os.getpid()]
    assert f(2) == f(2) == os.getpid()

in_child(work)
finish.set()
join(leader + followers)
# The parent's own load goes on as if nothing had happened.
assert results == [parent] * 4, results
assert runs == [parent]
assert f(1) == parent
"""
    )


def test_a_fork_inside_a_cached_function(python: Python) -> None:
    python(
        PRELUDE
        + """
@retain(backend=["memory", "disk"])
def inner(x):
    return x * 2

@retain(backend=["memory", "disk"])
def f(x):
    global child
    begun.set()
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
    return [inner(x), os.getpid()]

begun = threading.Event()
parent = os.getpid()
followers = []
waiter = threading.Thread(target=lambda: (begun.wait(10), followers.append(f(4))))
waiter.start()
value = f(4)
# Parent and child both get here, and each has landed its copy of the load.
assert value == [8, os.getpid()]
assert f(4) is value
if child == 0:
    assert f.cache_delete(4)
    assert inner(4) == 8
    os._exit(0)
join([waiter])
assert followers == [value]
assert os.waitpid(child, 0)[1] == 0
"""
    )


def test_a_fork_inside_a_coroutine_that_is_cached(python: Python) -> None:
    python(
        PRELUDE
        + """
import asyncio

@retain(backend=["memory", "disk"])
async def f(x):
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        # A loop of the child's own; the parent's is not to be used here.
        asyncio.events._set_running_loop(None)
        try:
            assert asyncio.run(g(x)) == [x]
            assert asyncio.run(g(x)) == [x]
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    return x

@retain(backend=["memory", "disk"])
async def g(x):
    return [x]

async def main():
    assert await asyncio.gather(f(1), f(1), f(2)) == [1, 1, 2]

asyncio.run(main())
"""
    )


def test_memory_stays_warm_and_apart(python: Python) -> None:
    python(
        PRELUDE
        + """
runs = []

@retain
def f(x):
    runs.append(x)
    return [x]

kept = f(1)

def work():
    assert f(1) is kept
    f.cache_delete(1)
    f(2)
    assert runs == [1, 2]

in_child(work)
assert f(1) is kept
assert runs == [1]
assert f.cache_get(2) is MISSING
"""
    )


def test_disk_works_in_parent_and_child(python: Python) -> None:
    python(
        PRELUDE
        + """
@retain(backend="disk")
def f(x):
    runs.append(x)
    return {"x": x, "long": b"y" * 100_000}

runs = []
f(1)

def work():
    assert f(1)["x"] == 1 and runs == [1]
    f(2)
    in_child(lambda: f(3))
    assert f.cache_get(3) is not MISSING

in_child(work)
runs.clear()
assert [f(x)["x"] for x in (1, 2, 3)] == [1, 2, 3]
assert runs == []
f(4)
in_child(lambda: f(4))
assert runs == [4]
assert not [name for name in os.listdir("cache") if name.startswith("damaged")]
"""
    )


def test_a_server_that_loads_before_it_forks(python: Python) -> None:
    python(
        PRELUDE
        + """
@retain(backend=["memory", "disk"], ttl=60)
def setting(name):
    return {"name": name, "pid": os.getpid()}

@retain(backend=["memory", "disk"])
def answer(x):
    return sum(range(x))

settings = setting("a")

def worker(number):
    def work():
        # Warm from before the fork, and everything still works, threads included.
        assert setting("a") is settings
        join(start(*[lambda: [answer(x) for x in range(100)]] * 4))
        assert answer.cache_info().currsize == 100
    return lambda: in_child(work)

join(start(*[worker(number) for number in range(4)]))
assert answer(99) == sum(range(99))
assert setting("a") is settings
"""
    )


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(python: Python, method: str, tmp_path: Path) -> None:
    (tmp_path / "squares.py").write_text("""
import os
import retainit
from retainit import DiskConfig, retain

retainit.register_backend("disk", DiskConfig(base_path="cache"))

@retain(backend=["memory", "disk"])
def square(x):
    return [x * x, os.getpid()]
""")
    python(
        """
import multiprocessing, os, sys, warnings
from squares import square

warnings.filterwarnings("ignore", category=DeprecationWarning)

def work(x):
    return square(x)

if __name__ == "__main__":
    parent = os.getpid()
    assert square(3) == [9, parent]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        results = pool.map(work, [x % 10 for x in range(200)])
        pool.close()
        pool.join()
    assert [value for value, _ in results] == [(x % 10) ** 2 for x in range(200)]
    # What the parent had stored was found, in memory or on disk; what the pool stored the parent finds.
    assert {pid for value, pid in results if value == 9} == {parent}
    assert parent not in {pid for value, pid in results if value == 16}
    assert square(4)[1] != parent
""",
        method,
    )


def test_a_child_may_outlive_the_exit_of_its_parent(python: Python) -> None:
    out = python(
        PRELUDE
        + """
@retain(backend=["memory", "disk"])
def f(x):
    return os.getpid()

f(1)
ours, theirs = os.pipe()
if os.fork() == 0:
    signal.alarm(20)
    os.close(theirs)
    # Ends once the parent has.
    os.read(ours, 1)
    print(f(1) != os.getpid(), f(2) == os.getpid(), flush=True)
"""
    )
    assert out == "True True\n"


@pytest.mark.skipif(sys.platform == "darwin", reason="a fork with an event loop is not safe there")
def test_subprocesses_are_started_beside_busy_threads(python: Python) -> None:
    python(
        PRELUDE
        + """
import subprocess

@retain(backend=["memory", "disk"])
def f(x):
    return [x]

def busy():
    x = 0
    while not stop:
        x += 1
        f(x % 200)

stop = False
threads = start(busy, busy)
try:
    for _ in range(10):
        subprocess.run(["true"], check=True)
        # This way Python runs its hooks, and the child runs Python until it is another program.
        subprocess.run(["true"], check=True, preexec_fn=lambda: f(1))
finally:
    stop = True
join(threads)
"""
    )
