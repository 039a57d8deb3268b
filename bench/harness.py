"""Measuring side by side: the same loop for everyone, in interleaved rounds, judged by ratios within a round.

A machine's speed drifts by more than the differences looked for here. So contenders take turns, many short
turns each, and two of them are compared round by round: the drift is in both and divides out.
"""

from __future__ import annotations

import gc
import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

# Seconds that so many calls took.
Measure = Callable[[int], float]


@dataclass(frozen=True)
class Contender:
    """Somebody who takes turns: a name, and how to time so many of its calls."""

    name: str
    measure: Measure


@dataclass(frozen=True)
class Settings:
    """How long to measure: more rounds narrow the spread, and longer turns the clock's share."""

    quick: bool = False

    @property
    def rounds(self) -> int:
        return 7 if self.quick else 25

    @property
    def turn(self) -> float:
        return 0.005 if self.quick else 0.02


@dataclass(frozen=True)
class Verdict:
    """A line of the result: what was aimed at, what was measured, whether that is enough."""

    work: str
    aim: str
    figure: str
    against: str
    verdict: str


@dataclass
class Report:
    """What a group of measurements found."""

    title: str
    verdicts: list[Verdict] = field(default_factory=list)
    # Case, contender, median. The unit is the group's own.
    medians: dict[str, dict[str, float]] = field(default_factory=dict)
    unit: str = "ns"
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, work: str, aim: str, figure: object, against: str, verdict: str) -> None:
        self.verdicts.append(Verdict(work, aim, str(figure), against, verdict))

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


Samples = dict[str, list[float]]


def repeated(statement: str, **names: Any) -> Measure:
    """Times a statement with `timeit`, in a loop compiled for this contender alone.

    The loop is part of the time, for all alike. Names are locals of the loop, as in a hot function.
    """
    setup = "; ".join(f"{name} = _{name}" for name in names) or "pass"
    bound = {f"_{name}": value for name, value in names.items()}
    return timeit.Timer(statement, setup, globals=bound).timeit


def interleave(
    contenders: Sequence[Contender], settings: Settings, per: int = 1, turn_seconds: float | None = None
) -> Samples:
    """Nanoseconds per call, one figure a round for each; `per` is how many calls one measured unit has."""
    turn_seconds = turn_seconds or settings.turn
    counts = {one.name: _calibrate(one.measure, turn_seconds) for one in contenders}
    samples: Samples = {one.name: [] for one in contenders}
    for turn in range(settings.rounds):
        # Nobody always follows the same neighbour, whose data would be what is in the CPU's caches.
        first = turn % len(contenders)
        for one in (*contenders[first:], *contenders[:first]):
            count = counts[one.name]
            gc.collect(0)
            samples[one.name].append(one.measure(count) / count / per * 1e9)
    return samples


def _calibrate(measure: Measure, turn: float) -> int:
    measure(1)
    count = 1
    while (took := measure(count)) < turn:
        count = max(count + 1, int(count * min(10.0, 1.1 * turn / took)))
    return count


def medians(samples: Samples) -> dict[str, float]:
    return {name: statistics.median(figures) for name, figures in samples.items()}


@dataclass(frozen=True)
class Ratio:
    """How two contenders compare: the median of the rounds' own ratios, and the quartiles beside it."""

    low: float
    median: float
    high: float

    @staticmethod
    def of(samples: Samples, left: str, right: str) -> Ratio:
        rounds = sorted(a / b for a, b in zip(samples[left], samples[right], strict=True))
        low, middle, high = statistics.quantiles(rounds, n=4) if len(rounds) > 1 else rounds * 3
        return Ratio(low, middle, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} x ({self.low:.2f} to {self.high:.2f})"


def judge(figure: float, aim: float, kind: Literal["at most", "at least"]) -> str:
    """`reached` or `missed`, with how far off."""
    reached = figure <= aim if kind == "at most" else figure >= aim
    return "reached" if reached else f"missed by {abs(figure / aim - 1):.0%}"


def judge_ratio(ratio: Ratio, aim: float, kind: Literal["at most", "at least"]) -> str:
    """As `judge`; a miss smaller than the spread between rounds says so, but remains one."""
    verdict = judge(ratio.median, aim, kind)
    if verdict != "reached" and ratio.low <= aim <= ratio.high:
        verdict += ", within the spread"
    return verdict
