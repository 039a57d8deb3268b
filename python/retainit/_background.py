"""Worker threads: refreshes of synchronous functions, and runs that a caller may stop waiting for."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable

from retainit import _native

__all__ = ["failed", "start"]


def start(background: _native.Background) -> bool:
    """Runs it in a daemon thread with a copy of this context; `False` where no thread can be started."""
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(_run, background), name=f"retainit {background.name}", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:
        # The system has no more threads, or the interpreter comes to its end.
        return False
    return True


def _run(background: Callable[[], None]) -> None:
    try:
        background()
    except Exception as error:
        failed(background.name, error)  # type: ignore[attr-defined]
    except BaseException:
        # It concerns the thread it hit, which ends here.
        return


def failed(name: str, error: BaseException) -> None:
    """Tells of a refresh that failed: nobody waits for it."""
    logging.getLogger("retainit").warning("a refresh of `%s` in the background failed: %r", name, error)
