"""Generator functions, whose results are kept whole.

What is cached is a function that runs the generator to its end and returns a list. Around it is what users
see: each call gives an iterator of its own over that list.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from retainit import _native
from retainit._cached import make
from retainit._function import MISSING
from retainit._identity import named

__all__ = ["materialized"]


def materialized(function: Any, options: dict[str, Any], *, asynchronous: bool) -> Any:
    """What `retain` gives for a generator function with the option `materialize`."""
    whole: Any
    if asynchronous:

        @functools.wraps(function)
        async def whole(*args: Any, **kwargs: Any) -> list[Any]:
            return [item async for item in function(*args, **kwargs)]

    else:

        @functools.wraps(function)
        def whole(*args: Any, **kwargs: Any) -> list[Any]:
            return list(function(*args, **kwargs))

    source = named(function)
    whole.__module__, whole.__qualname__ = source.__module__, source.__qualname__
    cached = make(whole, options, typed=None)
    kind = _AsynchronousGenerators if asynchronous else _Generators
    made = kind(function, cached)
    # What it is outside the process is the generator function.
    cached.__dict__["_generator"] = (function, made)
    return made


class _Generators:
    """A cached generator function."""

    def __init__(self, function: Any, cached: _native.Function) -> None:
        functools.update_wrapper(self, function)
        self._cached: Any = cached

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return iter(self._cached(*args, **kwargs))

    def cache_info(self) -> Any:
        """As of other cached functions."""
        return self._cached.cache_info()

    def cache_parameters(self) -> Any:
        """As of other cached functions."""
        return self._cached.cache_parameters()

    def cache_key(self, /, *args: Any, **kwargs: Any) -> Any:
        """As of other cached functions."""
        return self._cached.cache_key(*args, **kwargs)

    def cache_delete(self, /, *args: Any, **kwargs: Any) -> Any:
        """As of other cached functions."""
        return self._cached.cache_delete(*args, **kwargs)

    def cache_clear(self) -> Any:
        """As of other cached functions."""
        return self._cached.cache_clear()

    def cache_set(self, values: Iterable[Any], /, *args: Any, **kwargs: Any) -> Any:
        """Keeps what `values` gives as the result of the call with the other arguments."""
        return self._cached.cache_set(list(values), *args, **kwargs)

    def cache_get(self, /, *args: Any, **kwargs: Any) -> Any:
        """An iterator over the kept result of a call, or `MISSING`. Never runs the function."""
        found = self._cached.cache_get(*args, **kwargs)
        return found if found is MISSING else iter(found)

    def cache_refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function to its end, keeps what it gives, and returns an iterator over it."""
        return iter(self._cached.cache_refresh(*args, **kwargs))

    def cache_many(self, calls: Iterable[Any], *, batch: Callable[[list[Any]], Any] | None = None) -> Any:
        """As of other cached functions; the results, and those that `batch` returns, are iterables."""
        return [iter(whole) for whole in self._cached.cache_many(calls, batch=_whole_batch(batch))]

    def __repr__(self) -> str:
        return repr(self._cached)

    def __reduce__(self) -> str:
        """Pickles by name, as functions do."""
        return cast(str, self.__qualname__)  # type: ignore[attr-defined]  # of the generator function

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self


class _AsynchronousGenerators(_Generators):
    """A cached asynchronous generator function."""

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return _Items(lambda: self._cached(*args, **kwargs))

    async def cache_get(self, /, *args: Any, **kwargs: Any) -> Any:
        """An iterator over the kept result of a call, or `MISSING`. Never runs the function."""
        found = await self._cached.cache_get(*args, **kwargs)
        return found if found is MISSING else _Items.over(found)

    async def cache_refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Runs the function to its end, keeps what it gives, and returns an iterator over it."""
        return _Items.over(await self._cached.cache_refresh(*args, **kwargs))

    async def cache_many(
        self, calls: Iterable[Any], *, batch: Callable[[list[Any]], Any] | None = None
    ) -> Any:
        """As of other cached functions; the results are iterators, those that `batch` returns iterables."""
        whole = _whole_batch_awaited(batch) if callable(batch) else batch
        return [_Items.over(each) for each in await self._cached.cache_many(calls, batch=whole)]


class _Items:
    """An asynchronous iterator over a list that is asked for at its first step."""

    __slots__ = ("_ask", "_items")

    def __init__(self, ask: Callable[[], Any] | None, items: Iterable[Any] = ()) -> None:
        self._ask = ask
        self._items: Iterator[Any] = iter(items)

    @classmethod
    def over(cls, items: Iterable[Any]) -> _Items:
        """One over what is there."""
        return cls(None, items)

    def __aiter__(self) -> _Items:
        return self

    async def __anext__(self) -> Any:
        ask, self._ask = self._ask, None
        if ask is not None:
            self._items = iter(await ask())
        for item in self._items:
            return item
        raise StopAsyncIteration


def _whole_batch(batch: Any) -> Any:
    if not callable(batch) or inspect.iscoroutinefunction(batch):
        return batch  # which is refused, unless it is `None`
    return lambda items: _whole(batch(items))


def _whole_batch_awaited(batch: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    async def whole(items: list[Any]) -> Any:
        results = batch(items)
        return _whole(await results if inspect.isawaitable(results) else results)

    return whole


def _whole(results: Any) -> Any:
    # What is no list is refused by whoever asked for it.
    return [list(result) for result in results] if isinstance(results, (list, tuple)) else results
