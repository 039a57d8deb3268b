"""Exits with work in flight. Each program has an interpreter of its own, which must end in silence."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Python = Callable[..., str]

PRELUDE = """
import asyncio, atexit, gc, os, sys, threading, time
import retainit
from retainit import DiskConfig, MemoryConfig, retain

retainit.register_backend("disk", DiskConfig(base_path="cache"))
retainit.register_backend("brief", MemoryConfig(sweep_interval=0.001, ttl=0.002))

def start(daemon, *targets):
    for target in targets:
        threading.Thread(target=target, daemon=daemon).start()

class Slow:
    # What it is the last reference to lasts a while: threads get to run into a finalisation.
    def __del__(self):
        end = time.monotonic() + 0.15
        while time.monotonic() < end:
            pass
"""


@pytest.fixture(scope="session")
def soak() -> Any:
    file = Path(__file__).parent / "soak" / "exit_soak.py"
    spec = importlib.util.spec_from_file_location("exit_soak", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_evictions_on_the_plugins_thread_during_hits(soak: Any) -> None:
    soak.evictions(300, progress=False)


def test_interpreters_end_in_every_way(soak: Any) -> None:
    soak.exits(4 * len(soak.WAYS), progress=False)


@pytest.mark.parametrize(
    "work",
    ["time.sleep(0.01)", "sum(range(20_000))", "pass", "raise ValueError(x)", "g(x)"],
    ids=["blocking", "computing", "nothing", "raising", "nested"],
)
@pytest.mark.parametrize("backend", ["memory", ["brief", "disk"]], ids=["memory", "tiers"])
def test_daemon_threads_inside_cached_functions(python: Python, work: str, backend: object) -> None:
    program = (
        PRELUDE
        + f"""
@retain(backend={backend!r})
def f(x):
    {work}
    return [x]

@retain(backend={backend!r})
def g(x):
    return str(x)

def forever():
    while True:
        for x in range(3000):
            try:
                f(x)
            except ValueError:
                pass

start(True, forever, forever, forever)
time.sleep(0.05)
sys.modules["slow"] = Slow()
"""
    )
    python(program)


def test_daemon_threads_in_code_of_their_arguments(python: Python) -> None:
    python(
        PRELUDE
        + """
class Key:
    def __init__(self, x):
        self.x = x
    def __hash__(self):
        return sum(range(300)) + self.x
    def __eq__(self, other):
        return sum(range(300)) > 0 and self.x == other.x
    def __del__(self):
        sum(range(300))

@retain
def f(key):
    return Key(key.x)

@retain(key_builder=lambda function, x: str(sum(range(300)) + x), copy="deep")
def g(x):
    return [x]

@retainit.lru_cache(maxsize=10)
def h(*keys):
    return keys

def forever():
    while True:
        for x in range(100):
            f(Key(x))
            g(x)
            h(Key(x), Key(x + 1))

start(True, forever, forever, forever)
time.sleep(0.05)
sys.modules["slow"] = Slow()
"""
    )


def test_who_waits_for_a_daemon_thread_at_the_end(python: Python) -> None:
    out = python(
        PRELUDE
        + """
@retain
def f(x):
    if threading.current_thread() is not threading.main_thread():
        begun.set()
        time.sleep(1000)
    return [x]

class Last:
    def __del__(self):
        # The load that a thread is in the middle of, which has ended by now.
        os.write(1, repr(f(1)).encode())

begun = threading.Event()
start(True, lambda: f(1), lambda: begun.wait() and f(1))
assert begun.wait(10)
sys.modules["last"] = Last()
"""
    )
    assert out == "[1]"


def test_threads_that_are_waited_for_finish_their_work(python: Python) -> None:
    out = python(
        PRELUDE
        + """
@retain(backend=["memory", "disk"])
def f(x):
    time.sleep(0.05)
    return x

def work():
    for x in range(3):
        f(x)
    print(f.cache_info().currsize, flush=True)

start(False, work)
"""
    )
    assert out == "3\n"
    out = python(
        PRELUDE
        + """
@retain(backend=["memory", "disk"])
def f(x):
    raise AssertionError("it is on disk")

print([f(x) for x in range(3)])
"""
    )
    assert out == "[0, 1, 2]\n"


def test_a_loop_is_left_with_loads_pending(python: Python) -> None:
    python(
        PRELUDE
        + """
@retain(backend=["memory", "disk"])
async def f(x):
    await asyncio.sleep(1000)

