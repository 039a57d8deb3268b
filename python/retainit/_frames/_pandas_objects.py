"""Columns of Python objects, as pandas keeps whatever has no type of its own; and back as the same objects.

Objects of one plain type become a column of that type. Anything else that is plain data is one tree, in the
first row of a column of bytes. What stands for a missing value is kept apart: `None`, NaN, `NaT` and `NA` are
four.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from importlib import import_module
from typing import Any, NamedTuple

from retainit._frames._columns import Reader, Writer
from retainit._frames._exact import Inexact, dump, load

_PRESENT, _NONE, _NAN, _NA, _NAT = range(5)


def describe(values: Any, writer: Writer) -> dict[str, Any]:
    """Writes an object array; `Inexact` if there is an object in it that is not plain data."""
    objects: list[Any] = values.tolist()
    kinds = set(map(type, objects))
    missing = _missing(objects, kinds)
    if missing is not None:
        kinds = {type(each) for each, how in zip(objects, missing, strict=True) if how == _PRESENT}
    kind = next(iter(kinds), str)
    array = _column(kind, objects, missing) if len(kinds) <= 1 else None
    if array is not None:
        return {"of": kind.__name__, "at": writer.arrow(array), **_markers(missing, writer, nulls=True)}
    if missing is not None:
        objects = [each if how == _PRESENT else None for each, how in zip(objects, missing, strict=True)]
    return {"of": "tree", "at": writer.arrow(_tree(objects)), **_markers(missing, writer, nulls=False)}


def restore(description: dict[str, Any], reader: Reader) -> Any:
    """The object array that `describe` was given."""
    np = import_module("numpy")
    column = reader.arrow(description["at"])
    of, count = description["of"], len(column)
    if of == "tree":
        objects = load(column[0].as_py()) if count else []
    else:
        objects = next(each for kind, each in _KINDS.items() if kind.__name__ == of).read(column)
    if len(objects) != count:
        raise ValueError(f"expected {count} objects, found {len(objects)}")
    is_array = isinstance(objects, np.ndarray) and objects.flags.writeable
    array = objects if is_array else np.fromiter(objects, dtype=object, count=count)
    if "marked" in description:
        markers = reader.numbers(description["marked"], "|u1")
        for how in np.unique(markers):
            if how != _PRESENT:
                array[markers == how] = _marker(int(how))
    elif "missing" in description:
        array[column.is_null().to_numpy()] = _marker(description["missing"])
    return array


def _missing(objects: list[Any], kinds: set[type]) -> list[int] | None:
    """How each object is missing, or `None` if none is."""
    pd = import_module("pandas")
    markers = {id(None): _NONE, id(pd.NA): _NA, id(pd.NaT): _NAT}
    # Among floats NaN is a value like others.
    floats_are_missing = float in kinds and not kinds <= {float, type(None)} and _all_nan(objects)
    if not floats_are_missing and not kinds & {type(None), type(pd.NA), type(pd.NaT)}:
        return None
    if floats_are_missing:
        return [_NAN if type(each) is float else markers.get(id(each), _PRESENT) for each in objects]
    return [markers.get(id(each), _PRESENT) for each in objects]


def _all_nan(objects: list[Any]) -> bool:
    """Whether each float among them is the one NaN that would be put back."""
    usual = struct.pack("=d", float("nan"))
    return all(struct.pack("=d", each) == usual for each in objects if type(each) is float)


def _markers(missing: list[int] | None, writer: Writer, nulls: bool) -> dict[str, Any]:
    """What the nulls of a column stand for; a column with a marker for each row, if that is not enough."""
    np = import_module("numpy")
    found = set(missing or ()) - {_PRESENT}
    if not found or found == {_NONE}:
        return {}
    if len(found) == 1 and nulls:
        return {"missing": found.pop()}
    return {"marked": writer.numbers(np.array(missing, np.uint8))}


def _marker(how: int) -> object:
    pd = import_module("pandas")
    found: object = {_NONE: None, _NAN: float("nan"), _NA: pd.NA, _NAT: pd.NaT}[how]
    return found


class _Kind(NamedTuple):
    """How objects of one type become an Arrow array, and back as a sequence with `None` for nulls."""

    write: Callable[[list[Any], list[bool] | None], Any]
    read: Callable[[Any], Any]


def _writer(
    kind: str, convert: Callable[[Any], Any] | None = None
) -> Callable[[list[Any], list[bool] | None], Any]:
    def write(objects: list[Any], mask: list[bool] | None) -> Any:
        pa = import_module("pyarrow")
        if mask is not None or convert is not None:
            hidden = mask or [False] * len(objects)
            objects = [
                None if hide else each if convert is None else convert(each)
                for each, hide in zip(objects, hidden, strict=True)
            ]
        return pa.array(objects, type=getattr(pa, kind)(), from_pandas=False)

    return write


def _read_objects(column: Any) -> Any:
    """Text and bytes, which Arrow itself makes objects of."""
    np = import_module("numpy")
    parts = [chunk.to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(parts) if parts else []


def _read_numbers(filling: object) -> Callable[[Any], Any]:
    """Through NumPy, which makes Python's own numbers and dates faster than Arrow does."""

    def read(column: Any) -> Any:
        filled = column.fill_null(filling) if column.null_count else column
        objects = filled.to_numpy().tolist()
        if column.null_count:
            nulls = column.is_null().to_numpy().tolist()
            return [None if null else each for each, null in zip(objects, nulls, strict=True)]
        return objects

    return read


def _read_decimals(column: Any) -> Any:
    return [None if each is None else Decimal(each) for each in column.to_pylist()]


_KINDS: dict[type, _Kind] = {
    str: _Kind(_writer("large_string"), _read_objects),
    bytes: _Kind(_writer("large_binary"), _read_objects),
    bool: _Kind(_writer("bool_"), _read_numbers(False)),
    int: _Kind(_writer("int64"), _read_numbers(0)),
    float: _Kind(_writer("float64"), _read_numbers(0.0)),
    date: _Kind(_writer("date32"), _read_numbers(date(1970, 1, 1))),
    # As text, because a column of decimals would give them all the same number of digits.
    Decimal: _Kind(_writer("large_string", str), _read_decimals),
}


def _column(kind: type, objects: list[Any], missing: list[int] | None) -> Any | None:
    """Objects of one type as a column of that type, or `None` if there is none that holds them all."""
    if kind not in _KINDS:
        return None
    mask = None if missing is None else [how != _PRESENT for how in missing]
    try:
        return _KINDS[kind].write(objects, mask)
    except (ValueError, OverflowError, TypeError):
        # Lone surrogates, numbers beyond 64 bits: a tree has them.
        return None


def _tree(objects: list[Any]) -> Any:
    """All objects as one tree in the first row: one for each row would take ten times as long."""
    pa = import_module("pyarrow")
    try:
        rows = [dump(objects)] + [b""] * (len(objects) - 1) if objects else []
    except Inexact as error:
        raise Inexact(f"a column of objects has some that are not plain data: {error}") from error
    return pa.array(rows, type=pa.large_binary())
