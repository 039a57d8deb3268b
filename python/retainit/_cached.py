"""Cached functions: how one is made, and how it finds its backends."""

from __future__ import annotations

import copy
import functools
import inspect
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from retainit import _methods, _native, _process
from retainit._options import UNSET
from retainit.errors import ConfigurationError, UnkeyableError, UnkeyableWarning

__all__ = ["cached", "make"]

_COPIES: dict[str, Callable[[Any], Any] | None] = {
    "reference": None,
    "shallow": copy.copy,
    "deep": copy.deepcopy,
}

_methods.install()


def cached(function: Any, options: dict[str, Any]) -> Any:
    """What `retain` gives for a function, whose options it has checked."""
    if isinstance(function, type) or not callable(function):
        raise ConfigurationError(f"`retain` caches functions: expected a callable, found `{function!r}`")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigurationError(
            f"`retain` on `{_name(function)}`: expected a function that returns its result, found a "
            f"generator function, whose result is used up by the first caller; hint: return a list"
        )
    return make(function, options, typed=None)


def make(function: Any, options: dict[str, Any], typed: bool | None) -> Any:
    """A cached function. With `typed` its calls are told apart by equality, as `functools` does."""
    parameters = _parameters(function, options["exclude_args"])
    builder = options["key_builder"]
    if isinstance(builder, str):
        from retainit._template import template

        builder = template(builder, [parameter[0] for parameter in parameters], _name(function))
    asynchronous = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose `__call__` is a coroutine function
    )
    drive: Any = None
    if asynchronous:
        from retainit._drive import drive
    made = _native.make(
        function,
        {
            "name": _name(function),
            "parameters": parameters,
            "jitter": options["jitter"],
            "strict": options["strict"],
            "key_builder": builder,
            "copy": _COPIES[options["copy"]],
            "typed": typed,
            "drive": drive,
            "resolve": _resolve,
        },
    )
    functools.update_wrapper(made, function)
    made.__dict__["_retain"] = options
    if asynchronous:
        # What `inspect.iscoroutinefunction` looks at, before and from 3.12 on.
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            made.__dict__[name] = getattr(function, name, None)
        marker = getattr(inspect, "_is_coroutine_mark", None)
        if marker is not None:
            made.__dict__["_is_coroutine_marker"] = marker
    return made


def _resolve(cached: Any) -> None:
    # Imported where it is used: importing this package is to be quick.
    with _process.lock:
        from retainit import _registry

    options = cached._retain
    defaults = _registry.defaults()
    tiers = []
    for tier in _registry.resolve(options["backend"]):
        ttl = next((ttl for ttl in (options["ttl"], tier.ttl, defaults.ttl) if ttl is not UNSET), None)
        namespace = options["namespace"] or tier.namespace or defaults.namespace or ""
        tiers.append((tier.backend, None if ttl is None else _native.parse_duration(ttl), namespace))
    version = str(options["version"])
    if any(backend.is_outside for backend, _, _ in tiers):
        try:
            version = identity(cached, version)
        except UnkeyableError as error:
            if options["strict"]:
                raise
            tiers = [each for each in tiers if not each[0].is_outside]
            warnings.warn(f"`{_name(cached.__wrapped__)}` {error}", UnkeyableWarning, stacklevel=2)
    _native.set_tiers(cached, tiers, version)


def identity(cached: Any, version: str) -> str:
    """What parts a function from others of its name outside the process.

    A function of a module or class is its qualified name. One defined inside another function, or a
    lambda, shares its name with others: its code and what it captures are part of what it is.
    """
    function = cached.__wrapped__
    code = getattr(function, "__code__", None)
    if "<" not in _name(function) or code is None:
        return version
    captured = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            value = None  # not bound yet, so nothing that a result could have come from
        if value is cached or value is function:
            continue
        try:
            captured.append(_native.encode((name, value)))
        except UnkeyableError as error:
            raise UnkeyableError(
                f"is kept inside the process only: it captures `{name}`, and {error}; hint: define it in a "
                f"module, and pass what it needs as arguments"
            ) from None
    # Imported where it is used: few functions need it, and it takes long.
    import hashlib

    digest = _native.encode((_code(code), tuple(captured)))
    return f"{version}+{hashlib.blake2b(digest, digest_size=12).hexdigest()}"


def _code(code: types.CodeType) -> tuple[object, ...]:
    constants = tuple(
        _code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts
    )
    return (code.co_code, code.co_names, code.co_varnames, constants)


def _parameters(function: Any, excluded: Sequence[str]) -> list[tuple[str, int, bool, Any, bool]]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some built-in functions do not say: any arguments then, told apart as they are given.
        signature = inspect.signature(lambda *args, **kwargs: None)
    names = list(signature.parameters)
    for name in excluded:
        if name not in signature.parameters:
            guess = _native.nearest(name, names)
            hint = f"; hint: did you mean `{guess}`?" if guess else ""
            expected = ", ".join(f"`{each}`" for each in names) or "none, it has no parameters"
            raise ConfigurationError(
                f"unknown name `{name}` in `exclude_args` of `{_name(function)}`: "
                f"expected one of {expected}{hint}"
            )
    return [
        (
            parameter.name,
            int(parameter.kind),
            parameter.default is not parameter.empty,
            None if parameter.default is parameter.empty else parameter.default,
            parameter.name in excluded,
        )
        for parameter in signature.parameters.values()
    ]


def _name(function: Any) -> str:
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not hasattr(inner, "__qualname__"):
        inner = type(inner)
    return f"{inner.__module__}.{inner.__qualname__}"
