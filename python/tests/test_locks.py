"""Locks: between threads, tasks, loops and processes; lost, forgotten, cancelled, forked, killed."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import retainit
from retainit import (
    BackendError,
    Cache,
    ConfigurationError,
    DiskConfig,
    LockError,
    LockLostError,
    LockTimeoutError,
    RetainitError,
    TieredConfig,
    _locks,
    _native,
    _registry,
)

Python = Callable[..., str]
Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest) -> Cache:
    return Cache(request.param)


@pytest.fixture(params=["asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine function on a loop."""
    if request.param == "asyncio":
        return lambda main: asyncio.run(main())
    trio = pytest.importorskip("trio")
    return lambda main: trio.run(main)


@pytest.fixture
def threads() -> Iterator[Callable[..., threading.Thread]]:
    """Starts threads, which have to end well by the end of the test."""
    started: list[threading.Thread] = []
    failures: list[BaseException] = []

    def start(target: Callable[[], object]) -> threading.Thread:
        def work() -> None:
            try:
                target()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work, daemon=True)
        started.append(thread)
        thread.start()
        return thread

    yield start
    for thread in started:
        thread.join(20)
        assert not thread.is_alive()
    assert not failures


def eventually(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.001)


def is_free(cache: Cache, name: str = "x") -> bool:
    """By another thread's lights, as this one may hold it."""
    found: list[bool] = []

    def look() -> None:
        try:
            with cache.lock(name, timeout=0):
                found.append(True)
        except LockTimeoutError:
            found.append(False)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(20)
    return found[0]


# --- one at a time --------------------------------------------------------------------------------


def test_a_lock_is_held_in_the_block_and_free_after_it(cache: Cache) -> None:
    lock = cache.lock("x")
    for _ in range(2):
        with lock as held:
            assert held is lock
            assert not lock.lost
            assert not is_free(cache)
            assert is_free(cache, "another")
        assert is_free(cache)


def test_the_fence_grows_with_each_holder(cache: Cache) -> None:
    fences = []
    for _ in range(3):
        with cache.lock("x") as lock:
            fences.append(lock.fence)
    assert fences[0] < fences[1] < fences[2]
    assert cache.lock("x").acquire() > fences[2]


def test_the_default_cache_is_of_the_default_backend() -> None:
    retainit.register_backend("default", DiskConfig(base_path="cache"))
    with retainit.cache.lock("x"):
        assert not is_free(Cache(DiskConfig(base_path="cache")))
        assert is_free(Cache("memory"))


def test_a_cache_follows_the_configuration() -> None:
    disk = Cache(DiskConfig(base_path="cache"))
    lock = retainit.cache.lock("x")
    with lock:
        assert is_free(disk)
    retainit.register_backend("default", DiskConfig(base_path="cache"))
    for _ in range(2):
        with lock:
            assert not is_free(disk)
        # Opened again by whoever needs it.
        retainit.shutdown()


def test_namespaces_have_locks_of_their_own() -> None:
    one, two = (Cache(DiskConfig(base_path="cache", namespace=name)) for name in ("one", "two"))
    with one.lock("x"):
        assert is_free(two)
        assert not is_free(one)


def test_many_threads_take_turns(cache: Cache, threads: Callable[..., threading.Thread]) -> None:
    lock = cache.lock("x")
    inside, fences = 0, []

    def work() -> None:
        nonlocal inside
        for _ in range(20):
            with lock:
                inside += 1
                assert inside == 1
                fences.append(lock.fence)
                assert not lock.lost
                inside -= 1

    for thread in [threads(work) for _ in range(8)]:
        thread.join(20)
    assert len(fences) == 160
    assert fences == sorted(set(fences))


def test_many_tasks_take_turns_and_the_loop_goes_on(cache: Cache) -> None:
    inside, fences, ticks = 0, [], 0

    async def work() -> None:
        nonlocal inside
        for _ in range(5):
            async with cache.lock("x") as lock:
                inside += 1
                assert inside == 1
                fences.append(lock.fence)
                await asyncio.sleep(0)
                inside -= 1

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async def main() -> None:
        ticking = asyncio.create_task(tick())
        await asyncio.gather(*(work() for _ in range(20)))
        ticking.cancel()

    asyncio.run(main())
    assert len(fences) == 100
    assert fences == sorted(set(fences))
    assert ticks > 100


