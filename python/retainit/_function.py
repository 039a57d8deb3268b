"""`retain`, and what a cached function can do besides being called."""

from __future__ import annotations

import copy as copying
import functools
import hashlib
import inspect
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from retainit import _native
from retainit._config import UNSET, BackendConfig, Duration, Unset, check_duration, seconds
from retainit._template import template
from retainit.errors import ConfigurationError, UnkeyableError, UnkeyableWarning

__all__ = ["MISSING", "CacheInfo", "retain"]


class _Missing:
    """The type of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "MISSING"


#: What `cache_get` returns where nothing is kept.
MISSING = _Missing()


class CacheInfo(NamedTuple):
    """Counts of a cached function. The first four are those of `functools`."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int
    #: Values served past their time to live.
    stale: int
    #: Failures of the cache, none of which a call has seen.
    errors: int
    #: Entries that a backend evicted, or reclaimed once they had expired.
    evictions: int


_COPIES: dict[str, Callable[[Any], Any] | None] = {
    "reference": None,
    "shallow": copying.copy,
    "deep": copying.deepcopy,
}


def retain(
    function: Any = None,
    /,
    *,
    backend: str | BackendConfig | Sequence[str | BackendConfig] | None = None,
    ttl: Duration | None | Unset = UNSET,
    jitter: float = 0.0,
    key_builder: str | Callable[..., str] | None = None,
    exclude_args: Sequence[str] = (),
    version: str | int = "",
    namespace: str | None = None,
    copy: str = "reference",
    strict: bool = False,
) -> Any:
    """Caches a function's results. See the stub for the options."""
    options: dict[str, Any] = {
        "backend": backend,
        "ttl": ttl,
        "jitter": jitter,
        "key_builder": key_builder,
        "exclude_args": exclude_args,
        "version": version,
        "namespace": namespace,
        "copy": copy,
        "strict": strict,
    }
    _check(options)
    if function is None:
        return functools.partial(_retain, options=options)
    return _retain(function, options)


