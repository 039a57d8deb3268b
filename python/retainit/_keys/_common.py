"""What the reducers of all types share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from retainit.errors import UnkeyableError

Reduced = tuple[str, object]
Reducer = Callable[[Any], "Reduced | None"]

# `Py_TPFLAGS_HEAPTYPE`: classes made by a `class` statement, among others.
_HEAP = 1 << 9


def qualified(kind: type) -> str:
    """A class's module and qualified name."""
    # Where in pathlib its classes are defined depends on the version of Python.
    module = "pathlib" if kind.__module__.startswith("pathlib.") else kind.__module__
    return f"{module}.{kind.__qualname__}"


def root(kind: type) -> str:
    """The package that a class is defined in."""
    # Some classes have a property of this name.
    return str(kind.__module__).partition(".")[0]


def state(value: Any) -> dict[str, object]:
    """The attributes that an object itself has."""
    attributes: dict[str, object] = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                attributes[slot] = getattr(value, slot)
    return attributes


def found_by_name(value: Any) -> str | None:
    """The name under which a function or class is found in its module; `None` if something else is.

    Others may have the same name: what was defined inside a function, what a decorator has replaced.
    """
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    if isinstance(value, type) and not value.__flags__ & _HEAP:
        # Classes of C are there once, though not always where they say.
        return qualified(value)
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    # A class method is found bound to its class.
    if found is not value and getattr(found, "__func__", None) is not value:
        return None
    return qualified(value) if isinstance(value, type) else f"{module}.{name}"


def refuse(kind: type, why: str, remedy: str) -> NoReturn:
    """Says that there is no key."""
    raise UnkeyableError(f"a value of type `{qualified(kind)}` has no key: {why}; hint: {remedy}")
