"""Build hook of plugins with a distribution of their own: hatchling makes the wheel, this adds the library.

A plugin's `pyproject.toml` names the crate, and the folder that its entry point names:

    [tool.hatch.build.hooks.custom]
    path = "../../python/build_backend/plugin_wheel.py"
    crate = "retainit-arrow-serde"
    package = "retainit_arrow"

The library knows nothing of Python, so that one wheel serves all versions: its tag is `py3-none-<platform>`.
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Hatchling reads this file by its path, which does not make its neighbours importable.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from plugin_libraries import build_libraries, chosen_profile

# The oldest systems that the Rust toolchain builds for, which it does unless it is told otherwise.
OLDEST_MACOS = {"arm64": "11.0", "x86_64": "10.12"}


class PluginWheel(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the crate and adds its library to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects the files."""
        if self.target_name != "wheel":
            sys.exit("a plugin has no source archive of its own: that of `retainit` has all sources")
        crate, package = self.config["crate"], self.config["package"]
        # Cargo finds the workspace from where the plugin is.
        os.chdir(self.root)
        [library] = build_libraries([crate], chosen_profile())
        build_data["force_include"][str(library)] = f"{package}/{library.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag()}"


def platform_tag() -> str:
    """The platform that cargo builds for, as the names of wheels have it."""
    if sys.platform != "darwin":
        return sysconfig.get_platform().replace("-", "_").replace(".", "_")
    # A universal Python would name both processors, of which cargo builds for one.
    machine = platform.machine()
    oldest = os.environ.get("MACOSX_DEPLOYMENT_TARGET", OLDEST_MACOS[machine])
    major, _, minor = oldest.partition(".")
    return f"macosx_{major}_{minor or 0}_{machine}"
