"""Caches the results of functions.

::

    from retainit import retain

    @retain(ttl="1h")
    def slow(x: int) -> int: ...

Results are kept in memory unless a backend is named or configured; see `register_backend`.
"""

from retainit import _process as _process
from retainit._function import MISSING, retain
from retainit._options import UNSET
from retainit.errors import (
    BackendError,
    ConfigurationError,
    LoadTimeoutError,
    LockError,
    LockLostError,
    LockTimeoutError,
    PluginError,
    RetainitError,
    SerializationError,
    UnkeyableError,
    UnkeyableWarning,
)

# As `typing` has it, which is not imported here: importing this package is to be quick.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from retainit._cache import Cache, cache
    from retainit._config import BackendConfig, DiskConfig, MemoryConfig, PluginConfig, TieredConfig
    from retainit._disabled import disabled
    from retainit._info import CacheInfo
    from retainit._invalidation import (
        aemit,
        ainvalidate,
        ainvalidate_entity,
        ainvalidate_pattern,
        ainvalidate_tag,
        ainvalidate_tags,
        emit,
        invalidate,
        invalidate_entity,
        invalidate_pattern,
        invalidate_tag,
        invalidate_tags,
        on_domain_event,
        on_entity,
        tag,
    )
    from retainit._locks import Lock
    from retainit._lru import lru_cache
    from retainit._registry import (
        default_backend,
        get_backend,
        init,
        load_config,
        register_backend,
        shutdown,
        unregister_backend,
    )
    from retainit._serializers import register_serializer
    from retainit._storage import PicklePolicy
    from retainit._types import (
        CachedAsyncGeneratorFunction,
        CachedCoroutineFunction,
        CachedFunction,
        CachedGeneratorFunction,
    )
else:
    # The same, each imported when it is first asked for.
    _LATER = {
        "BackendConfig": "_config",
        "Cache": "_cache",
        "CacheInfo": "_info",
        "CachedAsyncGeneratorFunction": "_types",
        "CachedCoroutineFunction": "_types",
        "CachedFunction": "_types",
        "CachedGeneratorFunction": "_types",
        "DiskConfig": "_config",
        "Lock": "_locks",
        "MemoryConfig": "_config",
        "PicklePolicy": "_storage",
        "PluginConfig": "_config",
        "TieredConfig": "_config",
        "aemit": "_invalidation",
        "ainvalidate": "_invalidation",
        "ainvalidate_entity": "_invalidation",
        "ainvalidate_pattern": "_invalidation",
        "ainvalidate_tag": "_invalidation",
        "ainvalidate_tags": "_invalidation",
        "cache": "_cache",
        "default_backend": "_registry",
        "disabled": "_disabled",
        "emit": "_invalidation",
        "get_backend": "_registry",
        "init": "_registry",
        "invalidate": "_invalidation",
        "invalidate_entity": "_invalidation",
        "invalidate_pattern": "_invalidation",
        "invalidate_tag": "_invalidation",
        "invalidate_tags": "_invalidation",
        "load_config": "_registry",
        "lru_cache": "_lru",
        "on_domain_event": "_invalidation",
        "on_entity": "_invalidation",
        "register_backend": "_registry",
        "register_serializer": "_serializers",
        "shutdown": "_registry",
        "tag": "_invalidation",
        "unregister_backend": "_registry",
    }

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module `retainit` has no attribute `{name}`")
        from importlib import import_module

        with _process.lock:
            value = globals()[name] = getattr(import_module(f"retainit.{_LATER[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *_LATER})


__all__ = [
    "MISSING",
    "UNSET",
    "BackendConfig",
    "BackendError",
    "Cache",
    "CacheInfo",
    "CachedAsyncGeneratorFunction",
    "CachedCoroutineFunction",
    "CachedFunction",
    "CachedGeneratorFunction",
    "ConfigurationError",
    "DiskConfig",
    "LoadTimeoutError",
    "Lock",
    "LockError",
    "LockLostError",
    "LockTimeoutError",
    "MemoryConfig",
    "PicklePolicy",
    "PluginConfig",
    "PluginError",
    "RetainitError",
    "SerializationError",
    "TieredConfig",
    "UnkeyableError",
    "UnkeyableWarning",
    "aemit",
    "ainvalidate",
    "ainvalidate_entity",
    "ainvalidate_pattern",
    "ainvalidate_tag",
    "ainvalidate_tags",
    "cache",
    "default_backend",
    "disabled",
    "emit",
    "get_backend",
    "init",
    "invalidate",
    "invalidate_entity",
    "invalidate_pattern",
    "invalidate_tag",
    "invalidate_tags",
    "load_config",
    "lru_cache",
    "on_domain_event",
    "on_entity",
    "register_backend",
    "register_serializer",
    "retain",
    "shutdown",
    "tag",
    "unregister_backend",
]
