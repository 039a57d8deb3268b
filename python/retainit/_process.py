"""Hooks for fork and exit."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import Any

from retainit import _native


def _before() -> None:
    # A child must not find the registry half changed, nor its lock held by a thread it has not.
    # Taken first: who holds it may need anything, and natively nothing is held yet.
    registry = _module("_registry")
    if registry is not None:
        registry._registry.lock.acquire()
    _native.before_fork()


def _in_parent() -> None:
    _native.after_fork_in_parent()
    registry = _module("_registry")
    if registry is not None:
        registry._registry.lock.release()


def _in_child() -> None:
    lost = _native.after_fork_in_child()
    drive = _module("_drive")
    if drive is not None:
        # The loads of the parent's loops go on there.
        drive._lock = threading.Lock()
        drive._running.clear()
    registry = _module("_registry")
    if registry is not None:
        registry._registry.lock.release()
        if lost:
            # Their plugins know nothing of forks: the child opens them anew.
            registry.abandon(lost)


def _module(name: str) -> Any:
    return sys.modules.get(f"retainit.{name}")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
# Registered at import, so that it runs after what users register.
atexit.register(_native.at_exit)
