"""Interpreter exits and evictions, many times over: ``python exit_soak.py [evictions] [exits]``.

The first part counts evictions that a plugin's own thread makes while other threads hit the same
cache, in one process. The second starts and ends interpreters with work in flight, each in one of the
ways of `WAYS`. Prints what it has done; ends with 1 at the first thing that is wrong.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

# How an interpreter may end; each is what `PROGRAM` does last.
WAYS = {
    "end": "",
    "exit in a cached function": "leave()",
    "tasks pending": "asyncio.run(pending())",
    "loop abandoned": "abandon(asyncio.new_event_loop())",
    "long finalisation": "sys.modules['slow'] = Slow()",
    "at exit": "atexit.register(lambda: [later(x) for x in range(500)])",
    "os._exit": "os._exit(0)",
}

PROGRAM = """
import asyncio, atexit, gc, os, sys, threading, time

import retainit
from retainit import DiskConfig, MemoryConfig, retain

retainit.register_backend("small", MemoryConfig(max_size=64, sweep_interval=0.001, ttl=0.002))
retainit.register_backend("disk", DiskConfig(base_path={base!r}, sweep_interval=0.01))

class Value:
    def __init__(self, x):
        self.x = x
        self.cycle = self

    def __reduce__(self):
        return Value, (self.x,)

    def __del__(self):
        if later is not None:
            later(self.x % 10)

class Slow:
    def __del__(self):
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            gc.collect()

@retain(backend="small")
def later(x):
    return [x]

@retain(backend=["small", "disk"])
def both(x):
    return Value(x)

@retain(backend="small")
async def awaited(x):
    await asyncio.sleep(0.001)
    return Value(x)

@retain(backend="small")
def leave():
    sys.exit(0)

async def pending():
    for _ in range(20):
        asyncio.get_running_loop().create_task(forever())
    await asyncio.gather(*[awaited(x) for x in range(50)])

def abandon(loop):
    loop.create_task(pending())
    loop.run_until_complete(asyncio.sleep(0.005))

async def forever():
    while True:
        await asyncio.gather(*[awaited(x) for x in range(5)])

def work(seed, until):
    x = seed
    while time.monotonic() < until:
        x += 1
        later(x % 200)
        if x % 5 == 0:
            both(x % 200)

# Values that outlive everything else.
sys.modules["kept"] = [both, later(1), both(1)]
sys.modules["a_function"] = both
soon = time.monotonic() + 0.03
for seed in range(2):
    threading.Thread(target=work, args=(seed, soon + 3600), daemon=True).start()
threading.Thread(target=work, args=(7, soon + 0.01)).start()
time.sleep(max(0, soon - time.monotonic()))
{way}
"""


def exits(count: int, progress: bool = True) -> None:
    """Starts and ends `count` interpreters, one more at once than there are processors."""
    ways = list(WAYS.items())
    running: list[tuple[str, subprocess.Popen[str]]] = []
    with tempfile.TemporaryDirectory(prefix="retainit-soak-") as directory:
        for number in range(count):
            name, way = ways[number % len(ways)]
            program = PROGRAM.format(way=way, base=os.path.join(directory, str(number % 4)))
            running.append((name, start(program)))
            if len(running) > (os.cpu_count() or 1):
                check(*running.pop(0))
            if progress and (number + 1) % 50 == 0:
                print(f"{number + 1} exits", flush=True)
        for each in running:
            check(*each)


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def check(name: str, process: subprocess.Popen[str]) -> None:
    try:
        _, stderr = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGABRT)
        _, stderr = process.communicate()
        raise SystemExit(f"{name}: an interpreter did not end\n{stderr}") from None
    # asyncio speaks of tasks that its loop was left with, and only of those.
    expected = {"Task was destroyed but it is pending!", "coroutine ignored GeneratorExit"}
    unexpected = (
        [] if name == "loop abandoned" and any(each in stderr for each in expected) else stderr.splitlines()
    )
    if process.returncode != 0 or unexpected:
        raise SystemExit(f"{name}: an interpreter ended with {process.returncode}\n{stderr}")


def evictions(count: int, progress: bool = True) -> None:
    """Hits from four threads until the plugin's own thread has evicted `count` entries."""
    import gc

    import retainit
    from retainit import MemoryConfig, retain

    retainit.register_backend("brief", MemoryConfig(max_size=None, sweep_interval=0.001, ttl=0.002))
    alive = 0
    lock = threading.Lock()

    class Value:
        def __init__(self, x: int) -> None:
            nonlocal alive
            self.x = x
            with lock:
                alive += 1

        def __del__(self) -> None:
            nonlocal alive
            with lock:
                alive -= 1

    @retain(backend="brief")
    def tracked(x: int) -> list[Value]:
        return [Value(x)]

    @retain(backend="brief")
    def plain(x: int) -> str:
        return f"value {x}"

    wrong: list[object] = []
    stop = threading.Event()

    def hit(seed: int) -> None:
        x = seed
        while not stop.is_set():
            x = (x * 1103515245 + 12345) % 500
            for _ in range(10):
                if tracked(x)[0].x != x or plain(x) != f"value {x}":
                    wrong.append(x)

    def reclaimed() -> int:
        return tracked.cache_info().evictions + plain.cache_info().evictions

    threads = [threading.Thread(target=hit, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    reported = 0
    deadline = time.monotonic() + 60 + count / 100
    try:
        while reclaimed() < count and time.monotonic() < deadline:
            time.sleep(0.01)
            if progress and reclaimed() // 10_000 > reported:
                reported = reclaimed() // 10_000
                print(f"{reclaimed()} evictions", flush=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    if any(thread.is_alive() for thread in threads):
        raise SystemExit("a thread did not end")
    if wrong:
        raise SystemExit(f"wrong values for {wrong[:5]}")
    if reclaimed() < count:
        raise SystemExit(f"only {reclaimed()} of {count} evictions in time")
    # Nothing leaks: with the last entry the last value goes.
    tracked.cache_clear()
    plain.cache_clear()
    gc.collect()
    if alive:
        raise SystemExit(f"{alive} values leaked")


def main() -> None:
    wanted = [int(each) for each in sys.argv[1:]]
    count, interpreters = [*wanted, *(10_000, 300)[len(wanted) :]]
    began = time.monotonic()
    evictions(count)
    print(
        f"at least {count} evictions on the plugin's thread during hits: no leak, no wrong value", flush=True
    )
    exits(interpreters)
    print(f"{interpreters} interpreters ended well; {time.monotonic() - began:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
