"""The time of a hit with a thousand entries and with a million."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from harness import (
    Contender,
    Ratio,
    Report,
    Samples,
    Settings,
    interleave,
    judge_ratio,
    medians,
    repeated,
)
from peers import lru_cache, retainit_memory

FEW = 1_000
AIM = 2.0
ASKED = 50_000


def run(settings: Settings) -> Report:
    many = 100_000 if settings.quick else 1_000_000
    report = Report(f"Hits with {FEW} and with {many} entries")
    fills: dict[str, Callable[[int], Any]] = {
        "retainit": lambda count: _filled(retainit_memory(2 * many)(_body), count),
        "functools.lru_cache": lambda count: _filled(lru_cache(2 * many)(_body), count),
        "dict": lambda count: dict.fromkeys(_keys(count), 1).__getitem__,
    }
    chance = random.Random(11)
    hot = _keys(FEW)
    spread = chance.sample(_keys(many), ASKED)
    chance.shuffle(hot)
    contenders = []
    for name, fill in fills.items():
        small, large = fill(FEW), fill(many)
        for case, function, keys in (
            ("few", small, hot * (ASKED // FEW)),
            ("hot of many", large, hot * (ASKED // FEW)),
            ("all of many", large, spread),
        ):
            measure = repeated("for key in keys: f(key)", f=function, keys=keys)
            contenders.append(Contender(f"{name}, {case}", measure))
    samples = interleave(contenders, settings, per=ASKED)
    for case in ("few", "hot of many", "all of many"):
        report.medians[case] = {
            name: value
            for name in fills
            for label, value in medians(samples).items()
            if label == f"{name}, {case}"
        }
    _judge(samples, report, many)
    return report


def _judge(samples: Samples, report: Report, many: int) -> None:
    hot = {name: Ratio.of(samples, f"{name}, hot of many", f"{name}, few") for name in ("retainit", "dict")}
    cold = {name: Ratio.of(samples, f"{name}, all of many", f"{name}, few") for name in ("retainit", "dict")}
    report.add(
        f"hit of {FEW} hot keys: {many} entries over {FEW}",
        f"at most {AIM:.0f} x",
        hot["retainit"],
        f"itself; a dict: {hot['dict'].median:.2f} x",
        judge_ratio(hot["retainit"], AIM, "at most"),
    )
    report.add(
        f"hit of all keys at random: {many} entries over {FEW}",
        "CPU caches aside",
        cold["retainit"],
        f"itself; a dict: {cold['dict'].median:.2f} x",
        "seen",
    )
    report.notes.append(
        f"With the same {FEW} hot keys among {many} entries, the lines in use stay in the CPU's caches: what "
        "differs is the cache's own work. Over all keys at random every hit waits for memory: key object, "
        "the table's slot, the entry and the value are lines that no CPU cache holds. A dict, which has no "
        "entry to look at and no key to encode, shows how much of that is the machine's."
    )


def _keys(count: int) -> list[int]:
    # Not the small ints that exist once, and new objects at each call, as arguments are.
    return [number + 2**32 for number in range(count)]


def _filled(cached: Any, count: int) -> Any:
    for key in _keys(count):
        cached(key)
    return cached


def _body(key: Any) -> Any:
    return 1
