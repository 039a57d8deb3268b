"""Awaits of hits, against awaiting a plain coroutine and against the asynchronous peers."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Any

from harness import Contender, Measure, Ratio, Report, Settings, interleave, judge_ratio, medians
from peers import ASYNC_PEERS, Function, installed, retainit_memory

SIZE = 1000
RETAINIT, PLAIN = "retainit", "plain coroutine"
FASTER_THAN_PEERS = 4.0

# Compiled anew for each contender: the interpreter specialises code for what it saw running in it.
LOOP = """
async def turns(count, f):
    start = clock()
    for _ in range(count):
        await f({argument})
    return clock() - start
"""


def run(settings: Settings) -> Report:
    peers, skipped = installed(ASYNC_PEERS)
    version = ".".join(map(str, sys.version_info[:2]))
    report = Report(f"Await of a hit, memory, with ttl, Python {version}", skipped=skipped)
    # From 3.12 on, awaiting a coroutine is compiled to something that an object of another type cannot share.
    aim = 1.25 if sys.version_info >= (3, 12) else 1.0
    loop = asyncio.new_event_loop()
    try:
        for case, argument in (("one int", "7"), ("one str", "'user:1234'")):
            contenders = [Contender(PLAIN, _awaits(loop, _plain(), argument))]
            for name, maker in {RETAINIT: retainit_memory, **peers}.items():
                contenders.append(Contender(name, _awaits(loop, maker(SIZE)(_plain()), argument)))
            samples = interleave(contenders, settings)
            report.medians[f"await, {case}"] = medians(samples)
            ratio = Ratio.of(samples, RETAINIT, PLAIN)
            work = f"await of a hit, {case}, Python {version}"
            report.add(work, f"at most {aim:.2f} x", ratio, PLAIN, judge_ratio(ratio, aim, "at most"))
            ratios = {name: Ratio.of(samples, name, RETAINIT) for name in peers}
            if ratios:
                nearest = min(ratios, key=lambda name: ratios[name].median)
                report.add(
                    f"{work}: faster than peers",
                    f"at least {FASTER_THAN_PEERS:.0f} x",
                    ratios[nearest],
                    f"{nearest}, the nearest",
                    judge_ratio(ratios[nearest], FASTER_THAN_PEERS, "at least"),
                )
    finally:
        # Peers that sweep in the background leave tasks behind.
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    return report


def _plain() -> Function:
    async def plain(x: Any) -> Any:
        return x

    return plain


def _awaits(loop: asyncio.AbstractEventLoop, function: Function, argument: str) -> Measure:
    names: dict[str, Any] = {"clock": time.perf_counter}
    exec(LOOP.format(argument=argument), names)
    turns = names["turns"]

    def measure(count: int) -> float:
        gc.disable()  # as timeit does
        try:
            took: float = loop.run_until_complete(turns(count, function))
        finally:
            gc.enable()
        return took

    return measure
