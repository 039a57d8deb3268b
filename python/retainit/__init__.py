"""Caches the results of functions.

::

    from retainit import retain

    @retain(ttl="1h")
    def slow(x: int) -> int: ...

Results are kept in memory unless a backend is named or configured; see `register_backend`.
"""

from retainit import _process as _process
from retainit._config import (
    UNSET,
    BackendConfig,
    DiskConfig,
    MemoryConfig,
    PluginConfig,
    TieredConfig,
)
from retainit._function import MISSING, CacheInfo, retain
from retainit._lru import lru_cache
from retainit._registry import (
    default_backend,
    disabled,
    get_backend,
    init,
    load_config,
    register_backend,
    shutdown,
    unregister_backend,
)
from retainit.errors import (
    BackendError,
    ConfigurationError,
    PluginError,
    RetainitError,
    SerializationError,
    UnkeyableError,
    UnkeyableWarning,
)

__all__ = [
    "MISSING",
    "UNSET",
    "BackendConfig",
    "BackendError",
    "CacheInfo",
    "ConfigurationError",
    "DiskConfig",
    "MemoryConfig",
    "PluginConfig",
    "PluginError",
    "RetainitError",
    "SerializationError",
    "TieredConfig",
    "UnkeyableError",
    "UnkeyableWarning",
    "default_backend",
    "disabled",
    "get_backend",
    "init",
    "load_config",
    "lru_cache",
    "register_backend",
    "retain",
    "shutdown",
    "unregister_backend",
]
