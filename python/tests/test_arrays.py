"""NumPy arrays as tensors: what they keep, where they lie, and what is refused."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainit import _arrays

np: Any = import_module("numpy")
hnp: Any = import_module("hypothesis.extra.numpy")

DTYPES = [
    *("?", "i1", "<i2", ">i4", "<i8", ">u8", "<f2", ">f4", "<f8", "<c8", ">c16", "S5", "<U3", ">U3", "V4"),
    *("<M8[ns]", ">M8[D]", "<M8[25s]", "<m8[us]", "<m8", "S0", "U0"),
]


def through(array: Any, readonly: bool = False) -> Any:
    """There and back, over memory that is somebody else's if it is `readonly`."""
    tensor = _arrays.to_tensor(array)
    assert tensor is not None
    dtype, shape, strides, buffer = tensor
    memory = bytes(memoryview(buffer)) if readonly else bytearray(memoryview(buffer))  # type: ignore[arg-type]
    assert len(memory) == array.nbytes
    return _arrays.from_tensor(dtype, shape, strides, memory)


def same(left: Any, right: Any) -> None:
    assert type(left) is type(right) is np.ndarray
    assert (left.dtype, left.dtype.str, left.shape) == (right.dtype, right.dtype.str, right.shape)
    assert left.tobytes() == right.tobytes()
    assert right.flags.writeable


@pytest.mark.parametrize("readonly", [False, True], ids=["own memory", "others' memory"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_dtype_is_kept(dtype: str, readonly: bool) -> None:
    for shape in ((), (3,), (2, 3), (0,), (2, 0, 3), (1, 1, 4)):
        array = np.ndarray(shape, dtype)
        if array.nbytes:
            array.reshape(-1).view(np.uint8)[:] = np.arange(array.nbytes) % 2
        same(array, through(array, readonly))


@pytest.mark.parametrize("readonly", [False, True], ids=["own memory", "others' memory"])
def test_order_is_kept(readonly: bool) -> None:
    base = np.arange(24).reshape(2, 3, 4)
    fortran = np.asfortranarray(base)
    for array, c, f in (
        (base, True, False),
        (fortran, False, True),
        (base.T, False, True),
        (base[:, ::2], True, False),
        (base[::-1], True, False),
        (base.transpose(1, 0, 2), True, False),
        (np.broadcast_to(5, (2, 3)), True, False),
        (base[0, 0], True, True),
        (base[:1, :1], True, True),
    ):
        restored = through(array, readonly)
        same(array, restored)
        assert (restored.flags.c_contiguous, restored.flags.f_contiguous) == (c, f)


def test_an_array_in_order_is_not_copied() -> None:
    for array in (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3))):
        tensor = _arrays.to_tensor(array)
        assert tensor is not None
        assert np.shares_memory(np.frombuffer(tensor[3], np.uint8), array)
        memory = bytearray(48)
        restored = _arrays.from_tensor(*tensor[:3], memory)
        restored[:] = 1.5
        assert memory == np.full(6, 1.5).tobytes()


def test_a_copy_leaves_others_memory_alone() -> None:
    memory = bytes(24)
    restored = _arrays.from_tensor("<f8", (3,), (8,), memory)
    restored[:] = 1
    assert memory == bytes(24)


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array([(1, 2.0)], "i4,f8"),
        np.zeros(2, np.dtype((np.void, 3))).view([("a", "V3")]),
        np.ma.masked_array([1, 2], [True, False]),
        np.rec.array([(1, 2)], dtype="i4,i4"),
        np.zeros(2, np.longdouble),
        np.zeros(2, np.clongdouble),
        np.zeros(2, np.dtype("f8", metadata={"unit": "m"})),
        np.array(["a"], np.dtypes.StringDType()) if hasattr(np.dtypes, "StringDType") else np.array([None]),
    ],
    ids=lambda array: f"{type(array).__name__} {array.dtype}",
)
def test_what_elements_do_not_say_is_refused(array: Any) -> None:
    with pytest.raises(_arrays.Inexact):
        _arrays.to_tensor(array)


def test_what_is_no_array_is_none() -> None:
    for value in (None, 1.5, [1], b"a", np.float64(1), np.int8(1), np.datetime64("2026"), np.dtype("f8"), np):
        assert _arrays.to_tensor(value) is None


@pytest.mark.parametrize(
    ("dtype", "shape", "strides", "size"),
    [
        ("<f8", (3,), (8,), 23),
        ("<f8", (3,), (16,), 24),
        ("<f8", (3,), (-8,), 24),
        ("<f8", (3,), (8, 8), 24),
        ("<f8", (-1,), (8,), 24),
        ("<f8", (2**62, 2**62), (2**62, 8), 24),
        ("|O8", (3,), (8,), 24),
        ("nonsense", (3,), (8,), 24),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    dtype: str, shape: tuple[int, ...], strides: tuple[int, ...], size: int
) -> None:
    for memory in (bytes(size), bytearray(size)):
        with pytest.raises((ValueError, TypeError)):
            _arrays.from_tensor(dtype, shape, strides, memory)


@given(
    array=hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)),
    order=st.permutations(range(4)),
)
def test_any_array_is_kept(array: Any, order: list[int]) -> None:
    turned = array.transpose([axis for axis in order if axis < array.ndim])
    try:
        restored = through(turned)
    except _arrays.Inexact:
        assert turned.dtype.itemsize > (8 if turned.dtype.kind == "f" else 16)
        assert turned.dtype.kind in "fc"
    else:
        same(turned, restored)
        assert restored.flags.f_contiguous == turned.flags.f_contiguous
