"""Invalidation by key, pattern and event; seen by other processes; told to backends that fail."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import retainit
from retainit import (
    BackendError,
    Cache,
    ConfigurationError,
    DiskConfig,
    MemoryConfig,
    _invalidation,
    _native,
    retain,
    tag,
)
from retainit.testing import RecordingBackend

BACKENDS: dict[str, Callable[[], Any]] = {
    "memory": lambda: MemoryConfig(),
    "disk": lambda: DiskConfig(base_path="disk"),
    "both": lambda: [MemoryConfig(), DiskConfig(base_path="both")],
}

SHARED = """
from retainit import DiskConfig, MemoryConfig, retain

runs = []

tiers = [MemoryConfig(), DiskConfig(base_path="shared")]

@retain(backend=tiers, tags=["user:{user}"], key_builder="user:{user}")
def profile(user):
    runs.append(user)
    return len(runs)

@retain(backend=tiers, tags=lambda result, user: [f"user:{user}"])
def orders(user):
    runs.append(user)
    return len(runs)
"""


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Any:
    return BACKENDS[request.param]()


@pytest.fixture(autouse=True)
def events() -> Iterator[None]:
    yield
    _invalidation._events.clear()
    _invalidation._entities.clear()


@pytest.fixture
def user(counted: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function whose keys are texts: `user:{x}/{y}`."""
    return lambda **options: counted(key_builder="user:{x}/{y}", **options)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that other processes import too."""
    gc.collect()
    (tmp_path / "shared.py").write_text(SHARED)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shared")
    del sys.modules["shared"]
    # What its functions kept is not to be looked at any more.
    gc.collect()
    _native.is_disabled()


def runs_of(f: Any, *calls: Any) -> list[int]:
    """From which run each result is."""
    return [f(x)[0] for x in calls]


def test_a_key_is_invalidated_in_every_tier(user: Any, backend: Any) -> None:
    f = user(backend=backend)
    assert runs_of(f, 1, 2) == [1, 2]
    assert retainit.invalidate("user:1/2") is True
    assert runs_of(f, 1, 2) == [3, 2]
    assert retainit.invalidate("user:9/2") is False
    assert asyncio.run(Cache(backend).ainvalidate("user:1/2")) is True
    assert runs_of(f, 1, 2) == [4, 2]


def test_a_pattern_is_invalidated_in_every_tier(user: Any, backend: Any) -> None:
    f = user(backend=backend)
    keys = [1, 2, 12, "*", "?", "[1]"]
    first = runs_of(f, *keys)
    in_tiers = len(Cache(backend)._tiers())
    assert retainit.invalidate_pattern("user:1*") == 2 * in_tiers
    assert runs_of(f, *keys) == [7, 2, 8, *first[3:]]
    assert retainit.invalidate_pattern(r"user:\*/*") == in_tiers
    assert runs_of(f, *keys) == [7, 2, 8, 9, 5, 6]
    assert retainit.invalidate_pattern("user:[!0-9]*") == 3 * in_tiers
    assert retainit.invalidate_pattern("nobody*") == 0
    assert asyncio.run(Cache(backend).ainvalidate_pattern("user:?/2")) == 3 * in_tiers - in_tiers
    assert retainit.invalidate_pattern("*") == in_tiers


def test_a_pattern_leaves_keys_that_no_builder_gave(user: Any, counted: Any, backend: Any) -> None:
    f, g = user(backend=backend), counted(backend=backend)
    f(1), g("user:1/2"), g(b"!user:1/2")
    assert retainit.invalidate_pattern("*") == len(Cache(backend)._tiers())
    assert runs_of(g, "user:1/2", b"!user:1/2") == [1, 2]


def test_a_load_under_way_is_not_stored_once_its_key_matches(backend: Any) -> None:
    class Load:
        def __init__(self, invalidate: Callable[[], object]) -> None:
            self.runs, self.invalidate = 0, invalidate
            self.f = retain(self.run, backend=backend, key_builder="user:{x}", version=str(id(self)))

        def run(self, x: int) -> int:
            self.runs += 1
            if self.runs == 1:
                self.invalidate()
            return self.runs

        def __retain_key__(self) -> str:
            return "one for each version"

    for invalidate, stored in (
        (lambda: retainit.invalidate("user:1"), False),
        (lambda: retainit.invalidate_pattern("u*"), False),
        (lambda: retainit.invalidate("user:2"), True),
        (lambda: retainit.invalidate_pattern("v*"), True),
    ):
        load = Load(invalidate)
        assert load.f(1) == 1
        assert load.f(1) == (1 if stored else 2)


def test_a_namespace_limits_keys_and_patterns(user: Any, backend: Any) -> None:
    f, g = user(backend=backend, namespace="one"), user(backend=backend, namespace="two")
    f(1), g(1)
    assert retainit.invalidate("user:1/2", namespace="one")
    assert (runs_of(f, 1), runs_of(g, 1)) == ([2], [1])
    assert retainit.invalidate_pattern("user:*", namespace="three") == 0
    assert retainit.invalidate("user:1/2")
    assert (runs_of(f, 1), runs_of(g, 1)) == ([3], [2])


def test_an_event_invalidates_patterns_and_tags(user: Any, counted: Any) -> None:
    f, g = user(backend="memory"), counted(backend="memory", tags=["user:{x}"])
    retainit.on_domain_event({"user.updated": ["user:{id}/*", tag("user:{id}")]})
    retainit.on_domain_event({"user.updated": ["user:{id}/*"], "user.gone": [tag("user:{id}")]})
    for each in (1, 12, "*", "a:b"):
        f(each), g(each)
    assert retainit.emit("user.updated", id=1) == 2
    assert (runs_of(f, 1, 12, "*"), runs_of(g, 1, 12, "*")) == ([5, 2, 3], [5, 2, 3])
    assert asyncio.run(retainit.aemit("user.updated", id="*")) == 2
    assert (runs_of(f, 1, 12, "*"), runs_of(g, 1, 12, "*")) == ([5, 2, 6], [5, 2, 6])
    assert retainit.emit("user.updated", id="a:b") == 2
    assert retainit.emit("user.gone", id=12) == 1
    assert (runs_of(f, 12), runs_of(g, 12)) == ([2], [7])


def test_an_entity_invalidates_what_belongs_to_it(user: Any) -> None:
    f = user(backend="memory")
    retainit.on_entity({"user": ["user:{id}/*"]})
    f(1), f(2)
    assert retainit.invalidate_entity("user", 1) == 1
    assert asyncio.run(retainit.ainvalidate_entity("user", 1)) == 0
    assert runs_of(f, 1, 2) == [3, 2]


def test_events_that_are_wrong_are_refused() -> None:
    retainit.on_domain_event({"user.updated": ["user:{id}"]})
    for wrong, message in (
        (
            lambda: retainit.emit("user.updatd", id=1),
            "unknown event `user.updatd`: .*did you mean `user.updated`",
        ),
        (lambda: retainit.emit("user.updated", user=1), "expected the values of `user:{id}`, found `user`"),
        (
            lambda: retainit.on_domain_event({"x": "user"}),
            "expected a list of patterns and tags, found `'user'`",
        ),
        (lambda: retainit.on_domain_event({"x": [3]}), "expected a pattern or a tag, found `3`"),  # type: ignore[list-item]
        (lambda: retainit.on_domain_event({"x": ["{id"]}), "pattern `{id`: expected '}'"),
        (lambda: retainit.on_domain_event(["x"]), "expected a mapping"),  # type: ignore[arg-type]
        (lambda: retainit.on_entity({"x": ["{key}"]}), "unknown name `key`, expected `id`"),
        (lambda: retainit.invalidate_entity("user", 1), "unknown entity `user`"),
        (lambda: tag(""), "`tag`: expected a name or a template, found `''`"),
        (lambda: retainit.invalidate(""), "key to invalidate: expected text, found `''`"),
        (lambda: retainit.invalidate_pattern(""), "pattern to invalidate: expected text, found `''`"),
        (lambda: retainit.init(tag_interval=0), "option `tag_interval` of `init`"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            wrong()


INVALIDATIONS = {
    "tag": "import retainit, shared; assert retainit.invalidate_tag('user:7')",
    "from a process that knows no function": (
        "from retainit import Cache, DiskConfig\n"
        "assert Cache(DiskConfig(base_path='shared')).invalidate_tag('user:7')"
    ),
}


@pytest.mark.parametrize("how", list(INVALIDATIONS))
@pytest.mark.parametrize("interval", [1.0, 30.0])
@pytest.mark.parametrize("name", ["profile", "orders"])
def test_another_process_invalidates_what_is_in_memory_here(
    shared: Any, python: Any, clock: Any, how: str, interval: float, name: str
) -> None:
    retainit.init(tag_interval=interval)
    f = getattr(shared, name)
    assert [f(7), f(8), f(7)] == [1, 2, 1]
    clock.advance(interval * 0.9)
    python(INVALIDATIONS[how])
    # Not yet looked at again.
    assert f(7) == 1
    clock.advance(interval * 0.2)
    assert [f(7), f(8)] == [3, 2]
    hits = f.cache_info().hits
    clock.advance(interval * 0.5)
    assert [f(7), f(8)] == [3, 2]
    assert f.cache_info().hits == hits + 2


@pytest.mark.parametrize("name", ["profile", "orders"])
def test_another_process_invalidates_while_a_load_is_under_way(
    shared: Any, python: Any, clock: Any, name: str
) -> None:
    f = getattr(shared, name)

    class Runs(list[Any]):
        def append(self, user: Any) -> None:
            super().append(user)
            if len(self) == 1:
                python("import retainit, shared; retainit.invalidate_tag('user:7')")

    shared.runs = Runs()
    assert f(7) == 1
    # In memory here it may be for as long as the interval, on disk it is not.
    python(f"import shared; shared.runs.extend('ab'); assert shared.{name}(7) == 3")
    clock.advance(1.1)
    assert f(7) == 3


def test_a_pattern_removes_what_others_stored(shared: Any, python: Any) -> None:
    python("import shared; assert shared.profile(7) == 1 and shared.profile(8) == 2")
    python(
        "from retainit import Cache, DiskConfig\n"
        "assert Cache(DiskConfig(base_path='shared')).invalidate_pattern('user:7') == 1"
    )
    python("import shared; assert [shared.profile(8), shared.profile(7)] == [2, 1]")


def test_functions_inside_the_process_never_look(clock: Any, counted: Any) -> None:
    f = counted(backend="memory", tags=["x:{x}"])
    f(1)
    clock.advance(1000)
    f(1)
    # Answered by the fast path, which is no place for looks.
    assert f.cache_info().hits == 1


@pytest.mark.parametrize("how", ["tag", "key", "pattern"])
def test_a_backend_that_cannot_be_told_is_an_error_and_is_not_read(counted: Any, how: str) -> None:
    far = RecordingBackend()
    f = counted(backend=[MemoryConfig(), far], tags=["x:{x}"], key_builder="x:{x}")
    g = counted(backend=far, key_builder="y:{x}", version="g")
    invalidations: dict[str, Callable[[], object]] = {
        "tag": lambda: retainit.invalidate_tag("x:1"),
        "key": lambda: retainit.invalidate("x:1"),
        "pattern": lambda: retainit.invalidate_pattern("x:*"),
    }
    invalidate = invalidations[how]
    assert (runs_of(f, 1), runs_of(g, 1)) == ([1], [1])
    for operation in ("delete", "delete_many", "clear", "scan"):
        far.fail(operation, kind="retryable")
    with pytest.raises(BackendError):
        invalidate()
    # Neither from here, nor from there.
    assert runs_of(f, 1) == [2]
    far.restore()
    assert runs_of(f, 1) == [2]
    assert invalidate()
    assert runs_of(f, 1) == [3]


def test_a_shared_backend_that_cannot_be_asked_keeps_memory_from_nothing(counted: Any, clock: Any) -> None:
    far = RecordingBackend(circuit_breaker=False)
    f = counted(backend=[MemoryConfig(), far], tags=["x:{x}"])
    f(1)
    far.fail(kind="retryable")
    for _ in range(3):
        clock.advance(5)
        assert runs_of(f, 1) == [1]
    far.restore()
    clock.advance(5)
    assert runs_of(f, 1) == [1]


def test_what_was_stored_while_a_shared_backend_could_not_be_asked_ends_when_it_can(
    counted: Any, clock: Any
) -> None:
    # Nobody knows what was invalidated meanwhile.
    far = RecordingBackend(circuit_breaker=False)
    f = counted(backend=[MemoryConfig(), far], tags=["x:{x}"])
    far.fail(kind="retryable")
    assert runs_of(f, 1, 1) == [1, 1]
    clock.advance(5)
    assert runs_of(f, 1) == [1]
    far.restore()
    clock.advance(5)
    assert runs_of(f, 1, 1) == [2, 2]
    clock.advance(5)
    assert runs_of(f, 1) == [2]


def test_a_hit_on_a_shared_backend_asks_for_tokens_once(counted: Any) -> None:
    far = RecordingBackend()
    f = counted(backend=far, tags=["x:{x}", "all"])
    f(1)
    far.forget_calls()
    assert runs_of(f, 1) == [1]
    # A lease is given back in the background.
    asked = [call.operation for call in far.calls if not call.operation.startswith("lease")]
    assert asked == ["get_many", "get"]
    far.forget_calls()
    retainit.invalidate_tag("all")
    told = [call.key for call in far.calls if not call.operation.startswith("lease")]
    assert told == [b"(tag):::", b"(tag):::all"], "however many entries there are"
