"""Polars and pyarrow, through Arrow's PyCapsule interface: by schema and values.

Chunks, offsets and other ways of lying in memory make no difference. A type does, and so do names,
metadata, and whether text is `string`, `large_string` or `string_view`.
"""

from __future__ import annotations

import sys
from typing import Any

from retainit._keys._common import Reduced, Reducer, qualified, refuse, root
from retainit._native import Content, arrow_content, arrow_schema


def reducer(kind: type) -> Reducer | None:
    """What makes keys of objects of Polars and pyarrow, or `None`."""
    for base in kind.__mro__:
        name = f"{root(base)}.{base.__name__}"
        reduce = _KINDS.get(name)
        if reduce is not None:
            break
    else:
        return None
    if root(kind) not in ("polars", "pyarrow"):
        name = f"{name}:{qualified(kind)}"
    return lambda value: (name, reduce(value))


def _polars(value: Any) -> object:
    dtypes = value.dtypes if hasattr(value, "dtypes") else [value.dtype]
    if any(
        type(dtype).__name__ == "Object" or getattr(dtype, "__name__", "") == "Object" for dtype in dtypes
    ):
        refuse(type(value), "it has a column of Python objects", "cast the column to another type")
    return arrow_content(value)


def _polars_type(value: Any) -> object:
    pl: Any = sys.modules["polars"]
    return arrow_content(pl.Series("", [], dtype=value))[0]


def _lazy(value: Any) -> Reduced:
    refuse(type(value), "it has not been computed", "pass what `.collect()` gives")


def _reader(value: Any) -> Reduced:
    refuse(type(value), "it can be read only once", "pass what `.read_all()` gives")


def chunks(value: Any) -> object:
    """The schema and content of a pyarrow `ChunkedArray`."""
    # Before pyarrow 16 only arrays and tables were exported.
    return arrow_content(value if hasattr(value, "__arrow_c_stream__") else value.combine_chunks())


def _scalar(value: Any) -> object:
    pa: Any = sys.modules["pyarrow"]
    return arrow_content(pa.repeat(value, 1))


_KINDS: dict[str, Any] = {
    "polars.DataFrame": _polars,
    "polars.Series": _polars,
    "polars.LazyFrame": _lazy,
    "polars.DataType": _polars_type,
    "polars.Schema": lambda value: tuple(value.items()),
    "pyarrow.Table": arrow_content,
    "pyarrow.RecordBatch": arrow_content,
    "pyarrow.ChunkedArray": chunks,
    "pyarrow.Array": arrow_content,
    "pyarrow.Scalar": _scalar,
    "pyarrow.Schema": arrow_schema,
    "pyarrow.Field": arrow_schema,
    "pyarrow.DataType": arrow_schema,
    "pyarrow.Buffer": Content,
    "pyarrow.RecordBatchReader": _reader,
}
