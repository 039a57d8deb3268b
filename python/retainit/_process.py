"""Hooks for fork and exit."""

from __future__ import annotations

import atexit
import os
import sys
import threading

from retainit import _native

#: Held while the registry changes, and while modules are imported that are not from the start: a child must
#: find neither half done, nor this lock held by a thread it has not. Reentrant, because collecting garbage
#: while it is held may run anything.
lock = threading.RLock()


def _before() -> None:
    # Taken first: who holds it may need anything, and natively nothing is held yet.
    lock.acquire()
    _native.before_fork()


def _in_parent() -> None:
    _native.after_fork_in_parent()
    lock.release()


def _in_child() -> None:
    lost = _native.after_fork_in_child()
    lock.release()
    drive = sys.modules.get("retainit._drive")
    if drive is not None:
        drive.forget()
    if lost:
        from retainit import _registry

        # Their plugins know nothing of forks: the child opens them anew.
        _registry.abandon(lost)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
# Registered at import, so that it runs after what users register.
atexit.register(_native.at_exit)
