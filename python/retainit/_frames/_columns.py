"""The columns of a stream: NumPy's memory as Arrow arrays, and back without a copy.

Whatever has elements of one size is stored as bare elements, with no validity beside them, so that what comes
back is the same bits: a NaN is a NaN and never a null.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from retainit._frames._exact import Inexact


class Writer:
    """Columns of one length, in the order in which they are added."""

    def __init__(self) -> None:
        self.arrays: list[Any] = []

    def numbers(self, values: Any) -> int:
        """Adds a one-dimensional NumPy array and tells its place. Nothing is copied if it is contiguous."""
        np, pa = import_module("numpy"), import_module("pyarrow")
        values = np.ascontiguousarray(values)
        buffer = pa.py_buffer(values.view(np.uint8)) if values.dtype.itemsize else pa.py_buffer(b"")
        return self.arrow(pa.Array.from_buffers(_bare_type(values.dtype), len(values), [None, buffer]))

    def arrow(self, array: Any) -> int:
        """Adds an Arrow array, or one in chunks, and tells its place."""
        self.arrays.append(array)
        return len(self.arrays) - 1

    def table(self) -> Any:
        """The columns as a table of one piece. They are named by their place: labels may occur twice."""
        pa = import_module("pyarrow")
        names = [str(place) for place in range(len(self.arrays))]
        return pa.table(self.arrays, names=names).combine_chunks()


class Reader:
    """Columns of a table that was read."""

    def __init__(self, table: Any, memory: Memory | None = None) -> None:
        self._table = table
        self._memory = memory
        self._np: Any = import_module("numpy")

    def numbers(self, place: int, dtype: str) -> Any:
        """A column as a NumPy array that its owner may write to."""
        np = self._np
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise ValueError(f"column {place}: `{dtype}` has no bare elements")
        parts = [self._elements(chunk, kind) for chunk in self._table.column(place).chunks]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, kind)

    def block(self, places: list[int], dtype: str) -> Any:
        """Columns of one type as the rows of one array, without a copy if they lie one behind the other."""
        np = self._np
        rows = [self.numbers(place, dtype) for place in places]
        if self._memory is not None and len(rows) > 1 and rows[0].size:
            starts = [row.__array_interface__["data"][0] for row in rows]
            step = starts[1] - starts[0]
            if step >= rows[0].nbytes and starts == list(range(starts[0], starts[-1] + 1, step)):
                whole: Any = self._memory.at(starts[0], starts[-1] - starts[0] + rows[0].nbytes)
                if whole is not None:
                    shape, strides = (len(rows), len(rows[0])), (step, rows[0].itemsize)
                    return np.ndarray(shape, rows[0].dtype, whole, strides=strides)
        return np.stack(rows)

    def arrow(self, place: int) -> Any:
        """A column as a chunked Arrow array."""
        return self._table.column(place)

    def _elements(self, array: Any, dtype: Any) -> Any:
        np = self._np
        if array.type != _bare_type(dtype) or array.null_count:
            raise ValueError(f"expected bare elements of `{dtype}`, found `{array.type}`")
        start, size = array.offset * dtype.itemsize, len(array) * dtype.itemsize
        buffer = array.buffers()[1]
        if size == 0:
            return np.ndarray(len(array), dtype)
        if buffer is None or buffer.size < start + size:
            raise ValueError(f"expected {start + size} bytes of `{dtype}`, found fewer")
        if self._memory is not None:
            mapped: Any = self._memory.at(buffer.address + start, size)
            if mapped is not None:
                return mapped.view(dtype)
        return np.frombuffer(buffer, np.uint8, size, start).copy().view(dtype)


class Memory:
    """Memory that belongs to one value alone, in which the buffers of its arrays lie."""

    def __init__(self, exporter: object) -> None:
        np = import_module("numpy")
        self._bytes = np.empty(0, np.uint8)
        if memoryview(exporter).nbytes:  # type: ignore[arg-type]
            # Asks for memory to write to. Keeps the exporter alive, as does whatever is cut out of it.
            found = np.frombuffer(exporter, np.uint8)
            if found.flags.writeable:
                self._bytes = found
        self._start: int = self._bytes.__array_interface__["data"][0]

    def at(self, address: int, size: int) -> Any | None:
        """The bytes at an address, if they lie in this memory."""
        offset = address - self._start
        if offset < 0 or offset + size > len(self._bytes):
            return None
        return self._bytes[offset : offset + size]


def plain_dtype(dtype: Any) -> str:
    """The text of a NumPy dtype that says all about it and means the same on every machine."""
    np = import_module("numpy")
    text = str(dtype.str)
    if dtype.hasobject or dtype.fields is not None or dtype.subdtype is not None or dtype.metadata:
        raise Inexact(f"NumPy's dtype `{dtype}` is not one of plain elements")
    if dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        raise Inexact(f"NumPy's dtype `{dtype}` has another layout on other machines")
    try:
        same = np.dtype(text) == dtype
    except TypeError:
        same = False
    if not same:
        raise Inexact(f"NumPy's dtype `{dtype}` is not one of NumPy's own, or has elements of varying size")
    return text


@lru_cache
def _bare_type(dtype: Any) -> Any:
    """The Arrow type whose memory is that of a NumPy array."""
    pa = import_module("pyarrow")
    if dtype.isnative and dtype.itemsize <= 8:
        if dtype.kind in "iuf":
            return pa.from_numpy_dtype(dtype)
        if dtype.kind == "b":
            # Arrow's own has a bit for each, which NumPy could not look at.
            return pa.uint8()
        if dtype.kind in "mM":
            # As numbers, so that NaT remains the number that it is.
            return pa.int64()
    return pa.binary(max(dtype.itemsize, 1))
