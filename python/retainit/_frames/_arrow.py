"""Tables, record batches, arrays and scalars of pyarrow as streams, and back as exactly the same."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from retainit._frames._exact import Inexact

_Described = tuple[dict[str, Any], Any]


def describe(value: Any) -> _Described | None:
    """What is to be known of a value of pyarrow, and a table of its elements; `None` for anything else."""
    pa = import_module("pyarrow")
    if isinstance(value, pa.Table):
        # In one piece: a hit of many small batches would take as long as there are batches.
        return _of("Table", value.combine_chunks())
    if isinstance(value, pa.RecordBatch):
        return _of("RecordBatch", pa.Table.from_batches([value]))
    if isinstance(value, pa.ChunkedArray):
        return _of("ChunkedArray", _column(value).combine_chunks())
    if isinstance(value, pa.Array):
        return _of("Array", _column(value))
    if isinstance(value, pa.Scalar):
        try:
            return _of("Scalar", _column(pa.repeat(value, 1)))
        except (pa.ArrowException, NotImplementedError) as error:
            raise Inexact(f"a scalar of `{value.type}`: {error}") from error
    return None


def restore(description: dict[str, Any], table: Any) -> Any:
    """The value that was described. It cannot be written to, so it shares the table's memory."""
    pa = import_module("pyarrow")
    # An extension that nobody has registered here would come back as what it is stored as.
    found = _types(table.schema)
    if found != description["types"]:
        raise ValueError(f"expected columns of {description['types']}, found {found}")
    of = description["of"]
    if of == "Table":
        return table
    if of == "RecordBatch":
        batches = table.combine_chunks().to_batches()
        if batches:
            return batches[0]
        return pa.RecordBatch.from_arrays(
            [pa.nulls(0, kind) for kind in table.schema.types], schema=table.schema
        )
    column = table.column(0)
    if of == "ChunkedArray":
        return column
    if column.num_chunks == 1:
        array = column.chunk(0)
    else:
        array = column.combine_chunks() if column.num_chunks else pa.nulls(0, column.type)
    return array if of == "Array" else array[0]


def _of(kind: str, table: Any) -> _Described:
    if not table.num_columns and table.num_rows:
        raise Inexact(f"{table.num_rows} rows without a column")
    _check_metadata(table.schema.metadata)
    for field in table.schema:
        _check_field(field)
    return {"of": kind, "types": _types(table.schema)}, table


def _column(array: Any) -> Any:
    return import_module("pyarrow").table([array], names=[""])


def _types(schema: Any) -> list[str]:
    return [str(kind) for kind in schema.types]


def _check_field(field: Any) -> None:
    if "\0" in field.name:
        raise Inexact(f"a name with a NUL in it, at which C's names end: `{field.name!r}`")
    _check_metadata(field.metadata)
    kind = field.type
    for place in range(kind.num_fields):
        _check_field(kind.field(place))


def _check_metadata(metadata: Any) -> None:
    """Arrow's files have metadata in Unicode only, though pyarrow takes any bytes."""
    for key, value in (metadata or {}).items():
        try:
            key.decode(), value.decode()
        except UnicodeDecodeError as error:
            raise Inexact(f"metadata `{key!r}` is not Unicode: {error}") from error
