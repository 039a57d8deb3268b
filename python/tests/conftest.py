"""Every test starts with nothing configured, in an empty directory, and leaves nothing behind."""

from __future__ import annotations

import itertools
import mmap
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from retainit import DiskConfig, _frames, _native, _registry, retain
from retainit.errors import SerializationError


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RETAINIT_CONFIG", raising=False)
    _registry.shutdown()
    _registry._registry.forget()
    _registry._changed()
    yield
    _registry.shutdown()


class Clock:
    """The process's clocks, held still."""

    def advance(self, seconds: float) -> None:
        _native.advance_clock(seconds)


@pytest.fixture
def clock() -> Iterator[Clock]:
    _native.freeze_clock()
    yield Clock()
    _native.thaw_clock()


@pytest.fixture
def counted() -> Callable[..., Any]:
    """Makes a cached function `f(x, y=2)` of given options, whose result says which run it comes from."""

    def make(**options: Any) -> Any:
        runs = []

        @retain(**options)
        def f(x: Any, y: Any = 2) -> list[Any]:
            runs.append((x, y))
            return [len(runs), x, y]

        return f

    return make


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., str]:
    """Runs a program in an interpreter of its own, which has to end well and say nothing on stderr."""

    def run(program: str, *arguments: object, code: int = 0, timeout: float = 60) -> str:
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(program))
        command = [sys.executable, "-W", "error", str(file), *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # Its children too, which hold the pipes.
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            pytest.fail(f"still running after {timeout} s\n{stdout}\n{stderr}")
        assert (process.returncode, stderr) == (code, ""), stdout
        return stdout

    return run


@pytest.fixture(params=["stream", "disk"])
def through(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Sends a frame through a stream, or through a cache on disk, and gives what comes out.

    With `mapped` it lies in memory of its own, mapped from a file, else in memory it must not write to.
    """
    return _through_a_stream(tmp_path) if request.param == "stream" else _through_the_disk(tmp_path)


def _through_a_stream(folder: Path) -> Callable[..., Any]:
    def send(value: object, *, target: str = "arrow", mapped: bool = True) -> Any:
        pa: Any = import_module("pyarrow")
        stream = _frames.to_stream(value, target=target)
        assert stream is not None
        reader = pa.RecordBatchReader.from_stream(stream)
        file = folder / "stream"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
        with file.open("rb") as opened:
            memory = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        return _frames.from_stream(pa.ipc.open_stream(pa.py_buffer(memory)), memory if mapped else None)

    return send


def _through_the_disk(folder: Path) -> Callable[..., Any]:
    numbers = itertools.count()
    functions: dict[tuple[str, bool], Any] = {}

    def send(value: object, *, target: str = "arrow", mapped: bool = True) -> Any:
        if (target, mapped) not in functions:
            backend = DiskConfig(base_path=str(folder / f"{target}-{mapped}"))
            wrap = retain(backend=backend, serializer=target, compression=not mapped, strict=True)
            functions[target, mapped] = wrap(_never)
        cached, number = functions[target, mapped], next(numbers)
        stream: Any = _frames.to_stream(value, target=target)
        if target == "csv" and any(map(import_module("pyarrow").types.is_nested, stream.schema.types)):
            # All there is to see is that it says so.
            with pytest.raises(SerializationError, match="expected a type without others in it"):
                cached.cache_set(value, number)
            return value
        cached.cache_set(value, number)
        # The first time all of it is checked.
        cached(number)
        return cached(number)

    return send


def _never(number: int) -> Any:
    pytest.fail(f"value {number} is not in the cache")


@pytest.fixture
def same() -> Callable[[Any, Any], None]:
    """Whether two frames, series or indexes of pandas are the same in all that can be seen of them."""
    return _same


def _same(left: Any, right: Any) -> None:
    """All that pandas' own comparison looks at, and what it does not."""
    pd: Any = import_module("pandas")
    assert type(left) is type(right)
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(
            left,
            right,
            check_exact=True,
            check_index_type="exact",
            check_column_type="exact",
            check_freq=True,
            check_flags=True,
        )
        assert left.attrs == right.attrs
        _same(left.columns, right.columns)
        _same(left.index, right.index)
        for (_, one), (_, other) in zip(left.items(), right.items(), strict=True):
            _same_values(one, other)
    elif isinstance(left, pd.Series):
        pd.testing.assert_series_equal(
            left, right, check_exact=True, check_index_type="exact", check_freq=True, check_flags=True
        )
        assert left.attrs == right.attrs
        assert type(left.name) is type(right.name)
        _same(left.index, right.index)
        _same_values(left, right)
    else:
        pd.testing.assert_index_equal(left, right, exact=True, check_exact=True)
        assert [type(name) for name in left.names] == [type(name) for name in right.names]
        if isinstance(left, pd.MultiIndex):
            assert left.sortorder == right.sortorder
            for one, other in zip(left.codes, right.codes, strict=True):
                assert one.dtype == other.dtype
                assert one.tolist() == other.tolist()
            for one, other in zip(left.levels, right.levels, strict=True):
                _same(one, other)
            return
        if isinstance(left, (pd.DatetimeIndex, pd.TimedeltaIndex)):
            assert left.freq == right.freq
        if isinstance(left, pd.RangeIndex):
            assert (left.start, left.stop, left.step) == (right.start, right.stop, right.step)
        _same_values(left, right)


def _same_values(left: Any, right: Any) -> None:
    np: Any = import_module("numpy")
    pd: Any = import_module("pandas")
    one, other = left.dtype, right.dtype
    assert type(one) is type(other)
    assert one == other
    if isinstance(one, pd.CategoricalDtype):
        _same(one.categories, other.categories)
        assert one.ordered == other.ordered
        assert left.array.codes.dtype == right.array.codes.dtype
        assert left.array.codes.tolist() == right.array.codes.tolist()
    elif isinstance(one, pd.StringDtype):
        assert one.storage == other.storage
        assert one.na_value is other.na_value
        assert [type(each) for each in left] == [type(each) for each in right]
    elif isinstance(one, pd.DatetimeTZDtype):
        assert type(one.tz) is type(other.tz)
        assert left.array.asi8.tolist() == right.array.asi8.tolist()
    elif isinstance(one, np.dtype) and one.kind == "O":
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            assert type(a) is type(b)
            assert a is b or repr(a) == repr(b)
    elif isinstance(one, np.dtype):
        assert one.str == other.str
        assert left.to_numpy().tobytes() == right.to_numpy().tobytes()
    elif hasattr(left.array, "_mask"):
        assert left.array._mask.tolist() == right.array._mask.tolist()
        assert left.array._data.tobytes() == right.array._data.tobytes()
