"""Measures retainit against its peers, for `cargo xtask bench`; writes `results/latest.{md,json,svg}`.

Each group of measurements runs in a process of its own, in which all contenders take turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import readme
from harness import Settings
from plot import draw
from report import environment, to_markdown

HERE = Path(__file__).resolve().parent
GROUPS = (
    "calls",
    "keys",
    "awaits",
    "entries",
    "growth",
    "threads",
    "disk",
    "data",
    "traces",
    "startup",
    "resilience",
)
# Measured once more by each further interpreter.
PER_INTERPRETER = ("awaits",)


def main() -> int:
    parser = argparse.ArgumentParser(prog="cargo xtask bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and entries; wider spreads")
    parser.add_argument("--only", choices=GROUPS, action="append", help="this group; may be given again")
    parser.add_argument("--also", type=Path, action="append", default=[], help="a further interpreter")
    parser.add_argument("--group", choices=GROUPS, help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = Settings(quick=arguments.quick)
    if arguments.group:
        report = import_module(f"work.{arguments.group}").run(settings)
        arguments.to.write_text(json.dumps(report.as_data()))
        return 0

    reports, failures = [], []
    for group in arguments.only or GROUPS:
        interpreters = [Path(sys.executable)]
        if group in PER_INTERPRETER:
            interpreters += arguments.also
        for interpreter in interpreters:
            print(f"measuring {group} with {interpreter}", flush=True)
            report = in_own_process(interpreter, group, arguments.quick)
            if report is None:
                failures.append(group)
            else:
                reports.append(report)
                show(report)
    write(reports, arguments.quick, partial=bool(arguments.only))
    for group in failures:
        print(f"failed: {group} (its error is above)", file=sys.stderr)
    return 1 if failures else 0


def in_own_process(interpreter: Path, group: str, quick: bool) -> dict[str, Any] | None:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "report.json"
        command = [str(interpreter), str(HERE / "run.py"), "--group", group, "--to", str(answer)]
        if subprocess.run([*command, "--quick"] if quick else command, check=False).returncode != 0:
            return None
        report: dict[str, Any] = json.loads(answer.read_text())
        return report


def show(report: dict[str, Any]) -> None:
    for line in report["skipped"]:
        print(f"  skipped peer {line}")
    for row in report["verdicts"]:
        print(
            f"  {row['work']}: {row['figure']} (aim {row['aim']}, against {row['against']}): {row['verdict']}"
        )


def write(reports: list[dict[str, Any]], quick: bool, partial: bool) -> None:
    """A partial run has its own files, so that it does not take the place of a whole one."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    name = "partial" if partial else "latest"
    data = {"environment": environment(quick), "reports": reports}
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / f"{name}.md").write_text(to_markdown(data, f"{name}.svg"))
    (folder / f"{name}.svg").write_text(draw(reports))
    # A run with few rounds is not for showing.
    if not partial and not quick:
        readme.update(data)
    print(f"\nwritten: bench/results/{name}.md, {name}.json, {name}.svg")


if __name__ == "__main__":
    sys.exit(main())
