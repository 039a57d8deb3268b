"""A frame of 95 MB on disk: the first hit of a process, hits after it, sums over what they give, and sets.

Ten columns of floats and one of text, a million rows, as pandas, Polars and pyarrow have them. Peers keep the
same frames, each by the means its documentation has for them. Sums show what a hit may have put off.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from harness import Contender, Ratio, Report, Settings, interleave, judge, medians, repeated

ROWS, FLOATS = 1_000_000, 10
HIT_AIM, FIRST_AIM = 2.0, 20.0
# Of a raw write of as many bytes, after a sum that every set may take.
SET_AIM, SET_GRACE = 1.5, 20.0
LIBRARIES = ("pandas", "polars", "pyarrow")
RETAINIT, RAW, PICKLE = "retainit", "raw write", "pickle"
TEXT = "name"

FIRST = """
import importlib, json, sys, time
sys.path.insert(0, sys.argv[3])
frames = importlib.import_module("work.data.frames")
cached = frames.cached_by(sys.argv[1], sys.argv[2], frames.never)
# Before the clock starts, libraries are imported and the folder is open; the serializer is not loaded yet.
for library in (sys.argv[4], "pyarrow"):
    importlib.import_module(library)
cached.cache_get(0)
began = time.perf_counter()
frame = cached(1)
print(json.dumps(1e9 * (time.perf_counter() - began)))
"""


@dataclass(frozen=True)
class Store:
    """Somebody who keeps frames: how one is asked for, kept and forgotten, by a number."""

    name: str
    hit: Callable[[int], Any]
    keep: Callable[[int], Any]
    forget: Callable[[int], Any]


def measure(settings: Settings, report: Report) -> None:
    # A set moves 95 MB: a few rounds take long enough.
    few = Settings(quick=True)
    for library in LIBRARIES:
        try:
            frame, total = make_frame(library), sums(library)
        except ImportError as reason:
            report.skipped.append(f"{library}: {reason}")
            continue
        with _folder() as folder:
            stores = list(_stores(folder, library, frame, report))
            for store in stores:
                store.keep(1)
                # Sums of the same numbers differ in the last digits with the order they are added in.
                assert math.isclose(total(store.hit(1)), total(frame)), store.name
            _hits(library, stores, total, settings, report)
            _first(library, folder, few, report)
            _sets(library, stores, folder, few, report)


def _hits(library: str, stores: list[Store], total: Any, settings: Settings, report: Report) -> None:
    work = f"hit, {library} frame of 95 MB"
    samples = interleave([Contender(one.name, repeated("f(1)", f=one.hit)) for one in stores], settings)
    report.medians[work] = medians(samples)
    figure = report.medians[work][RETAINIT] / 1e6
    report.add(
        f"disk: {work}",
        f"at most {HIT_AIM:.0f} ms",
        f"{figure:.3g} ms",
        "",
        judge(figure, HIT_AIM, "at most"),
    )
    for name in samples:
        if name != RETAINIT:
            report.add(f"disk: {work}: faster", "none set", Ratio.of(samples, name, RETAINIT), name, "seen")
    contenders = [Contender(one.name, repeated("total(f(1))", f=one.hit, total=total)) for one in stores]
    report.medians[f"{work}, and sums over it"] = medians(interleave(contenders, settings))


def _first(library: str, folder: Path, settings: Settings, report: Report) -> None:
    """In processes of their own, over the entry that is there."""
    path = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", FIRST, RETAINIT, str(folder / RETAINIT), path, library]
    figures = [
        float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        for _ in range(settings.rounds)
    ]
    work = f"first hit of a process, {library} frame of 95 MB"
    report.medians[work] = {RETAINIT: median(figures)}
    figure = median(figures) / 1e6
    verdict = judge(figure, FIRST_AIM, "at most")
    report.add(f"disk: {work}", f"at most {FIRST_AIM:.0f} ms", f"{figure:.3g} ms", "", verdict)


def _sets(library: str, stores: list[Store], folder: Path, settings: Settings, report: Report) -> None:
    work = f"set, {library} frame of 95 MB"
    payload = b"\x5a" * (95 * 1000 * 1000)

    def write(number: int) -> None:
        with (folder / f"raw-{number}").open("wb") as file:
            file.write(payload)

    raw = Store(RAW, lambda _: None, write, lambda number: (folder / f"raw-{number}").unlink())
    contenders = [Contender(one.name, _timed_sets(one)) for one in (raw, *stores)]
    samples = interleave(contenders, settings)
    report.medians[work] = medians(samples)
    # Round by round, as ratios are.
    beyond = [
        (own - SET_GRACE * 1e6) / base for own, base in zip(samples[RETAINIT], samples[RAW], strict=True)
    ]
    figure = median(beyond)
    aim = f"at most {SET_AIM} x, and {SET_GRACE:.0f} ms"
    report.add(f"disk: {work}", aim, f"{figure:.2f} x, and 20 ms", RAW, judge(figure, SET_AIM, "at most"))
    for name in samples:
        if name not in (RETAINIT, RAW):
            report.add(f"disk: {work}: faster", "none set", Ratio.of(samples, name, RETAINIT), name, "seen")


def _timed_sets(store: Store) -> Callable[[int], float]:
    """Each set is of a new key. What it takes to forget the one before is nobody's."""
    number = 1000

    def measured(count: int) -> float:
        nonlocal number
        taken = 0.0
        for _ in range(count):
            number += 1
            began = time.perf_counter()
            store.keep(number)
            taken += time.perf_counter() - began
            store.forget(number)
        return taken

    return measured


