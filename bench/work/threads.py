"""Total throughput of hits from eight threads, against one."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from harness import Contender, Measure, Ratio, Report, Settings, interleave, judge_ratio, medians
from peers import lru_cache, retainit_memory

THREADS = 8
KEYS = 1_000
AIM = 1.0


def run(settings: Settings) -> Report:
    report = Report(f"Hits from {THREADS} threads")
    contenders = []
    functions = {
        "retainit": retainit_memory(2 * KEYS)(_body),
        "functools.lru_cache": lru_cache(2 * KEYS)(_body),
        "abs": abs,
    }
    for name, cached in functions.items():
        for key in range(KEYS):
            cached(key)
        contenders.append(Contender(f"{name}, 1 thread", _hits(cached, 1)))
        contenders.append(Contender(f"{name}, {THREADS} threads", _hits(cached, THREADS)))
    # Turns of many switch intervals (5 ms each), or the threads would run one by one.
    samples = interleave(contenders, settings, per=KEYS, turn_seconds=0.05 * THREADS)
    report.medians["per hit, all threads together"] = medians(samples)
    # Time per hit turned round: throughput of eight over throughput of one.
    own, reference, control = (
        Ratio.of(samples, f"{name}, 1 thread", f"{name}, {THREADS} threads") for name in functions
    )
    report.add(
        f"throughput of {THREADS} threads over one",
        f"at least {AIM:.1f} x",
        own,
        f"itself; functools.lru_cache: {reference.median:.2f} x, abs: {control.median:.2f} x",
        judge_ratio(own, AIM, "at least"),
    )
    report.notes.append(
        "lru_cache takes no lock but the interpreter's, and abs keeps nothing at all: what eight threads "
        "of either lose is what the interpreter's own handing over costs, and is in every figure here."
    )
    return report


def _hits(function: Any, threads: int) -> Measure:
    order = random.Random(3).sample(range(KEYS), KEYS)

    def measure(count: int) -> float:
        # The same number of hits in all, whoever makes them.
        shares = [count // threads + (number < count % threads) for number in range(threads)]
        start = threading.Event()
        workers = [threading.Thread(target=_worker, args=(start, function, order, share)) for share in shares]
        for worker in workers:
            worker.start()
        begin = time.perf_counter()
        start.set()
        for worker in workers:
            worker.join()
        return time.perf_counter() - begin

    return measure


def _worker(start: threading.Event, function: Any, order: list[int], rounds: int) -> None:
    start.wait()
    for _ in range(rounds):
        for key in order:
            function(key)


def _body(key: Any) -> Any:
    return key
