"""How values are stored outside the process: serializer, compression, seal and pickle policy.

`retain`, the backend configurations and configuration files all take the same options. Each may be left
to the next: the function's own come first, then the backend's.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from retainit import _native
from retainit._options import UNSET, Size, Unset, located
from retainit.errors import ConfigurationError

__all__ = ["KEYS", "PicklePolicy", "Storage", "check", "storage_format"]

#: 32 bytes; ``"hex:..."``, ``"base64:..."`` or ``"env:NAME"``; a function that gives one of these.
Key: TypeAlias = "bytes | str | Callable[[], bytes | str]"
PickleMode: TypeAlias = Literal["never", "signed", "local", "always"]
#: Where the key is when an option asks for one and none is given.
DEFAULT_KEY = "env:RETAINIT_ENCRYPTION_KEY"

PICKLES = ("never", "signed", "local", "always")
COMPRESSION_THRESHOLD = 1024
COMPRESSION_LEVELS = {"zstd": range(1, 23)}


@dataclass(frozen=True, kw_only=True)
class PicklePolicy:
    """When values may be pickled, and what pickles may refer to.

    ``mode`` is ``"never"``; ``"signed"``, where entries are authenticated; ``"local"``, there and where
    only this user of this machine can write; or ``"always"``. ``allow`` lists the only classes and
    functions that a pickle may refer to, as ``"module.Name"`` or as the objects themselves (`None`: any).
    ``max_bytes`` is the most bytes a pickle may have (`None`: any number).
    """

    mode: PickleMode = "local"
    allow: Sequence[str | type | Callable[..., Any]] | None = None
    max_bytes: Size | None = None

    def __post_init__(self) -> None:
        if self.mode not in PICKLES:
            raise ConfigurationError(
                f"option `mode` of `PicklePolicy`: {_expected(PICKLES)}, found `{self.mode!r}`"
            )
        if self.max_bytes is not None:
            located("option `max_bytes` of `PicklePolicy`", _native.parse_size, self.max_bytes)
        if isinstance(self.allow, str) or (
            self.allow is not None and not all(isinstance(each, str) or callable(each) for each in self.allow)
        ):
            raise ConfigurationError(
                f"option `allow` of `PicklePolicy`: expected a list of names such as `module.Class`, "
                f"found `{self.allow!r}`"
            )

    def plain(self) -> tuple[str, list[str] | None, int | None]:
        """As the engine has it."""
        names = None if self.allow is None else sorted({_name(each) for each in self.allow})
        return self.mode, names, None if self.max_bytes is None else _native.parse_size(self.max_bytes)


def _name(each: Any) -> str:
    return each if isinstance(each, str) else f"{each.__module__}.{each.__qualname__}"


class Storage(NamedTuple):
    """The options, as they were given."""

    serializer: Any = UNSET
    compression: bool | str | Unset = UNSET
    compression_threshold: Size | Unset = UNSET
    encryption: bool | Unset = UNSET
    encryption_key: Any = UNSET
    integrity: bool | str | Unset = UNSET
    pickle: Any = UNSET

    def over(self, other: Storage) -> Storage:
        """These options, and the other's where these say nothing."""
        return Storage(*(theirs if ours is UNSET else ours for ours, theirs in zip(self, other, strict=True)))


#: Names of the options.
KEYS = Storage._fields


def check(
    options: Mapping[str, Any], subject: str, place: Callable[[str], str] = lambda option: ""
) -> Storage:
    """The options, unless something is wrong with them; ``place`` says where one was given."""
    storage = Storage(**options)

    def called(name: str) -> str:
        return f"option `{name}` of {subject}{place(name)}"

    def wrong(name: str, expected: str, found: object) -> ConfigurationError:
        return ConfigurationError(f"{called(name)}: expected {expected}, found `{found!r}`")

    if isinstance(storage.pickle, Mapping):
        storage = storage._replace(pickle=_policy(storage.pickle, called("pickle")))

    if storage.serializer is not UNSET:
        from retainit import _serializers

        _serializers.check(storage.serializer, called("serializer"))
    if storage.compression is not UNSET:
        _compression(
            storage.compression, lambda expected: wrong("compression", expected, storage.compression)
        )
    if storage.compression_threshold is not UNSET and storage.compression_threshold != 0:
        located(called("compression_threshold"), _native.parse_size, storage.compression_threshold)
    if storage.encryption is not UNSET and not isinstance(storage.encryption, bool):
        raise wrong("encryption", "`True` or `False`", storage.encryption)
    if storage.integrity is not UNSET and not (
        isinstance(storage.integrity, bool) or storage.integrity == "signed"
    ):
        raise wrong("integrity", '`True`, `False` or `"signed"`', storage.integrity)
    if storage.encryption is False and storage.encryption_key is not UNSET and storage.integrity != "signed":
        raise ConfigurationError(
            f'{called("encryption_key")}: expected it beside `encryption=True` or `integrity="signed"`, '
            f"found it beside `encryption=False`, where nothing would use it"
        )
    if storage.encryption_key is not UNSET:
        for key in _listed(storage.encryption_key):
            if not (isinstance(key, (bytes, str)) or callable(key)):
                # What it is is not said: it may be a key all the same.
                raise ConfigurationError(
                    f"{called('encryption_key')}: expected 32 bytes, text that begins with `hex:`, "
                    f"`base64:` or `env:`, a function, or a list of these, found a `{type(key).__name__}`"
                )
            if isinstance(key, bytes) or (isinstance(key, str) and not key.startswith("env:")):
                located(called("encryption_key"), _native.Keyring, [key])
    if (
        storage.pickle is not UNSET
        and not isinstance(storage.pickle, PicklePolicy)
        and storage.pickle not in PICKLES
    ):
        raise wrong("pickle", f"{_expected(PICKLES)[9:]}, or a `PicklePolicy`", storage.pickle)
    return storage


