"""Backends that fail, hang and return: what calls of cached functions come to.

Each program runs in an interpreter of its own, with a plugin whose backends follow a script
(`tests/fixtures/faulty-rust`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import retainit
from retainit import (
    ConfigurationError,
    DiskConfig,
    MemoryConfig,
    PluginConfig,
    TieredConfig,
    _native,
    _registry,
)

Python = Callable[..., str]

ROOT = Path(__file__).resolve().parents[2]

# What all programs begin with. `follow` writes the script, `asked` says what was asked since.
PRELUDE = """
import asyncio, atexit, os, sys, threading, time
import retainit
from retainit import BackendError, PluginConfig, _native, retain

_native.add_plugin(None, sys.argv[1])

def follow(script):
    with open("next", "w") as file:
        file.write(script)
    os.replace("next", "script")

seen = 0
def asked():
    global seen
    with open("script.log", "a+") as file:
        file.seek(0)
        text = file.read()
    new = [line.split()[0] for line in text[seen:text.rindex("\\n") + 1 if text else 0].splitlines()]
    seen = len(text)
    return new

follow("")
_native.freeze_clock()
_native.advance_clock(1)

def scripted(kind="scripted", **options):
    retainit.register_backend("it", PluginConfig(kind, script=os.path.abspath("script"), **options))
    # Whatever fails or hangs goes on when the program ends, before retainit itself closes.
    atexit.register(follow, "end")

def health():
    return next(iter(retainit.get_backend("it").health().values()))

def counted(**options):
    runs = []
    @retain(backend="it", **options)
    def f(x):
        runs.append(x)
        return [x, len(runs)]
    return f, runs

def eventually(holds):
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)
"""


@pytest.fixture(scope="session")
def plugin() -> Path:
    """The plugin, built as the tests in Rust build it."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    profile = {"CARGO_PROFILE_DEV_OPT_LEVEL": "1", "CARGO_PROFILE_DEV_DEBUG": "1"}
    subprocess.run(
        [os.environ.get("CARGO", "cargo"), "build", "--quiet", "--target-dir", str(target)],
        cwd=ROOT / "tests" / "fixtures" / "faulty-rust",
        env=os.environ | profile,
        check=True,
    )
    prefix, suffix = {"darwin": ("lib", ".dylib"), "win32": ("", ".dll")}.get(sys.platform, ("lib", ".so"))
    return target / "debug" / f"{prefix}retainit_faulty_rust{suffix}"


@pytest.fixture
def program(python: Python, plugin: Path) -> Callable[[str], str]:
    def run(text: str) -> str:
        return python(PRELUDE + text, plugin)

    return run


Program = Callable[[str], str]


# --- the breaker ----------------------------------------------------------------------------------


def test_a_dead_backend_is_not_asked_and_asked_again_after_the_time(program: Program) -> None:
    program("""
scripted()
f, runs = counted()
follow("* fail")
for x in range(20):
    assert f(x)[0] == x
assert health()["state"] == "open", health()
assert len(runs) == 20 and f.cache_info().errors == 40, f.cache_info()
# Five failures, each of them tried twice.
assert len(asked()) == 10
_native.advance_clock(59)
f(1)
assert asked() == []
_native.advance_clock(2)
f(1)
assert asked() == ["get"] and health()["state"] == "open"
follow("")
_native.advance_clock(61)
assert f(1) == f(1)
assert asked() == ["get", "set", "get"] and health()["state"] == "closed"
""")


@pytest.mark.parametrize("kind", ["scripted", "scripted_later"])
def test_a_hanging_backend_holds_one_call_and_no_longer_than_the_timeout(program: Program, kind: str) -> None:
    program(f"""
scripted("{kind}", timeout=2, circuit_breaker_timeout=30)
f, runs = counted()
follow("* hang")
for window in range(2):
    results = []
    caller = threading.Thread(target=lambda: results.append(f(0)))
    caller.start()
    eventually(lambda: "get" in asked())
    _native.advance_clock(2)
    caller.join(10)
    assert results and results[0][0] == 0
    for x in range(50):
        assert f(x)[0] == x
    assert asked() == [], "held once"
    _native.advance_clock(30)
follow("")
""")


def test_coroutines_run_on_while_the_backend_hangs(program: Program) -> None:
    program("""
scripted(timeout=2)
runs = []
@retain(backend="it")
async def f(x):
    runs.append(x)
    return x

async def main():
    follow("* hang")
    first = asyncio.create_task(f(0))
    turns = 0
    while "get" not in asked():
        await asyncio.sleep(0.001)
        turns += 1
    _native.advance_clock(2)
    assert await first == 0
    assert [await f(x) for x in range(10)] == list(range(10))

asyncio.run(main())
assert health()["state"] == "open"
follow("")
""")


