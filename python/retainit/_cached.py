"""Cached functions: how one is made, and how it finds its backends."""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from retainit import _methods, _native, _process
from retainit._identity import identity, qualified_name
from retainit._life import life_of
from retainit._options import UNSET
from retainit.errors import ConfigurationError, UnkeyableError, UnkeyableWarning

__all__ = ["cached", "invalidated", "make"]

_COPIES: dict[str, Callable[[Any], Any] | None] = {
    "reference": None,
    "shallow": copy.copy,
    "deep": copy.deepcopy,
}

#: Functions whose entries can be invalidated by what they have in common.
invalidated: weakref.WeakSet[Any] = weakref.WeakSet()

_methods.install()


def cached(function: Any, options: dict[str, Any]) -> Any:
    """What `retain` gives for a function, whose options it has checked."""
    if isinstance(function, type) or not callable(function):
        raise ConfigurationError(f"`retain` caches functions: expected a callable, found `{function!r}`")
    generates = _is(inspect.isgeneratorfunction, function)
    awaited = _is(inspect.isasyncgenfunction, function)
    if generates or awaited:
        if not options.get("materialize", False):
            raise ConfigurationError(
                f"`retain` on `{qualified_name(function)}`: expected a function that returns its result, "
                f"found a generator function, whose result is used up by the first caller; "
                f"hint: `materialize=True` keeps all that it gives, and each call iterates over that"
            )
        # Imported where it is used: few need it.
        from retainit._materialize import materialized

        return materialized(function, options, asynchronous=awaited)
    if options.get("materialize", False):
        raise ConfigurationError(
            f"option `materialize` of `retain` on `{qualified_name(function)}`: expected a generator "
            f"function, found one that returns its result; hint: leave the option out"
        )
    return make(function, options, typed=None)


def _is(what: Callable[[Any], bool], function: Any) -> bool:
    """Whether a function is of a kind, or an object whose `__call__` is."""
    return what(function) or what(getattr(function, "__call__", None))  # noqa: B004


def make(function: Any, options: dict[str, Any], typed: bool | None) -> Any:
    """A cached function. With `typed` its calls are told apart by equality, as `functools` does."""
    parameters = _parameters(function, options["exclude_args"])
    builder = options["key_builder"]
    if isinstance(builder, str):
        from retainit._template import template

        builder = template(builder, [parameter[0] for parameter in parameters], qualified_name(function))
    asynchronous = _is(inspect.iscoroutinefunction, function)
    tags: Any = {}
    if options.get("tags") is not None:
        from retainit import _tags

        tags = _tags.native(options, [parameter[0] for parameter in parameters], qualified_name(function))
    drive: Any = None
    if asynchronous:
        from retainit._drive import drive
    freshness: dict[str, Any] = {}
    if "stale_ttl" in options:
        from retainit import _freshness

        _freshness.check_function(options, qualified_name(function), asynchronous)
        freshness = _freshness.native(options)
    made = _native.make(
        function,
        {
            "name": qualified_name(function),
            "parameters": parameters,
            "jitter": options["jitter"],
            "strict": options["strict"],
            "key_builder": builder,
            "copy": _COPIES[options["copy"]],
            "life": life_of(options),
            "typed": typed,
            "drive": drive,
            "lease": options.get("lease"),
            "resolve": _resolve,
            **freshness,  # type: ignore[typeddict-item]  # checked where it is made
            **tags,
        },
    )
    functools.update_wrapper(made, function)
    made.__dict__["_retain"] = options
    if tags.get("result_tags") is not None:
        made.__dict__["_result_tags"] = tags["result_tags"]
    if tags or builder is not None:
        invalidated.add(made)
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
        from retainit._storage import Storage, storage_format

    options = cached._retain
    defaults = _registry.defaults()
    tiers = []
    for tier in _registry.resolve(options["backend"]):
        # One that depends on the result is asked when there is one.
        own = UNSET if callable(options["ttl"]) else options["ttl"]
        ttl = next((ttl for ttl in (own, tier.ttl, defaults.ttl) if ttl is not UNSET), None)
        namespace = options["namespace"] or tier.namespace or defaults.namespace or ""
        storage = options.get("storage", Storage()).over(tier.storage)
        seconds = None if ttl is None else _native.parse_duration(ttl)
        tiers.append((tier.backend, storage_format(storage, tier.private), seconds, namespace))
    if options.get("lease") and not any({"lease", "shared"} <= tier[0].capabilities for tier in tiers):
        raise ConfigurationError(
            f"option `lease` of `retain` on `{qualified_name(cached)}`: expected a shared backend with "
            f"leases, such as `DiskConfig()`, found {', '.join(f'`{tier[0].type}`' for tier in tiers)}"
        )
    version = str(options["version"])
    if any(tier[0].is_outside for tier in tiers):
        try:
            version = identity(cached, version)
        except UnkeyableError as error:
            if options["strict"]:
                raise
            tiers = [each for each in tiers if not each[0].is_outside]
            warnings.warn(f"`{qualified_name(cached.__wrapped__)}` {error}", UnkeyableWarning, stacklevel=2)
    _native.set_tiers(cached, tiers, version)


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
                f"unknown name `{name}` in `exclude_args` of `{qualified_name(function)}`: "
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
