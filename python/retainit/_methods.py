"""What a cached function can do besides being called: these become methods of the native type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, cast

from retainit import _native
from retainit._function import MISSING
from retainit._info import CacheInfo
from retainit._life import life_of
from retainit._options import UNSET

__all__ = ["install"]


def _key(cached: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> _native.Key:
    key = _native.key(cached, arguments, keywords)
    if key is None:
        # Raises what a call would: Python's own words for arguments that do not fit.
        inspect.signature(cached.__wrapped__).bind(*arguments, **keywords)
        raise TypeError(f"the arguments do not fit `{cached.__qualname__}`")
    return key


def _on(cached: Any, operation: Callable[..., Any], *arguments: Any) -> Any:
    """Runs an operation; on asynchronous functions as a coroutine."""
    if not _native.is_asynchronous(cached):
        return operation(*arguments)
    from retainit._drive import off_loop

    return off_loop(cached, operation, *arguments)


def cache_info(self: Any) -> CacheInfo:
    """Counts of this function since it was made or last cleared."""
    hits, misses, errors, evictions, entries, stale = _native.info(self)
    return CacheInfo(hits, misses, self._retain.get("maxsize"), entries, stale, errors, evictions)


def cache_parameters(self: Any) -> dict[str, Any]:
    """The options this function was made with, and the tiers they have led to."""
    options = {name: value for name, value in self._retain.items() if value is not UNSET}
    storage = options.pop("storage", None)
    if storage is not None:
        # A key is nobody's to see.
        shown = storage._replace(encryption_key=UNSET)._asdict()
        options.update({name: value for name, value in shown.items() if value is not UNSET})
    return {**options, "tiers": [name for name, _, _ in _native.tiers(self)]}


def cache_key(self: Any, /, *args: Any, **kwargs: Any) -> str:
    """The key of a call as people read it."""
    namespace = self._retain["namespace"] or ""
    return _native.printable_key(self, _key(self, args, kwargs), namespace, str(self._retain["version"]))


def cache_get(self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The kept result of a call, or `MISSING`. Never runs the function."""

    def get() -> Any:
        found = _native.peek(self, _key(self, args, kwargs))
        return MISSING if found is None else found[0]

    return _on(self, get)


def cache_set(self: Any, value: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Keeps `value` as the result of the call with the other arguments."""
    life = life_of(self._retain)
    said = True if life is None else life.ttl(value, args, kwargs)
    tags = self.__dict__.get("_result_tags")
    named = [] if tags is None else tags(value, args, kwargs)
    return _on(self, lambda: _native.put(self, _key(self, args, kwargs), value, said, named))


def cache_delete(self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Forgets the result of a call; says whether there was one."""
    return _on(self, lambda: _native.delete(self, _key(self, args, kwargs)))


def cache_clear(self: Any) -> Any:
    """Forgets all results of this function, and starts its counts anew."""
    return _on(self, _native.clear, self)


def cache_refresh(self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Runs the function, and keeps and returns what it returns."""
    if not _native.is_asynchronous(self):
        return _native.refresh(self, _key(self, args, kwargs), args, kwargs)
    from retainit._drive import answer

    async def refresh() -> Any:
        return await answer(self, _key(self, args, kwargs), args, kwargs, read=False)

    return refresh()


def cache_many(self: Any, calls: Iterable[Any], *, batch: Callable[[list[Any]], Any] | None = None) -> Any:
    """The results of many calls, in their order: each tier is asked once for all of them.

    The function runs for those that no tier has, each once: one after the other, those of a coroutine
    function at the same time. Once a run has failed no other is started, and what had succeeded is kept.

    Args:
        calls: The arguments of each call: a tuple has the positional ones, a dict the keyword ones, an
            ``inspect.BoundArguments`` both; anything else is the only argument. An argument that is a tuple
            or a dict itself goes into a tuple: ``(argument,)``.
        batch: Is called once instead, with a list of those of `calls` that are missing, each once; returns a
            list of their results in the same order. Of a coroutine function it may be one as well. What
            others load meanwhile is not among them, nor are calls whose arguments have no key. Default: none.

    Raises:
        ConfigurationError: `batch` is no function, or a coroutine function where the function is not.
        TypeError, ValueError: `batch` returned no list, or one of another length.
        BaseException: What the function or `batch` raised; of several the first in the order of `calls`.
    """
    # Imported where it is used: few need it.
    from retainit._many import cache_many

    return cache_many(self, calls, batch)


def _reduce(self: Any) -> str:
    """Pickles by name, as functions do."""
    return cast(str, self.__qualname__)


def _copy(self: Any, memo: object = None) -> Any:
    """Copies to itself, as functions do."""
    return self


def install() -> None:
    """Gives the native type its methods."""
    for method in (
        cache_info,
        cache_parameters,
        cache_key,
        cache_get,
        cache_set,
        cache_delete,
        cache_clear,
        cache_refresh,
        cache_many,
    ):
        setattr(_native.Function, method.__name__, method)
    for name, special in (("__reduce__", _reduce), ("__copy__", _copy), ("__deepcopy__", _copy)):
        setattr(_native.Function, name, special)
