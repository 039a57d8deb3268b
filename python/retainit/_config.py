"""What a backend is to be, said in types.

These classes hold what they are given; they open nothing and load nothing. Durations and sizes are
checked at once, everything else against the schema of the plugin when the backend is first used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, TypeAlias

from retainit import _native, _protection
from retainit._options import (
    UNSET,
    Duration,
    Size,
    Unset,
    check_duration,
    check_name,
    check_namespace,
    located,
)
from retainit._storage import KEYS as _STORAGE
from retainit._storage import Key, PickleMode, PicklePolicy, Storage, check
from retainit.errors import ConfigurationError

if TYPE_CHECKING:
    from retainit._serializers import Serializer

__all__ = [
    "BackendConfig",
    "BackendSpec",
    "DiskConfig",
    "MemoryConfig",
    "PluginConfig",
    "TieredConfig",
    "check_tiers",
]


@dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """What all backends have. Use a subclass, or `PluginConfig`.

    ``ttl`` is how long entries live where the decorator says nothing: unset inherits, `None` keeps
    for ever. ``namespace`` separates applications that share a store. ``serializer`` to ``pickle``, which
    `retain` documents, say how values are stored where the decorator does not.

    The rest is for backends whose calls may block, and refused elsewhere. ``timeout`` is the longest that a
    call of the backend is waited for (`None`: ten seconds where the plugin answers later, no bound where it
    blocks). ``circuit_breaker`` (default `True`) stops asking a backend after
    ``circuit_breaker_threshold`` failures (default 5) within a minute, and asks again after
    ``circuit_breaker_timeout`` (default 60 seconds).
    ``write_behind`` lets so many entries (`True`: 1024) wait to be written by a thread of their own.
    """

    ttl: Duration | Unset | None = UNSET
    namespace: str | None = None
    serializer: str | Serializer | Unset = UNSET
    compression: bool | str | Unset = UNSET
    compression_threshold: Size | Unset = UNSET
    encryption: bool | Unset = UNSET
    # Shown to nobody.
    encryption_key: Key | Sequence[Key] | Unset = field(default=UNSET, repr=False)
    integrity: bool | Literal["signed"] | Unset = UNSET
    pickle: PickleMode | PicklePolicy | Unset = UNSET
    timeout: Duration | Unset | None = UNSET
    circuit_breaker: bool | Unset = UNSET
    circuit_breaker_threshold: int | Unset = UNSET
    circuit_breaker_timeout: Duration | Unset = UNSET
    write_behind: bool | int | Unset = UNSET

    def __post_init__(self) -> None:
        if not self.type:
            raise ConfigurationError(
                "`BackendConfig` has no backend: expected one of `MemoryConfig`, `DiskConfig`, "
                "`TieredConfig`, `PluginConfig`"
            )
        check_duration(self.ttl, f"option `ttl` of `{type(self).__name__}`")
        check_namespace(self.namespace, f"option `namespace` of `{type(self).__name__}`")
        self.storage()
        self.protection()

    def storage(self) -> Storage:
        """How values are stored."""
        given = {name: getattr(self, name) for name in _STORAGE}
        return check(given, f"`{type(self).__name__}`")

    def protection(self) -> _protection.Protection:
        """How the backend is kept from holding up or failing its callers."""
        given = {name: getattr(self, name) for name in _protection.KEYS}
        return _protection.check(given, f"`{type(self).__name__}`")

    @property
    def type(self) -> str:
        """Name of the component that implements the backend."""
        return ""

    def options(self) -> dict[str, object]:
        """The plugin's own options, as JSON has them."""
        return {}


@dataclass(frozen=True, kw_only=True)
class MemoryConfig(BackendConfig):
    """Objects in this process, by reference.

    ``max_size`` bounds the number of entries, ``max_bytes`` their total size (`None`: unbounded).
    ``policy`` chooses what is evicted: ``"s3fifo"`` keeps what is used again and lets one-off keys
    pass, ``"lru"`` drops what was not used for longest. ``shards`` is the number of parts with a lock
    of their own (`None`: chosen by processors), ``sweep_interval`` the time between two looks for
    expired entries.
    """

    max_size: int | None = 10_000
    max_bytes: Size | None = None
    policy: Literal["s3fifo", "lru"] = "s3fifo"
    shards: int | None = None
    sweep_interval: Duration = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_units(self)

    @property
    def type(self) -> str:
        return "memory"

    def options(self) -> dict[str, object]:
        return _plain(self)


@dataclass(frozen=True, kw_only=True)
class DiskConfig(BackendConfig):
    """Bytes in a directory of this machine, shared by its processes.

    ``max_bytes`` and ``max_size`` bound bytes and entries (`None`: unbounded); what was not used for
    longest leaves first. Values longer than ``inline_limit`` live in files of their own, read by memory
    map. ``durability`` is what an acknowledged write survives: the end of the ``"process"``, or with
    ``"full"`` also of power. Directories and files get ``dir_mode`` and ``file_mode``, whatever the umask.
    ``sweep_interval`` is the time between two rounds of clearing up, ``busy_timeout`` the longest wait
    for another process's write.
    """

    base_path: str | os.PathLike[str] = ".cache/function_resp"
    max_bytes: Size | None = None
    max_size: int | None = None
    inline_limit: Size = 32_768
    durability: Literal["process", "full"] = "process"
    sweep_interval: Duration = 60.0
    busy_timeout: Duration = 5.0
    dir_mode: int = 0o700
    file_mode: int = 0o600

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_units(self)

    @property
    def type(self) -> str:
        return "disk"

    def options(self) -> dict[str, object]:
        return _plain(self)