def test_many_tasks_of_trio_take_turns(cache: Cache) -> None:
    trio = pytest.importorskip("trio")
    inside, fences = 0, []

    async def work() -> None:
        nonlocal inside
        for _ in range(5):
            async with cache.lock("x") as lock:
                inside += 1
                assert inside == 1
                fences.append(lock.fence)
                await trio.sleep(0)
                inside -= 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(work)

    trio.run(main)
    assert len(fences) == 100
    assert fences == sorted(set(fences))


def test_threads_and_loops_meet_at_one_lock(cache: Cache, threads: Callable[..., threading.Thread]) -> None:
    inside, turns = 0, 0

    def turn() -> None:
        nonlocal inside, turns
        inside += 1
        assert inside == 1
        turns += 1
        inside -= 1

    def in_thread() -> None:
        for _ in range(20):
            with cache.lock("x"):
                turn()

    async def in_task() -> None:
        for _ in range(20):
            async with cache.lock("x"):
                turn()

    loops = [lambda: asyncio.run(in_task())] * 2
    for thread in [threads(each) for each in (in_thread, in_thread, *loops)]:
        thread.join(20)
    assert turns == 80


# --- waiting --------------------------------------------------------------------------------------


def test_a_lock_that_is_not_free_in_time(cache: Cache, run: Run) -> None:
    with cache.lock("x"):

        def look() -> None:
            started = time.monotonic()
            with pytest.raises(LockTimeoutError, match=r"^lock `x` was not free within 0\.05 s$") as raised:
                cache.lock("x", timeout=0.05).acquire()
            assert time.monotonic() - started >= 0.045
            for kind in (TimeoutError, LockError, RetainitError):
                assert isinstance(raised.value, kind)
            with pytest.raises(LockTimeoutError, match=r"^lock `x` was not free$"):
                cache.lock("x").acquire(timeout=0)

        async def look_in_a_task() -> None:
            started = time.monotonic()
            with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
                await cache.lock("x").aacquire(timeout=timedelta(milliseconds=50))
            assert time.monotonic() - started >= 0.045
            with pytest.raises(LockTimeoutError):
                async with cache.lock("x", timeout=0):
                    pytest.fail("held twice")

        run_in_thread(look)
        run_in_thread(lambda: run(look_in_a_task))
        assert not is_free(cache)


def run_in_thread(work: Callable[[], object]) -> None:
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def test_a_timeout_by_the_process_clock(cache: Cache, clock: Any) -> None:
    waited = threading.Event()

    def wait() -> None:
        with pytest.raises(LockTimeoutError):
            cache.lock("x", timeout="1h").acquire()
        waited.set()

    with cache.lock("x", ttl="1d"):
        thread = threading.Thread(target=wait)
        thread.start()
        clock.advance(3000)
        assert not waited.wait(0.05)
        # From when it began to wait, which may have been only now.
        clock.advance(3601)
        assert waited.wait(20)
        thread.join(20)


def test_a_release_rings_for_who_waits_in_this_process(cache: Cache) -> None:
    """Who waits need not wait for the end of a pause between two attempts."""
    lock = cache.lock("x")
    backend, name = lock._place()
    rung: list[str] = []
    lock.acquire()
    first, second = (
        _native.LeaseWait(backend, name, 30, None, functools.partial(rung.append, who)) for who in "ab"
    )
    for wait in (first, second, first, second):
        assert wait.attempt() is None
    assert rung == []
    lock.release()
    assert rung == ["a"]
    lease = first.attempt()
    assert lease is not None
    assert lease.release()
    assert rung == ["a", "b"]
    # Cancelled, or late: nobody is left to be told.
    second.leave()
    with lock:
        pass
    assert rung == ["a", "b"]


# --- misuse ---------------------------------------------------------------------------------------


