"""Values on their way: serializers that call back, objects of one class, and what outlives its cache."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import sys
import threading
from array import array
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from retainit import ConfigurationError, DiskConfig, MemoryConfig, retain, shutdown

np: Any = import_module("numpy")
pd: Any = import_module("pandas")

LARGE = 200_000


class Word:
    """What serializers of the tests take."""

    def __init__(self, text: str) -> None:
        self.text = text


class Marked:
    """Puts a mark before what it stores, and takes nothing without it."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def serialize(self, obj: Word) -> bytes:
        return (self.mark + obj.text).encode()

    def deserialize(self, data: bytes) -> Word:
        text = data.decode()
        assert text.startswith(self.mark)
        return Word(text.removeprefix(self.mark))


class Without:
    """Cannot be referred to weakly."""

    __slots__ = ()

    def serialize(self, obj: Word) -> object:
        return memoryview(array("i", map(ord, obj.text)))

    def deserialize(self, data: bytes) -> Word:
        return Word("".join(map(chr, memoryview(data).cast("i"))))


def word(x: int) -> Word:
    return Word(f"word {x}")


def stored(tmp_path: Path, **options: Any) -> Any:
    return retain(word, backend=DiskConfig(base_path=tmp_path / "cache"), strict=True, **options)


def test_two_serializers_of_one_class_are_two(tmp_path: Path) -> None:
    first = stored(tmp_path, serializer=Marked("a"), namespace="first")
    second = stored(tmp_path, serializer=Marked("b"), namespace="second")
    for function in (first, second):
        function(1)
        assert function(1).text == "word 1"
        assert function.cache_info()[:2] == (1, 1)
    del second, function
    gc.collect()
    first(2)
    assert first(2).text == "word 2"


def test_another_functions_serializer_reads_what_it_wrote(tmp_path: Path) -> None:
    wrote = stored(tmp_path, serializer=Marked("a"))
    wrote(1)
    reads = stored(tmp_path)
    assert reads(1).text == "word 1"
    assert reads.cache_info()[:2] == (1, 0)


def test_a_serializer_without_weak_references_and_a_view_of_wide_elements(tmp_path: Path) -> None:
    function = stored(tmp_path, serializer=Without())
    function(1)
    assert function(1).text == "word 1"
    assert function.cache_info()[:2] == (1, 1)


def test_a_class_in_place_of_a_serializer_is_refused_at_decoration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"found the class `Marked`; hint: `serializer=Marked\(\)`"):
        stored(tmp_path, serializer=Marked)


def test_large_values_of_orjson_are_read(tmp_path: Path) -> None:
    @retain(backend=DiskConfig(base_path=tmp_path / "cache"), serializer="orjson", strict=True)
    def long() -> list[str]:
        return ["a text"] * 10_000

    long()
    assert long() == ["a text"] * 10_000
    assert long.cache_info()[:2] == (1, 1)


