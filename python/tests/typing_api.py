"""The public types, as a type checker sees them: checked by `mypy --strict`, never run.

A line with an ignored error is one that has to be an error: an ignore that nothing needs is one itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import retainit
from retainit import CacheInfo, DiskConfig, MemoryConfig, PluginConfig, TieredConfig, lru_cache, retain

if TYPE_CHECKING:
    from typing_extensions import assert_type


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


@lru_cache
def kept(x: int) -> str:
    return str(x)


@lru_cache(maxsize=None, typed=True)
def kept_for_ever(x: int) -> str:
    return str(x)


def calls_keep_their_types() -> None:
    assert_type(bare(1), float)
    assert_type(bare(1, y="a"), float)
    assert_type(empty(1), float)
    assert_type(with_options(1, y="a"), list[int])
    assert_type(kept(1), str)
    assert_type(kept_for_ever(1), str)
    assert_type(retain(lambda: 1)(), int)
    bare("1")  # type: ignore[arg-type]
    bare(1, z=2)  # type: ignore[call-arg]
    with_options(1, "a")  # type: ignore[call-arg]


async def coroutines_keep_their_types() -> None:
    assert_type(await coroutine(1), str)
    assert_type(await Shop().stock("tea"), int)
    await coroutine("1")  # type: ignore[arg-type]


def methods_bind() -> None:
    shop = Shop()
    assert_type(shop.price("tea"), int)
    assert_type(Shop.price(shop, "tea"), int)
    assert_type(Shop.tax(1), float)
    shop.price(1)  # type: ignore[call-overload]


def what_is_kept_has_the_types_of_the_call() -> None:
    assert_type(bare.cache_info(), CacheInfo)
    assert_type(bare.cache_info().hits, int)
    assert_type(bare.cache_key(1), str)
    assert_type(bare.cache_delete(1), bool)
    assert_type(bare.cache_refresh(1), float)
    assert_type(bare.__wrapped__(1), float)
    bare.cache_set(0.5, 1)
    bare.cache_clear()
    bare.cache_set("text", 1)  # type: ignore[arg-type]
    bare.cache_delete("1")  # type: ignore[arg-type]


async def what_is_kept_is_awaited() -> None:
    assert_type(await coroutine.cache_delete(1), bool)
    assert_type(await coroutine.cache_refresh(1), str)
    assert_type(coroutine.cache_info(), CacheInfo)
    assert_type(coroutine.cache_key(1), str)
    await coroutine.cache_set("a", 1)
    await coroutine.cache_clear()
    await coroutine.cache_set(1, 1)  # type: ignore[arg-type]


def options_are_checked(any_value: Any) -> None:
    retain(tll=3)  # type: ignore[call-overload]
    retain(copy="none")  # type: ignore[call-overload]
    MemoryConfig(10)  # type: ignore[call-arg]
    MemoryConfig(policy="fifo")  # type: ignore[arg-type]
    retainit.register_backend("a", MemoryConfig(max_size=1, ttl="1h"), default=True)
    retainit.register_backend("b", TieredConfig(tiers=["a", DiskConfig(max_bytes="1GiB")]))
    retainit.register_backend("c", PluginConfig("acme", url=any_value))
    with retainit.disabled():
        pass
