"""Builds plugins with cargo, for the wheels that carry their shared libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LIBRARY_SUFFIXES = (".so", ".dylib", ".dll")
PROFILES = ("release", "dev")


def chosen_profile() -> str:
    """Cargo's profile: what `RETAINIT_BUILD_PROFILE` says, or `release`."""
    profile = os.environ.get("RETAINIT_BUILD_PROFILE", "release")
    if profile not in PROFILES:
        sys.exit(f"unknown RETAINIT_BUILD_PROFILE `{profile}`: expected one of `release`, `dev`")
    return profile


def build_libraries(crates: Sequence[str], profile: str) -> list[Path]:
    """Builds each crate; returns the paths of their shared libraries, in the same order."""
    command = [
        "cargo",
        "build",
        f"--profile={profile}",
        "--message-format=json-render-diagnostics",
        *(argument for crate in crates for argument in ("--package", crate)),
    ]
    print("Running `{}`".format(" ".join(command)), flush=True)
    build = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if build.returncode != 0:
        sys.exit(f"{', '.join(crates)} could not be built: cargo ended with {build.returncode}")
    # Asking cargo for the paths, rather than composing them, follows any target directory and platform.
    messages = [json.loads(line) for line in build.stdout.splitlines() if line.startswith(b"{")]
    libraries = {
        message["target"]["name"].replace("_", "-"): Path(file)
        for message in messages
        if message["reason"] == "compiler-artifact" and "cdylib" in message["target"]["crate_types"]
        for file in message["filenames"]
        if file.endswith(LIBRARY_SUFFIXES)
    }
    missing = [crate for crate in crates if crate not in libraries]
    if missing:
        sys.exit(f"no shared library came out of {', '.join(missing)}: is `cdylib` in its crate-type?")
    return [libraries[crate] for crate in crates]