def _policy(given: Mapping[str, Any], subject: str) -> PicklePolicy:
    for name in given:
        if name not in PicklePolicy.__dataclass_fields__:
            raise ConfigurationError(
                f"{subject}: {_expected([*PicklePolicy.__dataclass_fields__])}, found `{name}`"
            )
    return located(subject, lambda given: PicklePolicy(**given), given)


def _expected(names: Sequence[str]) -> str:
    return "expected one of " + ", ".join(f'`"{name}"`' for name in names)


def _compression(
    given: Any, wrong: Callable[[str], ConfigurationError]
) -> tuple[str, dict[str, object], bool] | None:
    """The compressor, its options, and whether it is trained; `None` for none."""
    if given is False or given == "none":
        return None
    if given is True or given == "auto":
        return "zstd", {}, False
    if not isinstance(given, str) or not given:
        raise wrong('`True`, `False`, `"auto"`, or the name of a compressor such as `"zstd:9"`')
    given, plus, extra = given.partition("+")
    if plus and extra != "dictionary":
        raise wrong(f"`{given}+dictionary` or `{given}`")
    name, colon, level = given.partition(":")
    if plus and name != "zstd":
        raise wrong(f"no dictionary, because `{name}` has none")
    if not colon:
        return name, {}, bool(plus)
    levels = COMPRESSION_LEVELS.get(name)
    if levels is None:
        raise wrong(f"no level, because `{name}` has none")
    if not level.isdecimal() or int(level) not in levels:
        raise wrong(f"a level from {levels[0]} to {levels[-1]}")
    return name, {"level": int(level)}, bool(plus)


def _listed(keys: object) -> Sequence[Any]:
    return keys if isinstance(keys, (list, tuple)) else [keys]


def storage_format(storage: Storage, private: bool) -> _native.Format:
    """What the engine is told of one tier, to which only this user of this machine can write if ``private``.

    Raises `ConfigurationError` if a key is missing or wrong, `PluginError` if the compressor's plugin is.
    """
    import json

    authenticated = storage.integrity == "signed"
    given = None if storage.encryption_key is UNSET else storage.encryption_key
    # A key that was given is there to be used.
    encrypted = storage.encryption is True or (
        storage.encryption is UNSET and given is not None and not authenticated
    )
    seal, keyring = "open" if storage.integrity is False else "checksum", None
    if encrypted or authenticated:
        seal = "encrypted" if encrypted else "signed"
        keyring = _keyring(DEFAULT_KEY if given is None else given)
    compression = None
    # "auto" leaves what can be read in place as it is.
    if not (storage.compression is UNSET or (storage.compression == "auto" and private)):
        chosen = _compression(storage.compression, ConfigurationError)
        if chosen is not None:
            threshold = storage.compression_threshold
            size = COMPRESSION_THRESHOLD
            if threshold is not UNSET:
                size = _native.parse_size(threshold) if threshold else 0
            compression = chosen[0], json.dumps(chosen[1]), size, chosen[2]
    policy = storage.pickle if isinstance(storage.pickle, PicklePolicy) else None
    if policy is None:
        policy = PicklePolicy(mode="local" if storage.pickle is UNSET else storage.pickle)
    serializer = "auto"
    if storage.serializer is not UNSET:
        from retainit import _serializers

        serializer = _serializers.name_of(storage.serializer)
    return _native.Format(serializer, compression, seal, keyring, policy.plain(), private)


_keyrings: weakref.WeakValueDictionary[tuple[bytes | str, ...], _native.Keyring] = (
    weakref.WeakValueDictionary()
)


def _keyring(given: Any) -> _native.Keyring:
    keys = tuple(_key(each) for each in _listed(given))
    if not keys:
        raise ConfigurationError("option `encryption_key`: expected at least one key, found an empty list")
    known = _keyrings.get(keys)
    if known is None:
        known = _keyrings[keys] = located("option `encryption_key`", _native.Keyring, list(keys))
    return known


def _key(given: Any) -> bytes | str:
    if callable(given):
        given = given()
    if not isinstance(given, (bytes, str)):
        raise ConfigurationError(
            f"option `encryption_key`: expected its function to give bytes or text, found a "
            f"`{type(given).__name__}`"
        )
    if isinstance(given, str) and given.startswith("env:"):
        name = given.removeprefix("env:")
        said = os.environ.get(name)
        if not said:
            raise ConfigurationError(
                f"option `encryption_key`: expected a key in the environment variable `{name}`, found none"
            )
        given = said
    key: bytes | str = given
    return key