def test_waiting_for_what_one_holds_oneself_is_refused(cache: Cache, run: Run) -> None:
    lock = cache.lock("x")
    with lock:
        for again in (lock, cache.lock("x"), cache.lock("x", timeout=5)):
            with pytest.raises(LockError, match=r"lock `x`: expected another thread or task to hold it"):
                again.acquire()
        assert not lock.lost

    async def main() -> None:
        async with lock:
            with pytest.raises(LockError, match=r"waiting for it would never end"):
                await cache.lock("x").aacquire()
            # A wait that keeps the loop of the holder from going on.
            with pytest.raises(LockError, match=r"locks are not reentrant"):
                cache.lock("x").acquire()
        await lock.aacquire()
        await lock.arelease()

    run(main)
    assert is_free(cache)


def test_one_object_that_several_hold_knows_who_is_who(cache: Cache, clock: Any) -> None:
    lock = cache.lock("x", ttl=10)
    first = lock.acquire()
    clock.advance(11)
    assert lock.lost
    fences: list[int] = []

    def second() -> None:
        with lock:
            fences.append(lock.fence)
            ready.set()
            assert done.wait(20)
            assert not lock.lost

    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=second)
    thread.start()
    assert ready.wait(20)
    assert (lock.fence, lock.lost) == (first, True)

    def third() -> None:
        with pytest.raises(LockError, match="expected a thread or task that holds it, found another"):
            lock.release()

    run_in_thread(third)
    with pytest.raises(LockLostError):
        lock.release()
    # What is left is the other's, which may be given back by anybody.
    assert lock.fence == fences[0] > first
    done.set()
    thread.join(20)
    assert is_free(cache)


def test_what_is_not_held_is_not_given_back(cache: Cache, run: Run) -> None:
    lock = cache.lock("x")
    for use in (lock.release, lambda: lock.fence, lambda: lock.lost):
        with pytest.raises(LockError, match=r"^lock `x`: expected it to be held, found it free$"):
            use()
    with lock:
        pass
    with pytest.raises(LockError):
        lock.release()

    async def main() -> None:
        with pytest.raises(LockError):
            await lock.arelease()

    run(main)


