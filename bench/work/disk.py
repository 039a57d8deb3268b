"""Hits, sets and large reads of the disk plugin, against diskcache and joblib."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from harness import Contender, Ratio, Report, Settings, interleave, judge_ratio, medians, repeated

KEYS = 100
LARGE = 1 << 20
RETAINIT = "retainit"
RECORD = {
    "id": 1234,
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "tags": ["mathematics", "engines"],
    "score": 98.5,
    "active": True,
}


def run(settings: Settings) -> Report:
    report = Report("Disk", unit="ns")
    with _folder() as folder:
        _small(folder, settings, report)
        _large(folder, settings, report)
    return report


def _small(folder: Path, settings: Settings, report: Report) -> None:
    retainit = import_module("retainit")
    keys = list(range(KEYS))
    own = retainit.retain(backend=retainit.DiskConfig(base_path=str(folder / "small")))(_record)
    hits, sets = {RETAINIT: own}, {RETAINIT: "for key in keys: f.cache_set(value, key)"}
    targets: dict[str, Any] = {RETAINIT: own}
    for name in _peers(report):
        if name == "diskcache":
            cache = import_module("diskcache").Cache(str(folder / "diskcache"))
            hits[name] = cache.memoize()(_record)
            targets[name], sets[name] = cache, "for key in keys: f.set(key, value)"
        else:
            hits[name] = import_module("joblib").Memory(folder / "joblib", verbose=0).cache(_record)
    _compare("hit, small dict", hits, keys, 4.0, settings, report, "memoize")
    contenders = [
        Contender(name, repeated(sets[name], f=target, keys=keys, value=RECORD))
        for name, target in targets.items()
    ]
    samples = interleave(contenders, settings, per=KEYS)
    report.medians["set, small dict"] = medians(samples)
    if "diskcache" in targets:
        ratio = Ratio.of(samples, "diskcache", RETAINIT)
        verdict = judge_ratio(ratio, 4.0, "at least")
        report.add("disk: set of a small dict, faster", "at least 4 x", ratio, "diskcache set", verdict)


def _large(folder: Path, settings: Settings, report: Report) -> None:
    retainit = import_module("retainit")
    hits = {RETAINIT: retainit.retain(backend=retainit.DiskConfig(base_path=str(folder / "large")))(_blob)}
    for name in _peers(report):
        if name == "diskcache":
            hits[name] = import_module("diskcache").Cache(str(folder / "diskcache-large")).memoize()(_blob)
        else:
            memory = import_module("joblib").Memory(folder / "joblib-large", verbose=0)
            hits[name] = memory.cache(_blob)
    _compare("read of 1 MB", hits, list(range(10)), 2.0, settings, report, "memoize")


def _compare(
    work: str,
    functions: dict[str, Any],
    keys: list[int],
    aim: float,
    settings: Settings,
    report: Report,
    how: str,
) -> None:
    for function in functions.values():
        for key in keys:
            function(key)
    contenders = [
        Contender(name, repeated("for key in keys: f(key)", f=function, keys=keys))
        for name, function in functions.items()
    ]
    samples = interleave(contenders, settings, per=len(keys))
    report.medians[work] = medians(samples)
    if "diskcache" in functions:
        ratio = Ratio.of(samples, "diskcache", RETAINIT)
        verdict = judge_ratio(ratio, aim, "at least")
        report.add(f"disk: {work}, faster", f"at least {aim:.0f} x", ratio, f"diskcache {how}", verdict)


def _peers(report: Report) -> list[str]:
    found = []
    for name in ("diskcache", "joblib"):
        try:
            import_module(name)
            found.append(name)
        except ImportError as reason:
            line = f"{name}: {reason}"
            if line not in report.skipped:
                report.skipped.append(line)
    return found


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder on the disk that holds the checkout: a temporary folder may be in memory."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[2] / "target"))
    target.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-disk-", dir=target))
    try:
        yield folder
    finally:
        import_module("retainit").shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _record(number: int) -> dict[str, Any]:
    return {**RECORD, "id": number}


def _blob(number: int) -> bytes:
    return number.to_bytes(1, "big") * LARGE
