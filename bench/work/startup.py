"""What a process pays before its first cached call: the import, and the load of a plugin."""

from __future__ import annotations

import statistics
import subprocess
import sys

from harness import Report, Settings, judge

IMPORT_AIM, LOAD_AIM = 20.0, 1.0
MODULES = ("retainit", "cachetools", "diskcache", "cachebox", "moka_py", "theine", "cachekit")

IMPORT = """
import time
start = time.perf_counter()
import {module}
print((time.perf_counter() - start) * 1e3)
with open("/proc/self/maps") as maps:
    print(sum("libretainit_" in line for line in maps))
"""

# The first load also looks for what there is: bundled plugins and those of installed distributions.
LOAD = """
import time
from retainit._native import load_plugin
for name in ("memory", "disk"):
    start = time.perf_counter()
    load_plugin(name)
    print((time.perf_counter() - start) * 1e3)
"""


def run(settings: Settings) -> Report:
    report = Report("Start-up, each in fresh processes", unit="ms")
    times: dict[str, list[float]] = {}
    mapped = 0
    for _ in range(settings.rounds):
        for module in MODULES:
            try:
                took, plugins = _fresh(IMPORT.format(module=module))
            except subprocess.CalledProcessError:
                if f"{module}: it cannot be imported" not in report.skipped:
                    report.skipped.append(f"{module}: it cannot be imported")
                continue
            times.setdefault(module, []).append(took)
            mapped += int(plugins)
    firsts, loads = zip(*(_fresh(LOAD) for _ in range(settings.rounds)), strict=True)
    figures = {module: statistics.median(took) for module, took in times.items()}
    report.medians["import"] = figures
    own = figures["retainit"]
    others = ", ".join(f"{name} {figure:.0f}" for name, figure in figures.items() if name != "retainit")
    report.add(
        "import, ms",
        f"at most {IMPORT_AIM:.0f}",
        f"{own:.1f}",
        others,
        judge(own, IMPORT_AIM, "at most"),
    )
    verdict = "reached" if mapped == 0 else "missed"
    report.add("plugins loaded by the import", "none", str(mapped), "/proc/self/maps", verdict)
    load = statistics.median(loads)
    report.add(
        "load of one plugin, ms",
        f"at most {LOAD_AIM:.0f}",
        f"{load:.2f}",
        "none",
        judge(load, LOAD_AIM, "at most"),
    )
    first = statistics.median(firsts)
    report.add("discovery and the first load, ms", "none set", f"{first:.2f}", "none", "seen")
    return report


def _fresh(code: str) -> list[float]:
    printed = subprocess.check_output([sys.executable, "-c", code], stderr=subprocess.DEVNULL, text=True)
    return [float(line) for line in printed.split()]