def test_another_thread_may_give_it_back(cache: Cache) -> None:
    lock = cache.lock("x")
    fence = lock.acquire()
    run_in_thread(lambda: (lock.fence == fence) or pytest.fail("another fence"))
    run_in_thread(lock.release)
    assert is_free(cache)


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf, 1e300, "", "soon", None, True, 0.099, b"1"])
def test_a_ttl_that_is_none(cache: Cache, ttl: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^option `ttl` of `lock`: expected "):
        cache.lock("x", ttl=ttl)


@pytest.mark.parametrize("timeout", [-1, math.nan, math.inf, 1e300, "", "later", False, b"1"])
def test_a_timeout_that_is_none(cache: Cache, timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^option `timeout` of `lock`: expected "):
        cache.lock("x", timeout=timeout)
    with pytest.raises(ConfigurationError, match=r"^option `timeout` of `lock`: expected "):
        cache.lock("x").acquire(timeout=timeout)


@pytest.mark.parametrize("name", ["", None, 1, b"x"])
def test_a_name_that_is_none(cache: Cache, name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^name of a lock: expected a name"):
        cache.lock(name)


@pytest.mark.parametrize("name", ["\0", "ä", "\ud800", "x" * 10_000, "a/b\\c'\""])
def test_names_of_all_kinds(cache: Cache, name: str) -> None:
    with cache.lock(name):
        assert not is_free(cache, name)
        assert is_free(cache, "x")


def test_a_backend_without_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    class Without:
        name, type, capabilities = "plain", "s3", frozenset({"ttl", "blocking"})

    memory = _registry.resolve("memory")
    tiers = [*memory, memory[0]._replace(backend=Without())]  # type: ignore[arg-type]
    monkeypatch.setattr(_registry, "resolve", lambda spec: tuple(tiers))
    expected = (
        "lock `x`: expected a backend with the capability `lease`, found `plain` of type `s3`, which has "
        "`blocking`, `ttl`; hint: "
    )
    with pytest.raises(ConfigurationError) as raised:
        retainit.cache.lock("x").acquire()
    assert str(raised.value).startswith(expected)


def test_of_several_tiers_the_farthest_counts() -> None:
    tiers = TieredConfig(tiers=["memory", DiskConfig(base_path="cache")])
    with Cache(tiers).lock("x"):
        assert is_free(Cache("memory"))
        assert not is_free(Cache(DiskConfig(base_path="cache")))


def test_a_store_that_fails_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((BackendError, ConfigurationError)):
        Cache(DiskConfig(base_path="file/cache")).lock("x").acquire()


# --- loss -----------------------------------------------------------------------------------------


def test_a_held_lock_is_renewed(cache: Cache, clock: Any) -> None:
    with cache.lock("x", ttl=30) as lock:
        for _ in range(9):
            clock.advance(10)
            # Whoever sees the renewal sees that it is not free.
            time.sleep(0.02)
            assert not is_free(cache)
        assert not lock.lost
    assert is_free(cache)


def test_a_lost_lock_says_so_on_leaving(cache: Cache, clock: Any, run: Run) -> None:
    lost = r"^lock `x` was lost while it was held: somebody else may have had it since"

    def leave() -> None:
        with cache.lock("x", ttl=30) as lock:
            clock.advance(31)
            assert lock.lost
            assert is_free(cache)

    with pytest.raises(LockLostError, match=lost):
        leave()

    lock = cache.lock("x")
    lock.acquire()
    clock.advance(31)
    with pytest.raises(LockLostError):
        lock.release()
    with pytest.raises(LockError, match="found it free"):
        lock.release()

    async def main() -> None:
        async with cache.lock("x") as lock:
            clock.advance(31)
            assert lock.lost

    with pytest.raises(LockLostError, match=lost):
        run(main)


def test_a_loss_hides_no_other_exception(cache: Cache, clock: Any) -> None:
    def leave() -> None:
        with cache.lock("x", ttl=30):
            clock.advance(31)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as raised:
        leave()
    if sys.version_info >= (3, 11):
        assert raised.value.__notes__[0].startswith("lock `x` was lost while it was held")


def test_a_lost_lock_can_be_taken_again_by_who_lost_it(cache: Cache, clock: Any) -> None:
    first = cache.lock("x", ttl=30)
    fence = first.acquire()
    clock.advance(31)
    with cache.lock("x") as second:
        assert second.fence > fence
        with pytest.raises(LockLostError):
            first.release()
        assert not second.lost
        assert not is_free(cache)


# --- every way out --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
def test_whatever_is_raised_gives_it_back(cache: Cache, error: type[BaseException], run: Run) -> None:
    with pytest.raises(error), cache.lock("x"):
        raise error

    async def main() -> None:
        with pytest.raises(error):
            async with cache.lock("x"):
                raise error

    run(main)
    assert is_free(cache)


def test_a_generator_that_is_closed_gives_it_back(cache: Cache) -> None:
    def generate() -> Iterator[int]:
        with cache.lock("x"):
            yield 1

    generator = generate()
    next(generator)
    assert not is_free(cache)
    del generator
    assert is_free(cache)


def test_what_nobody_refers_to_is_free(cache: Cache) -> None:
    lock = cache.lock("x")
    lock.acquire()
    assert not is_free(cache)
    del lock
    eventually("the lock is free", lambda: is_free(cache))
    assert not any(_locks._held.get(backend) for backend in list(_locks._held))


def test_a_task_that_is_cancelled_gives_it_back(cache: Cache) -> None:
    """At each step of the way: before, while it waits, in the block, on leaving."""

    async def main() -> None:
        for steps in range(40):
            entered = False

            async def work() -> None:
                nonlocal entered
                async with cache.lock("x"):
                    entered = True
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)

            task = asyncio.create_task(work())
            for _ in range(steps):
                await asyncio.sleep(0 if steps % 2 else 0.0003)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            # Within the time that giving it back takes.
            async with cache.lock("x", timeout=10):
                pass

    asyncio.run(main())
    assert is_free(cache)


def test_a_waiter_that_is_cancelled_takes_nothing(cache: Cache) -> None:
    async def main() -> None:
        lock = cache.lock("x")
        for _ in range(20):
            await lock.aacquire()
            waiting = [asyncio.create_task(cache.lock("x").aacquire()) for _ in range(3)]
            await asyncio.sleep(0.002)
            await lock.arelease()
            for task in waiting:
                task.cancel()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert sum(isinstance(each, int) for each in outcomes) <= 1
            # Who got it all the same has dropped its lock since.
            async with cache.lock("x", timeout=10):
                pass

    asyncio.run(main())


def test_a_scope_of_trio_that_is_cancelled_gives_it_back(cache: Cache) -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        with trio.move_on_after(0.01) as scope:
            async with cache.lock("x"):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        async with cache.lock("x", timeout=5):
            with trio.move_on_after(0.01) as scope:
                trio_lock = cache.lock("y")
                await trio_lock.aacquire()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cache.lock("y").aacquire)
            assert scope.cancelled_caught
            await trio_lock.arelease()
        async with cache.lock("y", timeout=5):
            pass

    trio.run(main)
    assert is_free(cache)


def test_an_interrupt_ends_a_wait(cache: Cache, python: Python) -> None:
    python(
        """
        import os, signal, sys, threading
        from retainit import Cache

        cache = Cache(sys.argv[1])
        free = threading.Event()

        def hold():
            with cache.lock("x"):
                held.set()
                free.wait(30)

        held = threading.Event()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(30)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            with cache.lock("x"):
                raise AssertionError
        except KeyboardInterrupt:
            pass
        free.set()
        thread.join()
        with cache.lock("x", timeout=5):
            pass
        """,
        "disk" if "disk" in repr(cache) else "memory",
    )


def test_waits_are_not_kept_up_by_the_loops_own_threads(cache: Cache) -> None:
    """All of which may be waiting for the lock that a task is to give back."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with cache.lock("x"):
            waiting = [
                loop.run_in_executor(None, lambda: cache.lock("x", timeout=20).acquire()) for _ in range(1)
            ]
            full = threading.Event()
            blocked = [loop.run_in_executor(None, full.wait, 20) for _ in range(64)]
            await asyncio.sleep(0.01)
        assert (await asyncio.wait_for(asyncio.gather(*waiting), 10))[0] > 0
        async with cache.lock("y", timeout=10):
            pass
        full.set()
        await asyncio.gather(*blocked)

    asyncio.run(main())


# --- processes ------------------------------------------------------------------------------------

# What programs begin with. By Unix time, which tests of this process may have moved, leases of other
# processes are not what they seem, so both sides are processes of their own.
PROCESSES = """
import os, signal, subprocess, sys, time
from retainit import Cache, DiskConfig, LockLostError, LockTimeoutError, _native

cache = Cache(DiskConfig(base_path="cache"))

HOLDER = '''
import os, signal, sys
from retainit import Cache, DiskConfig, LockLostError
try:
    with Cache(DiskConfig(base_path="cache")).lock("x", ttl=sys.argv[1]) as lock:
        print(lock.fence, flush=True)
        if sys.argv[2] == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
            assert lock.lost
        else:
            sys.stdin.read()
except LockLostError:
    print("lost")
'''

def hold(ttl, how="wait"):
    command = [sys.executable, "-W", "error", "-c", HOLDER, ttl, how]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())

