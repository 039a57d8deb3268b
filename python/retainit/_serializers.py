"""Which serializer a value goes to, and those that are Python's own.

The native side has dealt with plain data before anything here is asked. A codec is what an entry says
its bytes are in: a plugin's serializer by its name, or ``orjson``, ``protobuf`` and ``custom:<name>``,
which are read here.
"""

from __future__ import annotations

import functools
import itertools
import sys
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from retainit import _native
from retainit._options import check_name
from retainit.errors import ConfigurationError, SerializationError

__all__ = ["check", "dump", "load", "name_of", "register_serializer"]

T = TypeVar("T")

#: What a value becomes: a kind, the codec, and what the kind needs.
Dumped = tuple[Any, ...]

#: Serializers by name that are a way to use one of the plugins'.
FRAMES = {"pandas": "parquet", "polars": "parquet", "arrow": "arrow", "parquet": "parquet", "csv": "csv"}
BUILT_IN = ("auto", "pickle", "json", "orjson", "text", "bytes", "msgpack", "protobuf", "numpy", *FRAMES)


class Serializer(Protocol):
    """What a class has to have to be registered, or given as ``serializer=``."""

    def serialize(self, obj: Any) -> bytes:
        """The bytes of a value."""

    def deserialize(self, data: bytes) -> Any:
        """The value of bytes."""


# By name; the one registered last is asked first.
_registered: dict[str, Any] = {}
# Those given as objects, for as long as somebody uses them, by the names that the engine has for them:
# objects of one class are told apart. Entries say `custom:<class>` of each.
_given: dict[str, tuple[str, Callable[[], Any]]] = {}
_numbers = itertools.count(1)


def register_serializer(name: str) -> Callable[[type[T]], type[T]]:
    """Registers a class under a name, to be used as ``serializer=name`` and by ``"auto"``.

    The class is made once, without arguments. It has ``serialize(obj) -> bytes`` and
    ``deserialize(data)``; with ``can_serialize(obj) -> bool`` it also takes part in ``"auto"``, which asks it
    about everything but plain data, the class registered last first. Entries say
    ``custom:<name>``, so the name has to stay what it is for as long as they are to be read.
    """
    check_name(name, "name of a serializer")
    if name in BUILT_IN:
        raise ConfigurationError(
            f"name of a serializer: expected a new one, found `{name}`, which is built in"
        )

    def register(kind: type[T]) -> type[T]:
        serializer = kind()
        _check_methods(serializer, f"serializer `{name}`")
        # Last again, if it is there already.
        _registered.pop(name, None)
        _registered[name] = serializer
        return kind

    return register


def _check_methods(serializer: object, subject: str) -> None:
    for method in ("serialize", "deserialize"):
        if not callable(getattr(serializer, method, None)):
            raise ConfigurationError(
                f"{subject}: expected a class with `serialize` and `deserialize`, found a "
                f"`{type(serializer).__qualname__}` without `{method}`"
            )


def check(serializer: object, subject: str) -> None:
    """Refuses what is no serializer."""
    if isinstance(serializer, type):
        name = serializer.__qualname__
        raise ConfigurationError(
            f"{subject}: expected an object, found the class `{name}`; hint: `serializer={name}()`"
        )
    if not isinstance(serializer, str):
        _check_methods(serializer, subject)
        return
    if serializer in BUILT_IN or serializer in _registered:
        return
    if _native.serializer_forms(serializer) is None:
        known = [*BUILT_IN, *_registered]
        guess = _native.nearest(serializer, known)
        hint = f"; hint: did you mean `{guess}`?" if guess else ""
        expected = ", ".join(f"`{name}`" for name in known)
        raise ConfigurationError(
            f"{subject}: expected one of {expected}, the serializer of a plugin, or an object, found "
            f"`{serializer}`{hint}"
        )


