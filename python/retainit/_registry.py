"""Which backends there are, and which of them a function uses.

Three layers, nearest first: what is registered in code, what `init` said, what the configuration file
says. A name that none of them has, but that is a backend's type, means that type with its defaults.
The file is `RETAINIT_CONFIG`, or the nearest one from the working directory upwards; it is looked for
and read when the first backend is needed, so that decorating and importing read nothing.

For decorated functions: `resolve` gives the tiers of a ``backend=`` option, and `generation` grows with
each change, so that who remembers tiers can tell when to ask again. A `Tier` is a native backend
together with what the engine itself has to know of it (``ttl``, ``namespace``), which the plugin never sees.
A named backend is opened once and shared; one given as a configuration object belongs to that object
and lives as long as it, or as a function that holds its tiers.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, TypeVar

from retainit import _native, _options, _process, _protection
from retainit._config import (
    BackendConfig,
    BackendSpec,
    MemoryConfig,
    PluginConfig,
    TieredConfig,
    check_tiers,
)
from retainit._disabled import disabled, is_disabled
from retainit._options import UNSET, Duration, Unset, check_duration, check_name, check_namespace, seconds
from retainit._short import hint, listed, short_form
from retainit._storage import KEYS, Storage, check
from retainit.errors import ConfigurationError, RetainitError

__all__ = [
    "Backend",
    "Defaults",
    "Tier",
    "default_backend",
    "defaults",
    "disabled",
    "get_backend",
    "init",
    "is_disabled",
    "load_config",
    "register_backend",
    "reset",
    "resolve",
    "shutdown",
    "unregister_backend",
]

Spec: TypeAlias = "BackendSpec | Sequence[BackendSpec] | None"

#: What `init` takes for ``tag_interval`` where it says nothing, in seconds.
TAG_INTERVAL = 1.0
#: Grows with each change of what `resolve` or `defaults` may answer.
generation = 0


class Tier(NamedTuple):
    """One backend of a function."""

    backend: _native.Backend
    #: Seconds that entries live where the function says nothing; `None` for ever, `UNSET` inherits.
    ttl: float | Unset | None
    #: Separates applications that share the store.
    namespace: str | None
    #: How values are stored where the function says nothing.
    storage: Storage
    #: Whether only this user of this machine can write to it.
    private: bool = False


class Defaults(NamedTuple):
    """What holds where neither function nor backend says anything."""

    ttl: float | Unset | None
    namespace: str | None


@dataclass(frozen=True)
class Backend:
    """A backend in use, as `get_backend` gives it."""

    name: str
    tiers: tuple[Tier, ...] = field(repr=False)

    @property
    def type(self) -> str:
        """The type of its component; of several tiers ``"tiered"``."""
        return self.tiers[0].backend.type if len(self.tiers) == 1 else "tiered"

    def clear(self) -> None:
        """Removes every entry of every tier, whoever stored it."""
        for tier in self.tiers:
            tier.backend.clear(b"")

    def statistics(self) -> dict[str, dict[str, object]]:
        """Numbers of each tier, by name: ``entries``, ``bytes``, ``evictions`` and others."""
        return {tier.backend.name: tier.backend.statistics() for tier in self.tiers}

    def health(self) -> dict[str, dict[str, object]]:
        """How each tier is, by name: the ``state`` of its circuit, timeouts in seconds, and counts."""
        return {tier.backend.name: tier.backend.health() for tier in self.tiers}


class _Origin(NamedTuple):
    """Where a file configures a backend, for messages."""

    file: str | None
    line: int
    # Of each option: its line, and how it is shown where its value came from the environment.
    options: dict[str, tuple[int, str | None]]

    def place(self, option: str | None = None) -> str:
        if self.file is None:
            return ""
        line = self.options[option][0] if option in self.options else self.line
        # As the native module has it: short where the file is below the working directory.
        here = os.path.join(os.getcwd(), "")
        return f" ({self.file.removeprefix(here)}:{line})"


class _Entry(NamedTuple):
    config: BackendConfig
    origin: _Origin


_CODE = _Origin(None, 0, {})


class _Registry:
    """The layers, and what is open."""

    def __init__(self) -> None:
        self.lock = _process.lock
        self.opened: dict[str, Tier] = {}
        # Tiers of configuration objects, by identity, for as long as the object lives.
        self.owned: dict[int, tuple[weakref.ref[BackendConfig], Tier]] = {}
        self.forget()

    def forget(self) -> None:
        self.code: dict[str, BackendConfig] = {}
        self.code_default: str | None = None
        self.short: dict[str, BackendConfig] = {}
        self.short_default: BackendSpec | None = None
        self.defaults = Defaults(UNSET, None)
        _native.set_tag_interval(TAG_INTERVAL)
        self.protection = _protection.Protection()
        self.file: dict[str, _Entry] = {}
        self.file_default: tuple[str, _Origin] | None = None
        self.file_is_read = False


_registry = _Registry()


def register_backend(name: str, config: BackendConfig, default: bool = False) -> None:
    """Gives a backend a name, to be used as ``@retain(backend=name)``.

    The first one registered with ``default=True``, else one named ``"default"``, is what functions use
    that name none. A name registered again is replaced, unless the configuration is the same.
    """
    check_name(name, "name of a backend")
    if not isinstance(config, BackendConfig):
        raise ConfigurationError(
            f"backend `{name}`: expected a configuration such as `MemoryConfig()`, found `{config!r}`"
        )
    with _registry.lock:
        if default and _registry.code_default is None:
            _registry.code_default = name
        if _registry.code.get(name) != config:
            _registry.code[name] = config
            _registry.opened.pop(name, None)
        _changed()


def unregister_backend(name: str) -> None:
    """Takes a name back that `register_backend` gave. Calls in flight still finish."""
    with _registry.lock:
        if name not in _registry.code:
            raise ConfigurationError(
                f"unknown backend `{name}`: expected a registered one ({listed(_registry.code)})"
                f"{hint(name, _registry.code)}"
            )
        del _registry.code[name]
        _registry.opened.pop(name, None)
        if _registry.code_default == name:
            _registry.code_default = None
        _changed()


def get_backend(name: str) -> Backend:
    """The backend of that name, opened if it was not in use yet."""
    check_name(name, "name of a backend")
    return Backend(name, resolve(name))


def default_backend() -> Backend:
    """The backend that functions use that name none."""
    with _registry.lock:
        _read_file()
        default = _default()
        name = default if isinstance(default, str) else "default"
        return Backend(name, resolve(default))


def defaults() -> Defaults:
    """What holds where neither function nor backend says anything."""
    return _registry.defaults


def init(
    backend: BackendSpec | None = None,
    *,
    backends: Sequence[BackendSpec] | None = None,
    primary: BackendSpec | None = None,
    secondary: BackendSpec | None = None,
    ttl: Duration | Unset | None = UNSET,
    namespace: str | None = None,
    tag_interval: Duration = TAG_INTERVAL,
    circuit_breaker: bool | Unset = UNSET,
    circuit_breaker_enabled: bool | Unset = UNSET,
    circuit_breaker_threshold: int | Unset = UNSET,
    circuit_breaker_timeout: Duration | Unset = UNSET,
    **options: object,
) -> None:
    """The short form of a configuration: the default backend, and options with its name in front.

    ::

        retainit.init(backend="disk", disk_base_path="cache", ttl="1h")
        retainit.init(backend="tiered", backends=["memory", "disk"], memory_max_size=500)
        retainit.init(backend="hybrid", primary="memory", secondary="disk")

    ``tag_interval`` is how long it may take until a hit in memory notices that another process has
    invalidated one of its tags. What is said of circuit breakers holds for every backend that says
    nothing of its own. What an earlier `init` said is forgotten; what is registered or in a file stays.
    """
    protection = _protection.short(
        circuit_breaker, circuit_breaker_enabled, circuit_breaker_threshold, circuit_breaker_timeout
    )
    short = short_form(backend, backends, primary, secondary, options)
    check_duration(ttl, "option `ttl` of `init`")
    check_namespace(namespace, "option `namespace` of `init`")
    interval = _options.located("option `tag_interval` of `init`", _native.parse_duration, tag_interval)
    with _registry.lock:
        for name in short.backends:
            if name in _registry.code:
                raise ConfigurationError(
                    f"options of `init` for `{name}`: expected a backend type, found a registered backend; "
                    f"hint: give the options where it is registered"
                )
        _replace(_registry.short, short.backends)
        _registry.short_default = short.default
        _registry.defaults = Defaults(seconds(ttl), namespace)
        _native.set_tag_interval(interval)
        if _registry.protection != protection:
            _registry.protection = protection
            _protect_again()
        _changed()


def load_config(path: str | os.PathLike[str]) -> None:
    """Reads a configuration file, instead of one that would be found.

    What an earlier file said is forgotten, but for its plugins, which stay known.
    """
    with _registry.lock:
        _adopt(_native.read_config(os.fspath(path), True))


def shutdown() -> None:
    """Finishes pending writes and closes every backend. The next call opens what it needs again.

    One that fails keeps no other from being closed; the first failure is raised at the end.
    """
    with _registry.lock:
        tiers = [*_registry.opened.values(), *(tier for _, tier in list(_registry.owned.values()))]
        _registry.opened.clear()
        _registry.owned.clear()
        if tiers:
            _changed()
    failures = []
    for tier in tiers:
        try:
            tier.backend.close()
        except RetainitError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def reset() -> None:
    """Forgets everything: for tests, each of which starts with nothing configured."""
    shutdown()
    with _registry.lock:
        _registry.forget()
        _changed()


def abandon(names: Sequence[str]) -> None:
    """Forgets open backends of these names without closing them; who needs one opens it anew."""
    with _registry.lock:
        for name in names:
            _registry.opened.pop(name, None)
        for key, (_, tier) in list(_registry.owned.items()):
            if tier.backend.name in names:
                _registry.owned.pop(key, None)
        _changed()


def resolve(spec: Spec = None) -> tuple[Tier, ...]:
    """The tiers of a ``backend=`` option, nearest first, opened if they were not in use yet."""
    with _registry.lock:
        _read_file()
        if spec is not None and not isinstance(spec, (str, BackendConfig)):
            spec = TieredConfig(tiers=check_tiers(spec, "option `backend`"))
        tiers = tuple(_tiers(_default() if spec is None else spec, _CODE, ()))
        for index, tier in enumerate(tiers):
            if any(tier.backend is other.backend for other in tiers[:index]):
                raise ConfigurationError(
                    f"tiers: expected each backend once, found `{tier.backend.name}` twice"
                )
        return tiers


def _default() -> BackendSpec:
    if _registry.short_default is not None:
        return _registry.short_default
    if _registry.code_default is not None:
        return _registry.code_default
    if "default" in _registry.code:
        return "default"
    if _registry.file_default is not None:
        return _registry.file_default[0]
    return "default"


def _tiers(spec: BackendSpec, origin: _Origin, above: tuple[str, ...]) -> Iterator[Tier]:
    """Walks down to single backends. `above` are the names on the way, `origin` where they are said."""
    if isinstance(spec, BackendConfig):
        if isinstance(spec, TieredConfig):
            yield from _inherited(spec, origin, above)
        else:
            yield _owned(spec)
        return
    if spec in above:
        way = " → ".join(f"`{name}`" for name in (*above[above.index(spec) :], spec))
        raise ConfigurationError(f"tiers{origin.place('tiers')}: expected no circle, found {way}")
    entry = _entry(spec, origin)
    if isinstance(entry.config, TieredConfig):
        yield from _inherited(entry.config, entry.origin, (*above, spec))
    else:
        if spec not in _registry.opened:
            _registry.opened[spec] = _open(spec, entry)
        yield _registry.opened[spec]


def _inherited(config: TieredConfig, origin: _Origin, above: tuple[str, ...]) -> Iterator[Tier]:
    ttl = seconds(config.ttl)
    for each in config.tiers:
        for tier in _tiers(each, origin, above):
            yield tier._replace(
                ttl=ttl if tier.ttl is UNSET else tier.ttl,
                storage=tier.storage.over(config.storage()),
                namespace=config.namespace if tier.namespace is None else tier.namespace,
            )


def _entry(name: str, origin: _Origin) -> _Entry:
    for layer in (_registry.code, _registry.short):
        if name in layer:
            return _Entry(layer[name], _CODE)
    if name in _registry.file:
        return _registry.file[name]
    if name == "default":
        return _Entry(MemoryConfig(), _CODE)
    missing = _native.missing_backend_type(name)
    if missing is None:
        return _Entry(PluginConfig(name), _CODE)
    types = _native.backend_types()
    known = [*_registry.code, *_registry.short, *_registry.file]
    if _registry.file_default is not None and name == _registry.file_default[0]:
        origin = _registry.file_default[1]
    # After its first line the loader lists the files that it refused, and why.
    refused = "".join(f"\n{line}" for line in missing.splitlines()[1:])
    raise ConfigurationError(
        f"unknown backend `{name}`{origin.place('tiers')}: expected a registered backend "
        f"({listed(known)}) or a backend type ({listed(types)})"
        f"{hint(name, [*known, *types])}{refused}"
    )


def _owned(config: BackendConfig) -> Tier:
    key = id(config)
    known = _registry.owned.get(key)
    if known is not None and known[0]() is config:
        return known[1]
    tier = _open(config.type, _Entry(config, _CODE))
    # No lock here: dropping an entry is one step, and the collector may call at any moment.
    gone = weakref.ref(config, lambda _: _registry.owned.pop(key, None))
    _registry.owned[key] = (gone, tier)
    return tier


def _open(name: str, entry: _Entry) -> Tier:
    # Imported where it is used: importing this package is to be quick.
    import json

    config, origin = entry
    options = json.dumps(config.options())
    checked = _native.prepare_options(name, config.type, options, origin.file, origin.line, origin.options)
    backend = _native.open_backend(name, config.type, checked)
    _protection.protect(backend, config.protection(), _registry.protection, origin.place)
    # What the plugin promises holds for the modes that it makes by itself.
    modes = [value for name, value in config.options().items() if name.endswith("_mode")]
    opened = any(isinstance(mode, int) and mode & 0o022 for mode in modes)
    private = "private" in backend.capabilities and not opened
    return Tier(backend, seconds(config.ttl), config.namespace, config.storage(), private)


def _protect_again() -> None:
    """Has open backends follow what `init` says of breakers now."""
    configs = [(_entry(name, _CODE).config, tier) for name, tier in _registry.opened.items()]
    configs += [(config, tier) for gone, tier in _registry.owned.values() if (config := gone()) is not None]
    for config, tier in configs:
        _protection.protect(tier.backend, config.protection(), _registry.protection)


def _read_file() -> None:
    if _registry.file_is_read:
        return
    named = os.environ.get("RETAINIT_CONFIG")
    path = named or _native.find_config(os.getcwd())
    if path:
        _adopt(_native.read_config(path, bool(named)))
    _registry.file_is_read = True


def _adopt(said: _native.ConfigFile) -> None:
    """Takes over what a file says, whole or not at all."""
    import json

    file = said["file"]
    entries = {}
    for each in said["backends"]:
        ttl = each.get("ttl", UNSET)
        namespace = each["namespace"]
        options = json.loads(each["options"])
        origin = _Origin(file, each["line"], each["origins"])
        given = {name: options.pop(name) for name in KEYS if name in options}
        shared = check(given, f"backend `{each['name']}`", origin.place)._asdict()
        given = {name: options.pop(name) for name in _protection.KEYS if name in options}
        shared |= _protection.check(given, f"backend `{each['name']}`", origin.place)._asdict()
        config: BackendConfig
        if each["type"] == "tiered":
            config = TieredConfig(tiers=options["tiers"], ttl=ttl, namespace=namespace, **shared)
        else:
            config = PluginConfig(each["type"], ttl=ttl, namespace=namespace, **shared, **options)
        entries[each["name"]] = _Entry(config, origin)
    for plugin in said["plugins"]:
        directory = plugin.get("directory")
        if directory is not None:
            _native.add_plugin_directory(directory)
        else:
            _native.add_plugin(plugin.get("name"), plugin.get("path"), plugin.get("sha256"))
    default = said["default_backend"]
    _replace(_registry.file, entries)
    _registry.file_default = default and (default[0], _Origin(file, default[1], {}))
    _registry.file_is_read = True
    _changed()


V = TypeVar("V")


def _replace(layer: dict[str, V], entries: Mapping[str, V]) -> None:
    """Gives a layer other entries. What stays the same stays open."""
    for name in {*layer, *entries}:
        if layer.get(name) != entries.get(name):
            _registry.opened.pop(name, None)
    layer.clear()
    layer.update(entries)


def _changed() -> None:
    global generation
    generation += 1
    _native.advance_generation()


# What a backend has not written yet is written before the interpreter goes.
atexit.register(shutdown)