def is_free():
    try:
        with cache.lock("x", timeout=0):
            return True
    except LockTimeoutError:
        return False
"""


def test_two_processes_take_turns(python: Python) -> None:
    python(
        PROCESSES
        + """
with cache.lock("x") as lock:
    first = lock.fence
process, second = hold("30s")
assert not is_free()
assert process.communicate("")[0] == ""
assert process.returncode == 0
with cache.lock("x", timeout=0) as lock:
    assert lock.fence > second > first
"""
    )


def test_a_holder_that_is_killed_is_followed_when_its_time_is_over(python: Python) -> None:
    python(
        PROCESSES
        + """
process, fence = hold("30s")
process.kill()
process.communicate()
assert process.returncode == -signal.SIGKILL
_native.advance_clock(28)
assert not is_free(), "its time is not over"
_native.advance_clock(3)
with cache.lock("x", timeout=0) as lock:
    assert lock.fence > fence
"""
    )


def test_who_waits_takes_over_from_a_holder_that_was_killed(python: Python) -> None:
    python(
        PROCESSES
        + """
process, fence = hold("0.3s")
process.kill()
process.communicate()
with cache.lock("x", timeout=20) as lock:
    assert lock.fence > fence
"""
    )


def test_a_holder_that_lives_keeps_it_for_long(python: Python) -> None:
    python(
        PROCESSES
        + """