def name_of(serializer: object) -> str:
    """The name by which the engine refers to a serializer."""
    if isinstance(serializer, str):
        return f"custom:{serializer}" if serializer in _registered else serializer
    for name, known in _registered.items():
        if known is serializer:
            return f"custom:{name}"
    for name, (_, find) in [*_given.items()]:
        if find() is serializer:
            return name
    kind = type(serializer)
    codec = f"custom:{kind.__module__}.{kind.__qualname__}"
    name = f"{codec}#{next(_numbers)}"
    _given[name] = codec, _kept(serializer, lambda _: _given.pop(name, None))
    return name


def _kept(serializer: object, at_end: Callable[[Any], object]) -> Callable[[], Any]:
    try:
        return weakref.ref(serializer, at_end)
    except TypeError:
        # It cannot be referred to in that way, so it stays.
        return lambda: serializer


def _custom(codec: str, chosen: str) -> Any:
    """The serializer that reads and writes ``codec``: the one that was chosen, if it is one of these."""
    its, find = _given.get(chosen, ("", None))
    found = find() if find is not None and its == codec else _registered.get(codec.removeprefix("custom:"))
    if found is None:
        # That of another function, which may have written what is read now.
        others = [find() for its, find in [*_given.values()] if its == codec]
        found = next((other for other in reversed(others) if other is not None), None)
    if found is None:
        raise SerializationError(
            f"an entry was written by serializer `{codec.removeprefix('custom:')}`, "
            f"which is not registered here"
        )
    return found


def dump(value: Any, serializer: str, mapped: bool) -> Dumped:
    """What is to be done to store ``value``.

    ``mapped`` says that it will be read where it lies, so that frames are laid out for that. The answer
    is one of ``("pickle", codec)``, ``("raw", codec, bytes)``, ``("bytes", codec, buffer)``,
    ``("tree", codec, value)``, ``("tensor", codec, dtype, shape, strides, buffer)``,
    ``("arrow", codec, stream)``.
    """
    if serializer == "auto":
        return _dump_auto(value, mapped)
    if serializer.startswith("custom:"):
        codec = _given[serializer][0] if serializer in _given else serializer
        return "raw", codec, _bytes(_custom(codec, serializer).serialize(value), codec)
    if serializer == "orjson":
        return "raw", serializer, _module("orjson", "orjson").dumps(value)
    if serializer == "protobuf":
        dumped = _protobuf(value)
        if dumped is None:
            raise _unsuitable(serializer, "a message", value)
        return dumped
    if serializer == "text":
        if type(value) is not str:
            raise _unsuitable(serializer, "a `str`", value)
        return "bytes", serializer, value.encode()
    if serializer == "bytes":
        if type(value) is not bytes:
            raise _unsuitable(serializer, "`bytes`", value)
        return "bytes", serializer, value
    if serializer == "json":
        return "tree", serializer, value
    dumped = None
    if serializer == "numpy":
        dumped = _tensor(value, serializer)
        if dumped is None:
            raise _unsuitable(serializer, "an array", value)
        return dumped
    if serializer in FRAMES:
        if not _is_supplied(FRAMES[serializer]):
            raise SerializationError(
                f"serializer `{serializer}`: expected the plugin `arrow-serde` to be installed; "
                f"hint: `pip install retainit[arrow]`"
            )
        dumped = _frame(value, FRAMES[serializer])
        if dumped is None:
            raise _unsuitable(serializer, "a frame, a table or a series", value)
        return dumped
    return _dump_by_form(value, serializer)


def _dump_auto(value: Any, mapped: bool) -> Dumped:
    for name in reversed(_registered):
        can_serialize = getattr(_registered[name], "can_serialize", None)
        if can_serialize is not None and can_serialize(value):
            codec = f"custom:{name}"
            return "raw", codec, _bytes(_registered[name].serialize(value), codec)
    frames = "arrow" if mapped else "parquet"
    try:
        dumped = _tensor(value, "numpy")
        if dumped is None and _is_supplied(frames):
            dumped = _frame(value, frames)
    except _inexact():
        # Not to be kept exactly in that form: as pickle, if the policy lets it.
        dumped = None
    return dumped or _protobuf(value) or ("pickle", "pickle")


