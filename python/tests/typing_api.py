"""The public types, as a type checker sees them: checked by `mypy --strict`, never run.

A line with an ignored error is one that has to be an error: an ignore that nothing needs is one itself.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import retainit
from retainit import (
    MISSING,
    Cache,
    CachedAsyncGeneratorFunction,
    CachedCoroutineFunction,
    CachedFunction,
    CachedGeneratorFunction,
    CacheInfo,
    DiskConfig,
    Lock,
    MemoryConfig,
    PluginConfig,
    TieredConfig,
    lru_cache,
    retain,
)

if TYPE_CHECKING:
    from typing_extensions import assert_type

    from retainit._function import Missing


@retain
def bare(x: int, y: str = "") -> float:
    return x / 2


@retain()
def empty(x: int) -> float:
    return x / 2


@retain(backend=["memory", DiskConfig(base_path="x")], ttl="1h", jitter=0.1, version=2, copy="deep")
def with_options(x: int, *, y: str = "") -> list[int]:
    return [x]


@retain(ttl=None, exclude_args=["log"], key_builder="user:{x}", namespace="n", strict=True)
async def coroutine(x: int, log: object = None) -> str:
    return str(x)


@retain
def anything(*args: Any, **kwargs: Any) -> int:
    return len(args)


@retain
def first_of(x: Any) -> int:
    return int(x)


class Callables:
    def __call__(self, x: int) -> str:
        return str(x)


class Shop:
    @retain(ttl=5)
    def price(self, item: str) -> int:
        return len(item)

    @retain
    async def stock(self, item: str) -> int:
        return len(item)

    @staticmethod
    @retain
    def tax(amount: int) -> float:
        return amount / 5

    @staticmethod
    @retain
    async def rate() -> float:
        return 0.2

    @classmethod
    @retain
    def name(cls, number: int) -> str:
        return f"{cls.__name__} {number}"

    @retain
    @classmethod
    def title(cls, number: int) -> str:
        return f"{cls.__name__} {number}"

    @retain(ttl=5)
    @staticmethod
    def fee(amount: int) -> float:
        return amount / 5

    @lru_cache(maxsize=10)
    def weight(self, item: str) -> int:
        return len(item)


@lru_cache
def kept(x: int) -> str:
    return str(x)


@lru_cache(maxsize=None, typed=True)
def kept_for_ever(x: int) -> str:
    return str(x)


@lru_cache
async def kept_coroutine(x: int) -> str:
    return str(x)


def calls_keep_their_types() -> None:
    assert_type(bare(1), float)
    assert_type(bare(1, y="a"), float)
    assert_type(empty(1), float)
    assert_type(with_options(1, y="a"), list[int])
    assert_type(anything(1, "a", b=2), int)
    assert_type(first_of("1"), int)
    assert_type(retain(lambda: 1)(), int)
    assert_type(retain(Callables())(1), str)
    assert_type(retain(functools.partial(int, base=2))("101"), int)
    assert_type(retain(len, ttl=5)("abc"), int)
    assert_type(retain(ttl=5)(len)("abc"), int)
    bare("1")  # type: ignore[arg-type]
    bare(1, z=2)  # type: ignore[call-arg]
    bare()  # type: ignore[call-arg]
    with_options(1, "a")  # type: ignore[call-arg]
    empty("1")  # type: ignore[arg-type]


def functions_of_the_standard_librarys_cache_do() -> None:
    assert_type(kept(1), str)
    assert_type(kept_for_ever(1), str)
    assert_type(kept.cache_info(), CacheInfo)
    assert_type(Shop().weight("tea"), int)
    kept("1")  # type: ignore[arg-type]
    kept_for_ever("1")  # type: ignore[arg-type]
    lru_cache(maxsize="1")  # type: ignore[call-overload]


async def coroutines_keep_their_types() -> None:
    assert_type(await coroutine(1), str)
    assert_type(await kept_coroutine(1), str)
    assert_type(await Shop().stock("tea"), int)
    await coroutine("1")  # type: ignore[arg-type]
    bare(1) + coroutine(1)  # type: ignore[operator]


async def methods_bind() -> None:
    shop = Shop()
    assert_type(shop.price("tea"), int)
    assert_type(shop.price(item="tea"), int)
    assert_type(Shop.price(shop, "tea"), int)
    assert_type(await shop.stock("tea"), int)
    assert_type(await Shop.stock(shop, "tea"), int)
    assert_type(Shop.tax(1), float)
    assert_type(shop.tax(1), float)
    assert_type(await shop.rate(), float)
    assert_type(Shop.fee(1), float)
    assert_type(shop.fee(1), float)
    assert_type(Shop.name(1), str)
    assert_type(shop.name(1), str)
    assert_type(Shop.title(1), str)
    assert_type(shop.title(1), str)
    shop.price(1)  # type: ignore[call-overload]
    shop.price("tea", 1)  # type: ignore[call-overload]
    Shop.tax("1")  # type: ignore[call-overload]
    Shop.name("1")  # type: ignore[call-overload]
    await shop.stock(1)  # type: ignore[call-overload]


async def methods_operate_on_whole_calls() -> None:
    shop = Shop()
    assert_type(shop.price.cache_info(), CacheInfo)
    assert_type(Shop.price.cache_delete(shop, "tea"), bool)
    assert_type(shop.price.cache_refresh(shop, "tea"), int)
    assert_type(await shop.stock.cache_refresh(shop, "tea"), int)
    assert_type(Shop.tax.cache_key(1), str)
    shop.price.cache_delete("tea")  # type: ignore[call-arg, arg-type]


def what_is_kept_has_the_types_of_the_call() -> None:
    assert_type(bare.cache_info(), CacheInfo)
    assert_type(bare.cache_info().hits, int)
    assert_type(bare.cache_parameters(), dict[str, Any])
    assert_type(bare.cache_key(1), str)
    assert_type(bare.cache_get(1), float | Missing)
    assert_type(bare.cache_delete(1), bool)
    assert_type(bare.cache_refresh(1), float)
    assert_type(bare.__wrapped__(1), float)
    assert_type(bare.__name__, str)
    found = bare.cache_get(1)
    if found is not MISSING:
        assert_type(found, float)
    bare.cache_set(0.5, 1)
    bare.cache_clear()
    bare.cache_get(1) + 1  # type: ignore[operator]
    bare.cache_set("text", 1)  # type: ignore[arg-type]
    bare.cache_set(value=0.5, x=1)  # type: ignore[call-arg]
    bare.cache_delete("1")  # type: ignore[arg-type]
    bare.cache_reset()  # type: ignore[attr-defined]


def many_calls_give_many_results() -> None:
    assert_type(empty.cache_many([1, (2,), {"x": 3}]), list[float])
    assert_type(empty.cache_many([1], batch=lambda items: [0.5 for _ in items]), list[float])
    empty.cache_many(1)  # type: ignore[arg-type]
    empty.cache_many([1], batch=lambda items: ["text"])  # type: ignore[list-item]
    empty.cache_many([1], lambda items: [0.5])  # type: ignore[call-arg]


async def compute(items: list[Any]) -> list[str]:
    return [str(item) for item in items]


async def many_coroutines_are_awaited() -> None:
    assert_type(await coroutine.cache_many([1]), list[str])
    assert_type(await coroutine.cache_many([1], batch=compute), list[str])
    assert_type(await coroutine.cache_many([1], batch=lambda items: ["a"]), list[str])
    coroutine.cache_many([1])  # type: ignore[unused-coroutine]


@retain(materialize=True)
def generated(x: int) -> Iterator[str]:
    yield str(x)


@retain(ttl=5, materialize=True)
async def generated_later(x: int) -> AsyncIterator[str]:
    yield str(x)


class Generating:
    @retain(materialize=True)
    def items(self, x: int) -> Iterator[str]:
        yield str(x)


async def generators_give_iterators() -> None:
    assert_type(generated(1), Iterator[str])
    assert_type(generated_later(1), AsyncIterator[str])
    assert_type(generated.cache_get(1), Iterator[str] | Missing)
    assert_type(await generated_later.cache_get(1), AsyncIterator[str] | Missing)
    assert_type(generated.cache_many([1]), list[Iterator[str]])
    assert_type(await generated_later.cache_many([1]), list[AsyncIterator[str]])
    assert_type(Generating().items(1), Iterator[str])
    generated.cache_set(["a"], 1)
    await generated_later.cache_set(["a"], 1)
    plain: CachedGeneratorFunction[[int], str] = generated
    later: CachedAsyncGeneratorFunction[[int], str] = generated_later
    generated("1")  # type: ignore[arg-type]
    generated.cache_set([1], 1)  # type: ignore[list-item]
    retain(materialize=1)  # type: ignore[call-overload]
    del plain, later


async def what_is_kept_is_awaited() -> None:
    assert_type(await coroutine.cache_get(1), str | Missing)
    assert_type(await coroutine.cache_delete(1), bool)
    assert_type(await coroutine.cache_refresh(1), str)
    assert_type(await coroutine.__wrapped__(1), str)
    assert_type(coroutine.cache_info(), CacheInfo)
    assert_type(coroutine.cache_parameters(), dict[str, Any])
    assert_type(coroutine.cache_key(1), str)
    await coroutine.cache_set("a", 1)
    await coroutine.cache_clear()
    await coroutine.cache_set(1, 1)  # type: ignore[arg-type]
    coroutine.cache_delete(1)  # type: ignore[unused-coroutine]
    await coroutine.cache_info()  # type: ignore[misc]


def cached_functions_are_functions() -> None:
    plain: Callable[[int], float] = empty
    cached: CachedFunction[[int], float] = empty
    awaited: Callable[[int], Coroutine[Any, Any, str]] = kept_coroutine
    cached_coroutine: CachedCoroutineFunction[[int], str] = kept_coroutine
    other: CachedFunction[[str], float] = empty  # type: ignore[assignment]
    synchronous: CachedFunction[[int], str] = kept_coroutine  # type: ignore[assignment]
    uncached: CachedFunction[[int], float] = empty.__wrapped__  # type: ignore[assignment]
    del plain, cached, awaited, cached_coroutine, other, synchronous, uncached


def options_are_checked(any_value: Any) -> None:
    retain(ttl=timedelta(hours=1))
    retain(ttl=retainit.UNSET, version="2", backend=MemoryConfig())
    retain(key_builder=lambda function, x: f"user:{x}")
    retain(tll=3)  # type: ignore[call-overload]
    retain(copy="none")  # type: ignore[call-overload]
    retain(ttl=[5])  # type: ignore[call-overload]
    retain(jitter="a")  # type: ignore[call-overload]
    retain(backend=5)  # type: ignore[call-overload]
    retain("memory")  # type: ignore[call-overload]
    retain(5)  # type: ignore[call-overload]
    MemoryConfig(10)  # type: ignore[call-arg]
    MemoryConfig(policy="fifo")  # type: ignore[arg-type]
    retainit.register_backend("a", MemoryConfig(max_size=1, ttl="1h"), default=True)
    retainit.register_backend("b", TieredConfig(tiers=["a", DiskConfig(max_bytes="1GiB")]))
    retainit.register_backend("c", DiskConfig(timeout="5s", circuit_breaker_threshold=3, write_behind=True))
    retainit.init(circuit_breaker=True, circuit_breaker_timeout=timedelta(minutes=1))
    assert_type(retainit.get_backend("c").health(), dict[str, dict[str, object]])
    retainit.register_backend("c", PluginConfig("acme", url=any_value))
    retainit.register_backend("d", "memory")  # type: ignore[arg-type]
    retainit.init(backend="disk", ttl="1h", disk_base_path=Path("x"))
    retainit.retian  # type: ignore[attr-defined]  # noqa: B018
    with retainit.disabled():
        pass


@retainit.disabled()
async def uncached(x: int) -> str:
    return str(x)


async def decorating_with_disabled_keeps_types() -> None:
    assert_type(await uncached(1), str)
    await uncached("1")  # type: ignore[arg-type]


def locks() -> None:
    assert_type(retainit.cache, Cache)
    with Cache(["memory", DiskConfig()]).lock("x", ttl=timedelta(seconds=5), timeout=0) as lock:
        assert_type(lock, Lock)
        assert_type(lock.fence, int)
        assert_type(lock.lost, bool)
    assert_type(lock.acquire(), int)
    assert_type(lock.acquire(timeout="1s"), int)
    lock.release()
    Cache(5)  # type: ignore[arg-type]
    retainit.cache.lock(5)  # type: ignore[arg-type]
    retainit.cache.lock("x", 5, 5)  # type: ignore[call-arg]
    retainit.cache.lock("x", ttl=None)  # type: ignore[arg-type]
    retainit.cache.lock("x", timeout=b"")  # type: ignore[arg-type]
    lock.fence = 5  # type: ignore[misc]


async def locks_are_awaited() -> None:
    async with retainit.cache.lock("x") as lock:
        assert_type(lock, Lock)
    assert_type(await lock.aacquire(timeout=None), int)
    await lock.arelease()
    lock.arelease()  # type: ignore[unused-coroutine]


@retain(tags=["user:{user}", lambda result, user: [f"city:{result}"]])
def tagged(user: int) -> str:
    return "Oslo"


async def invalidations() -> None:
    assert_type(tagged(1), str)
    assert_type(retainit.invalidate_tag("user:1"), bool)
    assert_type(retainit.invalidate_tags(["user:1"]), int)
    assert_type(Cache("memory").invalidate_pattern("user:*", namespace="app"), int)
    assert_type(await retainit.ainvalidate("user:1"), bool)
    retainit.on_domain_event({"user.updated": ["user:{id}*", retainit.tag("user:{id}")]})
    assert_type(await retainit.aemit("user.updated", id=1), int)
    retainit.invalidate_tag(["user:1"])  # type: ignore[arg-type]