async def main():
    for x in range(20):
        asyncio.get_running_loop().create_task(f(x % 5))
    await asyncio.sleep(0.02)

asyncio.run(main())
"""
    )


def test_a_loop_in_a_daemon_thread(python: Python) -> None:
    python(
        PRELUDE
        + """
@retain(backend=["memory", "disk"])
async def f(x):
    await asyncio.sleep(0)
    return [x]

async def main():
    while True:
        await asyncio.gather(*[f(x) for x in range(300)])
        await f.cache_clear()

start(True, lambda: asyncio.run(main()), lambda: asyncio.run(main()))
time.sleep(0.1)
sys.modules["slow"] = Slow()
"""
    )


def test_a_loop_whose_executor_has_ended(python: Python) -> None:
    python(
        PRELUDE
        + """
@retain(backend=["memory", "disk"])
async def f(x):
    return [x]

async def main():
    await f(1)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert await f(2) == [2]
    assert await f(2) == [2]
    assert f.cache_info()[:2] == (1, 2)
    assert await f.cache_delete(2)

asyncio.run(main())
"""
    )


def test_handlers_at_exit_use_the_cache(python: Python) -> None:
    # One registered before retainit was imported runs after everything of retainit's.
    out = python(
        "import atexit\natexit.register(lambda: print('late', use()))"
        + PRELUDE
        + """
@retain(backend=["memory", "disk"])
def f(x):
    return [x]

def use():
    f.cache_set(["set"], 3)
    f.cache_delete(2)
    return f(1) + f(2) + f(1)

print("now", use())
atexit.register(lambda: print("early", use()))
sys.modules["kept"] = [f, f(1), use]
"""
    )
    assert out == "now [1, 2, 1]\nearly [1, 2, 1]\nlate [1, 2, 1]\n"


def test_values_whose_end_calls_cached_functions(python: Python) -> None:
    python(
        PRELUDE
        + """
class Value:
    def __init__(self, x):
        self.x = x
        self.cycle = self
    def __del__(self):
        assert g(self.x) == [self.x]
        f.cache_delete(self.x)

@retain(backend="brief")
def f(x):
    return Value(x)

@retain
def g(x):
    return [x]

for x in range(2000):
    f(x)
sys.modules["kept"] = [f(x) for x in range(10)]
sys.modules["f"] = f
"""
    )


@pytest.mark.parametrize("code", [0, 3])
def test_exit_from_a_cached_function(python: Python, code: int) -> None:
    program = (
        PRELUDE
        + """
@retain(backend=["memory", "disk"])
def f(x):
    if threading.current_thread() is threading.main_thread():
        start(True, lambda: f(x))
        time.sleep(0.05)
        sys.exit(int(sys.argv[1]))
    # The one that waited takes over.
    time.sleep(1000)

f(1)
"""
    )
    python(program, code, code=code)


def test_the_process_ends_without_the_interpreter(python: Python) -> None:
    python(
        PRELUDE
        + """
@retain(backend=["brief", "disk"])
def f(x):
    return [x]

def forever():
    while True:
        for x in range(300):
            f(x)

start(True, forever, forever)
time.sleep(0.05)
f(0)
os._exit(7)
""",
        code=7,
    )


def test_what_was_stored_is_there_after_any_end(python: Python) -> None:
    program = (
        PRELUDE
        + """
@retain(backend="disk")
def f(x):
    assert sys.argv[1] == "store"
    return "y" * x

for x in range(0, 100_000, 10_000):
    assert f(x) == "y" * x
if sys.argv[1] == "store":
    os._exit(0)
"""
    )
    python(program, "store")
    python(program, "read")


def test_a_first_call_during_finalisation(python: Python) -> None:
    out = python(
        PRELUDE
        + """
class Last:
    def __del__(self):
        # A backend would be opened now, with a thread of its own, if it still could.
        assert f(1) == f(x=1) == [1, 2, (), {}]
        assert f(1, 3, 4, z=5) == f(1, 3, 4, **{"z": 5}) == [1, 3, (4,), {"z": 5}]
        assert f.cache_info().currsize == 0
        try:
            f()
        except TypeError:
            os.write(1, b"it ran")

@retain(backend="brief")
def f(x, y=2, *args, **kwargs):
    return [x, y, args, kwargs]

sys.modules["last"] = Last()
"""
    )
    assert out == "it ran"