def test_threshold_time_and_switch(program: Program) -> None:
    program("""
scripted(circuit_breaker_threshold=2, circuit_breaker_timeout="5s")
f, _ = counted()
follow("get fatal")
f(1), f(2), f(3)
# Each success, as of what is stored, takes one failure back.
assert asked() == ["get", "set"] * 3 and health()["state"] == "closed"
follow("* fatal")
f(1), f(2)
assert asked() == ["get", "set"] and health()["state"] == "open"
_native.advance_clock(6)
follow("")
f(1)
assert health()["state"] == "closed"

scripted(circuit_breaker=False)
follow("* fatal")
for x in range(50):
    f(x)
assert asked().count("get") == 51 and health()["state"] == "closed"
""")


def test_init_speaks_for_all_backends_that_say_nothing(program: Program) -> None:
    program("""
scripted()
f, _ = counted()
f(0)
retainit.init(circuit_breaker=False)
follow("* fatal")
for x in range(50):
    f(x)
assert health()["state"] == "closed", "one that is open already follows too"
retainit.init(circuit_breaker_enabled=True, circuit_breaker_threshold=1, circuit_breaker_timeout=5)
f(0)
assert health()["state"] == "open"
_native.advance_clock(6)
follow("")
f(0)
assert health()["state"] == "closed"
scripted(circuit_breaker=True, circuit_breaker_threshold=3)
follow("* fatal")
f(1)
assert health()["state"] == "closed", "its own options come first"
f(1)
assert health()["state"] == "open"
""")


def test_a_strict_function_is_told_that_the_circuit_is_open(program: Program) -> None:
    program("""
scripted(circuit_breaker_threshold=1)
f, runs = counted(strict=True)
follow("* fatal")
for message in ("as the script says (backend `it`)",
                "the circuit is open, the backend is not asked: as the script says (backend `it`)"):
    try:
        f(1)
    except BackendError as error:
        assert str(error) == message, error
    else:
        raise AssertionError(message)
assert runs == []
""")


def test_other_tiers_go_on(program: Program) -> None:
    program("""
from retainit import MemoryConfig
scripted()
runs = []
@retain(backend=[MemoryConfig(), "it"])
def f(x):
    runs.append(x)
    return x
follow("* fail")
for _ in range(3):
    assert [f(x) for x in range(10)] == list(range(10))
assert runs == list(range(10))
f.cache_delete(1)
assert f(1) == 1 and len(runs) == 11
""")


# --- invalidations that were missed ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["scripted", "scripted_later"])
def test_what_was_invalidated_while_the_backend_was_away_never_comes_back(
    program: Program, kind: str
) -> None:
    program(f"""
scripted("{kind}")
f, runs = counted()
g, others = counted(version="2")
old = f(1), g(1)
assert (f(1), g(1)) == old
follow("* fail")
for x in range(10, 20):
    f(x)
assert health()["state"] == "open"
f.cache_delete(1)
g.cache_clear()
assert health()["missed"] == 2
follow("delete fail\\nclear fail")
_native.advance_clock(61)
assert f(1) != old[0] and g(1) != old[1], "it answers again, and what it has is not read"
follow("")
_native.advance_clock(61)
f(2)
_native.advance_clock(2)
f(3)
eventually(lambda: health()["missed"] == 0)
assert f(1) != old[0] and g(1) != old[1]
assert f(1) == f(1) and g(1) == g(1)
""")


# --- writes that wait -----------------------------------------------------------------------------


def test_write_behind_does_not_hold_the_caller_and_is_read_and_written(program: Program) -> None:
    program("""
scripted(write_behind=True)
f, runs = counted()
follow("set hang")
assert f(1) == [1, 1] and f(1) == [1, 1] and f(2) == [2, 2]
assert health()["queued"] == 2
follow("")
retainit.shutdown()
assert asked().count("set") == 2
""")


