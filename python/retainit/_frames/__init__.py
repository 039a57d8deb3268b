"""Frames of pandas, Polars and pyarrow as Arrow streams that say what they were made of.

A stream's schema has a description under the key `retainit`: whose value it was, and all about it that Arrow
has no place for. So what is read is exactly what was written, or it is not written: `Inexact`.

`_pandas`, `_polars` and `_arrow` know one library each, and are imported once there is a value of it.
`_columns` is about memory, `_exact` about descriptions; `_pandas_arrays` and `_pandas_objects` have the kinds
of columns.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from retainit._frames._exact import Inexact as Inexact
from retainit._frames._exact import dump_text, library_of, load_text

_KEY = b"retainit"
_LIBRARIES = ("pandas", "polars", "pyarrow")


def to_stream(value: object, *, target: str) -> object | None:
    """An object with `__arrow_c_stream__` that has all of a frame; `None` if the value is none.

    Frames are those of pandas (and its series and indexes), Polars (and its series) and pyarrow (tables,
    record batches, arrays, scalars). `target` is the serializer: "arrow" maps what it reads, so that the
    layout in memory counts, "parquet" and "csv" do not. Nothing is copied but what lies in pieces.
    """
    library = _library(type(value))
    if library is None:
        return None
    described = _describe(library, value, target)
    if described is None:
        return None
    description, table = described
    metadata = dict(table.schema.metadata or {})
    own = metadata.pop(_KEY, None)
    if own is not None:
        # Somebody else's, though of this name.
        description["own"] = own
    try:
        text = dump_text({"library": library, **description})
    except Inexact as error:
        raise Inexact(f"a name or an attribute of the frame is not plain data: {error}") from error
    stream: object = table.replace_schema_metadata({**metadata, _KEY: text})
    return stream


def from_stream(stream: object, memory: object | None) -> Any:
    """The value that `to_stream` was given, from a stream of the same content.

    `memory` exports the buffer in which the stream's arrays lie, a writable one to whoever asks for that, if
    it can be this value's alone: then what may be written to lies in it, else that is a copy. Whatever is
    raised says that the stream is none of ours.
    """
    pa = import_module("pyarrow")
    reader = pa.RecordBatchReader.from_stream(stream)
    metadata = dict(reader.schema.metadata or {})
    description = load_text(metadata.pop(_KEY))
    library = description["library"]
    table = reader.read_all()
    if library == "polars":
        return import_module("retainit._frames._polars").restore(description, table)
    if library == "pandas":
        return import_module("retainit._frames._pandas").restore(description, table, memory)
    if library != "pyarrow":
        raise ValueError(f"expected one of {_LIBRARIES}, found `{library}`")
    if "own" in description:
        metadata[_KEY] = description["own"]
    return import_module("retainit._frames._arrow").restore(
        description, table.replace_schema_metadata(metadata or None)
    )


def _library(kind: type) -> str | None:
    """The library that has a type, or one of its bases."""
    for base in kind.__mro__:
        library = library_of(base)
        if library in _LIBRARIES:
            return library
    return None


def _describe(library: str, value: object, target: str) -> tuple[dict[str, Any], Any] | None:
    try:
        pa = import_module("pyarrow")
    except ImportError:
        hint = f"hint: `pip install retainit[{library}]` has it"
        raise Inexact(
            f"frames of {library} become streams with the help of pyarrow, which is missing; {hint}"
        ) from None
    described: tuple[dict[str, Any], Any] | None
    try:
        if library == "polars":
            described = import_module("retainit._frames._polars").describe(value, target)
        elif library == "pandas":
            described = import_module("retainit._frames._pandas").describe(value)
        else:
            described = import_module("retainit._frames._arrow").describe(value)
    except pa.ArrowException as error:
        raise Inexact(f"a frame of {library} that Arrow has no form for: {error}") from error
    return described
