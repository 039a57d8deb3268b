"""Generator functions: refused by default, and kept whole with `materialize=True`."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest
import trio

import retainit
from retainit import MISSING, CachedAsyncGeneratorFunction, ConfigurationError, DiskConfig, retain

TIERS: dict[str, Callable[[], Any]] = {
    "memory": lambda: "memory",
    "disk": lambda: DiskConfig(base_path="far"),
    "both": lambda: ["memory", DiskConfig(base_path="far")],
}


@pytest.fixture(params=list(TIERS))
def tiers(request: pytest.FixtureRequest) -> Any:
    return TIERS[request.param]()


@retain(materialize=True)
def of_a_module(n: int) -> Iterator[int]:
    """Counts."""
    yield from range(n)


def generator(x: int) -> Iterator[int]:
    yield x


async def async_generator(x: int) -> AsyncIterator[int]:
    yield x


class Generates:
    def __call__(self, x: int) -> Iterator[int]:
        yield x

    def __retain_key__(self) -> str:
        return "the same always"


class GeneratesAsynchronously:
    async def __call__(self, x: int) -> AsyncIterator[int]:
        yield x

    def __retain_key__(self) -> str:
        return "the same always"


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        generator,
        async_generator,
        functools.partial(generator, 1),
        Generates(),
        GeneratesAsynchronously(),
        lambda: (yield),
    ],
)
def test_generator_functions_are_refused_with_what_helps(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="hint: `materialize=True` keeps"):
        retain(function)
    with pytest.raises(ConfigurationError, match="found a generator function"):
        retain(ttl=5, materialize=False)(function)


def test_the_option_is_for_generator_functions() -> None:
    with pytest.raises(ConfigurationError, match="expected a generator function, found one that returns"):
        retain(materialize=True)(len)
    with pytest.raises(ConfigurationError, match=r"`materialize` .*: expected `True` or `False`, found"):
        retain(materialize=1)  # type: ignore[call-overload]


# --- kept whole -----------------------------------------------------------------------------------


def test_each_call_iterates_over_all_of_it(tiers: Any) -> None:
    runs = []

    @retain(backend=tiers, materialize=True)
    def count(n: int) -> Iterator[int]:
        runs.append(n)
        yield from range(n)

    one, other = count(3), count(3)
    assert iter(one) is one
    assert (next(one), next(one), next(other)) == (0, 1, 0)
    assert (list(one), list(other), list(count(n=3))) == ([2], [1, 2], [0, 1, 2])
    assert list(count(0)) == list(count(0)) == []
    assert runs == [3, 0]
    assert count.cache_info()[:2] == (3, 2)


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)])
def test_each_call_iterates_over_all_of_it_asynchronously(tiers: Any, run: Callable[[Any], Any]) -> None:
    runs = []

    @retain(backend=tiers, materialize=True)
    async def count(n: int) -> AsyncIterator[int]:
        runs.append(n)
        for each in range(n):
            await anyio.sleep(0)
            yield each

    async def main() -> None:
        one, other = count(3), count(3)
        assert runs == []
        assert aiter(one) is one
        assert (await anext(one), await anext(one), await anext(other)) == (0, 1, 0)
        assert [each async for each in one] == [2]
        assert [each async for each in one] == []
        assert [each async for each in other] == [1, 2]
        assert [each async for each in count(0)] == []
        assert runs == [3, 0]
        assert count.cache_info()[:2] == (1, 2)

    run(main())


def test_tasks_that_iterate_at_once_share_one_run(tiers: Any) -> None:
    runs = []

    @retain(backend=tiers, materialize=True)
    async def count(n: int) -> AsyncIterator[int]:
        runs.append(n)
        await asyncio.sleep(0)
        yield n

    async def collect() -> list[int]:
        return [each async for each in count(1)]

    async def main() -> None:
        assert await asyncio.gather(*(collect() for _ in range(50))) == [[1]] * 50

    asyncio.run(main())
    assert runs == [1]


def test_one_that_fails_midway_keeps_nothing(tiers: Any) -> None:
    runs = []

    @retain(backend=tiers, materialize=True)
    def fail(n: int) -> Iterator[int]:
        runs.append(n)
        yield 1
        if len(runs) == 1:
            raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        fail(1)
    assert fail.cache_get(1) is MISSING
    assert list(fail(1)) == [1]


def test_one_that_fails_midway_keeps_nothing_asynchronously(tiers: Any) -> None:
    runs = []

    @retain(backend=tiers, materialize=True)
    async def fail(n: int) -> AsyncIterator[int]:
        runs.append(n)
        yield 1
        if len(runs) == 1:
            raise ValueError("midway")

    async def main() -> None:
        failing = fail(1)
        with pytest.raises(ValueError, match="midway"):
            await anext(failing)
        assert [each async for each in failing] == []
        assert await fail.cache_get(1) is MISSING
        assert [each async for each in fail(1)] == [1]

    asyncio.run(main())


def test_what_is_kept_is_at_hand(tiers: Any) -> None:
    runs = []

    @retain(backend=tiers, materialize=True)
    def count(n: int) -> Iterator[int]:
        runs.append(n)
        yield from range(n)

    assert count.cache_get(2) is MISSING
    assert list(count.cache_refresh(2)) == [0, 1]
    found = count.cache_get(2)
    assert found is not MISSING
    assert list(found) == [0, 1]
    count.cache_set((each * 10 for each in range(3)), 2)
    assert [list(count(2)), list(count(2))] == [[0, 10, 20]] * 2
    many = count.cache_many([2, 1, 3], batch=lambda items: [iter([item]) for item in items])
    assert [list(each) for each in many] == [[0, 10, 20], [1], [3]]
    assert [list(each) for each in count.cache_many([3, 3, 0])] == [[3], [3], []]
    assert count.cache_delete(2) is True
    assert list(count(2)) == [0, 1]
    assert count.cache_key(2) == count.cache_key(n=2)
    assert count.cache_parameters()["materialize"] is True
    count.cache_clear()
    assert count.cache_info()[:2] == (0, 0)
    assert runs == [2, 0, 2]
    assert next(iter(count.__wrapped__(1))) == 0


def test_what_is_kept_is_awaited(tiers: Any) -> None:
    @retain(backend=tiers, materialize=True)
    async def count(n: int) -> AsyncIterator[int]:
        for each in range(n):
            yield each

    async def listed(values: AsyncIterator[int]) -> list[int]:
        return [each async for each in values]

    async def main() -> None:
        assert await count.cache_get(2) is MISSING
        assert await listed(await count.cache_refresh(2)) == [0, 1]
        found = await count.cache_get(2)
        assert found is not MISSING
        assert await listed(found) == [0, 1]
        await count.cache_set(range(3), 2)
        assert await listed(count(2)) == [0, 1, 2]

        async def batch(items: list[Any]) -> list[range]:
            return [range(item * 10, item * 10 + 2) for item in items]

        many = await count.cache_many([2, 5], batch=batch)
        assert [await listed(each) for each in many] == [[0, 1, 2], [50, 51]]
        many = await count.cache_many([6], batch=lambda items: [[7]])
        assert await listed(many[0]) == [7]
        assert await count.cache_delete(2) is True
        await count.cache_clear()
        assert await count.cache_get(5) is MISSING

    asyncio.run(main())


def test_a_batch_that_gives_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a list of 1 results, found `int`"):
        of_a_module.cache_many([50], batch=lambda items: 5)  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigurationError, match="expected a function, found `5`"):
        of_a_module.cache_many([50], batch=5)  # type: ignore[arg-type]


def test_without_a_cache_it_is_the_same() -> None:
    runs = []

    @retain(materialize=True)
    def count(n: int) -> Iterator[int]:
        runs.append(n)
        yield from range(n)

    with retainit.disabled():
        assert [list(count(2)), list(count(2))] == [[0, 1]] * 2
    assert len(runs) == 2


def test_copies_are_of_the_items() -> None:
    @retain(materialize=True, copy="deep")
    def lists() -> Iterator[list[int]]:
        yield [1]

    next(lists()).append(2)
    assert next(lists()) == [1]


def test_options_see_the_list() -> None:
    seen: list[Any] = []

    def keep(result: list[int]) -> bool:
        seen.append(result)
        return len(result) > 1

    @retain(materialize=True, cache_if=keep)
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    for n in (1, 1, 2, 2):
        assert list(count(n)) == list(range(n))
    assert seen == [[0], [0], [0, 1]]


# --- it is the function ---------------------------------------------------------------------------


def test_methods_class_methods_and_static_methods() -> None:
    class Shop:
        @retain(materialize=True)
        def items(self, n: int) -> Iterator[str]:
            yield from "abc"[:n]

        @retain(materialize=True)
        @classmethod
        def names(cls, n: int) -> Iterator[str]:
            yield cls.__name__ * n

        @staticmethod
        @retain(materialize=True)
        def numbers(n: int) -> Iterator[int]:
            yield n

        @retain(materialize=True)
        async def later(self, n: int) -> AsyncIterator[int]:
            yield n

    shop = Shop()

    async def main() -> None:
        assert [each async for each in shop.later(4)] == [4]
        assert await shop.later.cache_delete(shop, 4)

    for _ in range(2):
        assert list(shop.items(2)) == ["a", "b"]
        assert list(shop.names(2)) == ["ShopShop"]
        assert list(shop.numbers(2)) == list(Shop.numbers(2)) == [2]
    asyncio.run(main())
    assert Shop.items.cache_info().hits == 1
    assert shop.items.cache_delete(shop, 2) is True


def test_it_has_the_names_of_the_function() -> None:
    assert (of_a_module.__name__, of_a_module.__doc__) == ("of_a_module", "Counts.")
    assert repr(of_a_module).startswith("<cached function of_a_module at ")
    assert pickle.loads(pickle.dumps(of_a_module)) is of_a_module
    assert copy.copy(of_a_module) is copy.deepcopy(of_a_module) is of_a_module


def test_partial_calls_and_objects(tiers: Any) -> None:
    keep = retain(backend=tiers, materialize=True)
    assert list(keep(functools.partial(generator, 5))()) == [5]
    assert list(keep(Generates())(6)) == [6]
    later: CachedAsyncGeneratorFunction[[int], int] = keep(GeneratesAsynchronously())

    async def main() -> None:
        assert [each async for each in later(7)] == [7]

    asyncio.run(main())


def test_entries_on_disk_are_the_functions_own() -> None:

    def make(name: str) -> Any:
        @retain(backend=DiskConfig(base_path="far"), materialize=True)
        def count(n: int) -> Iterator[str]:
            # Captures its own name, as what is recursive does.
            if n:
                yield from count(n - 1)
            yield name

        return count

    # Nothing of it is unkeyable, so that none is kept inside the process only.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(make("a")(2)) == ["a", "a", "a"]
        assert list(make("b")(2)) == ["b", "b", "b"]
        retainit.shutdown()
        found = make("a").cache_get(2)
    assert list(found) == ["a", "a", "a"]
