"""Bytes an entry costs beyond its key and value, each cache in a fresh process."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import Report, Settings, judge
from peers import TTL_PEERS, MakeWrap, installed, lru_cache, retainit_memory

AIMS = {"plain": 100.0, "tracked": 150.0}
MEANING = {"plain": "plain values", "tracked": "GC-tracked values (tuples, dicts)"}
RETAINIT = "retainit"


def run(settings: Settings) -> Report:
    count = 100_000 if settings.quick else 500_000
    peers, skipped = installed(TTL_PEERS)
    # cachekit keeps a bounded number of entries that cannot be raised to this one here.
    peers.pop("cachekit", None)
    report = Report(f"Bytes per entry beyond key and value, {count} entries", unit="bytes", skipped=skipped)
    for kind, aim in AIMS.items():
        names = (RETAINIT, "functools.lru_cache", *peers)
        figures = {name: _in_fresh_process(name, kind, count) for name in names}
        report.medians[MEANING[kind]] = figures
        own = figures[RETAINIT]
        others = ", ".join(f"{name} {figures[name]:.0f}" for name in names[1:])
        verdict = judge(own, aim, "at most")
        report.add(f"bytes per entry, {MEANING[kind]}", f"at most {aim:.0f}", f"{own:.0f}", others, verdict)
    return report


def _in_fresh_process(name: str, kind: str, count: int) -> float:
    command = [sys.executable, __file__, name, kind, str(count)]
    # The probe is a script in work/, whose imports are a folder up.
    places = [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    return float(subprocess.check_output(command, env=environment, text=True))


def probe(name: str, kind: str, count: int) -> float:
    """Fills the cache from keys and values that are there before, and looks at what the process grew by."""
    makers: dict[str, MakeWrap] = {RETAINIT: retainit_memory, "functools.lru_cache": lru_cache}
    makers.update(installed(TTL_PEERS)[0])
    keys = [number + 2**32 for number in range(count)]
    values = _values(kind, count)
    index = dict(zip(keys, values, strict=True))
    cached = makers[name](2 * count)(lambda key: index[key])
    # What is paid once, loading a library for one, is not the entries' cost.
    cached(keys[0])
    gc.collect()
    before = _resident()
    for key in keys:
        cached(key)
    gc.collect()
    grown = _resident() - before
    if len(keys) != count or cached(keys[-1]) is not values[-1]:
        raise AssertionError("the cache did not keep what it was given")
    return grown / count


def _values(kind: str, count: int) -> list[Any]:
    if kind == "plain":
        return [float(number) for number in range(count)]
    # Containers of plain values only are dropped from the collector's lists: these hold a list each.
    inside: list[int] = []
    return [(number, inside) if number % 2 else {"n": inside} for number in range(count)]


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(probe(sys.argv[1], sys.argv[2], int(sys.argv[3])))
