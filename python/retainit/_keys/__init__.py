"""What types without an encoding of their own are reduced to for keys.

`reducer` is asked by the native encoder once for every type but the built-in ones it knows. Its answer
takes an object and gives the name of the type and one value that says all there is about the object.
`None` in either place means that there is no key, but for what the object's own equality gives it
inside the process. No address and no ``repr`` is ever part of a key. `docs/keys.md` has the values of
each type.

==============  ===================================================================
`_standard`     the standard library
`_models`       dataclasses, named tuples, attrs classes, pydantic models
`_numpy`        scalars, arrays, dtypes
`_pandas`       frames, series, indexes, their arrays, dtypes and scalars
`_arrow`        Polars and pyarrow
`_refused`      what can be used only once, or says nothing about a call
==============  ===================================================================

A library's module is imported at its first object, and takes the library itself from `sys.modules`.
"""

from __future__ import annotations

from typing import Any

from retainit._keys import _models, _refused, _standard
from retainit._keys._common import Reduced, Reducer, found_by_name, qualified, root
from retainit.errors import UnkeyableError

__all__ = ["Reduced", "Reducer", "reducer"]


def reducer(kind: type) -> Reducer | None:
    """What makes keys of objects of this type, or `None`."""
    own = getattr(kind, "__retain_key__", None)
    if own is not None:
        name = qualified(kind)
        return lambda value: (f"key:{name}", own(value))
    exact = _standard.exact(kind)
    if exact is not None:
        return _careful(kind, exact)
    found = _of_library(kind) or _standard.derived(kind) or _models.reducer(kind)
    if found is None:
        return _refused.reducer(kind)
    found = _careful(kind, found)
    if root(kind) in _LIBRARIES or _is_told_by_name(kind):
        return found
    return lambda value: _local(kind, found(value))


def _is_told_by_name(kind: type) -> bool:
    # `Model[int]` of pydantic is made when it is asked for.
    generic = getattr(kind, "__pydantic_generic_metadata__", None) or {}
    return found_by_name(generic.get("origin") or kind) is not None


def _local(kind: type, reduced: Reduced | None) -> Reduced | None:
    # A class defined inside a function shares its name with those of other calls: the class itself
    # becomes part of the key, and has one only inside the process.
    return None if reduced is None else ("local", (kind, *reduced))


_LIBRARIES = {"numpy", "pandas", "polars", "pyarrow"}


def _of_library(kind: type) -> Reducer | None:
    # Classes of a library, and what users derive from them.
    libraries = _LIBRARIES & {root(base) for base in kind.__mro__}
    module: Any
    if "pandas" in libraries:
        from retainit._keys import _pandas as module
    elif "numpy" in libraries:
        from retainit._keys import _numpy as module
    elif libraries:
        from retainit._keys import _arrow as module
    else:
        return None
    reduce: Reducer | None = module.reducer(kind)
    return reduce


def _careful(kind: type, reduce: Reducer) -> Reducer:
    """Objects that were never finished, libraries of other versions: that is not the caller's concern."""

    def careful(value: Any) -> Reduced | None:
        try:
            return reduce(value)
        except (UnkeyableError, RecursionError):
            raise
        except Exception as error:
            what = f"a value of type `{qualified(kind)}` has no key, because reading it failed"
            raise UnkeyableError(f"{what}: {type(error).__name__}: {error}") from error

    return careful
