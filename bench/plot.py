"""The medians as bars, in an SVG file. A logarithmic scale, because peers differ by powers of ten."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import Any

from report import number

WIDTH, LABELS, BARS = 860, 230, 500
ROW, HEAD, GAP = 18, 46, 14
OWN, REFERENCE, OTHER = "#d1495b", "#5b7083", "#b8c4ce"
REFERENCES = ("functools.lru_cache", "plain coroutine", "dict")


def draw(reports: list[dict[str, Any]]) -> str:
    """A panel for each case that has somebody to compare with."""
    parts: list[str] = []
    top = 10
    for report in reports:
        for case, figures in report["medians"].items():
            if len(figures) > 1 and all(figure > 0 for figure in figures.values()):
                title = f"{report['title']}: {case} ({report['unit']}, less is better)"
                parts.extend(_panel(title, figures, top))
                top += HEAD + ROW * len(figures) + GAP
    style = "text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:13px}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}">'
    ground = f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{style}</style>", ground, *parts, "</svg>"]) + "\n"


def _panel(title: str, figures: dict[str, float], top: int) -> Iterator[str]:
    yield f'<text class="t" x="10" y="{top + 16}">{escape(title)}</text>'
    low = math.floor(math.log10(min(figures.values())))
    high = max(math.ceil(math.log10(max(figures.values()))), low + 1)
    bottom = top + HEAD + ROW * len(figures)
    for power in range(low, high + 1):
        x = LABELS + BARS * (power - low) / (high - low)
        yield f'<line x1="{x:.0f}" y1="{top + 38}" x2="{x:.0f}" y2="{bottom}" stroke="#e3e8ec"/>'
        mark = number(10.0**power)
        yield f'<text x="{x:.0f}" y="{top + 34}" text-anchor="middle" fill-opacity=".6">{mark}</text>'
    for row, (name, figure) in enumerate(sorted(figures.items(), key=lambda pair: pair[1])):
        y = top + HEAD + ROW * row
        length = max(2.0, BARS * (math.log10(figure) - low) / (high - low))
        colour = OWN if name.startswith("retainit") else REFERENCE if name.startswith(REFERENCES) else OTHER
        yield f'<text x="{LABELS - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>'
        yield f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{ROW - 5}" fill="{colour}"/>'
        yield f'<text x="{LABELS + length + 6:.0f}" y="{y + 11}">{number(figure)}</text>'
