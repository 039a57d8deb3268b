"""What a function is called, and what parts it from others of its name outside the process."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import types
from typing import Any

from retainit import _native, _process
from retainit.errors import UnkeyableError

__all__ = ["identity", "named", "qualified_name"]

# Modules that are the program itself: of every program, and of the processes that it spawns.
_PROGRAM = ("__main__", "__mp_main__")


def qualified_name(function: Any) -> str:
    """Module and qualified name; of a callable object those of its class."""
    inner = named(function)
    module = "__main__" if inner.__module__ in _PROGRAM else inner.__module__
    return f"{module}.{inner.__qualname__}"


def named(function: Any) -> Any:
    """What has the names of a function: itself, what a partial call is of, or an object's class."""
    inner = _inner(function)
    return inner if hasattr(inner, "__qualname__") else type(inner)


def identity(cached: Any, version: str) -> str:
    """The version of a cached function's entries, as far as others can see them.

    A function of a module or class is its qualified name. What shares its name with others is told
    apart by what it is: a function defined inside another one, a lambda, or one that was typed in by
    its code and what it captures; a function of a program by the program's file; bound methods,
    partial calls and callable objects by what they are bound to.
    """
    # Of a generator function that is kept whole, it is that which counts.
    function, outer = cached.__dict__.get("_generator", (cached.__wrapped__, cached))
    parts = _bound(function)
    inner = _inner(function)
    code = getattr(inner, "__code__", None)
    program = _program(inner)
    if program is not None:
        parts.append(("program", program))
    if code is not None and ("<" in qualified_name(function) or program == ""):
        parts.append(("code", _code(code)))
        parts.extend(_captured(inner, code, (cached, cached.__wrapped__, function, outer)))
    if not parts:
        return version
    encoded = []
    for what, value in parts:
        try:
            encoded.append(_native.encode((what, value)))
        except UnkeyableError as error:
            raise UnkeyableError(
                f"is kept inside the process only: it {_NEEDS.get(what, f'captures `{what}`')}, and {error}; "
                f"hint: define it in a module, and pass what it needs as arguments"
            ) from None
    # Imported where it is used: few functions need it, and it takes long.
    with _process.lock:
        import hashlib

    digest = _native.encode(tuple(encoded))
    return f"{version}+{hashlib.blake2b(digest, digest_size=12).hexdigest()}"


# Parts that are no captured names, as messages have them.
_NEEDS = {
    "code": "is defined inside another function",
    "self": "is bound to an object",
    "arguments": "is a partial call",
}


def _inner(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _bound(function: Any) -> list[tuple[str, object]]:
    parts: list[tuple[str, object]] = []
    while isinstance(function, functools.partial):
        parts.append(("arguments", (function.args, function.keywords)))
        function = function.func
    owner = getattr(function, "__self__", None)
    if not hasattr(function, "__qualname__"):
        parts.append(("self", function))
    elif owner is not None and not isinstance(owner, types.ModuleType):
        parts.append(("self", owner))
    return parts


def _program(function: Any) -> str | None:
    """Which program a function is of: a module's name, a file, or nothing for what was typed in.

    `None` for functions of modules, whose name says it.
    """
    if not hasattr(function, "__qualname__"):
        function = type(function)
    if function.__module__ not in _PROGRAM:
        return None
    module = sys.modules.get(function.__module__)
    started_as: str | None = getattr(getattr(module, "__spec__", None), "name", None)
    if started_as is not None and started_as not in _PROGRAM:
        return started_as
    # The code says it best: Python takes `__file__` away at the program's last line, when threads of
    # it may still run, and what wraps a function may be another module's.
    code: types.CodeType | None = getattr(inspect.unwrap(function), "__code__", None)
    if code is not None and os.path.isfile(code.co_filename):
        return os.path.realpath(code.co_filename)
    file: str | None = getattr(module, "__file__", None)
    return os.path.realpath(file) if file else ""


def _captured(function: Any, code: types.CodeType, own: tuple[Any, ...]) -> list[tuple[str, object]]:
    parts: list[tuple[str, object]] = []
    for free, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            value = None  # not bound yet, so nothing that a result could have come from
        if not any(value is each for each in own):
            parts.append((free, value))
    return parts


def _code(code: types.CodeType) -> tuple[object, ...]:
    constants = tuple(_code(each) if isinstance(each, types.CodeType) else each for each in code.co_consts)
    return (code.co_code, code.co_names, code.co_varnames, constants)
