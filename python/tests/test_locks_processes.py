"""Locks between processes that end, are killed, stopped or forked."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from retainit import (
    Cache,
)

Python = Callable[..., str]


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest) -> Cache:
    return Cache(request.param)


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
                for _ in range(60):
                    _native.advance_clock(1)
                    threading.Event().wait(0.01)
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