def in_time(work: Callable[[], Any]) -> Any:
    """What `work` gives, which must not wait for itself."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(20)
    assert results, "it waits for itself" if thread.is_alive() else "it raised"
    return results[0]


_call: Callable[[], Any]


class Reduced:
    def __reduce__(self) -> Any:
        _call()
        return str, ("reduced",)


class CallsBack:
    def __init__(self, where: str) -> None:
        self.where = where

    def serialize(self, obj: object) -> bytes:
        return _call().text.encode() if self.where == "serialize" else b"stored"

    def deserialize(self, data: bytes) -> object:
        return Word(_call().text if self.where == "deserialize" else data.decode())


@pytest.mark.parametrize("where", ["serialize", "deserialize"])
def test_a_serializer_that_makes_the_very_call_does_not_wait_for_itself(where: str, tmp_path: Path) -> None:
    global _call
    function = stored(tmp_path, serializer=CallsBack(where))
    _call = lambda: function(1)  # noqa: E731
    in_time(lambda: function(1))
    assert in_time(lambda: function(1)).text == "word 1"
    assert function.cache_info().errors == 0


def test_pickling_that_makes_the_very_call_does_not_wait_for_itself(tmp_path: Path) -> None:
    global _call

    @retain(backend=DiskConfig(base_path=tmp_path / "cache"), strict=True)
    def reduced() -> object:
        return Reduced()

    _call = reduced
    assert type(in_time(reduced)) is Reduced
    assert in_time(reduced) == "reduced"


def test_a_serializer_of_a_coroutine_function_calls_back(tmp_path: Path) -> None:
    global _call

    @retain(backend=DiskConfig(base_path=tmp_path / "cache"), serializer=CallsBack("serialize"))
    async def later() -> Word:
        return Word("later")

    async def ask() -> Word:
        return await later()

    _call = lambda: asyncio.run(ask())  # noqa: E731
    assert in_time(lambda: asyncio.run(ask())).text == "later"
    assert in_time(lambda: asyncio.run(ask())).text == "later"
    assert later.cache_info().errors == 0
    assert later.cache_info().hits == 1


def numbers(x: int) -> Any:
    return np.arange(LARGE) + x


def frame(x: int) -> Any:
    return pd.DataFrame({"a": np.arange(LARGE) + x, "b": np.arange(LARGE) * 1.5})


def overwrite(value: Any) -> None:
    if isinstance(value, np.ndarray):
        value[:] = -1
    else:
        value.loc[:, :] = -1


def same(value: Any, other: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool((value == other).all())
    return bool(value.equals(other))


def mapped(folder: Path) -> int:
    return sum(f"{folder}/values" in line for line in Path("/proc/self/maps").read_text().splitlines())


KINDS = pytest.mark.parametrize("make", [numbers, frame])


@KINDS
@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel what is mapped")
def test_what_lies_in_a_map_outlives_all_of_its_cache(make: Callable[[int], Any], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    function: Any = retain(make, backend=DiskConfig(base_path=folder), strict=True)
    function(1)
    held = [function(1) for _ in range(20)]
    assert mapped(folder) == 20
    function.cache_clear()
    shutdown()
    del function
    shutil.rmtree(folder)
    assert all(same(value, make(1)) for value in held)
    overwrite(held[0])
    assert same(held[1], make(1))
    releasing = threading.Thread(target=held.clear)
    releasing.start()
    releasing.join()
    gc.collect()
    assert mapped(folder) == 0


@KINDS
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_writing_into_a_stored_value_reaches_nobody_else(make: Callable[[int], Any], tmp_path: Path) -> None:
    function: Any = retain(make, backend=DiskConfig(base_path=tmp_path / "cache"), strict=True)
    function(1)
    mine, other = function(1), function(1)
    overwrite(mine)
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        os._exit(0 if same(other, make(1)) and same(function(1), make(1)) else 1)
    kept = other.copy()
    overwrite(other)
    os.write(go, b"x")
    assert os.waitpid(child, 0)[1] == 0
    assert same(kept, make(1))
    assert same(function(1), make(1))
    os.close(ready)
    os.close(go)


@KINDS
@pytest.mark.parametrize("copy", ["reference", "deep"])
def test_a_tier_of_objects_before_the_disk_shares_what_it_read_unless_it_copies(
    make: Callable[[int], Any], copy: Any, tmp_path: Path
) -> None:
    tiers = [MemoryConfig(), DiskConfig(base_path=tmp_path / "cache")]
    function: Any = retain(make, backend=tiers, strict=True, copy=copy)
    function(1)
    shutdown()
    overwrite(function(1))
    assert same(function(1), make(1)) is (copy == "deep")
    # The entry on disk is what it was.
    shutdown()
    assert same(function(1), make(1))
    assert function.cache_info().misses == 1


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_those_who_read_one_entry_at_one_moment_each_get_a_value_of_their_own(
    tmp_path: Path, kind: str
) -> None:
    config = DiskConfig(base_path=tmp_path / "cache")
    # The result of a run is shared by all who waited for it; what is read from then on is not.
    retain(ramp, backend=config)(100_000)
    asyncio.run(retain(ramp_later, backend=config)(100_000))
    rounds, crowd = 30, 8
    for _ in range(rounds):
        got: list[Any] = []
        if kind == "threads":
            cached = retain(ramp, backend=config)
            ready = threading.Barrier(crowd)

            def read(got: list[Any] = got, cached: Any = cached, ready: Any = ready) -> None:
                ready.wait()
                got.append(cached(100_000))

            running = [threading.Thread(target=read) for _ in range(crowd)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
        else:
            coroutine = retain(ramp_later, backend=config)

            async def gather(got: list[Any] = got, coroutine: Any = coroutine) -> None:
                got += await asyncio.gather(*(coroutine(100_000) for _ in range(crowd)))

            asyncio.run(gather())
        assert len({id(array) for array in got}) == crowd
        got[0][0] = -1.0
        assert all(array[0] == 0.0 for array in got[1:])


def ramp(count: int) -> Any:
    """As many numbers from zero up."""
    return np.arange(float(count))


async def ramp_later(count: int) -> Any:
    """The same."""
    return np.arange(float(count))
