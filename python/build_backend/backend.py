"""The build backend of the `retainit` distribution (PEP 517 and 660).

A base install carries the bundled plugins as shared libraries beside the extension module. Cargo builds
those, this file puts them into `retainit/_plugins/`, and maturin does all the rest.

`RETAINIT_BUILD_PROFILE` chooses cargo's profile for both: `release` (the default) or `dev`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import maturin

from source_archive import write_source_archive

BUNDLED = ("retainit-memory", "retainit-disk", "retainit-codecs", "retainit-compress")
LIBRARY_SUFFIXES = (".so", ".dylib", ".dll")
PROFILES = ("release", "dev")
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
    profile = os.environ.get("RETAINIT_BUILD_PROFILE", "release")
    if profile not in PROFILES:
        sys.exit(f"unknown RETAINIT_BUILD_PROFILE `{profile}`: expected one of `release`, `dev`")
    os.chdir(PROJECT)
    _install_plugins(_build_plugins(profile))
    # A front end runs each hook in a process of its own, so there is nobody to restore this for.
    others = os.environ.get("MATURIN_PEP517_ARGS", "")
    os.environ["MATURIN_PEP517_ARGS"] = f"{others} --profile {profile}".strip()


def _build_plugins(profile: str) -> list[Path]:
    """Builds every bundled plugin; returns the paths of their shared libraries."""
    command = [
        "cargo",
        "build",
        f"--profile={profile}",
        "--message-format=json-render-diagnostics",
        *(argument for crate in BUNDLED for argument in ("--package", crate)),
    ]
    print("Running `{}`".format(" ".join(command)), flush=True)
    build = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if build.returncode != 0:
        sys.exit(f"the bundled plugins could not be built: cargo ended with {build.returncode}")
    # Asking cargo for the paths, rather than composing them, follows any target directory and platform.
    messages = [json.loads(line) for line in build.stdout.splitlines() if line.startswith(b"{")]
    libraries = {
        message["target"]["name"].replace("_", "-"): Path(file)
        for message in messages
        if message["reason"] == "compiler-artifact" and "cdylib" in message["target"]["crate_types"]
        for file in message["filenames"]
        if file.endswith(LIBRARY_SUFFIXES)
    }
    missing = [crate for crate in BUNDLED if crate not in libraries]
    if missing:
        sys.exit(f"no shared library came out of {', '.join(missing)}: is `cdylib` in its crate-type?")
    return [libraries[crate] for crate in BUNDLED]


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
