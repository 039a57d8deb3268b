"""pandas: frames and series by their labels, dtypes and values, and what they are made of.

The values of a column are those of its array: a NumPy array, or one of pandas' own, which has a reducer
here. A dtype is part of the key, with the way in which it stores its values.
"""

from __future__ import annotations

import sys
from typing import Any

from retainit._keys._arrow import chunks
from retainit._keys._common import Reducer, qualified, root
from retainit._keys._standard import zone


def reducer(kind: type) -> Reducer | None:
    """What makes keys of objects of pandas' classes and of those derived from them, or `None`."""
    for base in kind.__mro__:
        reduce = _KINDS.get(base.__name__) if root(base) == "pandas" else None
        if reduce is not None:
            break
    else:
        return None
    name = (
        f"pandas.{base.__name__}" if root(kind) == "pandas" else f"pandas.{base.__name__}:{qualified(kind)}"
    )
    if root(kind) == "pandas":
        # `Day`, `ArrowStringArrayNumpySemantics`: what they are is in their values.
        return lambda value: (name, reduce(value))
    # Classes of others say in `_metadata` which attributes go from one object to the next.
    extra = [each for each in getattr(kind, "_metadata", ()) if each != "_name"]
    return lambda value: (name, (reduce(value), {each: getattr(value, each, None) for each in extra}))


def _column(value: Any) -> object:
    """The values of a series or an index."""
    np: Any = sys.modules["numpy"]
    return value.to_numpy() if isinstance(value.dtype, np.dtype) else value.array


def _frame(value: Any) -> object:
    columns = tuple(_column(series) for _, series in value.items())
    return value.columns, value.index, columns, value.attrs, value.flags.allows_duplicate_labels


def _series(value: Any) -> object:
    return value.name, value.index, _column(value), value.attrs, value.flags.allows_duplicate_labels


def _range_index(value: Any) -> object:
    return value.name, value.start, value.stop, value.step


def _multi_index(value: Any) -> object:
    # The values rather than the levels, of which some may be unused.
    return tuple(value.names), tuple(value.get_level_values(level) for level in range(value.nlevels))


def _timed_index(value: Any) -> object:
    return value.name, value.array, value.freq


def _dates(value: Any) -> object:
    # UTC where there is a zone.
    unit = getattr(value, "unit", "ns")
    return zone(value.tz), value.asi8.view(f"M8[{unit}]")


def _deltas(value: Any) -> object:
    return value.asi8.view(f"m8[{getattr(value, 'unit', 'ns')}]")


def _masked(value: Any) -> object:
    # What lies under the mask is not a value.
    np: Any = sys.modules["numpy"]
    mask, data = value._mask, value._data
    return value.dtype.name, np.where(mask, data.dtype.type(0), data), mask


def _string_dtype(value: Any) -> object:
    # Before 3 there was one kind of missing value.
    missing = getattr(value, "na_value", None)
    return value.storage, "nan" if isinstance(missing, float) else "NA"


def _strings(value: Any) -> object:
    dtype = _string_dtype(value.dtype)
    if dtype[0] == "pyarrow":  # type: ignore[index]
        return dtype, chunks(value.__arrow_array__())
    absent = value.isna().tolist()
    return dtype, [None if gone else text for text, gone in zip(value.tolist(), absent, strict=True)]


def _sparse(value: Any) -> object:
    indices = value.sp_index.to_int_index().indices
    return len(value), value.fill_value, value.sp_values, indices


def _offset(value: Any) -> object:
    # By what it is made of, since its text is another in each version. A calendar is its holidays.
    parts = {name: part for name, part in value.kwds.items() if name != "calendar"}
    return type(value).__name__, value.n, value.normalize, parts


def _other(value: Any) -> object:
    """An array of another library: as its dtype and its elements say."""
    return value.dtype, list(value)


_KINDS: dict[str, Any] = {
    "DataFrame": _frame,
    "Series": _series,
    # Indexes.
    "RangeIndex": _range_index,
    "MultiIndex": _multi_index,
    "DatetimeIndex": _timed_index,
    "TimedeltaIndex": _timed_index,
    "Index": lambda value: (value.name, _column(value)),
    # Arrays.
    "Categorical": lambda value: (value.ordered, value.categories, value.codes),
    "DatetimeArray": _dates,
    "TimedeltaArray": _deltas,
    "PeriodArray": lambda value: (value.freq, value.asi8),
    "IntervalArray": lambda value: (value.closed, value.left, value.right),
    "BaseMaskedArray": _masked,
    "ArrowStringArray": _strings,
    "ArrowStringArrayNumpySemantics": _strings,
    "StringArray": _strings,
    "StringArrayNumpySemantics": _strings,
    "ArrowExtensionArray": lambda value: chunks(value.__arrow_array__()),
    "SparseArray": _sparse,
    "NumpyExtensionArray": lambda value: value.to_numpy(),
    "PandasArray": lambda value: value.to_numpy(),
    "ExtensionArray": _other,
    # Dtypes.
    "CategoricalDtype": lambda value: (value.ordered, value.categories),
    "DatetimeTZDtype": lambda value: (value.unit, zone(value.tz)),
    "PeriodDtype": lambda value: value.freq,
    "IntervalDtype": lambda value: (value.subtype, value.closed),
    "SparseDtype": lambda value: (value.subtype, value.fill_value),
    "StringDtype": _string_dtype,
    "ArrowDtype": lambda value: value.pyarrow_dtype,
    "BaseMaskedDtype": lambda value: value.name,
    # Scalars.
    "Timestamp": lambda value: (zone(value.tz), value.asm8),
    "Timedelta": lambda value: value.asm8,
    "Period": lambda value: (value.freq, value.ordinal),
    "Interval": lambda value: (value.closed, value.left, value.right),
    "NaTType": lambda value: None,
    "NAType": lambda value: None,
    "BaseOffset": _offset,
}
