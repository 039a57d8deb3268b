"""Serializer `numpy`: what it stores is a file of NumPy's. The plugin's own tests read what NumPy saves."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retainit import DiskConfig, retain

# Written by `numpy.save`; the Rust tests of the plugin read them and write the same bytes.
FILES = Path(__file__).parents[2] / "plugins" / "codecs" / "tests" / "files"

ARRAYS: dict[str, Callable[[], Any]] = {
    "c_order": lambda: np.arange(6, dtype="<f8").reshape(2, 3),
    "fortran_order": lambda: np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
    "zero_dimensions": lambda: np.array(True),
    "dates": lambda: np.array(["2020-01-01", "NaT"], dtype="<M8[ns]"),
    "text": lambda: np.array(["a", "größe"], dtype="<U5"),
    "no_elements": lambda: np.zeros((3, 0, 2), "<c8"),
    "opaque": lambda: np.array([b"abc", b"\0\1\2"], dtype="V3"),
}


def same(left: Any, right: Any) -> bool:
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


@pytest.mark.parametrize("name", ARRAYS)
def test_files_of_the_plugins_tests_are_what_numpy_saves(name: str) -> None:
    written = io.BytesIO()
    np.save(written, ARRAYS[name]())
    assert written.getvalue() == (FILES / f"{name}.npy").read_bytes()


def stored_and_read(array: Any, folder: Path) -> tuple[Any, Any]:
    """What NumPy loads out of the store, and what a second call gives."""
    config = DiskConfig(base_path=folder)
    runs: list[Any] = []

    @retain(backend=config, serializer="numpy")
    def function() -> Any:
        runs.append(array)
        return array

    function()
    again = function()
    assert (len(runs), function.cache_info().errors) == (1, 0)
    kept = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    # `load` reads as many bytes as the header says, whatever is behind them.
    return np.load(io.BytesIO(kept[kept.index(b"\x93NUMPY") :])), again


@pytest.mark.parametrize("name", ARRAYS)
def test_numpy_loads_what_is_stored(name: str, tmp_path: Path) -> None:
    array = ARRAYS[name]()
    loaded, again = stored_and_read(array, tmp_path)
    assert same(loaded, array)
    assert same(again, array)
    assert again.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_arrays_keep_their_order(order: Any, tmp_path: Path) -> None:
    array = np.asarray(np.random.default_rng(3).normal(size=(300, 400)), order=order)
    loaded, again = stored_and_read(array, tmp_path)
    assert same(loaded, array)
    assert same(again, array)
    assert again.flags.f_contiguous == loaded.flags.f_contiguous == (order == "F")


def test_views_are_stored_in_c_order(tmp_path: Path) -> None:
    array = np.arange(60, dtype=">u4").reshape(3, 4, 5)
    for number, view in enumerate(
        [array[::2, ::-1], array.transpose(1, 0, 2), np.broadcast_to(array[0], (2, 4, 5))]
    ):
        loaded, again = stored_and_read(view, tmp_path / str(number))
        assert same(loaded, view)
        assert same(again, view)
        assert again.flags.c_contiguous


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(2, dtype=[("a", "<f8"), ("b", "<i4")]),
        np.array([None, {}], dtype=object),
        np.zeros(2, np.longdouble),
    ],
    ids=["records", "objects", "longdouble"],
)
def test_what_a_file_could_not_say_everywhere_is_not_stored(array: Any, tmp_path: Path) -> None:
    runs = []

    @retain(backend=DiskConfig(base_path=tmp_path), serializer="numpy")
    def function() -> Any:
        runs.append(1)
        return array

    function()
    function()
    assert (len(runs), function.cache_info().errors) == (2, 2)
