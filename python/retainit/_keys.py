"""What types without an encoding of their own are reduced to for keys.

`reduce` is asked by the native encoder for everything but exact built-in types. It answers with the
name of the type and one value that says all there is about the object, or with `None`: then the object
has no key, but for what its own equality gives it inside the process. No address and no ``repr`` is
ever part of a key.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import os
import pathlib
import types
import uuid
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

Reduced = tuple[str, object]


def reduce(value: Any) -> Reduced | None:
    """The name of the type and a value that stands for `value`, or `None`."""
    kind = type(value)
    own = getattr(kind, "__retain_key__", None)
    if own is not None:
        return f"key:{_name(kind)}", own(value)
    if isinstance(value, enum.Enum):
        return f"enum:{_name(kind)}", value.name if value.name is not None else value.value
    exact = _EXACT.get(kind)
    if exact is not None:
        return exact(value)
    if isinstance(value, type):
        return "type", _name(value)
    if isinstance(value, pathlib.PurePath):
        return f"path:{_name(kind)}", os.fspath(value)
    if is_dataclass(kind) and not _has_own_equality(kind):
        # `compare=False` says that a field does not make two objects different.
        return f"dataclass:{_name(kind)}", tuple(getattr(value, f.name) for f in fields(kind) if f.compare)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return f"namedtuple:{_name(kind)}", tuple(value)
    return None


def _has_own_equality(kind: type) -> bool:
    # A dataclass made with `eq=False`, or one with an `__eq__` of its own, says itself what is equal.
    params = getattr(kind, "__dataclass_params__", None)
    generated = getattr(kind.__eq__, "__qualname__", "").endswith("__create_fn__.<locals>.__eq__")
    return not getattr(params, "eq", False) or not (generated or _is_generated(kind.__eq__))


def _is_generated(method: object) -> bool:
    code = getattr(method, "__code__", None)
    return code is not None and code.co_filename == "<string>"


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _function(value: types.FunctionType) -> Reduced | None:
    # A nested function or a lambda has a name that others share.
    if "<" in value.__qualname__:
        return None
    return "function", f"{value.__module__}.{value.__qualname__}"


def _builtin(value: types.BuiltinFunctionType) -> Reduced | None:
    owner = value.__self__
    if owner is not None and not isinstance(owner, types.ModuleType):
        return None
    return "builtin", f"{value.__module__}.{value.__qualname__}"


def _zone(zone: datetime.tzinfo | None) -> object:
    if zone is None:
        return None
    if type(zone) is datetime.timezone:
        return "offset", zone.utcoffset(None), zone.tzname(None)
    key = getattr(zone, "key", None)
    if isinstance(key, str):
        return "zone", _name(type(zone)), key
    # Some other implementation: its own key, or none.
    return zone


def _datetime(value: datetime.datetime) -> Reduced:
    parts = value.replace(tzinfo=None).isoformat(timespec="microseconds")
    return "datetime", (parts, value.fold, _zone(value.tzinfo))


def _time(value: datetime.time) -> Reduced:
    parts = value.replace(tzinfo=None).isoformat(timespec="microseconds")
    return "time", (parts, value.fold, _zone(value.tzinfo))


_EXACT: dict[type, Callable[[Any], Reduced | None]] = {
    datetime.datetime: _datetime,
    datetime.date: lambda value: ("date", value.isoformat()),
    datetime.time: _time,
    datetime.timedelta: lambda value: ("timedelta", (value.days, value.seconds, value.microseconds)),
    datetime.timezone: lambda value: ("timezone", (value.utcoffset(None), value.tzname(None))),
    decimal.Decimal: lambda value: ("decimal", str(value)),
    fractions.Fraction: lambda value: ("fraction", (value.numerator, value.denominator)),
    uuid.UUID: lambda value: ("uuid", value.bytes),
    range: lambda value: ("range", (value.start, value.stop, value.step)),
    slice: lambda value: ("slice", (value.start, value.stop, value.step)),
    memoryview: lambda value: ("memoryview", (value.format, value.shape, value.tobytes())),
    type(...): lambda value: ("ellipsis", None),
    type(NotImplemented): lambda value: ("notimplemented", None),
    types.FunctionType: _function,
    types.BuiltinFunctionType: _builtin,
    types.ModuleType: lambda value: ("module", value.__name__),
}
