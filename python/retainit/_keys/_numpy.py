"""NumPy: arrays by their dtype, shape and content, scalars by their dtype and bytes.

How an array lies in memory makes no difference (C or Fortran order, strides, flags), nor do bytes that
belong to no value (padding).
"""

from __future__ import annotations

import sys
from typing import Any

from retainit._keys._common import Reduced, Reducer, found_by_name, qualified, refuse, root, state
from retainit._native import Content

# Classes whose objects are all in their content.
_KNOWN = {"ndarray", "matrix", "recarray", "memmap", "chararray", "MaskedArray"}
_SIMPLE = frozenset("biufcSUmM")
# Characters of dtypes whose arrays export what they hold as it is.
_FLAT = frozenset("?bhilqpBHILQPefdFDSU")


def reducer(kind: type) -> Reducer | None:
    """What makes keys of objects of NumPy's classes and of those derived from them, or `None`."""
    np: Any = sys.modules["numpy"]
    if issubclass(kind, np.generic):
        return _scalar_reducer(np, kind)
    if issubclass(kind, np.ndarray):
        return _array_reducer(np, kind)
    if issubclass(kind, np.dtype):
        return lambda value: ("numpy.dtype", describe(value))
    if issubclass(kind, (np.random.Generator, np.random.RandomState, np.random.BitGenerator)):
        return lambda value: refuse(kind, "it gives other numbers each time", "pass a seed")
    if root(kind) == "numpy":
        return _by_name
    return None


def _by_name(value: Any) -> Reduced | None:
    # Functions of NumPy's own kinds.
    np: Any = sys.modules["numpy"]
    if isinstance(value, np.ufunc):
        found = getattr(np, value.__name__, None) is value
        return ("function", f"numpy.{value.__name__}") if found else None
    name = found_by_name(value)
    return None if name is None else ("function", name)


def describe(dtype: Any) -> object:
    """A dtype as a plain value."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return "array", describe(base), shape
    if dtype.names is not None:
        fields = []
        for name in dtype.names:
            kind, offset, *title = dtype.fields[name]
            fields.append((name, title[0] if title else None, offset, describe(kind)))
        return dtype.type.__name__, dtype.itemsize, tuple(fields)
    if dtype.kind == "T":
        missing = (dtype.na_object,) if hasattr(dtype, "na_object") else ()
        return "string", dtype.coerce, missing
    if root(dtype.type) != "numpy":
        # Types of others may have the letters of NumPy's own.
        return "other", qualified(dtype.type), dtype.str
    return dtype.str


def content(array: Any) -> object:
    """The values of a plain array, in C order."""
    np: Any = sys.modules["numpy"]
    dtype = array.dtype
    if dtype.names is not None:
        # Field by field, since there may be padding between them.
        return tuple(content(array[name]) for name in dtype.names)
    if dtype.hasobject or dtype.kind == "T":
        return array.ravel().tolist()
    if array.size == 0 or dtype.itemsize == 0:
        return b""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        flat = _meaningful(np, flat)
    return Content(flat)


def _meaningful(np: Any, flat: Any) -> Any:
    # x86's numbers of 80 bits lie in more bytes, the rest of which is whatever was there.
    info = np.finfo(np.longdouble)
    if info.nmant != 63:
        return flat
    used = flat.reshape(-1, np.dtype(np.longdouble).itemsize)[:, :10]
    return np.ascontiguousarray(used).reshape(-1)


def _scalar_reducer(np: Any, kind: type) -> Reducer:
    own = root(kind) == "numpy"
    if own and np.dtype(kind).kind in _SIMPLE and np.dtype(kind).itemsize <= 16 and kind is not np.longdouble:
        return lambda value: ("numpy.scalar", (value.dtype.str, value.tobytes()))

    def reduce(value: Any) -> Reduced:
        plain = np.asarray(value, dtype=value.dtype)
        parts = (describe(plain.dtype), content(plain))
        if own:
            return "numpy.scalar", parts
        return f"numpy.scalar:{qualified(kind)}", (*parts, state(value))

    return reduce


def _array_reducer(np: Any, kind: type) -> Reducer:
    name = f"numpy.{kind.__name__}" if root(kind) == "numpy" else f"numpy.ndarray:{qualified(kind)}"
    if issubclass(kind, np.ma.MaskedArray):
        return lambda value: _masked(np, name, value)
    complete = root(kind) == "numpy" and kind.__name__ in _KNOWN

    def reduce(value: Any) -> Reduced:
        dtype = value.dtype
        if complete and dtype.char in _FLAT and value.flags.c_contiguous:
            # Most arrays: by the shortest way.
            return name, (dtype.str, value.shape, Content(value))
        plain = value.view(np.ndarray)
        parts = (describe(dtype), value.shape, content(plain))
        return name, parts if complete else (*parts, state(value))

    return reduce


def _masked(np: Any, name: str, value: Any) -> Reduced:
    if value is np.ma.masked:
        return "numpy.masked", None
    # What lies under the mask is there to be read, and part of the key.
    parts = (value.data, np.ma.getmaskarray(value), value.fill_value, bool(value.hardmask))
    return name, parts if name == "numpy.MaskedArray" else (*parts, _attributes(value))


def _attributes(value: Any) -> dict[str, object]:
    # Those of `numpy.ma` itself are in the key already.
    return {name: each for name, each in state(value).items() if not name.startswith("_")}
