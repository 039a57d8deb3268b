"""What a key costs within a hit: three plain arguments, and an array of a megabyte.

The key cannot be timed by itself, since it is made where it is looked up. So of plain arguments it is what a
hit with three of them takes beyond one with none, and of an array it is the whole hit.
"""

from __future__ import annotations

import hashlib
import statistics
from importlib import import_module
from typing import Any

from harness import (
    Contender,
    Ratio,
    Report,
    Samples,
    Settings,
    interleave,
    judge,
    judge_ratio,
    medians,
    repeated,
)
from peers import retainit_memory

SIZE = 1000
ELEMENTS = 1 << 17
PLAIN_AIM = 60.0
# Of the digest's own time: the rest is for reading dtype and shape, and for finding the entry.
DIGEST_AIM = 1.05
RETAINIT, DIGEST = "retainit, whole hit", "blake3 alone"


def measure(settings: Settings, report: Report) -> None:
    _plain(settings, report)
    _array(settings, report)


def _plain(settings: Settings, report: Report) -> None:
    none = retainit_memory(SIZE)(_no_arguments)
    calls = {"three ints": "f(1, 2, 3)", "str, int, float": "f('user:1234', 7, 2.5)"}
    calls["three strs"] = "f('user:1234', 'profile', 'en')"
    contenders = [Contender("no arguments", repeated("f()", f=none))]
    for name, call in calls.items():
        contenders.append(Contender(name, repeated(call, f=retainit_memory(SIZE)(_three_arguments))))
    samples = interleave(contenders, settings)
    report.medians["hit by arguments"] = medians(samples)
    for name in calls:
        cost = _beyond(samples, name, "no arguments")
        verdict = judge(cost, PLAIN_AIM, "at most")
        report.add(
            f"key of {name}", f"at most {PLAIN_AIM:.0f} ns", f"{cost:.0f} ns", "a hit without", verdict
        )


def _beyond(samples: Samples, more: str, less: str) -> float:
    """How much longer one takes, round by round."""
    return statistics.median(a - b for a, b in zip(samples[more], samples[less], strict=True))


def _array(settings: Settings, report: Report) -> None:
    try:
        numpy = import_module("numpy")
    except ImportError as reason:
        report.skipped.append(f"numpy: {reason}")
        return
    array = numpy.random.default_rng(1).random(ELEMENTS)
    cached = retainit_memory(SIZE)(_one_argument)
    cached(array)
    raw = array.view("u1")
    contenders = [
        Contender(RETAINIT, repeated("f(x)", f=cached, x=array)),
        Contender("sha256 alone", repeated("f(x).digest()", f=hashlib.sha256, x=raw)),
    ]
    for name, module, call, given in (
        (DIGEST, "blake3", "f.blake3(x).digest()", raw),
        ("joblib.hash", "joblib", "f.hash(x)", array),
    ):
        try:
            contenders.append(Contender(name, repeated(call, f=import_module(module), x=given)))
        except ImportError as reason:
            report.skipped.append(f"{module}: {reason}")
    samples = interleave(contenders, settings)
    report.medians["array of 1 MB"] = medians(samples)
    speed = array.nbytes / report.medians["array of 1 MB"][RETAINIT]
    report.notes.append(f"The key of an array of 1 MB is made at {speed:.1f} GB/s.")
    work = "hit, array of 1 MB"
    if DIGEST in samples:
        ratio = Ratio.of(samples, RETAINIT, DIGEST)
        verdict = judge_ratio(ratio, DIGEST_AIM, "at most")
        report.add(work, f"at most {DIGEST_AIM} x", ratio, DIGEST, verdict)
    for name in ("sha256 alone", "joblib.hash"):
        if name in samples:
            report.add(f"{work}: faster", "none set", Ratio.of(samples, name, RETAINIT), name, "seen")


def _no_arguments() -> int:
    return 1


def _one_argument(x: Any) -> int:
    return 1


def _three_arguments(x: Any, y: Any, z: Any) -> int:
    return 1
