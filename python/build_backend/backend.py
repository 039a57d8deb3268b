"""The build backend of the `retainit` distribution (PEP 517 and 660).

A base install carries the bundled plugins as shared libraries beside the extension module. Cargo builds
those, this file puts them into `retainit/_plugins/`, and maturin does all the rest.

`RETAINIT_BUILD_PROFILE` chooses cargo's profile for both: `release` (the default) or `dev`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import maturin

from plugin_libraries import LIBRARY_SUFFIXES, build_libraries, chosen_profile
from source_archive import write_source_archive

BUNDLED = ("retainit-memory", "retainit-disk", "retainit-codecs", "retainit-compress", "retainit-testing")
# Where the distribution's own pyproject.toml is; the front end may have started us further up.
PROJECT = Path(__file__).resolve().parent.parent

Settings = Mapping[str, Any] | None


def build_wheel(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    """Builds the plugins and a wheel for the running interpreter; returns the wheel's file name."""
    directory = os.path.abspath(directory)
    _prepare_build()
    return maturin.build_wheel(directory, settings, metadata)


def build_editable(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    """As `build_wheel`, for a wheel that points at the package in this checkout."""
    directory = os.path.abspath(directory)
    _prepare_build()
    return maturin.build_editable(directory, settings, metadata)


def build_sdist(directory: str, settings: Settings = None) -> str:
    """Writes the source archive, the bundled plugins included; returns its file name."""
    with tempfile.TemporaryDirectory() as scratch:
        info = Path(scratch) / prepare_metadata_for_build_wheel(scratch, settings)
        metadata = (info / "METADATA").read_text(encoding="utf-8")
    return write_source_archive(Path(directory), _workspace_root(), metadata)


def prepare_metadata_for_build_wheel(directory: str, settings: Settings = None) -> str:
    """Writes the `.dist-info` folder; returns its name."""
    os.chdir(PROJECT)
    return maturin.prepare_metadata_for_build_wheel(directory, settings)


def get_requires_for_build_wheel(settings: Settings = None) -> list[str]:
    """What is needed beyond `build-system.requires`: a Rust toolchain where there is none."""
    os.chdir(PROJECT)
    return maturin.get_requires_for_build_wheel(settings)


# Metadata and needs are the same whatever is built.
prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel
get_requires_for_build_editable = get_requires_for_build_wheel
get_requires_for_build_sdist = get_requires_for_build_wheel


def _prepare_build() -> None:
    profile = chosen_profile()
    os.chdir(PROJECT)
    _install_plugins(build_libraries(BUNDLED, profile))
    # A front end runs each hook in a process of its own, so there is nobody to restore this for.
    others = os.environ.get("MATURIN_PEP517_ARGS", "")
    os.environ["MATURIN_PEP517_ARGS"] = f"{others} --profile {profile}".strip()


def _install_plugins(libraries: list[Path]) -> None:
    """Makes `retainit/_plugins` hold these libraries and no others."""
    folder = PROJECT / "retainit" / "_plugins"
    folder.mkdir(exist_ok=True)
    wanted = {library.name for library in libraries}
    for file in folder.iterdir():
        if file.suffix in LIBRARY_SUFFIXES and file.name not in wanted:
            file.unlink()
    for library in libraries:
        # A new file rather than new bytes in the old one: a running process may have that one mapped.
        unfinished = folder / f".{library.name}.new"
        shutil.copyfile(library, unfinished)
        unfinished.chmod(0o755)
        unfinished.replace(folder / library.name)


def _workspace_root() -> Path:
    manifest = subprocess.check_output(
        ["cargo", "locate-project", "--workspace", "--message-format=plain"], text=True
    )
    return Path(manifest.strip()).parent
