"""Hits over 200 000 keys in random order: what the CPU's caches have to say about a table."""

from __future__ import annotations

import random
from typing import Any

from harness import Contender, Ratio, Report, Settings, interleave, judge_ratio, medians, repeated
from peers import TTL_PEERS, installed, lru_cache, retainit_memory

KEYS = 200_000
AIM = 1.3
RETAINIT, LRU = "retainit", "functools.lru_cache"


def run(settings: Settings) -> Report:
    peers, skipped = installed(TTL_PEERS)
    # A cache with a fixed bound below the number of keys would be measured in its misses.
    peers.pop("cachekit", None)
    report = Report(f"Hits over {KEYS} random keys, memory, with ttl", skipped=skipped)
    chance = random.Random(20)
    numbers = chance.sample(range(2**40), KEYS)
    for kind, keys in (("ints", numbers), ("strs", [f"user:{number}" for number in numbers])):
        asked = list(keys)
        chance.shuffle(asked)
        contenders = []
        for name, maker in {RETAINIT: retainit_memory, LRU: lru_cache, **peers}.items():
            cached = maker(2 * KEYS)(_body)
            for key in keys:
                cached(key)
            measure = repeated("for key in keys: f(key)", f=cached, keys=asked)
            contenders.append(Contender(name, measure))
        samples = interleave(contenders, settings, per=KEYS)
        report.medians[f"random {kind}"] = medians(samples)
        ratio = Ratio.of(samples, RETAINIT, LRU)
        work = f"hit, {KEYS} random {kind}"
        report.add(work, f"at most {AIM} x", ratio, LRU, judge_ratio(ratio, AIM, "at most"))
    return report


def _body(key: Any) -> Any:
    return key
