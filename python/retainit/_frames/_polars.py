"""Frames and series of Polars as Arrow streams, and back as exactly the same."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from retainit._frames._exact import Inexact, full_name

# Where in a type there are numbers that Arrow has no type for: a name, or the same for what lies within.
_Wide = Any
_WIDE = ("Int128", "UInt128")


def describe(value: Any, target: str) -> tuple[dict[str, Any], Any] | None:
    """What is to be known of a value of Polars, and a table of its elements; `None` for anything else."""
    pl = import_module("polars")
    if isinstance(value, pl.DataFrame):
        _is_exactly(value, pl.DataFrame)
        described: dict[str, Any] = {"of": "DataFrame"}
        frame = value
    elif isinstance(value, pl.Series):
        _is_exactly(value, pl.Series)
        described = {"of": "Series"}
        frame = value.to_frame()
    else:
        return None
    for name in frame.columns:
        _check_name(name)
    if not frame.width and frame.height:
        raise Inexact(f"{frame.height} rows without a column")
    wide = [_wide(dtype) for dtype in frame.dtypes]
    if any(wide):
        described["wide"] = wide
    try:
        table = _table(_cast(frame, wide, narrow=True), target)
        same = _frame(described, table.slice(0, 0)).schema == frame.schema
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise Inexact(f"Polars does not export `{frame.schema}`: {error}") from error
    if not same:
        raise Inexact(f"Polars' schema `{frame.schema}` comes back from Arrow as another")
    return described, table


def restore(description: dict[str, Any], table: Any) -> Any:
    """The value that was described. Nobody can write to it, so it lies in the table's memory."""
    frame = _frame(description, table)
    return frame if description["of"] == "DataFrame" else frame.to_series()


def _frame(description: dict[str, Any], table: Any) -> Any:
    pl = import_module("polars")
    try:
        frame = pl.DataFrame(_Stream(table))
    except pl.exceptions.PanicException as error:
        # No exception like others: it would not stop until it has ended the program.
        raise ValueError(f"Polars does not read `{table.schema}`: {error}") from error
    return _cast(frame, description["wide"], narrow=False) if "wide" in description else frame


class _Stream:
    """A table that can be taken for nothing but a stream.

    Polars has ways of its own for what pyarrow makes, which copy text and rename a column without a name.
    """

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        stream: object = self._reader().__arrow_c_stream__(requested_schema)
        return stream

    def _reader(self) -> Any:
        pa = import_module("pyarrow")
        schema = self._table.schema
        if self._table.num_rows:
            return self._table.to_reader()
        # Polars wants at least one batch, and at first ended in a panic without.
        nothing = pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema=schema)
        return pa.RecordBatchReader.from_batches(schema, [nothing])


def _table(frame: Any, target: str) -> Any:
    pa, pl = import_module("pyarrow"), import_module("polars")
    version = [int(part) for part in pl.__version__.split(".")[:2]]
    if version < [2] and any(map(_has_parts, frame.dtypes)):
        # Before version 2 Polars exports the wrong rows of such columns if they are a part of others; at
        # first it ended the process over some.
        if version < [1, 36]:
            raise Inexact(
                f"columns of structs or arrays in Polars {pl.__version__}; hint: 1.36 has them right"
            )
        frame = frame.select(pl.all().gather(pl.int_range(pl.len())))
    if target == "arrow":
        # As Polars itself has it: text as views, which it need not copy.
        return pa.RecordBatchReader.from_stream(frame.rechunk()).read_all()
    return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())


def _has_parts(dtype: Any) -> bool:
    """Whether there are columns within a column that have as many rows, or a multiple."""
    name = dtype.base_type().__name__
    return name in ("Array", "Struct") or (name == "List" and _has_parts(dtype.inner))


def _check_name(name: str) -> None:
    """Names cross to Arrow as C has them, and Polars ends the process over one that cannot."""
    if "\0" in name:
        raise Inexact(f"a name with a NUL in it, which Arrow has no room for: `{name!r}`")


def _wide(dtype: Any) -> _Wide:
    """Where in a type there are numbers of 128 bits; refuses on the way what would end in a panic."""
    name = dtype.base_type().__name__
    if name == "Object":
        raise Inexact("a column of Python objects has no Arrow form")
    if name in _WIDE:
        return name
    if name in ("List", "Array"):
        return [_wide(dtype.inner)] if _wide(dtype.inner) else None
    if name == "Struct":
        for field in dtype.fields:
            _check_name(field.name)
        within = [_wide(field.dtype) for field in dtype.fields]
        return within if any(within) else None
    return None


def _cast(frame: Any, wide: list[_Wide], narrow: bool) -> Any:
    """Writes numbers of 128 bits as text, which is exact, or reads them from it."""
    pl = import_module("polars")
    places = [place for place, each in enumerate(wide) if each]
    columns = [frame.to_series(place) for place in places]
    cast = [
        column.cast(_dtype(column.dtype, wide[place], pl.String if narrow else None))
        for place, column in zip(places, columns, strict=True)
    ]
    return frame.with_columns(cast) if cast else frame


def _dtype(dtype: Any, wide: _Wide, text: Any) -> Any:
    """A type with text in place of the numbers, or with the numbers if there is no `text`."""
    pl = import_module("polars")
    if not wide:
        return dtype
    if isinstance(wide, str):
        if wide not in _WIDE:
            raise ValueError(f"expected one of {_WIDE}, found `{wide}`")
        return text or getattr(pl, wide)
    if isinstance(dtype, pl.List):
        return pl.List(_dtype(dtype.inner, wide[0], text))
    if isinstance(dtype, pl.Array):
        return pl.Array(_dtype(dtype.inner, wide[0], text), dtype.shape[0])
    fields = zip(dtype.fields, wide, strict=True)
    return pl.Struct([pl.Field(field.name, _dtype(field.dtype, each, text)) for field, each in fields])


def _is_exactly(value: Any, kind: type) -> None:
    found = type(value)
    if found is not kind:
        raise Inexact(f"`{full_name(found)}` is a subclass of Polars' `{kind.__name__}`")
