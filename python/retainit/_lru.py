"""A drop-in for `functools.lru_cache`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, overload

from retainit._cached import make
from retainit._config import PluginConfig

if TYPE_CHECKING:
    from retainit._types import CachedCoroutineFunction, CachedFunction, Decorator, P, R

__all__ = ["lru_cache"]


@overload
def lru_cache(  # type: ignore[overload-overlap]  # a coroutine is a result too, but the nearer type wins
    maxsize: Callable[P, Coroutine[Any, Any, R]], typed: bool = False
) -> CachedCoroutineFunction[P, R]: ...
@overload
def lru_cache(maxsize: Callable[P, R], typed: bool = False) -> CachedFunction[P, R]: ...
@overload
def lru_cache(maxsize: int | None = 128, typed: bool = False) -> Decorator: ...
def lru_cache(maxsize: int | Callable[..., Any] | None = 128, typed: bool = False) -> Any:
    """Keeps the `maxsize` results used last; `None` keeps all.

    Takes the same arguments as `functools.lru_cache` and tells calls apart as it does: by the hash and
    equality of their arguments, which makes ``1``, ``1.0`` and ``True`` one call unless `typed`.
    """
    if isinstance(maxsize, int):
        size: int | None = max(maxsize, 0)
    elif callable(maxsize) and isinstance(typed, bool):
        return _cached(maxsize, 128, typed)
    elif maxsize is None:
        size = None
    else:
        raise TypeError("Expected first argument to be an integer, a callable, or None")
    return lambda function: _cached(function, size, typed)


def _cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    # A configuration object of its own: a backend of its own, which goes with the function.
    backend = PluginConfig("memory", max_size=maxsize, policy="lru", shards=1)
    return make(
        function,
        {
            "backend": backend,
            "ttl": None,
            "jitter": 0.0,
            "key_builder": None,
            "exclude_args": (),
            "version": "",
            "namespace": None,
            "copy": "reference",
            "strict": False,
            "maxsize": maxsize,
            "typed": typed,
        },
        typed=typed,
    )
