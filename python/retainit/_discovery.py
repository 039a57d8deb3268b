"""Where plugins are: beside this package, and in installed distributions.

A distribution declares its plugin by an entry point in group ``retainit.plugins``: the name is the
plugin's, the value the package whose directory holds the library. Nothing is imported for it.
"""

from __future__ import annotations

import os
from pathlib import Path

GROUP = "retainit.plugins"


def locations() -> tuple[Path, list[tuple[str, list[Path]]]]:
    """The directory of the bundled plugins, and the directories that each distribution declares."""
    from importlib.metadata import distributions

    bundled = Path(__file__).resolve().parent / "_plugins"
    found: list[tuple[str, list[Path]]] = []
    for distribution in distributions():
        directories = []
        for point in distribution.entry_points:
            if point.group == GROUP:
                package = point.value.partition(":")[0].replace(".", os.sep)
                directory = Path(str(distribution.locate_file(package))).resolve()
                if directory not in directories:
                    directories.append(directory)
        if directories:
            found.append((distribution.metadata["Name"], directories))
    return bundled, found
