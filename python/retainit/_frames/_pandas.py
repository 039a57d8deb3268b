"""Frames, series and indexes of pandas as Arrow streams, and back as exactly the same."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from retainit._frames._columns import Memory, Reader, Writer, plain_dtype
from retainit._frames._exact import Inexact, full_name
from retainit._frames._pandas_arrays import (
    array_of,
    describe_array,
    describe_aside,
    describe_index,
    restore_array,
    restore_aside,
    restore_index,
)

# So many columns that lie apart make pandas warn that a frame is fragmented, once its owner adds one.
_MOST_APART = 100


def describe(value: Any) -> tuple[dict[str, Any], Any] | None:
    """What is to be known of a value of pandas, and a table of its elements; `None` for anything else."""
    pd = import_module("pandas")
    for kind, write in ((pd.DataFrame, _frame), (pd.Series, _series), (pd.Index, _index)):
        if isinstance(value, kind):
            writer = Writer()
            return write(value, writer), writer.table()
    return None


def restore(description: dict[str, Any], table: Any, memory: object | None) -> Any:
    """The value that was described, over the memory if that is given, else over a copy."""
    reader = Reader(table, None if memory is None else Memory(memory))
    of = description["of"]
    if of == "Index":
        return restore_index(description["index"], reader)
    restored = (
        _restore_frame(description, reader) if of == "DataFrame" else _restore_series(description, reader)
    )
    if "attrs" in description:
        restored.attrs = description["attrs"]
    if description.get("unique"):
        restored.flags.allows_duplicate_labels = False
    return restored


def _frame(frame: Any, writer: Writer) -> dict[str, Any]:
    _is_exactly(frame, "DataFrame")
    return {
        "of": "DataFrame",
        "columns": describe_aside(frame.columns),
        **_describe_columns(frame, writer),
        "index": describe_index(frame.index, writer),
        **_extras(frame),
    }


def _restore_frame(description: dict[str, Any], reader: Reader) -> Any:
    index = restore_index(description["index"], reader)
    # By place at first, because names may occur twice.
    frame = _restore_columns(description, index, reader)
    frame.columns = restore_aside(description["columns"])
    return frame


def _describe_columns(frame: Any, writer: Writer) -> dict[str, Any]:
    np = import_module("numpy")
    dtypes = set(frame.dtypes) if frame.shape[1] > _MOST_APART else ()
    if len(dtypes) == 1:
        (dtype,) = dtypes
        if isinstance(dtype, np.dtype) and dtype.kind != "O":
            # A wide frame of one type is one array, mostly; so its columns lie one behind the other.
            places = [writer.numbers(column) for column in frame.to_numpy().T]
            return {"block": places, "dtype": plain_dtype(dtype)}
    return {"values": [describe_array(array_of(column), writer) for _, column in frame.items()]}


def _restore_columns(description: dict[str, Any], index: Any, reader: Reader) -> Any:
    pd = import_module("pandas")
    if "block" in description:
        block = reader.block(description["block"], description["dtype"])
        return pd.DataFrame(block.T, index, copy=False)
    # Each column is a block of its own, where it lies.
    arrays = {place: restore_array(each, reader) for place, each in enumerate(description["values"])}
    for place, array in arrays.items():
        if array.dtype == object:
            # As a series, or pandas would take objects that are all text for text.
            arrays[place] = pd.Series(array, index, dtype=object, copy=False)
    frame = pd.DataFrame(arrays, index=index, copy=False)
    return frame.copy() if len(arrays) > _MOST_APART else frame


def _series(series: Any, writer: Writer) -> dict[str, Any]:
    _is_exactly(series, "Series")
    return {
        "of": "Series",
        "name": series.name,
        "values": describe_array(array_of(series), writer),
        "index": describe_index(series.index, writer),
        **_extras(series),
    }


def _restore_series(description: dict[str, Any], reader: Reader) -> Any:
    pd = import_module("pandas")
    values = restore_array(description["values"], reader)
    index = restore_index(description["index"], reader)
    return pd.Series(values, index, dtype=values.dtype, name=description["name"], copy=False)


def _index(index: Any, writer: Writer) -> dict[str, Any]:
    return {"of": "Index", "index": describe_index(index, writer)}


def _extras(value: Any) -> dict[str, Any]:
    """What few frames have."""
    extras: dict[str, Any] = {}
    if value.attrs:
        extras["attrs"] = value.attrs
    if not value.flags.allows_duplicate_labels:
        extras["unique"] = True
    return extras


def _is_exactly(value: Any, name: str) -> None:
    kind = type(value)
    if kind is not getattr(import_module("pandas"), name):
        raise Inexact(f"`{full_name(kind)}` is a subclass of pandas' `{name}`")
