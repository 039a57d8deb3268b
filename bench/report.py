"""The result as a page to read."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PEERS = Path(__file__).resolve().parent / "peers.txt"


def environment(quick: bool) -> dict[str, Any]:
    """What the figures depend on."""
    names = [line.split("#")[0].strip() for line in PEERS.read_text().splitlines()]
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "rounds": "few (--quick)" if quick else "all",
        "versions": {name: _version(name) for name in ["retainit", *filter(None, names)]},
    }


def to_markdown(data: dict[str, Any], plot: str) -> str:
    return "\n".join(_lines(data, plot)) + "\n"


def _lines(data: dict[str, Any], plot: str) -> Iterator[str]:
    where = data["environment"]
    yield "# Measurements"
    yield ""
    yield f"Python {where['python']}, {where['system']}, {where['date']}, rounds: {where['rounds']}."
    yield "Written by `cargo xtask bench`. Contenders take turns in one process; a ratio is the median of the"
    yield "rounds' own ratios, with their quartiles."
    yield ""
    yield ", ".join(f"{name} {number}" for name, number in where["versions"].items()) + "."
    yield ""
    yield f"![the medians]({plot})"
    yield ""
    yield "| work | aim | figure | against | verdict |"
    yield "|---|---|---|---|---|"
    for report in data["reports"]:
        for row in report["verdicts"]:
            yield "| {work} | {aim} | {figure} | {against} | {verdict} |".format(**row)
    for report in data["reports"]:
        yield ""
        yield f"## {report['title']}"
        yield ""
        yield from _medians(report)
        for note in report["notes"]:
            yield ""
            yield note
        for line in report["skipped"]:
            yield ""
            yield f"Skipped: {line}."


def _medians(report: dict[str, Any]) -> Iterator[str]:
    cases = report["medians"]
    names = list(dict.fromkeys(name for figures in cases.values() for name in figures))
    yield f"| {report['unit']} | " + " | ".join(cases) + " |"
    yield "|---|" + "---:|" * len(cases)
    for name in names:
        cells = (number(figures[name]) if name in figures else "" for figures in cases.values())
        yield f"| {name} | " + " | ".join(cells) + " |"


def number(figure: float) -> str:
    """Three digits that matter, without an exponent."""
    if figure >= 100:
        return f"{figure:,.0f}".replace(",", " ")
    return f"{figure:.3g}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
