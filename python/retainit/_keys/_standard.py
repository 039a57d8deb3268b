"""Types of the standard library. Those of modules that may not be imported are known by name."""

from __future__ import annotations

import datetime
import decimal
import fractions
import os
import pathlib
import sys
import types
import uuid
from typing import Any

from retainit._keys._common import Reduced, Reducer, found_by_name, qualified
from retainit._native import Content


def exact(kind: type) -> Reducer | None:
    """What makes keys of objects of a class of the standard library, or `None`."""
    if kind in _EXACT:
        return _EXACT[kind]
    by_name = _BY_NAME.get(f"{kind.__module__}.{kind.__name__}")
    if by_name is not None and getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind:
        return by_name
    return _function if kind.__name__ == "cython_function_or_method" else None


def derived(kind: type) -> Reducer | None:
    """What makes keys of objects of a class that may be derived from one of the standard library."""
    name = qualified(kind)
    if issubclass(kind, type):
        return _type
    if issubclass(kind, pathlib.PurePath):
        return lambda value: (f"path:{name}", os.fspath(value))
    if issubclass(kind, datetime.tzinfo):
        return _timezone
    return None


def _type(value: type) -> Reduced | None:
    name = found_by_name(value)
    return None if name is None else ("type", name)


def _function(value: Any) -> Reduced | None:
    name = found_by_name(value)
    return None if name is None else ("function", name)


def _cached(value: Any) -> Reduced | None:
    # Not the function that it wraps.
    name = found_by_name(value)
    return None if name is None else ("cached", name)


def _builtin(value: types.BuiltinFunctionType) -> Reduced | None:
    owner = value.__self__
    if owner is not None and not isinstance(owner, types.ModuleType):
        return None
    return "builtin", f"{value.__module__}.{value.__qualname__}"


def _memoryview(value: memoryview) -> Reduced:
    content = Content(value) if value.c_contiguous else value.tobytes()
    return "memoryview", (value.format, value.shape, content)


def _array(value: Any) -> Reduced:
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return "array", (value.typecode, value.itemsize, Content(value, shared=False))


def _timezone(value: datetime.tzinfo) -> Reduced | None:
    known = zone(value)
    return None if known is value else ("timezone", known)


def zone(value: datetime.tzinfo | None) -> object:
    """What stands for a time zone in the keys of others; the zone itself if there is nothing."""
    if value is None:
        return None
    if type(value) is datetime.timezone:
        return "offset", value.utcoffset(None), value.tzname(None)
    name = qualified(type(value))
    if name == "dateutil.tz.tz.tzutc":
        return "zone", name, "UTC"
    # `pytz` has a class for each zone.
    module, attribute = ("pytz", "zone") if name.startswith("pytz.") else (name, "key")
    key = getattr(value, attribute, None)
    if isinstance(key, str) and "<" not in name:
        return "zone", module, key
    # Some other implementation: its own key, or none.
    return value


def _offset(value: Any) -> object:
    # An object of `pytz` is a zone at one of its offsets, and there is no `fold`.
    return value.utcoffset() if type(value.tzinfo).__module__.startswith("pytz") else value.fold


def _datetime(value: datetime.datetime) -> Reduced:
    parts = value.replace(tzinfo=None).isoformat(timespec="microseconds")
    return "datetime", (parts, _offset(value), zone(value.tzinfo))


def _time(value: datetime.time) -> Reduced:
    parts = value.replace(tzinfo=None).isoformat(timespec="microseconds")
    return "time", (parts, value.fold, zone(value.tzinfo))


def _partial(value: Any) -> Reduced:
    return "partial", (value.func, value.args, value.keywords)


def _reduced(value: Any) -> Reduced:
    # `operator`'s callables say what they are made of as they do to be pickled.
    return "operator", value.__reduce__()


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
    memoryview: _memoryview,
    type(...): lambda value: ("ellipsis", None),
    type(NotImplemented): lambda value: ("notimplemented", None),
    types.FunctionType: _function,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: lambda value: ("method", (value.__func__, value.__self__)),
    types.ModuleType: lambda value: ("module", value.__name__),
    types.SimpleNamespace: lambda value: ("namespace", vars(value)),
    types.MappingProxyType: lambda value: ("mappingproxy", value.copy()),
    types.GenericAlias: lambda value: ("generic", (value.__origin__, value.__args__)),
    types.UnionType: lambda value: ("union", frozenset(value.__args__)),
    type({}.keys()): lambda value: ("dict_keys", set(value)),
    type({}.values()): lambda value: ("dict_values", list(value)),
    type({}.items()): lambda value: ("dict_items", dict(value)),
}

_BY_NAME: dict[str, Reducer] = {
    "array.array": _array,
    "collections.ChainMap": lambda value: ("chainmap", value.maps),
    "collections.Counter": lambda value: ("counter", dict(value)),
    "collections.OrderedDict": lambda value: ("ordereddict", tuple(value.items())),
    "collections.UserDict": lambda value: ("userdict", value.data),
    "collections.UserList": lambda value: ("userlist", value.data),
    "collections.UserString": lambda value: ("userstring", value.data),
    "collections.defaultdict": lambda value: ("defaultdict", (value.default_factory, dict(value))),
    "collections.deque": lambda value: ("deque", (list(value), value.maxlen)),
    "functools._lru_cache_wrapper": _cached,
    "functools.partial": _partial,
    "operator.attrgetter": _reduced,
    "operator.itemgetter": _reduced,
    "operator.methodcaller": _reduced,
    "re.Pattern": lambda value: ("pattern", (value.pattern, value.flags)),
    "retainit._native.Function": _cached,
    "string.Template": lambda value: ("template", value.template),
    **{
        f"ipaddress.IPv{version}{kind}": lambda value: (f"ip:{type(value).__name__}", str(value))
        for version in (4, 6)
        for kind in ("Address", "Interface", "Network")
    },
}