def test_a_queue_that_is_full_is_an_error_and_an_invalidation_wins(program: Program) -> None:
    program("""
scripted(write_behind=2)
f, runs = counted()
follow("set hang")
f(0)
eventually(lambda: "set" in asked())
f(1), f(2), f(3)
assert f.cache_info().errors == 1 and health()["lost"] == 1
f.cache_delete(1)
follow("")
eventually(lambda: health()["queued"] == 0)
assert f(2) == [2, 3] and f(0) == [0, 1]
assert f(1) == [1, 5]
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_leaves_what_waits_to_its_parent(program: Program) -> None:
    program("""
import warnings
warnings.filterwarnings("ignore", category=DeprecationWarning)
scripted(write_behind=True, timeout=5)
f, runs = counted()
follow("set hang")
f(1), f(2)
eventually(lambda: "set" in asked())
child = os.fork()
if child == 0:
    import signal
    signal.alarm(20)
    ok = health()["queued"] == 0
    follow("")
    ok = ok and f(3) == f(3)
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
eventually(lambda: health()["queued"] == 0)
assert f(1) == [1, 1] and f(2) == [2, 2]
""")


def test_what_waits_is_written_when_the_program_ends(program: Program, tmp_path: Path) -> None:
    program("""
scripted(write_behind=True)
f, runs = counted()
follow("")
for x in range(100):
    f(x)
""")
    log = (tmp_path / "script.log").read_text()
    assert log.count("set ") == 100


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"timeout": 0}, "option `timeout` of `DiskConfig`: expected a duration"),
        ({"timeout": -1}, "option `timeout` of `DiskConfig`: expected a duration"),
        ({"timeout": float("nan")}, "option `timeout` of `DiskConfig`: expected a duration"),
        (
            {"circuit_breaker": 1},
            "option `circuit_breaker` of `DiskConfig`: expected `True` or `False`, found `1`",
        ),
        (
            {"circuit_breaker_threshold": 0},
            "option `circuit_breaker_threshold` of `DiskConfig`: expected a whole number from 1 to 65535, "
            "found `0`",
        ),
        ({"circuit_breaker_threshold": True}, "expected a whole number from 1 to 65535, found `True`"),
        ({"circuit_breaker_threshold": 65536}, "expected a whole number from 1 to 65535"),
        (
            {"circuit_breaker_timeout": "soon"},
            "option `circuit_breaker_timeout` of `DiskConfig`: expected a duration",
        ),
        ({"circuit_breaker_timeout": float("inf")}, "expected a duration"),
        (
            {"circuit_breaker": False, "circuit_breaker_threshold": 3},
            "option `circuit_breaker_threshold` of `DiskConfig`: expected it beside a circuit breaker, found "
            "it beside `circuit_breaker=False`, where nothing would use it",
        ),
        ({"write_behind": 0}, "option `write_behind` of `DiskConfig`: expected `True`, `False`, or a number"),
        (
            {"write_behind": 1.5},
            "option `write_behind` of `DiskConfig`: expected `True`, `False`, or a number",
        ),
    ],
)
def test_mistakes_are_said_at_once(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DiskConfig(**options)  # type: ignore[arg-type]
    assert expected in str(caught.value)


def test_options_are_refused_where_nothing_would_use_them() -> None:
    retainit.register_backend("near", MemoryConfig(timeout=1))
    with pytest.raises(ConfigurationError) as caught:
        retainit.get_backend("near")
    assert str(caught.value) == (
        "option `timeout` of backend `near`: expected it at a backend whose calls may block, found it at one "
        "of type `memory`, whose calls never do"
    )
    retainit.register_backend("plain", MemoryConfig(circuit_breaker=False, write_behind=False, timeout=None))
    assert retainit.get_backend("plain").health()["plain"]["state"] == "closed"
    with pytest.raises(ConfigurationError, match="found it at several; hint: give it to the tiers"):
        TieredConfig(tiers=["a"], write_behind=True)


def test_init_with_two_names_for_one_thing_has_to_agree_with_itself() -> None:
    with pytest.raises(
        ConfigurationError, match="expected what `circuit_breaker` says, `True`, found `False`"
    ):
        retainit.init(circuit_breaker=True, circuit_breaker_enabled=False)
    with pytest.raises(ConfigurationError, match="option `circuit_breaker_threshold` of `init`: expected"):
        retainit.init(circuit_breaker_threshold=0)
    with pytest.raises(ConfigurationError, match="did you mean `circuit_breaker`"):
        retainit.init(circuit_braker=True)


def test_the_options_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "retainit.yaml"
    path.write_text("""
retainit:
  backends:
    disk: {type: disk, base_path: here, timeout: 5s, circuit_breaker_threshold: 3, write_behind: 10}
    near: {type: memory, timeout: 1}
    both: {type: tiered, tiers: [disk], timeout: 1}
""")
    with pytest.raises(ConfigurationError, match="option `timeout` of `TieredConfig`"):
        retainit.load_config(path)
    path.write_text(path.read_text().replace("tiers: [disk], timeout: 1", "tiers: [disk]"))
    retainit.load_config(path)
    assert retainit.get_backend("disk").health()["disk"]["read_timeout"] == 5.0
    with pytest.raises(
        ConfigurationError, match=r"option `timeout` of backend `near` \(retainit.yaml:5\): expected"
    ):
        retainit.get_backend("near")
    path.write_text(
        path.read_text().replace("circuit_breaker_threshold: 3", "circuit_breaker_threshold: many")
    )
    with pytest.raises(
        ConfigurationError, match=r"of backend `disk` \(retainit.yaml:4\): expected a whole number"
    ):
        retainit.load_config(path)


def test_a_plugin_of_any_kind_takes_them(tmp_path: Path) -> None:
    config = PluginConfig("disk", base_path=str(tmp_path / "there"), timeout="3s", write_behind=5)
    assert config.options() == {"base_path": str(tmp_path / "there")}
    (tier,) = _registry.resolve(config)
    assert tier.backend.health()["write_timeout"] == 3.0


def test_what_blocks_is_not_slower_for_a_breaker_and_has_no_timeout_unless_it_is_given(
    tmp_path: Path,
) -> None:
    retainit.register_backend("plain", DiskConfig(base_path=tmp_path / "plain"))
    health = retainit.get_backend("plain").health()["plain"]
    assert (health["read_timeout"], health["write_timeout"], health["state"]) == (None, None, "closed")
    assert _native.Backend.health.__doc__
