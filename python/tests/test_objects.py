"""Lifetimes: what is kept, what is collected, and when."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import Any

import pytest

import retainit
from retainit import MemoryConfig, retain


class Thing:
    pass


def test_references_are_counted_exactly() -> None:
    @retain
    def tracked(x: int) -> Thing:
        return Thing()

    @retain
    def plain(x: int) -> str:
        return f"text {x}"

    for function in (tracked, plain):
        value = function(1)
        kept = sys.getrefcount(value)
        for _ in range(100):
            function(1)
        assert sys.getrefcount(value) == kept
        function.cache_clear()
        assert sys.getrefcount(value) == kept - 1


@pytest.mark.parametrize("how", ["delete", "replace", "evict", "clear"])
def test_a_value_goes_when_its_entry_goes(how: str) -> None:
    retainit.register_backend("small", MemoryConfig(max_size=2))
    cached = retain(backend="small")(lambda x: Thing())
    gone = weakref.ref(cached(1))
    assert gone() is not None
    if how == "delete":
        cached.cache_delete(1)
    elif how == "replace":
        cached.cache_set(None, 1)  # type: ignore[arg-type]
    elif how == "evict":
        for x in range(2, 20):
            cached(x)
    else:
        cached.cache_clear()
    assert gone() is None


def test_cycles_through_cached_values_are_collected() -> None:
    def make() -> list[Any]:
        @retain
        def cached(x: int) -> Thing:
            thing = Thing()
            thing.function = cached  # type: ignore[attr-defined]
            return thing

        return [weakref.ref(cached), weakref.ref(cached(1)), weakref.ref(cached(2))]

    references = make()
    gc.collect()
    assert [reference() for reference in references] == [None, None, None]


def test_what_only_a_function_reached_is_freed_with_it() -> None:
    retainit.register_backend("shared", MemoryConfig())
    other = retain(backend="shared")(lambda x: Thing())
    stays = weakref.ref(other(1))
    cached = retain(backend="shared")(lambda x: Thing())
    goes = weakref.ref(cached(1))
    backend = retainit.get_backend("shared")
    assert backend.statistics()["shared"]["entries"] == 2
    del cached
    gc.collect()
    assert goes() is None
    assert stays() is not None
    assert backend.statistics()["shared"]["entries"] == 1


def test_values_may_run_code_when_they_go() -> None:
    active = True

    class Last:
        def __del__(self) -> None:
            if active:
                other(3)
                cached.cache_clear()

    retainit.register_backend("small", MemoryConfig(max_size=2))
    cached = retain(backend="small")(lambda x: Last())
    other = retain(backend="small")(lambda x: x)
    for x in range(50):
        cached(x)
    assert other(3) == 3
    active = False


def test_the_collector_may_run_during_hits() -> None:
    @retain
    def cached(x: int) -> dict[str, Any]:
        value: dict[str, Any] = {"x": x}
        value["self"] = value
        return value

    stop = threading.Event()

    def collect() -> None:
        while not stop.is_set():
            gc.collect()

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for _ in range(20):
            for x in range(500):
                assert cached(x)["x"] == x
    finally:
        stop.set()
        collector.join()


def test_interned_objects_go_with_their_entries() -> None:
    cached = retain(lambda x: 1)
    thing = Thing()
    gone = weakref.ref(thing)
    cached(thing)
    del thing
    gc.collect()
    assert gone() is not None, "the entry's key needs it"
    cached.cache_clear()
    gc.collect()
    assert gone() is None