process, fence = hold("1.5s")
try:
    cache.lock("x", timeout=2).acquire()
except LockTimeoutError:
    pass
else:
    raise AssertionError
assert process.communicate("")[0] == ""
assert is_free()
"""
    )


def test_a_holder_that_is_stopped_learns_that_it_was_lost(python: Python) -> None:
    python(
        PROCESSES
        + """
process, fence = hold("0.2s", "stop")
with cache.lock("x", timeout=20) as lock:
    assert lock.fence > fence
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=20)[0] == "lost\\n"
    assert process.returncode == 0
    assert not lock.lost
"""
    )


def test_processes_that_count_under_a_lock_lose_nothing(python: Python) -> None:
    program = """
import sys
from pathlib import Path
from retainit import Cache, DiskConfig

cache, count = Cache(DiskConfig(base_path="cache")), Path("count")
for _ in range(50):
    with cache.lock("x") as lock:
        number, fence = map(int, count.read_text().split())
        assert lock.fence > fence
        count.write_text(f"{number + 1} {lock.fence}")
"""
    python(
        f"""
import subprocess, sys
from pathlib import Path

Path("count").write_text("0 0")
command = [sys.executable, "-W", "error", "-c", {program!r}]
processes = [subprocess.Popen(command) for _ in range(3)]
assert [process.wait(50) for process in processes] == [0, 0, 0]
assert Path("count").read_text().startswith("150 ")
"""
    )


def test_the_end_of_a_process_gives_its_locks_back(python: Python) -> None:
    python(
        """
        from retainit import Cache, DiskConfig
        lock = Cache(DiskConfig(base_path="cache")).lock("x", ttl="1h")
        lock.acquire()
        import sys
        sys.lock = lock                    # outlives the interpreter's last look around
        """
    )
    python(PROCESSES + "assert is_free()")


def test_a_daemon_that_holds_a_lock_keeps_no_interpreter_from_its_end(cache: Cache, python: Python) -> None:
    python(
        """
        import sys, threading
        from retainit import Cache

        cache = Cache(sys.argv[1])
        held = threading.Event()

        def hold():
            with cache.lock("x"):
                held.set()
                threading.Event().wait()

        def wait():
            with cache.lock("x"):
                pass

        threading.Thread(target=hold, daemon=True).start()
        held.wait(30)
        for _ in range(4):
            threading.Thread(target=wait, daemon=True).start()
        """,
        "disk" if "disk" in repr(cache) else "memory",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("backend", ["memory", "disk"])
def test_a_child_holds_none_of_its_parents_locks(python: Python, backend: str) -> None:
    python(
        """
        import os, signal, sys, threading, traceback, warnings
        from retainit import Cache, LockLostError, LockTimeoutError, _native

        warnings.filterwarnings("ignore", category=DeprecationWarning)
        cache = Cache(sys.argv[1])
        shared = sys.argv[1] == "disk"

        def child(work):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                code = 1
                try:
                    work()
                    code = 0
                except BaseException:
                    traceback.print_exc()
                os._exit(code)
            assert os.waitpid(pid, 0)[1] == 0

        def leave():
            # What is left here was never held here.
            try:
                lock.__exit__(None, None, None)
            except LockLostError:
                pass
            else:
                raise AssertionError

        def take_turns():
            assert lock.lost
            leave()
            try:
                with cache.lock("x", timeout=0):
                    assert not shared
            except LockTimeoutError:
                assert shared
            # Threads of its own renew and wait.
            _native.freeze_clock()
            with cache.lock("own", ttl=30) as own:
                for _ in range(6):
                    _native.advance_clock(10)
                    threading.Event().wait(0.05)
                assert not own.lost
            _native.thaw_clock()

        with cache.lock("x") as lock:
            child(take_turns)
            child(lambda: None)
            assert not lock.lost

        # With threads at work that acquire, wait and give back all the time.
        stop = False
        def busy():
            while not stop:
                with cache.lock("busy"):
                    pass

        threads = [threading.Thread(target=busy) for _ in range(4)]
        for thread in threads:
            thread.start()

        def once():
            with cache.lock("child", timeout=10):
                pass

        for _ in range(20):
            child(once)
        stop = True
        for thread in threads:
            thread.join()
        """,
        backend,
    )
