"""The arrays and indexes of pandas, as columns of a stream, and back.

One pair of functions for each kind. A description has everything about an array but its elements; where it
names columns of the stream, it does so by their place. An index of another length than the rows (the names of
columns, categories, levels) lies aside, as a small stream within the description.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, tzinfo
from importlib import import_module
from typing import Any, NamedTuple

from retainit._frames import _pandas_objects
from retainit._frames._columns import Reader, Writer, plain_dtype
from retainit._frames._exact import Inexact, full_name

Description = dict[str, Any]

# What lies aside is read with each hit and copied; more of it is better served by another serializer.
_MOST_ASIDE = 16 << 20
# Names of columns, mostly: up to so many are kept as they are, without a stream of their own.
_MOST_TEXTS = 10_000


def describe_array(values: Any, writer: Writer) -> Description:
    """Writes the elements of a NumPy or extension array, and describes the rest."""
    np, pd = import_module("numpy"), import_module("pandas")
    if type(values) is np.ndarray:
        if values.dtype.kind == "O":
            return {"kind": "objects", **_pandas_objects.describe(values, writer)}
        return {"kind": "numbers", "dtype": plain_dtype(values.dtype), "at": writer.numbers(values)}
    for kind, found in _KINDS.items():
        # Exactly these: other people's dtypes derive from those of pandas.
        if any(type(values.dtype) is getattr(pd, name) for name in found.dtypes):
            return {"kind": kind, **found.describe(values, writer)}
    whose = full_name(type(values.dtype))
    raise Inexact(f"a column of pandas with dtype `{values.dtype}` (`{whose}`) has no exact Arrow form")


def restore_array(description: Description, reader: Reader) -> Any:
    """The array that was described. Its memory is that of the reader, if that may be written to."""
    kind = description["kind"]
    if kind == "numbers":
        return reader.numbers(description["at"], description["dtype"])
    if kind == "objects":
        return _pandas_objects.restore(description, reader)
    return _KINDS[kind].restore(description, reader)


def array_of(values: Any) -> Any:
    """The array of a series or an index: NumPy's own where it is one, and never a copy."""
    np = import_module("numpy")
    return values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array


def _describe_text(values: Any, writer: Writer) -> Description:
    pa = import_module("pyarrow")
    try:
        array = pa.array(values, type=pa.large_string())
    except ValueError as error:
        raise Inexact(f"text that is not Unicode: {error}") from error
    return {"dtype": _describe_dtype(values.dtype), "at": writer.arrow(array)}


def _restore_text(description: Description, reader: Reader) -> Any:
    return _text_dtype(*description["dtype"]).__from_arrow__(reader.arrow(description["at"]))


def _describe_dtype(dtype: Any) -> list[Any] | None:
    """A dtype of text: how it is stored, and whether NaN is what is missing; `None` for objects."""
    np = import_module("numpy")
    if isinstance(dtype, np.dtype):
        return None
    storage, nan = str(dtype.storage), dtype.na_value is np.nan
    same = _text_dtype(storage, nan)
    if same.storage != dtype.storage or same.na_value is not dtype.na_value:
        raise Inexact(f"pandas' dtype `{dtype!r}` cannot be made anew")
    return [storage, nan]


def _text_dtype(storage: str, nan: bool) -> Any:
    pd, np = import_module("pandas"), import_module("numpy")
    if not nan or storage == "pyarrow_numpy":
        # pandas 2.2 said by the name of the storage that NaN is what is missing.
        return pd.StringDtype(storage)
    return pd.StringDtype(storage, na_value=np.nan)


def _describe_masked(values: Any, writer: Writer) -> Description:
    data, mask = values._data, values._mask
    description = {"dtype": plain_dtype(data.dtype), "at": writer.numbers(data)}
    if mask.any():
        description["mask"] = writer.numbers(mask)
    return description


def _restore_masked(description: Description, reader: Reader) -> Any:
    np, pd = import_module("numpy"), import_module("pandas")
    data = reader.numbers(description["at"], description["dtype"])
    mask = reader.numbers(description["mask"], "|b1") if "mask" in description else np.zeros(len(data), bool)
    kinds = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}
    return kinds.get(data.dtype.kind, pd.arrays.IntegerArray)(data, mask)


def _describe_zoned(values: Any, writer: Writer) -> Description:
    zone: tzinfo = values.dtype.tz
    return {"unit": values.dtype.unit, "zone": _describe_zone(zone), "at": writer.numbers(values.asi8)}


