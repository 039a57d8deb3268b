"""Hit ratios of the memory plugin's default policy against LRU, on recorded shapes of traffic."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from harness import Report, Settings, judge

EXAMPLE = ["cargo", "run", "--quiet", "--release", "--package", "retainit-memory", "--example", "hit_ratio"]
OWN, LRU = "retainit, s3fifo", "lru"


def run(_settings: Settings) -> Report:
    """The simulation is the plugin's own code, driven request by request; it has nothing to repeat."""
    report = Report("Hit ratio, three sizes each", unit="%")
    root = Path(__file__).resolve().parents[2]
    printed = subprocess.check_output(EXAMPLE, cwd=root, text=True)
    for line in printed.splitlines():
        found = json.loads(line)
        work = f"{found['trace']}, {found['size']} entries"
        own, lru = 100 * found["s3fifo"], 100 * found["lru"]
        report.medians[work] = {OWN: own, LRU: lru}
        verdict = judge(own, lru, "at least")
        report.add(f"hit ratio: {work}", "at least LRU's", f"{own:.1f} %", f"LRU {lru:.1f} %", verdict)
    return report