def make_frame(library: str) -> Any:
    np, pa, module = import_module("numpy"), import_module("pyarrow"), import_module(library)
    generator = np.random.default_rng(1)
    columns = {f"f{place}": generator.random(ROWS) for place in range(FLOATS)}
    text = pa.array([f"name{number % 1000:03d}" for number in range(ROWS)], pa.large_string())
    table = pa.table({**columns, TEXT: text})
    if library == "pandas":
        text_column = module.array(text, dtype=module.StringDtype("pyarrow", na_value=np.nan))
        return module.DataFrame({**columns, TEXT: text_column})
    return table if library == "pyarrow" else module.from_arrow(table)


def sums(library: str) -> Callable[[Any], float]:
    """A function that looks at every element of a frame."""
    module = import_module(library)
    if library == "pandas":
        return lambda frame: float(frame.iloc[:, :FLOATS].sum().sum() + frame[TEXT].str.len().sum())
    if library == "polars":
        numbers, letters = module.col(module.Float64).sum(), module.col(TEXT).str.len_bytes().sum()
        return lambda frame: float(sum(frame.select(numbers, letters).row(0)))
    compute = import_module("pyarrow.compute")

    def total(table: Any) -> float:
        figures = [compute.sum(table.column(place)).as_py() for place in range(FLOATS)]
        return float(sum(figures) + compute.sum(compute.binary_length(table.column(TEXT))).as_py())

    return total


def cached_by(name: str, folder: str, function: Callable[[int], Any]) -> Any:
    """A function cached by retainit in a folder; the same in another process, if its name is the same."""
    retainit = import_module(name)
    return retainit.retain(backend=retainit.DiskConfig(base_path=folder), version=1)(function)


def never(number: int) -> Any:
    raise AssertionError(f"frame {number} is not in the cache")


def _stores(folder: Path, library: str, frame: Any, report: Report) -> Iterator[Store]:
    cached = cached_by(RETAINIT, str(folder / RETAINIT), never)
    yield Store(RETAINIT, cached, lambda number: cached.cache_set(frame, number), cached.cache_delete)
    yield _pickled(folder, frame)
    for name, make in (("diskcache", _diskcache), ("joblib", _joblib), ("cachekit", _cachekit)):
        if name == "cachekit" and library == "pyarrow":
            report.skipped.append("cachekit with pyarrow: its Arrow serializer takes no tables")
            continue
        try:
            yield make(folder, library, frame)
        except ImportError as reason:
            line = f"{name}: {reason}"
            if line not in report.skipped:
                report.skipped.append(line)


def _pickled(folder: Path, frame: Any) -> Store:
    """What everybody can do without a cache."""

    def path(number: int) -> Path:
        return folder / f"{number}.pickle"

    def hit(number: int) -> Any:
        with path(number).open("rb") as file:
            return pickle.load(file)

    def keep(number: int) -> None:
        with path(number).open("wb") as file:
            pickle.dump(frame, file, pickle.HIGHEST_PROTOCOL)

    return Store(PICKLE, hit, keep, lambda number: path(number).unlink())


def _diskcache(folder: Path, _library: str, frame: Any) -> Store:
    cache = import_module("diskcache").Cache(str(folder / "diskcache"), size_limit=1 << 33)
    return Store("diskcache", cache.get, lambda number: cache.set(number, frame), cache.delete)


def _joblib(folder: Path, _library: str, frame: Any) -> Store:
    def keep(number: int) -> Any:
        return frame

    function = import_module("joblib").Memory(folder / "joblib", verbose=0).cache(keep)
    return Store("joblib", function, function, lambda number: function.call_and_shelve(number).clear())


def _cachekit(folder: Path, library: str, frame: Any) -> Store:
    cachekit = import_module("cachekit")
    file = import_module("cachekit.backends.file")
    serializers = import_module("cachekit.serializers")
    config = file.FileBackendConfig(cache_dir=folder / "cachekit", max_size_mb=4000, max_value_mb=1000)
    form = {"pandas": "pandas", "polars": "polars", "pyarrow": "arrow"}[library]

    @cachekit.cache(
        backend=file.FileBackend(config),
        serializer=serializers.ArrowSerializer(return_format=form),
        ttl=3600,
        l1_enabled=False,
    )
    def keep(number: int) -> Any:
        return frame

    return Store("cachekit", keep, keep, keep.invalidate_cache)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder on the disk that holds the checkout: a temporary folder may be in memory."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[3] / "target"))
    target.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-frames-", dir=target))
    try:
        yield folder
    finally:
        import_module("retainit").shutdown()
        shutil.rmtree(folder, ignore_errors=True)
