"""Keys of NumPy's scalars, arrays and dtypes: by content."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from retainit import UnkeyableError, _native

key = _native.encode


def assert_same(*values: Any) -> None:
    assert len({key(value) for value in values}) == 1


def assert_differ(*values: Any) -> None:
    assert len({key(value) for value in values}) == len(values)


def test_scalars_are_no_builtins() -> None:
    assert_differ(
        np.float64(1), 1.0, np.float32(1), np.float16(1), np.longdouble(1), np.complex64(1), 1 + 0j,
        np.int64(1), np.int32(1), np.uint8(1), 1, np.bool_(True), True, np.str_("1"), "1",
        np.bytes_(b"1"), b"1", np.array(1.0), np.array([1.0]), np.void(b"1"),
    )  # fmt: skip
    assert_differ(
        *(np.datetime64("NaT", unit) for unit in ("s", "ms", "us", "ns", "D")), np.timedelta64("NaT")
    )


def test_nans_are_told_apart_by_their_bits() -> None:
    quiet, other = (
        struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in (0x7FF8 << 48, 0x7FF8 << 48 | 1)
    )
    assert_differ(np.array([quiet]), np.array([other]), np.array([-0.0]), np.array([0.0]))
    assert_differ(np.float64(quiet), np.float64(other))


def test_how_an_array_lies_in_memory_makes_no_difference() -> None:
    array = np.arange(24.0).reshape(4, 6)
    wide = np.zeros((8, 12))
    wide[::2, ::2] = array
    frozen = array.copy()
    frozen.flags.writeable = False
    assert_same(array, np.asfortranarray(array), wide[::2, ::2], array[::-1][::-1], array.T.copy().T, frozen)
    assert_same(np.broadcast_to(1.0, (3, 3)), np.ones((3, 3)))


def test_what_tells_arrays_apart() -> None:
    kinds = "?,i1,u1,i2,i4,i8,>i8,f2,f4,f8,>f8,c8,c16,U1,>U1,U2,S1,S8,V8,M8[s],M8[ns],m8[s],O"
    zeros = [np.zeros(2, kind) for kind in kinds.split(",")]
    shapes = [np.zeros(shape) for shape in [(), (0,), (0, 2), (2, 0), (1,), (1, 2), (2, 1), (2, 1, 1)]]
    assert_differ(*zeros, *shapes, [0.0, 0.0], (0.0, 0.0), np.zeros(2).tobytes())
    assert_differ(np.array([1, 2]), np.array([2, 1]), np.array([1, 2, 0]))


def test_subclasses_are_other_classes() -> None:
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0, 2.0]])
    records = np.zeros(2, [("a", "i4")])
    assert_differ(np.array([[1.0, 2.0]]), matrix)
    assert_differ(records, records.view(np.recarray))


class Measured(np.ndarray[Any, Any]):
    """As other libraries make them: an array with something more."""

    unit = "m"

    def __array_finalize__(self, other: Any) -> None:
        self.unit = getattr(other, "unit", "m")


def test_attributes_of_subclasses_are_part_of_the_key() -> None:
    metres, feet = np.arange(3.0).view(Measured), np.arange(3.0).view(Measured)
    assert_same(metres, feet)
    feet.unit = "ft"
    assert_differ(metres, feet, np.arange(3.0))


def test_padding_is_not_content() -> None:
    aligned = np.dtype([("a", "u1"), ("b", "f8")], align=True)
    noisy, clean = np.empty(5, aligned), np.zeros(5, aligned)
    noisy.view("u1")[:] = 255
    for array in (noisy, clean):
        array["a"], array["b"] = 1, 2.5
    assert noisy.tobytes() != clean.tobytes()
    assert_same(noisy, clean)
    assert_same(noisy[0], clean[0])
    assert_differ(clean, clean[0], clean[:1], clean.astype([("a", "u1"), ("b", "f8")]))
    noise = np.frombuffer(b"\xff" * 160, np.longdouble).copy()
    noise[:] = 1.5
    assert_same(noise, np.full(10, 1.5, np.longdouble))


def test_structured_arrays() -> None:
    plain = np.zeros(3, [("a", "i4"), ("b", "f8")])
    assert_differ(
        plain,
        plain.astype([("a", "i4"), ("c", "f8")]),
        plain[["b", "a"]],
        np.zeros(3, [("b", "f8"), ("a", "i4")]),
        np.zeros(3, [(("title", "a"), "i4"), ("b", "f8")]),
        np.zeros(3, [("a", "i4"), ("b", "f8", (1,))]),
        np.zeros(3, [("a", [("x", "i4")]), ("b", "f8")]),
        np.zeros(3, []),
    )
    held = np.zeros(2, [("a", "O"), ("b", "i4")])
    held["a"] = [[1], "x"]
    other = held.copy()
    assert_same(held, other)
    other["a"][1] = "y"
    assert_differ(held, other)


def test_object_arrays_are_their_elements() -> None:
    array = np.array([1, "a", None, [1.5], np.float32(2)], dtype=object)
    assert_same(array, np.array([1, "a", None, [1.5], np.float32(2)], dtype=object))
    assert_differ(array, np.array([1, "a", None, [1.5], 2.0], dtype=object), list(array))
    cyclic = np.zeros(1, dtype=object)
    cyclic[0] = cyclic
    with pytest.raises(UnkeyableError, match="within itself"):
        key(cyclic)


def test_text_of_any_length() -> None:
    texts = ["a", "long" * 20, ""]
    assert_same(np.array(texts, np.dtypes.StringDType()), np.array(texts, np.dtypes.StringDType()))
    missing = np.dtypes.StringDType(na_object=None)
    assert_differ(
        np.array(texts, np.dtypes.StringDType()),
        np.array([*texts[:2], "x"], np.dtypes.StringDType()),
        np.array(texts, missing),
        np.array([*texts[:2], None], missing),
        np.array(texts),
        np.array(texts, object),
    )


def test_masked_arrays() -> None:
    def masked(data: Any, mask: Any, **options: Any) -> Any:
        return np.ma.array(data, mask=mask, **options)

    assert_same(masked([1, 2], [0, 1]), masked([1, 2], [0, 1]))
    assert_same(masked([1, 2], [0, 0]), np.ma.array([1, 2]))
    assert_differ(
        masked([1, 2], [0, 1]),
        masked([1, 2], [0, 0]),
        masked([1, 3], [0, 1]),
        masked([1, 2], [0, 1], fill_value=7),
        masked([1, 2], [0, 1], hard_mask=True),
        np.ma.masked,
        np.array([1, 2]),
    )


def test_dtypes_and_functions() -> None:
    assert_same(np.dtype("f8"), np.dtype(float), np.dtype("float64"))
    assert_differ(np.dtype("f8"), np.dtype(">f8"), np.dtype([("a", "f8")]), np.float64, "<f8")
    assert_differ(np.mean, np.median, np.add, np.subtract, np.linalg.norm)


def test_generators_of_random_numbers_have_no_key() -> None:
    for source in (np.random.default_rng(1), np.random.RandomState(1), np.random.PCG64(1)):
        with pytest.raises(UnkeyableError, match="other numbers each time; hint: pass a seed"):
            key(source)


def test_long_arrays_have_short_keys(counted: Any) -> None:
    array = np.arange(200_000.0)
    assert len(key(array)) < 80
    f = counted(strict=True)
    assert f(array) is f(array.copy())
    other = array.copy()
    other[100_000] = np.nextafter(other[100_000], 0)
    assert f(array) is not f(other)
    assert len(key({"a": array, "b": [array, array]})) < 300


def test_an_array_that_changes_is_another_argument(counted: Any) -> None:
    f, array = counted(strict=True), np.zeros(300_000)
    first = f(array)
    array[-1] = 1
    assert f(array) is not first
    array[-1] = 0
    assert f(array) is first