def _dump_by_form(value: Any, serializer: str) -> Dumped:
    """For the serializers of plugins, which say which forms they take."""
    if not _is_supplied(serializer):
        raise SerializationError(f"no plugin supplies serializer `{serializer}` any more")
    forms = _supplied(serializer)
    if "bytes" in forms and type(value) is bytes:
        return "bytes", serializer, value
    dumped = None
    if "tensor" in forms:
        dumped = _tensor(value, serializer)
    if dumped is None and "arrow" in forms:
        dumped = _frame(value, serializer)
    if dumped is not None:
        return dumped
    if "tree" in forms:
        return "tree", serializer, value
    raise _unsuitable(serializer, f"data of a form it takes ({', '.join(forms)})", value)


def load(codec: str, data: Any, serializer: str) -> Any:
    """The value of bytes in a codec of Python's own, for a tier that has ``serializer``."""
    if codec == "orjson":
        # Not every buffer is one to it.
        return _module("orjson", "orjson").loads(memoryview(data))
    if codec == "protobuf":
        return _load_protobuf(bytes(data))
    return _custom(codec, serializer).deserialize(bytes(data))


@functools.cache
def _supplied(serializer: str) -> tuple[str, ...]:
    forms = _native.serializer_forms(serializer)
    if forms is None:
        # Raised, so that it is asked again: a plugin may be added.
        raise LookupError(serializer)
    return tuple(forms)


def _is_supplied(serializer: str) -> bool:
    """Whether a plugin supplies it: that for frames is a distribution of its own."""
    try:
        return bool(_supplied(serializer))
    except LookupError:
        return False


def _inexact() -> type[Exception]:
    from retainit._frames import Inexact

    return Inexact


def _tensor(value: Any, codec: str) -> Dumped | None:
    # Whoever has an array has its library.
    if "numpy" not in sys.modules:
        return None
    from retainit import _arrays

    described = _arrays.to_tensor(value)
    return described and ("tensor", codec, *described)


def _frame(value: Any, codec: str) -> Dumped | None:
    if not any(name in sys.modules for name in ("pandas", "polars", "pyarrow")):
        return None
    from retainit import _frames

    stream = _frames.to_stream(value, target=codec)
    return None if stream is None else ("arrow", codec, stream)


def _protobuf(value: Any) -> Dumped | None:
    message = sys.modules.get("google.protobuf.message")
    if message is None or not isinstance(value, message.Message):
        return None
    # The name leads to the class by what is imported, not by importing something.
    name = value.DESCRIPTOR.full_name.encode()
    return "raw", "protobuf", name + b"\0" + value.SerializeToString(deterministic=True)


def _load_protobuf(data: bytes) -> Any:
    name, _, body = data.partition(b"\0")
    pool = _module("google.protobuf.descriptor_pool", "protobuf").Default()
    factory = _module("google.protobuf.message_factory", "protobuf")
    try:
        descriptor = pool.FindMessageTypeByName(name.decode())
    except KeyError:
        raise SerializationError(
            f"an entry holds a message of type `{name.decode()}`, whose module has not been imported"
        ) from None
    return factory.GetMessageClass(descriptor).FromString(body)


def _module(name: str, distribution: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise SerializationError(
            f"serializer `{distribution}`: expected the package `{distribution}` to be installed; "
            f"hint: `pip install retainit[{distribution}]`"
        ) from None


def _bytes(data: object, serializer: str) -> object:
    if isinstance(data, (bytes, bytearray)):
        return data
    if isinstance(data, memoryview):
        # Of elements of any kind.
        return data.tobytes()
    raise SerializationError(
        f"serializer `{serializer.removeprefix('custom:')}`: expected `serialize` to give bytes, found a "
        f"`{type(data).__qualname__}`"
    )


def _unsuitable(serializer: str, expected: str, value: object) -> SerializationError:
    return SerializationError(
        f"serializer `{serializer}`: expected {expected}, found a `{type(value).__qualname__}`; "
        f'hint: use `serializer="auto"`'
    )
