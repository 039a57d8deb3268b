"""The cache as an object: what is done with a backend rather than with a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retainit import _registry
from retainit._invalidation import Invalidation
from retainit._locks import Lock

if TYPE_CHECKING:
    from retainit._config import BackendSpec
    from retainit._options import Duration

__all__ = ["Cache", "cache"]


class Cache(Invalidation):
    """A backend, for what has no function to decorate.

    ``backend`` is what `retain` takes: a name, a configuration, a sequence of these as tiers, or `None` for
    the default backend. It is looked up when it is first needed, so that it may be configured later.
    `retainit.cache` is the one of the default backend. An invalidation (`Invalidation` has the
    methods) reaches functions that use one of its tiers.
    """

    __slots__ = ("_backend", "_known")

    def __init__(self, backend: BackendSpec | Sequence[BackendSpec] | None = None) -> None:
        self._backend = backend
        # What was looked up, and in which generation of the configuration.
        self._known: tuple[int, tuple[_registry.Tier, ...]] | None = None

    def lock(self, name: str, ttl: Duration = "30s", *, timeout: Duration | None = None) -> Lock:
        """A lock for everybody who uses this backend: threads, tasks, and processes where it is shared.

        ::

            with cache.lock("nightly-report"):
                ...
            async with cache.lock("nightly-report", timeout=5):
                ...

        ``name`` says what is locked. ``ttl`` is after how long it is free again when its holder has died
        (at least 0.1 s); a living holder's is renewed every third of it, however long it takes. ``timeout``
        is how long to wait for it: `None` for ever, 0 for one attempt.

        Raises `ConfigurationError` where an option is wrong. See `Lock` for the rest.
        """
        return Lock(self._tiers, name, ttl, timeout)

    def _places(self) -> tuple[Sequence[_registry.Tier], bool]:
        return self._tiers(), False

    def _tiers(self) -> tuple[_registry.Tier, ...]:
        known, generation = self._known, _registry.generation
        if known is None or known[0] != generation:
            known = self._known = generation, _registry.resolve(self._backend)
        return known[1]

    def __repr__(self) -> str:
        return f"Cache({'' if self._backend is None else repr(self._backend)})"


#: The default backend.
cache = Cache()
