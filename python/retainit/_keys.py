"""What types without an encoding of their own are reduced to for keys.

`reducer` is asked by the native encoder once for every type but the built-in ones it knows. Its answer
takes an object and gives the name of the type and one value that says all there is about the object.
`None` in either place means that there is no key, but for what the object's own equality gives it
inside the process. No address and no ``repr`` is ever part of a key.
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
Reducer = Callable[[Any], "Reduced | None"]


def reducer(kind: type) -> Reducer | None:
    """What makes keys of objects of this type, or `None`."""
    name = _name(kind)
    own = getattr(kind, "__retain_key__", None)
    if own is not None:
        return lambda value: (f"key:{name}", own(value))
    if "<" in name:
        # A class defined inside a function shares its name with those of other calls.
        return None
    if issubclass(kind, enum.Enum):
        return lambda value: (f"enum:{name}", value.value if value.name is None else value.name)
    if kind in _EXACT:
        return _EXACT[kind]
    if issubclass(kind, type):
        return lambda value: None if "<" in _name(value) else ("type", _name(value))
    if issubclass(kind, pathlib.PurePath):
        return lambda value: (f"path:{name}", os.fspath(value))
    if is_dataclass(kind) and not _has_own_equality(kind):
        # `compare=False` says that a field does not make two objects different.
        names = [field.name for field in fields(kind) if field.compare]
        return lambda value: (f"dataclass:{name}", tuple(getattr(value, each) for each in names))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return lambda value: (f"namedtuple:{name}", tuple(value))
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
    # Where in pathlib its classes are defined depends on the version of Python.
    module = "pathlib" if kind.__module__.startswith("pathlib.") else kind.__module__
    return f"{module}.{kind.__qualname__}"


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


_EXACT: dict[type, Reducer] = {
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