def _restore_zoned(description: Description, reader: Reader) -> Any:
    pd = import_module("pandas")
    dtype = pd.DatetimeTZDtype(description["unit"], _zone(description["zone"]))
    return pd.array(reader.numbers(description["at"], "<i8"), dtype=dtype, copy=False)


def _describe_zone(zone: tzinfo) -> Any:
    """Zones are plain data, but for those of pytz, which pandas before 3 makes of a name."""
    # A zone of pytz cannot be here without it.
    if type(zone).__module__.partition(".")[0] != "pytz":
        return zone
    name, offset = getattr(zone, "zone", None), zone.utcoffset(None)
    described = (
        ["FixedOffset", offset // timedelta(minutes=1)] if name is None and offset else ["timezone", name]
    )
    if _zone(described) != zone:
        raise Inexact(f"the zone `{zone!r}` cannot be made anew from its name")
    return described


def _zone(described: Any) -> Any:
    if not isinstance(described, list):
        return described
    pytz = import_module("pytz")
    kind, which = described
    return pytz.FixedOffset(which) if kind == "FixedOffset" else pytz.timezone(which)


def _describe_periods(values: Any, writer: Writer) -> Description:
    pd = import_module("pandas")
    frequency = str(values.dtype).removeprefix("period[").removesuffix("]")
    # Periods of business days are on their way out of pandas, which warns whenever one is made.
    if frequency.lstrip("0123456789") == "B" or pd.PeriodDtype(frequency) != values.dtype:
        raise Inexact(f"pandas' dtype `{values.dtype}` cannot be made anew from its name")
    return {"frequency": frequency, "at": writer.numbers(values.asi8)}


def _restore_periods(description: Description, reader: Reader) -> Any:
    pd = import_module("pandas")
    ordinals = reader.numbers(description["at"], "<i8")
    return pd.arrays.PeriodArray(ordinals, dtype=pd.PeriodDtype(description["frequency"]))


def _describe_intervals(values: Any, writer: Writer) -> Description:
    left, right = (describe_array(array_of(side), writer) for side in (values.left, values.right))
    return {"closed": values.closed, "left": left, "right": right}


def _restore_intervals(description: Description, reader: Reader) -> Any:
    pd = import_module("pandas")
    left, right = (restore_array(description[side], reader) for side in ("left", "right"))
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=description["closed"])


def _describe_categories(values: Any, writer: Writer) -> Description:
    return {
        "ordered": values.ordered,
        "categories": describe_aside(values.categories),
        "dtype": plain_dtype(values.codes.dtype),
        "at": writer.numbers(values.codes),
    }


def _restore_categories(description: Description, reader: Reader) -> Any:
    pd = import_module("pandas")
    dtype = pd.CategoricalDtype(restore_aside(description["categories"]), description["ordered"])
    return pd.Categorical.from_codes(reader.numbers(description["at"], description["dtype"]), dtype=dtype)


def _describe_arrow(values: Any, writer: Writer) -> Description:
    pa = import_module("pyarrow")
    array = pa.array(values)
    return {"type": str(array.type), "at": writer.arrow(array)}


def _restore_arrow(description: Description, reader: Reader) -> Any:
    pd = import_module("pandas")
    array = reader.arrow(description["at"])
    if str(array.type) != description["type"]:
        raise ValueError(f"expected a column of `{description['type']}`, found `{array.type}`")
    return pd.arrays.ArrowExtensionArray(array)


class _Kind(NamedTuple):
    """A kind of extension array: its dtypes' names in pandas, and the way there and back."""

    dtypes: tuple[str, ...]
    describe: Callable[[Any, Writer], Description]
    restore: Callable[[Description, Reader], Any]


_MASKED = tuple(f"{kind}{bits}Dtype" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64))
_KINDS = {
    "text": _Kind(("StringDtype",), _describe_text, _restore_text),
    "masked": _Kind(
        ("BooleanDtype", "Float32Dtype", "Float64Dtype", *_MASKED), _describe_masked, _restore_masked
    ),
    "zoned": _Kind(("DatetimeTZDtype",), _describe_zoned, _restore_zoned),
    "periods": _Kind(("PeriodDtype",), _describe_periods, _restore_periods),
    "intervals": _Kind(("IntervalDtype",), _describe_intervals, _restore_intervals),
    "categories": _Kind(("CategoricalDtype",), _describe_categories, _restore_categories),
    "arrow": _Kind(("ArrowDtype",), _describe_arrow, _restore_arrow),
}