def _retain(function: Any, options: dict[str, Any]) -> Any:
    for wrapper in (staticmethod, classmethod):
        if isinstance(function, wrapper):
            return wrapper(_retain(function.__func__, options))
    if isinstance(function, type) or not callable(function):
        raise ConfigurationError(
            f"`retain` caches functions: expected a callable, found `{function!r}`"
        )
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
        builder = template(builder, [parameter[0] for parameter in parameters], _name(function))
    asynchronous = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose `__call__` is a coroutine function
    )
    drive = None
    if asynchronous:
        from retainit._drive import drive
    cached = _native.make(
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
    functools.update_wrapper(cached, function)
    cached.__dict__["_retain"] = options
    if asynchronous:
        # What `inspect.iscoroutinefunction` looks at, before and from 3.12 on.
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            cached.__dict__[name] = getattr(function, name, None)
        marker = getattr(inspect, "_is_coroutine_mark", None)
        if marker is not None:
            cached.__dict__["_is_coroutine_marker"] = marker
    return cached


def _resolve(cached: Any) -> None:
    from retainit import _registry

    options = cached._retain
    defaults = _registry.defaults()
    tiers = []
    for tier in _registry.resolve(options["backend"]):
        ttl = next((ttl for ttl in (options["ttl"], tier.ttl, defaults.ttl) if ttl is not UNSET), None)
        namespace = options["namespace"] or tier.namespace or defaults.namespace or ""
        tiers.append((tier.backend, seconds(ttl), namespace))
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
    digest = _native.encode((_code(code), tuple(captured)))
    return f"{version}+{hashlib.blake2b(digest, digest_size=12).hexdigest()}"


def _code(code: types.CodeType) -> tuple[object, ...]:
    constants = tuple(_code(each) if isinstance(each, types.CodeType) else repr(each) for each in code.co_consts)
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
                f"unknown name `{name}` in `exclude_args` of `{_name(function)}`: expected one of {expected}{hint}"
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


def _check(options: dict[str, Any]) -> None:
    check_duration(options["ttl"], "option `ttl` of `retain`")
    jitter = options["jitter"]
    if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
        raise ConfigurationError(
            f"option `jitter` of `retain`: expected a share from 0 to 1, found `{jitter!r}`"
        )
    if options["copy"] not in _COPIES:
        expected = ", ".join(f'`"{name}"`' for name in _COPIES)
        raise ConfigurationError(
            f"option `copy` of `retain`: expected one of {expected}, found `{options['copy']!r}`"
        )
    if isinstance(options["exclude_args"], str):
        raise ConfigurationError(
            f"option `exclude_args` of `retain`: expected a list of names, found `{options['exclude_args']!r}`; "
            f"hint: write `[{options['exclude_args']!r}]`"
        )
    builder = options["key_builder"]
    if builder is not None and not isinstance(builder, str) and not callable(builder):
        raise ConfigurationError(
            f"option `key_builder` of `retain`: expected a function or a template, found `{builder!r}`"
        )
    namespace = options["namespace"]
    if namespace is not None and not isinstance(namespace, str):
        raise ConfigurationError(f"option `namespace` of `retain`: expected text, found `{namespace!r}`")
    if not isinstance(options["version"], (str, int)):
        raise ConfigurationError(
            f"option `version` of `retain`: expected text or a number, found `{options['version']!r}`"
        )


# What follows becomes methods of the native type.


def _key(cached: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> _native.Key:
    key = _native.key(cached, arguments, keywords)
    if key is None:
        # Raises what a call would: Python's own words for arguments that do not fit.
        inspect.signature(cached.__wrapped__).bind(*arguments, **keywords)
        raise TypeError(f"the arguments do not fit `{cached.__qualname__}`")
    return key


def _on(cached: Any, operation: Callable[..., Any], *arguments: Any) -> Any:
    """Runs an operation; on asynchronous functions as a coroutine."""
    if not inspect.iscoroutinefunction(cached):
        return operation(*arguments)
    from retainit._drive import off_loop

    return off_loop(cached, operation, *arguments)


def cache_info(self: Any) -> CacheInfo:
    """Counts of this function since it was made or last cleared."""
    hits, misses, errors, evictions, entries = _native.info(self)
    return CacheInfo(hits, misses, self._retain.get("maxsize"), entries, 0, errors, evictions)


def cache_parameters(self: Any) -> dict[str, Any]:
    """The options this function was made with, and the tiers they have led to."""
    options = {name: value for name, value in self._retain.items() if value is not UNSET}
    return {**options, "tiers": [name for name, _, _ in _native.tiers(self)]}


def cache_key(self: Any, *args: Any, **kwargs: Any) -> str:
    """The key of a call as people read it."""
    namespace = self._retain["namespace"] or ""
    return _native.printable_key(self, _key(self, args, kwargs), namespace, str(self._retain["version"]))


def cache_get(self: Any, *args: Any, **kwargs: Any) -> Any:
    """The kept result of a call, or `MISSING`. Never runs the function."""

    def get() -> Any:
        found = _native.peek(self, _key(self, args, kwargs))
        return MISSING if found is None else found[0]

    return _on(self, get)


def cache_set(self: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Keeps `value` as the result of the call with the other arguments."""
    return _on(self, lambda: _native.put(self, _key(self, args, kwargs), value))


def cache_delete(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Forgets the result of a call; says whether there was one."""
    return _on(self, lambda: _native.delete(self, _key(self, args, kwargs)))


def cache_clear(self: Any) -> Any:
    """Forgets all results of this function, and starts its counts anew."""
    return _on(self, _native.clear, self)


def cache_refresh(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Runs the function, and keeps and returns what it returns."""
    if not inspect.iscoroutinefunction(self):
        return _native.refresh(self, _key(self, args, kwargs), args, kwargs)
    from retainit._drive import answer

    async def refresh() -> Any:
        return await answer(self, _key(self, args, kwargs), args, kwargs, read=False)

    return refresh()


def _reduce(self: Any) -> str:
    """Pickles by name, as functions do."""
    return cast(str, self.__qualname__)


def _copy(self: Any, memo: object = None) -> Any:
    """Copies to itself, as functions do."""
    return self


for _method in (
    cache_info,
    cache_parameters,
    cache_key,
    cache_get,
    cache_set,
    cache_delete,
    cache_clear,
    cache_refresh,
):
    setattr(_native.Function, _method.__name__, _method)
_native.Function.__reduce__ = _reduce  # type: ignore[method-assign]
_native.Function.__copy__ = _copy  # type: ignore[attr-defined]
_native.Function.__deepcopy__ = _copy  # type: ignore[attr-defined]
