"""Data: what keys of arguments cost, up to arrays of a megabyte, responses as trees, and frames on disk.

Each part measures into the one report.
"""

from __future__ import annotations

from harness import Report, Settings

from . import frames, keys, trees

PARTS = (keys, trees, frames)


def run(settings: Settings) -> Report:
    report = Report("Data")
    for part in PARTS:
        part.measure(settings, report)
    return report
