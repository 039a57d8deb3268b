"""Entries that carry tags: in memory, on disk and in both; of functions and of coroutine functions."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import retainit
from retainit import (
    MISSING,
    BackendError,
    Cache,
    ConfigurationError,
    DiskConfig,
    MemoryConfig,
    _native,
    retain,
)
from retainit.testing import RecordingBackend

BACKENDS: dict[str, Callable[[], Any]] = {
    "memory": lambda: MemoryConfig(),
    "disk": lambda: DiskConfig(base_path="disk"),
    "both": lambda: [MemoryConfig(), DiskConfig(base_path="both")],
    "later": lambda: [MemoryConfig(), RecordingBackend(answers="later")],
    "disks": lambda: [DiskConfig(base_path="near"), DiskConfig(base_path="far")],
}


LOOPS: list[asyncio.AbstractEventLoop] = []


@pytest.fixture(autouse=True)
def loops() -> Iterator[None]:
    yield
    while LOOPS:
        LOOPS.pop().close()


class Runs:
    """A cached function `f(x, y=2)`, called as if it were synchronous, that gives the number of its run."""

    def __init__(self, asynchronous: bool, **options: Any) -> None:
        self.runs = 0
        self.during: Callable[[], object] = lambda: None
        self.loop = asyncio.new_event_loop() if asynchronous else None
        LOOPS.extend([self.loop] if self.loop else [])

        def function(x: int, y: int = 2) -> Any:
            return self.run()

        async def coroutine(x: int, y: int = 2) -> Any:
            return self.run()

        self.cached = retain(coroutine if asynchronous else function, **options)

    def run(self) -> int:
        self.runs += 1
        run = self.runs
        self.during()
        return run

    def __retain_key__(self) -> str:
        return "one for each test's directory"

    def wait(self, outcome: Any) -> Any:
        if not inspect.isawaitable(outcome):
            return outcome
        assert self.loop is not None

        async def wait() -> Any:
            return await outcome

        return self.loop.run_until_complete(wait())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.wait(self.cached(*args, **kwargs))


@pytest.fixture(params=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "async")


@pytest.fixture(params=list(BACKENDS))
def backend(request: pytest.FixtureRequest) -> Any:
    return BACKENDS[request.param]()


def test_an_invalidated_tag_ends_what_carries_it_and_nothing_else(asynchronous: bool, backend: Any) -> None:
    f = Runs(asynchronous, backend=backend, tags=["x:{x}", "all"])
    assert [f(1), f(2), f(1), f(2)] == [1, 2, 1, 2]
    assert retainit.invalidate_tag("x:1")
    assert [f(1), f(2), f(1)] == [3, 2, 3]
    assert retainit.invalidate_tags(["all", "nobody's"]) == 1
    assert [f(1), f(2), f(1), f(2)] == [4, 5, 4, 5]
    assert not retainit.invalidate_tag("nobody's")


def test_an_invalidated_tag_is_missed_by_nothing_that_reads(asynchronous: bool, backend: Any) -> None:
    f = Runs(asynchronous, backend=backend, tags=["x:{x}"])
    f(1)
    assert f.wait(f.cached.cache_get(1)) == 1
    assert f.wait(f.cached.cache_many([1])) == [1]
    retainit.invalidate_tag("x:1")
    assert f.wait(f.cached.cache_get(1)) is MISSING
    assert f.wait(f.cached.cache_many([1])) == [2]
    assert f.wait(f.cached.cache_many([1])) == [2]
    retainit.invalidate_tag("x:1")
    f.wait(f.cached.cache_set(10, 1))
    assert f(1) == 10
    retainit.invalidate_tag("x:1")
    assert f.wait(f.cached.cache_refresh(1)) == 3
    assert f(1) == 3
    retainit.invalidate_tag("x:1")
    assert f(1) == 4


def test_arguments_are_bound_before_they_fill_a_tag(asynchronous: bool) -> None:
    f = Runs(asynchronous, backend="memory", tags=["x:{x}/{y}"])
    f(1)
    f(x=1, y=3)
    retainit.invalidate_tag("x:1/2")
    assert [f(x=1), f(1, 3)] == [3, 2]


def test_values_that_fill_a_tag_are_escaped() -> None:
    f = Runs(False, backend="memory", tags=["x:{x}"])
    f("a:b")
    assert not retainit.invalidate_tag("x:a:b")
    assert retainit.invalidate_tag(r"x:a\:b")


def test_a_load_under_way_is_not_stored_once_its_tag_is_invalidated(asynchronous: bool, backend: Any) -> None:
    f = Runs(asynchronous, backend=backend, tags=["x:{x}"])
    f.during = lambda: retainit.invalidate_tag("x:1")
    assert f(1) == 1
    f.during = lambda: None
    assert [f(1), f(1)] == [2, 2]


def test_a_load_under_way_is_stored_where_another_tag_is_invalidated(
    asynchronous: bool, backend: Any
) -> None:
    f = Runs(asynchronous, backend=backend, tags=["x:{x}"])
    f.during = lambda: retainit.invalidate_tag("x:2")
    assert [f(1), f(1)] == [1, 1]


def test_tags_of_results(asynchronous: bool, backend: Any) -> None:
    f = Runs(asynchronous, backend=backend, tags=lambda result, x, y=2: [f"run:{result % 2}", f"x:{x}"])
    assert [f(1), f(2), f(1), f(2)] == [1, 2, 1, 2]
    retainit.invalidate_tag("run:1")
    assert [f(1), f(2)] == [3, 2]
    retainit.invalidate_tag("x:2")
    assert [f(1), f(2), f(2)] == [3, 4, 4]
    f.wait(f.cached.cache_set(8, 2))
    retainit.invalidate_tag("run:1")
    assert f(2) == 8
    retainit.invalidate_tag("run:0")
    assert f(2) == 5


def test_a_load_under_way_with_tags_of_its_result_is_not_stored_once_one_is_invalidated(
    asynchronous: bool, backend: Any
) -> None:
    f = Runs(asynchronous, backend=backend, tags=["x:{x}", lambda result, x, y=2: [f"run:{result}"]])
    for tag in ("run:1", "x:1", "run:3"):
        f.during = lambda tag=tag: retainit.invalidate_tag(tag)  # type: ignore[misc]
        before = f(1)
        f.during = lambda: None
        assert [f(1), f(1)] == [before + 1, before + 1]
        f.wait(f.cached.cache_clear())


def test_followers_do_not_join_a_load_whose_tag_is_invalidated() -> None:
    started, go = threading.Semaphore(0), threading.Event()
    f = Runs(False, backend="memory", tags=["x:{x}"])

    def during() -> None:
        started.release()
        if f.runs == 1:
            go.wait()

    f.during = during
    results: list[int] = []
    first = threading.Thread(target=lambda: results.append(f(1)))
    first.start()
    started.acquire()
    retainit.invalidate_tag("x:1")
    assert f(1) == 2
    go.set()
    first.join()
    assert results == [1]
    assert f(1) == 2


def test_a_fallback_is_not_served_once_its_tag_is_invalidated(
    asynchronous: bool, backend: Any, clock: Any
) -> None:
    f = Runs(asynchronous, backend=backend, tags=["x:{x}"], ttl=10, stale_if_error=100)
    f(1)
    clock.advance(20)

    def failing() -> None:
        raise ValueError(f.runs)

    f.during = failing
    assert f(1) == 1
    clock.advance(5)

    def invalidating() -> None:
        retainit.invalidate_tag("x:1")
        failing()

    f.during = invalidating
    with pytest.raises(ValueError, match="3"):
        f(1)
    f.during = failing
    with pytest.raises(ValueError, match="4"):
        f(1)


def test_a_stale_value_is_not_served_once_its_tag_is_invalidated(
    asynchronous: bool, backend: Any, clock: Any
) -> None:
    f = Runs(asynchronous, backend=backend, tags=["x:{x}"], ttl=10, stale_ttl=100)
    f(1)
    clock.advance(20)
    retainit.invalidate_tag("x:1")
    assert f(1) == 2


def test_the_tier_that_an_invalidation_has_not_reached_is_not_read_again(asynchronous: bool) -> None:
    # Memory has lost the entry, and the disk has it still: with a token that is no longer there.
    memory = MemoryConfig()
    f = Runs(asynchronous, backend=[memory, DiskConfig(base_path="both")], tags=["x:{x}"])
    f(1)
    retainit.invalidate_tag("x:1")
    Cache(memory)._tiers()[0].backend.clear(b"")
    assert f(1) == 2


def test_kept_exceptions_carry_the_tags_of_the_arguments(asynchronous: bool, backend: Any) -> None:
    f = Runs(asynchronous, backend=backend, tags=["x:{x}"], cache_exceptions=KeyError)

    def failing() -> None:
        raise KeyError(f.runs)

    f.during = failing
    for expected in ("1", "1"):
        with pytest.raises(KeyError, match=expected):
            f(1)
    retainit.invalidate_tag("x:1")
    with pytest.raises(KeyError, match="2"):
        f(1)


def test_an_entry_from_before_the_function_had_tags_is_a_miss() -> None:
    disk = DiskConfig(base_path="disk")

    def value(x: int) -> int:
        return x

    plain, tagged = retain(value, backend=disk), retain(value, backend=disk, tags=["x:{x}"])
    plain(1)
    assert tagged.cache_get(1) is MISSING
    tagged(1)
    assert (tagged.cache_get(1), plain.cache_get(1)) == (1, 1)
    retainit.invalidate_tag("x:1")
    assert (tagged.cache_get(1), plain.cache_get(1)) == (MISSING, MISSING)


def test_a_lost_token_is_a_miss_and_no_stale_value(backend: Any) -> None:
    f = Runs(False, backend=backend, tags=["x:{x}"])
    f(1)
    for tier in Cache(backend)._tiers():
        tier.backend.clear(b"(tag):")
        tier.backend.clear(b"") if "objects" in tier.backend.capabilities else None
    assert [f(1), f(1)] == [2, 2]


def test_clearing_a_function_leaves_tokens_of_others() -> None:
    disk = DiskConfig(base_path="disk")
    f, g = (Runs(False, backend=disk, tags=["x:{x}"], version=version) for version in "12")
    f(1), g(1)
    f.cached.cache_clear()
    assert g(1) == 1


def test_namespaces_are_kept_apart(asynchronous: bool, backend: Any) -> None:
    f, g = (
        Runs(asynchronous, backend=backend, tags=["x:{x}"], namespace=namespace)
        for namespace in ("one", "two")
    )
    f(1), g(1)
    assert not retainit.invalidate_tag("x:1", namespace="three")
    assert [f(1), g(1)] == [1, 1]
    assert retainit.invalidate_tag("x:1", namespace="two")
    assert [f(1), g(1)] == [1, 2]
    assert retainit.invalidate_tag("x:1")
    assert [f(1), g(1)] == [2, 3]


def test_a_cache_invalidates_what_uses_it() -> None:
    one, two = DiskConfig(base_path="one"), DiskConfig(base_path="two")
    f, g = Runs(False, backend=one, tags=["x:{x}"]), Runs(False, backend=two, tags=["x:{x}"])
    f(1), g(1)
    assert Cache(one).invalidate_tag("x:1")
    assert [f(1), g(1)] == [2, 1]
    h = Runs(False, backend=[one, two], tags=["x:{x}"], version="h")
    h(1)
    # The nearer tier has what comes from there.
    assert Cache(two).invalidate_tag("x:1")
    assert [h(1), g(1)] == [2, 2]


def test_the_same_for_coroutines(backend: Any) -> None:
    f = Runs(True, backend=backend, tags=["x:{x}"])
    f(1)
    assert f.wait(retainit.ainvalidate_tag("x:1")) is True
    assert f(1) == 2
    assert f.wait(Cache(backend).ainvalidate_tags(["x:1", "x:2"])) == 1
    assert f(1) == 3


def test_a_tag_that_nothing_carries_is_forgotten() -> None:
    before = _native.count_tags()
    f = Runs(False, backend=MemoryConfig(max_size=10), tags=["x:{x}", lambda result, x, y=2: [f"r:{result}"]])
    for x in range(1000):
        f(x)
    _native.is_disabled()  # what the backend has evicted is let go of
    assert before < _native.count_tags() <= before + 40
    f.cached.cache_clear()
    _native.is_disabled()
    assert _native.count_tags() == before


def test_tags_that_cannot_be_told_leave_the_call_uncached(asynchronous: bool, backend: Any) -> None:
    for options in (
        {"tags": ["x:{x.missing}"]},
        {"tags": lambda result, x, y=2: [1 / 0]},
        {"tags": ["{x:>300}"]},
    ):
        f = Runs(asynchronous, backend=backend, **options)
        assert [f(1), f(1)] == [1, 2]
        assert f.cached.cache_info().errors == 2


def test_tags_that_cannot_be_told_are_an_error_with_strict(asynchronous: bool) -> None:
    f = Runs(asynchronous, backend="memory", tags=["x:{x.missing}"], strict=True)
    with pytest.raises(BackendError, match="which tags a call has"):
        f(1)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (
            "x",
            r"expected a list of tags, or a function, found `'x'`; hint: write `\['x'\]`",
        ),
        (3, "option `tags` of `retain`: expected a list of tags, or a function, found `3`"),
        ([3], "option `tags` of `retain`: expected names, templates or functions, found `3`"),
        ([""], "option `tags` of `retain`: expected names, templates or functions, found `''`"),
        (["{z}"], "tag `{z}` of `.*`: unknown name `z`, expected `x`"),
        (["{x"], "tag `{x` of `.*`: expected '}' before end of string"),
    ],
)
def test_what_is_wrong_is_refused_when_it_is_decorated(tags: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):

        @retain(tags=tags)
        def f(x: int) -> int:
            return x


def test_what_is_wrong_is_refused_when_it_is_invalidated() -> None:
    for wrong in ("", 3, "x" * 256):
        with pytest.raises(ConfigurationError, match="tag"):
            retainit.invalidate_tag(wrong)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigurationError, match=r"expected a list of names, found `'x'`; hint: write `\['x'\]`"
    ):
        retainit.invalidate_tags("x")
    with pytest.raises(ConfigurationError, match="namespace"):
        retainit.invalidate_tag("x", namespace="")
