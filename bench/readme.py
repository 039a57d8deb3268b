"""The README's table, written from the last whole run, so that it says what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from report import number

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- written by cargo xtask bench -->", "<!-- end -->"

# What the row is called, the case whose medians it shows, their divisor and unit.
ROWS = (
    ("hit, one int, with ttl", "one int", 1, "ns"),
    ("hit, three positional and two keyword arguments", "three positional, two keyword", 1, "ns"),
    ("`await` of a hit", "await, one int", 1, "ns"),
    ("memory per entry, beyond key and value", "plain values", 1, "bytes"),
    ("disk, hit of a small dict", "hit, small dict", 1000, "µs"),
    ("disk, set of a small dict", "set, small dict", 1000, "µs"),
    ("disk, hit of a data frame of 95 MB (pandas)", "hit, pandas frame of 95 MB", 1_000_000, "ms"),
    ("import", "import", 1, "ms"),
)


def update(data: dict[str, Any]) -> None:
    """Puts the table between the README's two marks."""
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"README.md: expected the marks `{BEGIN}` and `{END}`")
    README.write_text(f"{before}{BEGIN}\n{table(data)}\n{END}{after}", encoding="utf-8")


def table(data: dict[str, Any]) -> str:
    lines = ["| | retainit | for comparison |", "|---|---|---|"]
    for title, case, divisor, unit in ROWS:
        figures = next((found[case] for found in _medians(data) if case in found), None)
        if figures is not None:
            shown = {name: number(figure / divisor) for name, figure in figures.items()}
            own = shown.pop("retainit")
            others = ", ".join(f"{name} {figure}" for name, figure in shown.items())
            lines.append(f"| {title} | {own} {unit} | {others} |")
    where = data["environment"]
    lines.append("")
    lines.append(
        f"Medians of one run, Python {where['python']}, {where['system']}; "
        "all of it in [bench/results](bench/results/latest.md)."
    )
    return "\n".join(lines)


def _medians(data: dict[str, Any]) -> list[dict[str, dict[str, float]]]:
    return [report["medians"] for report in data["reports"]]
