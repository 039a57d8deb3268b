"""Hooks for fork and exit."""

import atexit
import os

from retainit import _native


def _in_child() -> None:
    lost = _native.after_fork_in_child()
    if lost:
        from retainit import _registry

        # Their plugins know nothing of forks: the child opens them anew.
        _registry.abandon(lost)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_native.before_fork,
        after_in_parent=_native.after_fork_in_parent,
        after_in_child=_in_child,
    )
# Registered at import, so that it runs after what users register.
atexit.register(_native.at_exit)
