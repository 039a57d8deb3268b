"""The peers, each behind one way to be asked: give it a function, get the cached one, with a ttl.

A peer that is not installed is left out and named in the report. Every peer is used as its own documentation
does, with the size and ttl that all are given.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib import import_module
from types import ModuleType
from typing import Any

TTL = 3600
Function = Callable[..., Any]
Wrap = Callable[[Function], Function]
# A size, then the decorator for caches of that size.
MakeWrap = Callable[[int], Wrap]


def retainit_memory(size: int) -> Wrap:
    """The subject: the memory plugin, loaded at run time, with a ttl."""
    retainit = import_module("retainit")
    return retainit.retain(backend=retainit.MemoryConfig(max_size=size), ttl=TTL)


def lru_cache(size: int) -> Wrap:
    return functools.lru_cache(maxsize=size)


def _cachebox(cachebox: ModuleType, size: int) -> Wrap:
    return cachebox.cached(cachebox.TTLCache(size, TTL))


def _moka(moka: ModuleType, size: int) -> Wrap:
    return moka.cached(maxsize=size, ttl=TTL)


def _cachetools(cachetools: ModuleType, size: int) -> Wrap:
    return cachetools.cached(cachetools.TTLCache(size, TTL))


def _theine(theine: ModuleType, size: int) -> Wrap:
    return theine.Memoize(size, timedelta(seconds=TTL))


def _cachekit(cachekit: ModuleType, _size: int) -> Wrap:
    return cachekit.cache.minimal(ttl=TTL, backend=None)


def _async_lru(async_lru: ModuleType, size: int) -> Wrap:
    return async_lru.alru_cache(maxsize=size, ttl=TTL)


def _aiocache(aiocache: ModuleType, _size: int) -> Wrap:
    return aiocache.cached(ttl=TTL)


def _cashews(cashews: ModuleType, size: int) -> Wrap:
    cashews.cache.setup(f"mem://?size={size}")
    return cashews.cache(ttl=TTL)


TTL_PEERS: Mapping[str, tuple[str, Callable[[ModuleType, int], Wrap]]] = {
    "cachebox": ("cachebox", _cachebox),
    "moka-py": ("moka_py", _moka),
    "cachetools": ("cachetools", _cachetools),
    "theine": ("theine", _theine),
    "cachekit": ("cachekit", _cachekit),
}

ASYNC_PEERS: Mapping[str, tuple[str, Callable[[ModuleType, int], Wrap]]] = {
    "cachebox": ("cachebox", _cachebox),
    "moka-py": ("moka_py", _moka),
    "theine": ("theine", _theine),
    "cachekit": ("cachekit", _cachekit),
    "async-lru": ("async_lru", _async_lru),
    "aiocache": ("aiocache", _aiocache),
    "cashews": ("cashews", _cashews),
}


def installed(
    peers: Mapping[str, tuple[str, Callable[[ModuleType, int], Wrap]]],
) -> tuple[dict[str, MakeWrap], list[str]]:
    """The peers that can be imported here, and a line for each that cannot."""
    found: dict[str, MakeWrap] = {}
    skipped = []
    for name, (module, wrap) in peers.items():
        try:
            found[name] = functools.partial(wrap, import_module(module))
        except Exception as reason:  # whatever a broken installation raises is the reason to print
            skipped.append(f"{name}: {type(reason).__name__}: {reason}")
    return found, skipped
