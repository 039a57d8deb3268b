"""How long a result is kept, where that depends on the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from retainit import _native
from retainit._options import UNSET
from retainit.errors import ConfigurationError

__all__ = ["life_of"]

#: `False`: not kept; `True`: as long as the tiers say; seconds; `None`: for ever.
Said = bool | float | None


class Life:
    """What the options ``ttl`` (as a function), ``cache_none`` and ``cache_if`` say of a result."""

    def __init__(
        self,
        ttl: Callable[..., Any] | None,
        cache_none: bool,
        cache_if: Callable[[Any], object] | None,
    ) -> None:
        self._ttl = ttl
        self._cache_none = cache_none
        self._cache_if = cache_if

    def __call__(self, result: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Said:
        """How long what the function returned is kept."""
        if result is None and not self._cache_none:
            return False
        if self._cache_if is not None and not self._cache_if(result):
            return False
        return self.ttl(result, arguments, keywords)

    def ttl(self, result: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Said:
        """How long a value is kept that is kept in any case."""
        if self._ttl is None:
            return True
        ttl = self._ttl(result, *arguments, **keywords)
        if ttl is UNSET:
            return True
        try:
            return None if ttl is None else _native.parse_duration(ttl)
        except ConfigurationError as error:
            raise ConfigurationError(f"what the function `ttl` gave: {error}") from None


def life_of(options: Mapping[str, Any]) -> Life | None:
    """What a function's options say; `None` if results do not matter."""
    ttl = options["ttl"] if callable(options["ttl"]) else None
    cache_none = options.get("cache_none", True)
    cache_if = options.get("cache_if")
    return None if ttl is None and cache_none and cache_if is None else Life(ttl, cache_none, cache_if)
