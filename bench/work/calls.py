"""Hits of synchronous functions, by the shape of the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness import Contender, Ratio, Report, Settings, interleave, judge_ratio, medians, repeated
from peers import TTL_PEERS, Function, MakeWrap, Wrap, installed, lru_cache, retainit_memory

SIZE = 1000
RETAINIT, LRU = "retainit", "functools.lru_cache"
# What no peer may come near, as the issue of the project's first numbers has it.
FASTER_THAN_TTL_PEERS = 6.0
JUDGED_PEERS = ("cachebox", "moka-py", "cachetools", "theine")


class Case:
    """A call, a function that it fits, and how much of `lru_cache`'s time it may take."""

    def __init__(self, name: str, call: str, make: Callable[[list[int]], Function], aim: float):
        self.name, self.call, self.make, self.aim = name, call, make, aim


def one_argument(runs: list[int]) -> Function:
    def one(x: Any) -> Any:
        runs.append(1)
        return x

    return one


def two_arguments(runs: list[int]) -> Function:
    def two(x: Any, y: Any) -> Any:
        runs.append(1)
        return x

    return two


def three_arguments(runs: list[int]) -> Function:
    def three(x: Any, y: Any, z: Any) -> Any:
        runs.append(1)
        return x

    return three


def five_arguments(runs: list[int]) -> Function:
    def five(x: Any, y: Any, z: Any, a: Any = None, b: Any = None) -> Any:
        runs.append(1)
        return x

    return five


CASES = (
    Case("one int", "f(7)", one_argument, 1.10),
    Case("one str", "f('user:1234')", one_argument, 1.10),
    Case("two: str, int", "f('user:1234', 7)", two_arguments, 0.85),
    Case("three ints", "f(1, 2, 3)", three_arguments, 0.85),
    Case("three positional, two keyword", "f(1, 2, 3, a=4, b='x')", five_arguments, 1.0),
)


def run(settings: Settings) -> Report:
    peers, skipped = installed(TTL_PEERS)
    report = Report("Hits of a function, memory, with ttl", skipped=skipped)
    for case in CASES:
        _measure_case(case, peers, settings, report)
    _measure_method(peers, settings, report)
    return report


def _measure_case(case: Case, peers: dict[str, MakeWrap], settings: Settings, report: Report) -> None:
    makers = {RETAINIT: retainit_memory, LRU: lru_cache, **peers}
    runs: dict[str, list[int]] = {name: [] for name in makers}
    contenders = []
    for name, maker in makers.items():
        cached = maker(SIZE)(case.make(runs[name]))
        contenders.append(Contender(name, repeated(case.call, f=cached)))
    samples = interleave(contenders, settings)
    for name, count in runs.items():
        if len(count) != 1:
            raise AssertionError(f"{name} ran the function {len(count)} times: not only hits were timed")
    report.medians[case.name] = medians(samples)

    ratio = Ratio.of(samples, RETAINIT, LRU)
    report.add(
        f"hit, {case.name}",
        f"at most {case.aim:.2f} x",
        ratio,
        LRU,
        judge_ratio(ratio, case.aim, "at most"),
    )
    judged = {name: Ratio.of(samples, name, RETAINIT) for name in JUDGED_PEERS if name in peers}
    if judged:
        nearest = min(judged, key=lambda name: judged[name].median)
        report.add(
            f"hit, {case.name}: faster than ttl peers",
            f"at least {FASTER_THAN_TTL_PEERS:.0f} x",
            judged[nearest],
            f"{nearest}, the nearest",
            judge_ratio(judged[nearest], FASTER_THAN_TTL_PEERS, "at least"),
        )


def _measure_method(peers: dict[str, MakeWrap], settings: Settings, report: Report) -> None:
    """A method's `self` is part of the key for all: no aim is set, the figure is here to be seen."""

    def of(wrap: Wrap) -> Any:
        class Shop:
            @wrap
            def price(self, x: int) -> int:
                return x

        return Shop()

    with_methods = {name: peers[name] for name in ("cachebox", "moka-py", "cachetools") if name in peers}
    makers = {RETAINIT: retainit_memory, LRU: lru_cache, **with_methods}
    contenders = [
        Contender(name, repeated("o.price(7)", o=of(maker(SIZE)))) for name, maker in makers.items()
    ]
    samples = interleave(contenders, settings)
    report.medians["method, one int"] = medians(samples)
    report.add("hit, method, one int", "none set", Ratio.of(samples, RETAINIT, LRU), LRU, "seen")