@dataclass(frozen=True, kw_only=True)
class TieredConfig(BackendConfig):
    """Several backends, nearest first: a hit further down fills those above it.

    Tiers are names or configurations. A ``ttl`` or ``namespace`` given here holds for tiers that
    have none of their own.
    """

    tiers: Sequence[BackendSpec]

    def __post_init__(self) -> None:
        super().__post_init__()
        _protection.refuse(self.protection(), "`TieredConfig`", "several; hint: give it to the tiers")
        # A copy, so that a list that changes later does not change what is configured.
        object.__setattr__(self, "tiers", check_tiers(self.tiers, "option `tiers` of `TieredConfig`"))

    @property
    def type(self) -> str:
        return "tiered"

    def options(self) -> dict[str, object]:
        return {"tiers": list(self.tiers)}


@dataclass(frozen=True, init=False, repr=False)
class PluginConfig(BackendConfig):
    """Any other plugin's backend: ``PluginConfig("acme", url="...", ttl="1h")``.

    Options are what JSON can say, and paths.
    """

    _type: str
    # As text, which cannot change, and in one order, so that equal options are equal.
    _options: str = field(repr=False)

    def __init__(
        self,
        type: str,
        /,
        *,
        ttl: Duration | Unset | None = UNSET,
        namespace: str | None = None,
        serializer: str | Serializer | Unset = UNSET,
        compression: bool | str | Unset = UNSET,
        compression_threshold: Size | Unset = UNSET,
        encryption: bool | Unset = UNSET,
        encryption_key: Key | Sequence[Key] | Unset = UNSET,
        integrity: bool | Literal["signed"] | Unset = UNSET,
        pickle: PickleMode | PicklePolicy | Unset = UNSET,
        timeout: Duration | Unset | None = UNSET,
        circuit_breaker: bool | Unset = UNSET,
        circuit_breaker_threshold: int | Unset = UNSET,
        circuit_breaker_timeout: Duration | Unset = UNSET,
        write_behind: bool | int | Unset = UNSET,
        **options: object,
    ) -> None:
        check_name(type, "option `type` of `PluginConfig`")
        for name, value in (
            ("_type", type),
            ("_options", _to_json(type, options)),
            ("ttl", ttl),
            ("namespace", namespace),
            ("serializer", serializer),
            ("compression", compression),
            ("compression_threshold", compression_threshold),
            ("encryption", encryption),
            ("encryption_key", encryption_key),
            ("integrity", integrity),
            ("pickle", pickle),
            ("timeout", timeout),
            ("circuit_breaker", circuit_breaker),
            ("circuit_breaker_threshold", circuit_breaker_threshold),
            ("circuit_breaker_timeout", circuit_breaker_timeout),
            ("write_behind", write_behind),
        ):
            object.__setattr__(self, name, value)
        self.__post_init__()

    @property
    def type(self) -> str:
        return self._type

    def options(self) -> dict[str, object]:
        return _from_json(self._options)

    def __repr__(self) -> str:
        # Names only: which values are secret is known to the plugin alone.
        names = "".join(f", {name}=..." for name in self.options())
        return f"PluginConfig({self._type!r}{names})"


#: What a backend can be given as: a registered name, a backend's type, or a configuration.
BackendSpec: TypeAlias = "str | BackendConfig"


def check_tiers(tiers: object, subject: str) -> tuple[BackendSpec, ...]:
    """The tiers, if that is what they are."""
    if isinstance(tiers, str) or not isinstance(tiers, Sequence) or not tiers:
        raise ConfigurationError(
            f"{subject}: expected a list of names or configurations, nearest first, found `{tiers!r}`"
        )
    for tier in tiers:
        if not isinstance(tier, (str, BackendConfig)):
            raise ConfigurationError(
                f"{subject}: expected names or configurations such as `MemoryConfig()`, found `{tier!r}`"
            )
    return tuple(tiers)


# Options that are written with units, in any class here.
_SIZES = ("max_bytes", "inline_limit")
_DURATIONS = ("sweep_interval", "busy_timeout")


def _check_units(config: BackendConfig) -> None:
    for names, parse in ((_SIZES, _native.parse_size), (_DURATIONS, _native.parse_duration)):
        for name in names:
            value = getattr(config, name, None)
            # Zero is a size to some plugins; their schemas know.
            if value is not None and value != 0:
                located(f"option `{name}` of `{type(config).__name__}`", parse, value)


def _plain(config: BackendConfig) -> dict[str, object]:
    """A dataclass's own fields as JSON has them."""
    shared = {each.name for each in fields(BackendConfig)}
    options = {each.name: getattr(config, each.name) for each in fields(config) if each.name not in shared}
    for names, parse in ((_SIZES, _native.parse_size), (_DURATIONS, _native.parse_duration)):
        for name in names:
            if options.get(name):
                options[name] = parse(options[name])
    return _from_json(_to_json(config.type, options))


def _from_json(text: str) -> dict[str, object]:
    # Imported where it is used: importing this package is to be quick.
    import json

    options: dict[str, object] = json.loads(text)
    return options


def _to_json(type: str, options: Mapping[str, object]) -> str:
    import json

    parts = {}
    for name, value in options.items():
        try:
            parts[name] = json.dumps(value, default=_path, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"option `{name}` for backend type `{type}`: expected text, a number, a boolean, "
                f"`None`, a path, or a list or dict of these ({error})"
            ) from None
    return "{" + ", ".join(f"{json.dumps(name)}: {parts[name]}" for name in sorted(parts)) + "}"


def _path(value: object) -> str:
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        if isinstance(path, str):
            return path
    raise TypeError(f"found a `{type(value).__name__}`")
