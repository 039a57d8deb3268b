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

import enum
from typing import Any

from retainit._keys import _models, _refused, _standard
from retainit._keys._common import Reduced, Reducer, found_by_name, qualified, root

__all__ = ["Reduced", "Reducer", "reducer"]


def reducer(kind: type) -> Reducer | None:
    """What makes keys of objects of this type, or `None`."""
    name = qualified(kind)
    own = getattr(kind, "__retain_key__", None)
    if own is not None:
        return lambda value: (f"key:{name}", own(value))
    if issubclass(kind, enum.Enum):
        # A class defined inside a function shares its name with those of other calls.
        if found_by_name(kind) is None:
            return None
        return lambda value: (f"enum:{name}", value.value if value.name is None else value.name)
    found = _of_library(kind)
    if found is None:
        found = _standard.reducer(kind) or _models.reducer(kind) or _refused.reducer(kind)
    return found


def _of_library(kind: type) -> Reducer | None:
    # Classes of a library, and what users derive from them.
    libraries = {root(base) for base in kind.__mro__}
    module: Any
    if "pandas" in libraries:
        from retainit._keys import _pandas as module
    elif "numpy" in libraries:
        from retainit._keys import _numpy as module
    elif "polars" in libraries or "pyarrow" in libraries:
        from retainit._keys import _arrow as module
    else:
        return None
    found: Reducer | None = module.reducer(kind)
    return found
