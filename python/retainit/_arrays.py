"""NumPy arrays as tensors: a dtype, a shape, strides and the elements' memory; and back without a copy."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

from retainit._frames._columns import plain_dtype
from retainit._frames._exact import Inexact as Inexact
from retainit._frames._exact import full_name, library_of

Tensor = tuple[str, tuple[int, ...], tuple[int, ...], object]


def to_tensor(value: object) -> Tensor | None:
    """The parts of a NumPy array: dtype as in the array interface, shape, strides and the elements' buffer.

    C and Fortran order are kept, and the order of bytes; any other layout becomes C order. `None` if the
    value is no array, `Inexact` if it is one that its elements do not say all about. Scalars are no arrays.
    """
    kind = type(value)
    if not any(base.__name__ == "ndarray" and library_of(base) == "numpy" for base in kind.__mro__):
        return None
    np = import_module("numpy")
    if kind is not np.ndarray:
        raise Inexact(f"`{full_name(kind)}` is a subclass of NumPy's array")
    array: Any = value
    dtype = plain_dtype(array.dtype)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    # `ascontiguousarray` would make a vector of an array without dimensions.
    ordered = array.T if fortran else np.asarray(array, order="C")
    size = array.dtype.itemsize
    # Seen as bytes, because the buffer protocol has no dates.
    elements = ordered.reshape(-1).view(np.uint8) if size else np.empty(0, np.uint8)
    return dtype, array.shape, _strides(array.shape, size, fortran), elements


def from_tensor(dtype: str, shape: tuple[int, ...], strides: tuple[int, ...], buffer: object) -> Any:
    """The array of a tensor's parts, which may be written to.

    It lies in the buffer if that is writable, which says that the memory is the caller's alone, and is a copy
    otherwise. Parts that do not fit together raise `ValueError` or `TypeError`.
    """
    np = import_module("numpy")
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise ValueError(f"expected a dtype of plain elements, found `{dtype}`")
    view = memoryview(buffer)  # type: ignore[arg-type]
    if 0 in shape or not kind.itemsize:
        return np.ndarray(shape, kind)
    array = np.ndarray(shape, kind, view, strides=strides)
    return array.copy(order="K") if view.readonly else array


def _strides(shape: tuple[int, ...], size: int, fortran: bool = False) -> tuple[int, ...]:
    """Bytes from one element to the next, along each axis."""
    inner = [shape[:axis] if fortran else shape[axis + 1 :] for axis in range(len(shape))]
    return tuple(size * math.prod(lengths) for lengths in inner)