def describe_index(index: Any, writer: Writer) -> Description:
    """Writes the elements of an index of any kind, and describes the rest."""
    pd = import_module("pandas")
    kind = type(index).__name__
    if getattr(pd, kind, None) is not type(index) or kind not in _INDEXES:
        raise Inexact(f"an index of type `{full_name(type(index))}`")
    if kind == "RangeIndex":
        return {"index": kind, "name": index.name, "range": [index.start, index.stop, index.step]}
    if kind == "MultiIndex":
        return {
            "index": kind,
            "names": list(index.names),
            "sortorder": index.sortorder,
            "levels": [describe_aside(level) for level in index.levels],
            "codes": [[plain_dtype(codes.dtype), writer.numbers(codes)] for codes in index.codes],
        }
    described = {"index": kind, "name": index.name, "values": describe_array(array_of(index), writer)}
    if kind in ("DatetimeIndex", "TimedeltaIndex") and index.freq is not None:
        described["frequency"] = _frequency(index)
    return described


def restore_index(description: Description, reader: Reader) -> Any:
    """The index that was described."""
    pd = import_module("pandas")
    kind = description["index"]
    if kind == "RangeIndex":
        return pd.RangeIndex(*description["range"], name=description["name"])
    if kind == "MultiIndex":
        return _restore_levels(description, reader)
    if kind not in _INDEXES:
        raise ValueError(f"unknown kind of index `{kind}`")
    values = restore_array(description["values"], reader)
    if kind == "Index":
        # Told its dtype, so that it does not guess one from objects.
        return pd.Index(values, dtype=values.dtype, name=description["name"], copy=False, tupleize_cols=False)
    index = getattr(pd, kind)(values, name=description["name"], copy=False)
    return _with_frequency(index, description["frequency"]) if "frequency" in description else index


def _restore_levels(description: Description, reader: Reader) -> Any:
    pd = import_module("pandas")
    levels = [restore_aside(level) for level in description["levels"]]
    codes = [reader.numbers(at, dtype) for dtype, at in description["codes"]]
    for level, places in zip(levels, codes, strict=True):
        # All that needs a check: what else pandas looks at was so when the index was made.
        if len(places) and not -1 <= places.min() <= places.max() < len(level):
            raise ValueError("codes of an index beyond its levels")
    return pd.MultiIndex(
        levels, codes, description["sortorder"], description["names"], verify_integrity=False
    )


_INDEXES = (
    "Index",
    "RangeIndex",
    "MultiIndex",
    "DatetimeIndex",
    "TimedeltaIndex",
    "PeriodIndex",
    "IntervalIndex",
    "CategoricalIndex",
)


def describe_aside(index: Any) -> Description:
    """An index with its elements, for one that has another length than the rows."""
    pa, pd = import_module("pyarrow"), import_module("pandas")
    text = type(index) is pd.Index and (index.dtype == object or type(index.dtype) is pd.StringDtype)
    if text and index.size <= _MOST_TEXTS:
        texts = index.tolist()
        if all(type(each) is str for each in texts):
            return {
                "index": "texts",
                "name": index.name,
                "texts": texts,
                "dtype": _describe_dtype(index.dtype),
            }
    writer = Writer()
    described = describe_index(index, writer)
    if not writer.arrays:
        return described
    sink = pa.BufferOutputStream()
    table = writer.table()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    if sink.tell() > _MOST_ASIDE:
        raise Inexact(f"names, levels or categories of more than {_MOST_ASIDE >> 20} MiB")
    return {**described, "stream": sink.getvalue().to_pybytes()}


def restore_aside(description: Description) -> Any:
    np, pa, pd = import_module("numpy"), import_module("pyarrow"), import_module("pandas")
    if description["index"] == "texts":
        dtype = description["dtype"]
        values = np.array(description["texts"], dtype=object)
        return pd.Index(values, dtype=_text_dtype(*dtype) if dtype else object, name=description["name"])
    if "stream" in description:
        return restore_index(description, Reader(pa.ipc.open_stream(description["stream"]).read_all()))
    return restore_index(description, Reader(None))


def _frequency(index: Any) -> str:
    offsets = import_module("pandas.tseries.frequencies")
    try:
        text = str(index.freqstr)
        if offsets.to_offset(text) == index.freq:
            return text
    except ValueError:
        pass
    raise Inexact(f"an index with a frequency that cannot be made anew from its name: `{index.freq!r}`")


def _with_frequency(index: Any, text: str) -> Any:
    """Sets the frequency that is known to be the index's: pandas itself would count through all of it."""
    frequency = import_module("pandas.tseries.frequencies").to_offset(text)
    for owner in (index, index.array):
        if hasattr(owner, "_freq"):
            owner._freq = frequency
            break
    if index.freq != frequency:
        index.freq = frequency
    return index
