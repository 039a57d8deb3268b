"""The source archive: the workspace as it lies in the repository, with a `pyproject.toml` on top.

Maturin's own archive carries the crates that the extension module links. The bundled plugins are not among
them, on purpose, so the archive is written here.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

# The workspace's members have to be there for cargo to read its manifest.
PARTS = (
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "core",
    "plugin-api",
    "plugins",
    "python",
    "tests",
    "xtask",
)
BUILD_PRODUCTS = {
    "__pycache__",
    "target",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
}
BINARIES = {".so", ".pyd", ".dylib", ".dll", ".pyc"}
# A front end looks for this file at the top; the backend then works from `python/`, where the real one is.
FRONT_DOOR = """\
[build-system]
requires = ["maturin>=1.9,<2"]
build-backend = "backend"
backend-path = ["python/build_backend"]
"""


def write_source_archive(directory: Path, workspace: Path, metadata: str) -> str:
    """Writes `<name>-<version>.tar.gz` into `directory`; returns its file name."""
    fields = dict(line.split(": ", 1) for line in metadata.split("\n\n")[0].splitlines())
    top = f"{fields['Name']}-{fields['Version']}"
    with tarfile.open(directory / f"{top}.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path in _sources(workspace):
            archive.add(path, f"{top}/{path.relative_to(workspace).as_posix()}")
        for name, text in (("pyproject.toml", FRONT_DOOR), ("PKG-INFO", metadata)):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return f"{top}.tar.gz"


def _sources(workspace: Path) -> Iterator[Path]:
    for part in PARTS:
        path = workspace / part
        if path.is_file():
            yield path
            continue
        for file in sorted(path.rglob("*")):
            inside = file.relative_to(workspace)
            if file.is_file() and file.suffix not in BINARIES and BUILD_PRODUCTS.isdisjoint(inside.parts):
                yield file
